"""The playground: updates of the page a second in a real browser, and its four stories over seeds.

    .venv/bin/python benchmarks/playground.py --out benchmarks/playground.json

starts the real studio and headless Chromium, counts the frames that the page draws with one panel and with
six at full speed, their CPU time, and the steps of the same training without a viewer. Then it trains the
two panels of each story with three seeds, for the steps that the story names. About four minutes on a quiet
machine.
`--skip-browser` and `--skip-stories` keep what `--out` has of that part.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import record

from ganforge.runs.sampling import seeded
from ganforge.studio.playground.losses import LOSSES
from ganforge.studio.playground.session import Session
from ganforge.studio.playground.settings import Settings
from ganforge.studio.playground.stories import STORIES, Story

SEEDS = (0, 1, 2)
SECONDS, WARM_UP = 10.0, 4.0
SIX = [name for name in LOSSES if name not in ("minimax", "vae")]
LATE = 0.5
"""Of the steps, after which the mean of the samples is followed."""
NUM_LOOKS = 40
MEASURES = {
    "mode_collapse": (
        ("spread of the samples, that of the data being 1", "spread"),
        ("most modes found in the second half", "most_found"),
    ),
    "vanishing_gradient": (("D(G(z))", "fake_probability"), ("norm of G's gradient", "gradient_norm")),
    "oscillation": (("distance of the mean from that of the data, last quarter", "mean_off"),),
    "strong_discriminator": (("D(G(z))", "fake_probability"), ("modes found", "found")),
}
"""What shows each story."""


def cpu_seconds(studio: int) -> tuple[float, float]:
    """CPU seconds so far of the process `studio`, and of all other descendants of this one: the browser."""
    parents, used = dict[int, int](), dict[int, float]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        process = int(file.parent.name)
        parents[process] = int(fields[1])
        used[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_ours(process: int) -> bool:
        while process > 1:
            process = parents.get(process, 0)
            if process == os.getpid():
                return True
        return False

    others = sum(seconds for process, seconds in used.items() if process != studio and is_ours(process))
    return used.get(studio, 0.0), others


def frames_per_second(place: str) -> dict[str, float]:
    """Frames drawn and steps trained a second by the page at `place`."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from studios import browser, page_of, studio

    with (
        tempfile.TemporaryDirectory() as folder,
        studio(Path(folder) / "runs") as started,
        browser() as chromium,
        page_of(chromium) as page,
    ):
        page.goto(started.link(place))
        page.wait_for_selector(".stage[data-frames]")
        page.click("button.play")
        time.sleep(WARM_UP)

        def counts() -> tuple[float, int, int]:
            stage = page.locator(".stage")
            return time.monotonic(), *(int(stage.get_attribute(f"data-{n}")) for n in ("frames", "step"))

        begun, frames, steps = counts()
        cpu = cpu_seconds(started.process.pid)
        time.sleep(SECONDS)
        ended, more_frames, more_steps = counts()
        more_cpu = cpu_seconds(started.process.pid)
        seconds, drawn = ended - begun, max(1, more_frames - frames)
        weight = page.evaluate(
            "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
            ".filter(e => !e.name.includes('/api/')).reduce((sum, e) => sum + e.encodedBodySize, 0)"
        )
    return {
        "frames_per_second": round((more_frames - frames) / seconds, 1),
        "steps_per_second": round((more_steps - steps) / seconds, 1),
        "server_cpu_milliseconds": round(1000 * (more_cpu[0] - cpu[0]) / drawn, 1),
        "browser_cpu_milliseconds": round(1000 * (more_cpu[1] - cpu[1]) / drawn, 1),
        "page_kilobytes": round(weight / 1000),
        "load_average": round(os.getloadavg()[0], 1),
    }


def measure_story(story: Story, seed: int) -> dict[str, Any]:
    """Both panels after the steps of the story, and how far the mean of the samples is off at its end."""
    session = Session(Settings.model_validate({**story.settings, "seed": seed}))
    try:
        real = session.dataset.splits["train"].read(torch.arange(1000)).flatten(1)
        means: list[list[torch.Tensor]] = [[] for _ in session.panels]
        found: list[list[int]] = [[] for _ in session.panels]
        every = max(1, story.steps // (2 * NUM_LOOKS))
        while session.step < story.steps:
            session.advance(count=min(every, story.steps - session.step))
            if session.step <= LATE * story.steps:
                continue
            for index, panel in enumerate(session.panels):
                with panel.shown() as system:
                    samples = system.sample(1000, generator=seeded(1, system.device)).flatten(1)
                means[index].append(samples.mean(0))
                found[index].append(session.views[index].frame()["found"])
        rows = []
        for index, view in enumerate(session.views):
            frame = view.frame()
            with session.panels[index].shown() as system:
                samples = system.sample(1000, generator=seeded(1, system.device)).flatten(1)
            distances = (torch.stack(means[index]) - real.mean(0)).norm(dim=1)
            rows.append(
                {
                    "found": frame["found"],
                    "of": frame["parts"],
                    "most_found": max(found[index]),
                    "on_a_mode_percent": frame["good"],
                    "js_nats": frame["js"],
                    "gradient_norm": frame["gradient"],
                    "spread": round(float(samples.std(0).mean() / real.std(0).mean()), 3),
                    "mean_off": round(float(distances[-len(distances) // 2 :].mean()), 3),
                    "real_probability": frame["losses"].get("real_probability"),
                    "fake_probability": frame["losses"].get("fake_probability"),
                }
            )
    finally:
        session.close()
    return {"seed": seed, "failure": rows[0], "cure": rows[1]}


def measure_stories() -> dict[str, Any]:
    found = {}
    for story in STORIES:
        begun = time.monotonic()
        rows = [measure_story(story, seed) for seed in SEEDS]
        found[story.name] = {"steps": story.steps, "seeds": rows}
        print(story.name, round(time.monotonic() - begun), "s", json.dumps(rows), flush=True)
    return found


def pace_alone() -> float:
    """Steps a second of the one panel without frames or a viewer."""
    torch.set_num_threads(1)
    session = Session(Settings())
    session.advance(count=100)
    rates = []
    for _ in range(3):
        begun = time.monotonic()
        session.advance(count=100)
        rates.append(100 / (time.monotonic() - begun))
    session.close()
    return round(statistics.median(rates), 1)


def table(stored: dict[str, Any]) -> str:
    """The stories as `docs/playground.md` has them: ranges over the seeds."""
    lines = ["| story | steps | measure | failure | cure |", "|---|---|---|---|---|"]
    for story in STORIES:
        rows = stored["stories"][story.name]["seeds"]
        for what, key in MEASURES[story.name]:
            cells = []
            for side in ("failure", "cure"):
                values = sorted(row[side][key] for row in rows)
                of = f" of {rows[0][side]['of']}" if key in ("found", "most_found") else ""
                cells.append(f"{values[0]:.2g} to {values[-1]:.2g}{of}")
            lines.append(f"| {story.title} | {story.steps:,} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="of the browser's part; the best one counts")
    parser.add_argument("--skip-browser", action="store_true")
    parser.add_argument("--skip-stories", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the stored stories for the docs")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    kept: dict[str, Any] = {}
    if arguments.out is not None and arguments.out.exists():
        kept = json.loads(arguments.out.read_text(encoding="utf-8"))
    result = {name: kept[name] for name in ("browser", "stories") if name in kept}
    if not arguments.skip_browser:
        places = {"one": "#/play", "six": f"#/play?loss={','.join(SIX)}"}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in places}
        for _ in range(arguments.rounds):
            for name, place in places.items():
                rounds[name].append(frames_per_second(place))
                print(name, rounds[name][-1], flush=True)
        result["browser"] = {
            name: max(found, key=lambda each: each["frames_per_second"]) | {"rounds": found}
            for name, found in rounds.items()
        } | {"six_losses": SIX, "steps_per_second_alone": pace_alone()}
    if not arguments.skip_stories:
        result["stories"] = measure_stories()
    record(result, arguments.out)


if __name__ == "__main__":
    main()
