"""The studio under load: many runs, a long run, 200 viewers, and a training with and without a viewer.

    .venv/bin/python benchmarks/studio.py --out benchmarks/studio.json

starts the real studio in a process of its own for each part, and takes a quarter of an hour. The viewer of
the training is a page in Chromium where playwright and it are installed, else the stream alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from record import record

import ganforge

TOKEN = "benchmark"
SOURCES = Path(ganforge.__file__).parents[1]
MANY_RUNS, LINES, GRIDS = 300, 10_000, 500
VIEWERS, SECONDS = 200, 60.0
STEPS, ROUNDS = 800, 8
TRAINING = ["dcgan", "--data", "mnist", "--width", "16", "--batch", "64", "--device", "cpu", "--steps"]


@contextmanager
def studio(runs: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client, str]]:
    """A studio over the folder `runs`: process, client, and address with the token."""
    program = [sys.executable, "-m", "ganforge", "studio", "--runs", str(runs), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "GANFORGE_TOKEN": TOKEN}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        base = address.partition("?")[0].rstrip("/")
        with httpx.Client(base_url=base, headers=headers, timeout=120, trust_env=False) as client:
            yield process, client, address
    finally:
        process.terminate()
        process.wait()


def seconds_of(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def first_and_later(client: httpx.Client, path: str) -> dict[str, float]:
    first = seconds_of(client, path)
    later = [seconds_of(client, path) for _ in range(10)]
    return {"first_seconds": round(first, 3), "later_seconds": round(statistics.median(later), 3)}


def measure_many(small: Path, folder: Path) -> dict[str, Any]:
    """Listing `MANY_RUNS` copies of a small run."""
    for number in range(MANY_RUNS):
        shutil.copytree(small, folder / f"run-{number:03d}")
    with studio(folder) as (_, client, _):
        seconds_of(client, "/api/learn")  # imports
        return {"runs": MANY_RUNS} | first_and_later(client, "/api/runs")


def measure_long(small: Path, folder: Path) -> dict[str, Any]:
    """Opening a run with `LINES` lines in its log and `GRIDS` sample grids, as the API and the page do."""
    run = folder / "long"
    shutil.copytree(small, run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    start, train = lines[0], next(line for line in lines if line["kind"] == "train")
    with open(run / "metrics.jsonl", "w", encoding="utf-8") as file:
        for line in [start, *(train | {"step": step} for step in range(1, LINES))]:
            file.write(json.dumps(line) + "\n")
    grid = Image.new("L", (256, 256))
    for step in range(GRIDS):
        grid.save(run / "samples" / f"{step * 20:07d}.png")
    with studio(folder) as (_, client, address):
        seconds_of(client, "/api/learn")
        result = {"lines": LINES, "grids": GRIDS} | first_and_later(client, "/api/runs/long")
        with viewer(address, None) as page:
            if page is not None:
                began = time.perf_counter()
                page.goto(f"{address}#/run/long")
                page.wait_for_selector("main .view h1")
                page.wait_for_load_state("load")
                result["page_seconds"] = round(time.perf_counter() - began, 3)
        return result


def memory_mb(process: subprocess.Popen[str]) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("no VmRSS")


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(client: httpx.Client, path: str, ended: threading.Event, events: list[int], index: int) -> None:
    with client.stream("GET", path, timeout=None) as answer:
        for line in answer.iter_lines():
            events[index] += bool(line)
            if ended.is_set():
                return


def measure_viewers(small: Path, folder: Path) -> dict[str, Any]:
    """Memory and CPU of a studio with `VIEWERS` viewers of a run that is being trained."""
    shutil.copytree(small, folder / "watched")
    log = folder / "watched" / "metrics.jsonl"
    line = next(each for each in log.read_text("utf-8").splitlines() if '"train"' in each)
    with studio(folder) as (process, client, _):
        seconds_of(client, "/api/runs/watched")
        before, ended, events = memory_mb(process), threading.Event(), [0] * VIEWERS
        limits = httpx.Limits(max_connections=None)
        with httpx.Client(
            base_url=client.base_url, headers=client.headers, limits=limits, trust_env=False
        ) as many:
            threads = [
                threading.Thread(target=watch, args=(many, "/api/runs/watched/events", ended, events, index))
                for index in range(VIEWERS)
            ]
            for thread in threads:
                thread.start()
            samples, busy, began = list[float](), 0.0, time.monotonic()
            while (passed := time.monotonic() - began) < SECONDS:
                with open(log, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
                time.sleep(1)
                samples.append(memory_mb(process))
                if len(samples) == 10:
                    busy, since = cpu_seconds(process), passed
            share = (cpu_seconds(process) - busy) / (time.monotonic() - began - since)
            ended.set()
            for thread in threads:
                thread.join()
        time.sleep(5)
        return {
            "viewers": VIEWERS, "seconds": SECONDS, "events_of_each": min(events), "memory_mb_before": before,
            "memory_mb_after_10_s": samples[9], "memory_mb_at_the_end": samples[-1],
            "memory_mb_when_they_left": memory_mb(process), "cores_used": round(share, 3),
        }  # fmt: skip


@contextmanager
def viewer(address: str, name: str | None) -> Iterator[Any]:
    """A page of Chromium, at the run `name` if one is given; None where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        program = None
    if program is None:
        yield None
        return
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        if name is not None:
            page.goto(f"{address}#/run/{name}")
        yield page
        chromium.close()


def train_in(client: httpx.Client, folder: Path, name: str, address: str, watched: bool) -> float:
    """Seconds per step of a training that the studio starts: the median of its log, but for the start."""
    words = [
        *TRAINING,
        str(STEPS),
        "--log-every",
        "20",
        "--sample-every",
        "100",
        "--checkpoint-every",
        "10000",
    ]
    client.post(f"/api/runs/{name}/start", json={"words": words}).raise_for_status()
    while not (folder / name / "metrics.jsonl").exists():
        time.sleep(0.2)
    with viewer(address, name) if watched else nullcontext() as page, httpx.Client(trust_env=False) as other:
        if watched and page is None:
            ended = threading.Event()
            other.base_url, other.headers = client.base_url, client.headers
            threading.Thread(
                target=watch, args=(other, f"/api/runs/{name}/events", ended, [0], 0), daemon=True
            ).start()
        while client.get("/api/runs").json()["jobs"][name]["working"]:
            time.sleep(5)
    lines = map(json.loads, (folder / name / "metrics.jsonl").read_text("utf-8").splitlines())
    return statistics.median([line["seconds_per_step"] for line in lines if line["kind"] == "train"][5:])


def measure_training(_: Path, folder: Path) -> dict[str, Any]:
    """The same training without a viewer and with one, in turn."""
    alone, watched = list[float](), list[float]()
    with studio(folder) as (_process, client, address):
        for turn in range(2 * ROUNDS):
            seconds = train_in(client, folder, f"turn-{turn}", address, watched=bool(turn % 2))
            (watched if turn % 2 else alone).append(round(seconds, 5))
    lost = 1 - statistics.median(alone) / statistics.median(watched)
    return {
        "seconds_per_step_alone": alone,
        "seconds_per_step_watched": watched,
        "speed_lost": round(lost, 3),
    }


PARTS = {"many": measure_many, "long": measure_long, "viewers": measure_viewers, "training": measure_training}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = dict[str, Any]()
    with tempfile.TemporaryDirectory() as place:
        small = Path(place) / "small"
        ganforge.train(
            "dcgan", "mnist", run=small, steps=20, log_every=2, sample_every=10, width=4, batch=4, quiet=True
        )
        for part in arguments.only:
            folder = Path(place) / part
            folder.mkdir()
            results[part] = PARTS[part](small, folder) | {"load_average": round(os.getloadavg()[0], 2)}
            print(part, results[part], file=sys.stderr, flush=True)
    record(results, arguments.out)


if __name__ == "__main__":
    main()
