"""Sample images for text prompts, or interpolate between two prompts."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import conditions
from ganforge.errors import UserError, printable
from ganforge.files.images import ANIMATIONS, save_image
from ganforge.generation.output import IMAGES, hash_latents, open_output, provenance, to_arrays
from ganforge.generation.truncation import truncated
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights
from ganforge.text.embeddings import describe

DEFAULT_COUNT = 8
MOST_TEXTS = 10_000
MOST_STORED = 1_000  # characters of prompts in a PNG
FRAME_MILLISECONDS = 80


def read_texts(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty; raises UserError for none, and for more than 10,000."""
    try:
        texts = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(
            f"--text-file {path}: {why}: expected a text file with a prompt on each line"
        ) from error
    if not 0 < len(texts) <= MOST_TEXTS:
        raise UserError(f"--text-file {path} has {len(texts)} prompts: expected 1 to {MOST_TEXTS:,}")
    return texts


def write_text_samples(
    trained: Trained,
    out: Path,
    texts: Sequence[str],
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    steps: int | None = None,
    overwrite: bool = False,
    truncation: float | None = None,
) -> str:
    """Write `count` samples for each of the prompts `texts` to `out`; returns a line for the user.

    All prompts share the same `count` latents. An image has a row below each prompt; an .npz the arrays
    `images`, `texts` and `about`; a folder one PNG for each sample. With `steps` there are two prompts, whose
    embeddings are interpolated in that many steps: back and forth in a .gif or .webp, across in other images.
    Raises UserError for an empty prompt, or where `out` cannot be written.
    """
    count = DEFAULT_COUNT if count is None else count
    _check(texts, count, steps)
    about = provenance(trained, weights, command, seed, truncation) | {"text": _stored(" | ".join(texts))}
    embeddings = describe(trained, texts).embeddings
    assert embeddings is not None
    latents = truncated(trained, count, seed, weights, truncation)
    about["latents"] = hash_latents(latents)
    if steps is not None:  # a row for each of the latents
        shares = torch.linspace(0, 1, steps)[:, None]
        rows = torch.lerp(embeddings[:1], embeddings[1:], shares).repeat(count, 1)
        latents = latents.repeat_interleave(steps, dim=0)
        prompts = [" | ".join(texts)] * len(rows)
    else:  # a row for each prompt
        rows = embeddings.repeat_interleave(count, dim=0)
        latents = latents.repeat(len(texts), *[1] * (latents.dim() - 1))
        prompts = [text for text in texts for _ in range(count)]
    with open_output(out, *IMAGES, ".npz", about=about, overwrite=overwrite) as output:
        images = trained.decode(latents, conditions(embeddings=rows), weights)
        if not output.form:
            return output.write_folder([images], about, [{"text": _stored(text)} for text in prompts])
        if output.form == ".npz":
            plain = np.array([text.encode("utf-8", "replace").decode() for text in prompts])
            output.write_arrays(about, images=to_arrays(images), texts=plain)
        elif steps is None:
            output.write_image(grids.captioned_grid(images, texts), about)
        elif output.form in ANIMATIONS:
            frames = _frames(images, steps)
            save_image(frames[0], out, about, frames=frames[1:], milliseconds=FRAME_MILLISECONDS)
        else:
            output.write_image(grids.grid(images, steps), about)
    what = f"{steps} steps between two prompts" if steps else f"{len(texts)} prompts"
    return f"{out}: {len(images)} samples, {what}{output.replaced}"


def _check(texts: Sequence[str], count: int, steps: int | None) -> None:
    if count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    if steps is not None and (len(texts) != 2 or steps < 2):
        raise UserError(
            f"--interpolate {steps} with {len(texts)} texts: expected 2 steps or more and two texts, such as "
            '--text "a red apple" --text "a green apple"'
        )


def _stored(text: str) -> str:
    return printable(text)[:MOST_STORED]


def _frames(images: Tensor, steps: int) -> list[Image.Image]:
    """A grid of all rows for each step, back and forth."""
    rows = images.unflatten(0, (-1, steps))
    columns = math.ceil(math.sqrt(len(rows)))
    frames = [grids.grid(rows[:, step], columns) for step in range(steps)]
    return frames + frames[-2:0:-1]
