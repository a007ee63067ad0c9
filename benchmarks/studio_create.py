"""How long Create takes from a moved slider to the changed image, in a real browser.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/studio_create.py --out benchmarks/studio_create.json

starts the studio on an empty folder, opens `pretrained:emoji-dcgan` and `pretrained:gan-cls-emoji` (64x64) in
headless Chromium, and moves sliders 200 times each. A move is the input event of the slider; the image has
changed when its pixels are on the canvas and the browser has come to draw a frame.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from studios import browser, page_of, studio

MODELS = ("pretrained:emoji-dcgan", "pretrained:gan-cls-emoji")
MOVES, LIMIT_MS = 200, 150.0
MOVE = """async ([index, value]) => {
  const sliders = document.querySelectorAll('.sliders input'), slider = sliders[index % sliders.length];
  const canvas = document.querySelector('canvas.big'), name = slider.dataset.name;
  const began = performance.now();
  slider.value = value;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  const shown = () => JSON.parse(canvas.dataset.shows).terms[name] ?? 0;
  while (shown() !== +slider.value) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def measure(page: Any, address: str) -> dict[str, float]:
    """Milliseconds of the moves of one model."""
    page.goto(address)
    page.wait_for_selector(".sliders input")
    page.wait_for_selector("canvas.big[data-shows]")
    page.wait_for_selector(".tile.waiting", state="detached")
    milliseconds = [page.evaluate(MOVE, [move, -4 + 8 * (move * 0.618 % 1)]) for move in range(MOVES)]
    cuts = statistics.quantiles(milliseconds, n=100)
    return {
        "p50_ms": round(cuts[49], 1),
        "p95_ms": round(cuts[94], 1),
        "max_ms": round(max(milliseconds), 1),
        "moves": len(milliseconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    result: dict[str, Any] = {"limit_p95_ms": LIMIT_MS}
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as started, browser() as chromium:
        for model in MODELS:
            with page_of(chromium) as page:
                result[model] = measure(page, started.link(f"#/create/{model}"))
    result["load_average"] = round(os.getloadavg()[0], 1)
    record(result, out)


if __name__ == "__main__":
    main()
