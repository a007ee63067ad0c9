"""Writing what sentences say: samples of each, or the way from one sentence to another."""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import conditions, to_uint8
from ganforge.data.captions import kept_captions
from ganforge.data.open import open_dataset
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.files.download import offline
from ganforge.generation.output import own_images, save_npz, write_folder
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights
from ganforge.text.embeddings import describe

DEFAULT_COUNT = 8
TEXTS_OF_DATA = 8
MOST_TEXTS = 10_000
FRAME_MILLISECONDS = 80
MOVING = {".gif": "GIF", ".webp": "WEBP"}


def read_texts(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty; raises UserError where there are none, or too many."""
    try:
        texts = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(
            f"--text-file {path}: {why}: expected a text file with a caption on each line"
        ) from error
    if not 0 < len(texts) <= MOST_TEXTS:
        raise UserError(f"--text-file {path} has {len(texts)} captions: expected 1 to {MOST_TEXTS:,}")
    return texts


def texts_of_data(trained: Trained, seed: int) -> list[str]:
    """The first captions of `TEXTS_OF_DATA` training images of a run, which the seed draws.

    Raises UserError, which names --text, where its data cannot be opened or has no captions any more.
    """
    hint = 'add --text "a red apple"'
    try:
        with offline():
            dataset = open_dataset(trained.run.config.data)
    except UserError as error:
        raise UserError(
            f"no text was given, and the data with captions cannot be opened ({error}): {hint}"
        ) from error
    if not dataset.spec.caption_alphabet:
        raise UserError(f"no text was given, and {dataset.options.data} has no captions now: {hint}")
    captions = kept_captions("train", dataset.splits["train"].caption_lists)
    order = torch.randperm(len(captions), generator=torch.Generator().manual_seed(seed % 2**64))
    return [captions[row][0] for row in order[:TEXTS_OF_DATA].tolist()]


def write_told(
    trained: Trained,
    out: Path,
    texts: Sequence[str],
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    steps: int | None = None,
) -> str:
    """Write `count` samples of each of `texts` to `out`; returns what was written, in words.

    The samples of all texts come from the same `count` latents. A .png has a row below each text; an
    .npz the arrays `images`, `texts` and `about`; a folder one PNG for each sample. With `steps` there are
    two texts, and their embeddings are mixed in so many steps: across in a .png, one after the other, and
    back, in a .gif or .webp. Raises UserError for an empty text, or where `out` cannot be written.
    """
    count = DEFAULT_COUNT if count is None else count
    form = out.suffix.lower()
    _refuse(out, form, texts, count, steps)
    about = {"command": command, "run": trained.run.path.name, "system": trained.run.config.system,
             "step": str(trained.step), "seed": str(seed), "weights": trained.resolve_weights(weights),
             "text": printable(" | ".join(texts))[:1000]}  # fmt: skip
    told = describe(trained, texts).embeddings
    assert told is not None
    latents = trained.draw_latents(count, seed)
    if steps is not None:  # a row for each of the latents
        shares = torch.linspace(0, 1, steps)[:, None]
        rows = torch.lerp(told[:1], told[1:], shares).repeat(count, 1)
        latents = latents.repeat_interleave(steps, dim=0)
    else:  # a row for each text
        rows = told.repeat_interleave(count, dim=0)
        latents = latents.repeat(len(texts), *[1] * (latents.dim() - 1))
    try:
        surplus = [] if form else own_images(out)
        images = trained.decode(latents, conditions(embeddings=rows), weights)
        each = (
            [text for text in texts for _ in range(count)]
            if steps is None
            else [" | ".join(texts)] * len(images)
        )
        if not form:
            write_folder([images], out, about, [{"text": printable(text)[:1000]} for text in each], surplus)
            return f"{out}: {len(images)} images"
        out.parent.mkdir(parents=True, exist_ok=True)
        if form == ".npz":
            _write_arrays(images, each, out, about)
        elif form == ".png":
            drawn = grids.grid(images, steps) if steps else grids.captioned_grid(images, texts)
            grids.save_png(drawn, out, about)
        else:
            assert steps is not None
            _write_moving(images, steps, out, MOVING[form])
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
    what = f"{steps} steps between two captions" if steps else f"{len(texts)} captions"
    return f"{out}: {len(images)} samples, {what}"


def _refuse(out: Path, form: str, texts: Sequence[str], count: int, steps: int | None) -> None:
    if count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    if steps is not None and (len(texts) != 2 or steps < 2):
        raise UserError(
            f"--interpolate {steps} with {len(texts)} texts: expected 2 steps or more and two texts, such as "
            '--text "a red apple" --text "a green apple"'
        )
    if form in MOVING and steps is None:
        raise UserError(f"--out {out}: an animation shows --interpolate STEPS between two texts")
    if form not in ("", ".png", ".npz", *MOVING):
        raise UserError(f"--out {out}: expected a name ending in .png, .npz, .gif or .webp, or a folder")


def _write_arrays(images: Tensor, texts: list[str], out: Path, about: dict[str, str]) -> None:
    arrays: dict[str, Any] = {
        "images": to_uint8(images).permute(0, 2, 3, 1).numpy(),
        "texts": np.array([text.encode("utf-8", "replace").decode() for text in texts]),
        "about": np.array(json.dumps(about)),
    }
    save_npz(arrays, out)


def _write_moving(images: Tensor, steps: int, out: Path, form: str) -> None:
    """A grid of all rows for each step, there and back."""
    rows = images.unflatten(0, (-1, steps))
    columns = math.ceil(math.sqrt(len(rows)))
    frames: list[Image.Image] = [grids.grid(rows[:, step], columns) for step in range(steps)]
    frames += frames[-2:0:-1]
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        form,
        save_all=True,
        append_images=frames[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        **options,
    )
    replace_file(out, buffer.getvalue())
