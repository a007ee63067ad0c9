"""Photograph each view of the studio for docs/studio.md and README.md, at desktop and phone width.

    python tools/studio_screenshots.py [--runs runs] [--only play learn]

Without `--runs` it trains two small runs for a few minutes. Needs playwright and Chromium. Images go to
docs/images/studio-VIEW.webp and studio-VIEW-phone.webp; look at each before you commit it.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import ganforge

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZES = {"": {"width": 1280, "height": 860}, "-phone": {"width": 390, "height": 844}}
SECONDS = {"play": 20.0}
"""How long a view needs until there is something to see, more than `SECONDS_OTHERWISE`."""
SECONDS_OTHERWISE = 3.0
PRESS = {"play": "Play"}
"""The button that makes a view move."""


def places(runs: list[str]) -> dict[str, str]:
    """View -> its address in the page; `runs`: names of at least two."""
    return {
        "home": "#/",
        "play": "#/play",
        "runs": "#/runs",
        "run": f"#/run/{runs[0]}",
        "new": "#/new?system=dcgan&data=mnist",
        "compare": f"#/compare?runs={runs[0]},{runs[1]}",
        "create": "#/create/pretrained:digits-infogan",
        "learn": "#/learn/gan",
    }


def train(folder: Path) -> None:
    """Two runs of one data set, to show and compare."""
    for seed, system in enumerate(("dcgan", "lsgan")):
        ganforge.train(
            system, "mnist", run=folder / f"{system}-mnist", steps=400, width=16, seed=seed, sample_every=50,
            log_every=10, device="cpu",
        )  # fmt: skip


@contextmanager
def studio(runs: Path) -> Iterator[str]:
    """The address, with its token, of a studio over `runs`."""
    program = [sys.executable, "-m", "ganforge", "studio", "--runs", str(runs), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(Path(ganforge.__file__).parents[1])}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait()


def photograph(address: str, runs: list[str], only: list[str]) -> None:
    """Write the images of the views `only`."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("error: no Chromium: apt-get install chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for view in only:
            for suffix, size in SIZES.items():
                context = chromium.new_context(viewport=size, color_scheme="dark" if suffix else "light")
                page = context.new_page()
                page.goto(f"{address}{places(runs)[view]}")
                page.wait_for_selector("main h1")
                page.wait_for_timeout(1_000 * SECONDS_OTHERWISE)
                if view in PRESS and (button := page.get_by_role("button", name=PRESS[view])).count():
                    button.first.click()
                page.wait_for_timeout(1_000 * SECONDS.get(view, 0))
                file = IMAGES / f"studio-{view}{suffix}.webp"
                with Image.open(io.BytesIO(page.screenshot())) as image:
                    image.convert("RGB").save(file, quality=82, method=6)
                print(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes")
                context.close()
        chromium.close()


def main() -> None:
    """Train if there are no runs, start the studio, and photograph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="a folder with at least two runs")
    parser.add_argument("--only", nargs="+", choices=list(places(["", ""])), default=list(places(["", ""])))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or Path(folder)
        if arguments.runs is None:
            train(runs)
        names = sorted(path.parent.name for path in runs.glob("*/config.json"))
        if len(names) < 2:
            sys.exit(f"error: --runs {runs}: expected at least two runs")
        with studio(runs) as address:
            photograph(address, names, arguments.only)


if __name__ == "__main__":
    main()
