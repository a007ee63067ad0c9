"""Interpolations between keys, and closed walks through them, as strips or animations."""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError
from ganforge.files.images import ANIMATIONS, save_image
from ganforge.files.video import VIDEOS, write_video
from ganforge.generation.explore.keys import Keys, between
from ganforge.generation.output import IMAGES, listed, open_output
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

SMALLEST_FRAME = 256
"""Frames of animations are enlarged, by a whole number, to at least this many pixels."""
STRIP_COLUMNS = 12
MOST_OF_GIF = 50
"""Frames a second: it counts hundredths of a second, and viewers slow a single one down."""
AT_ONCE = 32
"""Frames that are decoded together: a long video needs no more memory than a short one."""


def places_of(num_keys: int, frames: int, closed: bool) -> Tensor:
    """Evenly spaced places between `num_keys` keys; a closed loop does not repeat its first."""
    if closed:
        return torch.arange(frames, dtype=torch.float64) * num_keys / frames
    return torch.linspace(0, num_keys - 1, frames, dtype=torch.float64)


def path_images(
    trained: Trained,
    keys: Keys,
    frames: int,
    closed: bool = False,
    weights: Weights = "ema",
    linear: bool = False,
) -> Iterator[Tensor]:
    """The images of a path through `keys`, some at a time."""
    for places in places_of(len(keys.latents), frames, closed).split(AT_ONCE):
        at = between(trained, keys, places, closed, linear)
        yield trained.decode(at.latents, at.given(), weights)


def write_path(
    trained: Trained,
    out: Path,
    keys: Keys,
    frames: int,
    about: dict[str, str],
    *,
    closed: bool = False,
    rate: int = 24,
    weights: Weights = "ema",
    overwrite: bool = False,
    linear: bool = False,
) -> str:
    """Write a path of `frames` images to `out`; returns a line for the user.

    A .png or .jpg holds all frames in rows; a .gif, .webp or .mp4 is an animation of `rate` frames a second,
    an interpolation back and forth. `linear` is that of `between`. Raises UserError for fewer than two keys
    or frames, for points, and where `out` cannot be written.
    """
    if trained.run.config.spec.values == "points":
        raise UserError("paths are drawn as images, this run is of 2-D points: use `ganforge sample`")
    if len(keys.latents) < 2:
        raise UserError("a path needs two keys or more, such as --seeds 1,2,3")
    if frames < 2 or not 1 <= rate <= 120:
        raise UserError(f"--frames {frames} --rate {rate}: expected 2 frames or more, and a rate of 1 to 120")
    if out.suffix.lower() == ".gif" and rate > MOST_OF_GIF:
        raise UserError(
            f"--rate {rate}: a .gif has at most {MOST_OF_GIF} frames a second: write a .webp or .mp4"
        )
    if out.suffix.lower() not in (*IMAGES, *VIDEOS):
        raise UserError(f"--out {out}: expected a name ending in {listed((*IMAGES, *VIDEOS))}")
    with open_output(out, *IMAGES, *VIDEOS, about=about, overwrite=overwrite) as output:
        parts = path_images(trained, keys, frames, closed, weights, linear)
        if output.form in VIDEOS:
            write_video(out, _frames(parts), rate, about)
        elif output.form in ANIMATIONS:
            drawn = list(_frames(parts))
            gif = output.form == ".gif"
            milliseconds = 10 * round(100 / rate) if gif else round(1000 / rate)
            drawn += [] if closed else drawn[-2:0:-1]
            save_image(drawn[0], out, about, frames=drawn[1:], milliseconds=milliseconds)
        else:
            columns = min(frames, STRIP_COLUMNS)
            output.write_image(grids.grid(torch.cat(list(parts)), columns), about)
    kind = "a closed walk" if closed else "an interpolation"
    return f"{out}: {kind} through {len(keys.latents)} keys, {frames} frames{output.replaced}"


def _frames(parts: Iterator[Tensor]) -> Iterator[Image.Image]:
    for part in parts:
        scale = -(-SMALLEST_FRAME // max(part.shape[2:]))
        for image in part.split(1):
            yield grids.grid(image, 1, gap=0, scale=scale)
