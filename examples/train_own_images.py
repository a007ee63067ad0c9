"""Train a DCGAN on a folder of images and write a grid of samples.

python examples/train_own_images.py FOLDER --size 64 --steps 5000

The same command resumes an interrupted run. `ganforge data check FOLDER` lists what is in the folder.
"""

import argparse
import sys
from pathlib import Path

import ganforge
from ganforge.files.images import save_image
from ganforge.reporting.grids import grid


def main() -> int:
    """Train, then sample from the run folder alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="a folder or .zip of images")
    parser.add_argument("--size", type=int, default=64, help="side of the square images, in pixels")
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--width", type=int, default=64, help="channels next to the image")
    parser.add_argument("--run", type=Path, default=Path("runs/own-images"))
    options = parser.parse_args()
    try:
        trained = ganforge.train(
            "dcgan",
            options.folder,
            run=options.run,
            size=options.size,
            steps=options.steps,
            width=options.width,
        )
    except ganforge.UserError as error:  # one line: what is wrong, what was expected, what to do
        print(f"error: {error}", file=sys.stderr)
        return 2
    images = trained.sample(16, seed=7)
    out = options.run / "grid.png"
    save_image(grid(images, columns=4), out, {"run": options.run.name, "step": str(trained.step)})
    print(f"{trained.step} steps; samples in {out}, everything else in {options.run / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
