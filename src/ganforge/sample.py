"""Writing samples of a run to files."""

import json
from pathlib import Path

import numpy as np

from ganforge import pictures
from ganforge.data.batch import to_uint8
from ganforge.errors import UserError
from ganforge.trained import Trained, Weights


def write_samples(
    trained: Trained, out: Path, count: int, seed: int, weights: Weights = "ema", command: str = ""
) -> str:
    """Write `count` samples to `out` and return what was written, in words.

    `out` ending in .png gets one grid (a scatter of 2-D points), in .npz the array `images` (uint8
    `[count, height, width, channels]`, or float `[count, 2]` points) and `about`, JSON; any other is a
    folder of one PNG each.
    Raises UserError where `out` cannot be written.
    """
    if count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    spec = trained.run.config.spec
    about = {"command": command, "run": trained.run.path.name, "system": trained.run.config.system,
             "step": str(trained.step), "seed": str(seed), "weights": trained.settle(weights)}  # fmt: skip
    try:
        if out.suffix.lower() == ".png":
            images = trained.sample(count, seed=seed, weights=weights)
            out.parent.mkdir(parents=True, exist_ok=True)
            pictures.save_png(pictures.draw(images, spec), out, about)
            return f"{out}: {count} samples"
        if out.suffix.lower() == ".npz":
            images = trained.sample(count, seed=seed, weights=weights)
            array = images.flatten(1) if spec.values == "points" else to_uint8(images).permute(0, 2, 3, 1)
            out.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(out, images=array.numpy(), about=np.array(json.dumps(about)))
            return f"{out}: {count} samples"
        if out.suffix:
            raise UserError(f"--out {out}: expected a name ending in .png or .npz, or a folder")
        if spec.values == "points":
            raise UserError(f"--out {out}: 2-D points are written to a .png or an .npz")
        out.mkdir(parents=True, exist_ok=True)
        index = 0
        for part in trained.draw(count, seed=seed, weights=weights):
            for image in part.split(1):
                pictures.save_png(
                    pictures.grid(image, scale=1), out / f"{index:06d}.png", about | {"index": str(index)}
                )
                index += 1
        return f"{out}: {count} pictures"
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
