"""Writing translations of a run to files: of held-out sources of its data, or of images that are given."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganforge.data.batch import Batch, conditions, to_float, to_uint8
from ganforge.data.dataset import batch_of, held_out, some_rows
from ganforge.data.open import open_dataset
from ganforge.data.pairs import read_sources
from ganforge.errors import UserError, printable
from ganforge.files.download import offline
from ganforge.generation.output import own_images, refuse_form, save_npz, write_folder
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

DEFAULT_COUNT = 16


def write_translations(
    trained: Trained,
    out: Path,
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    sources: str | None = None,
) -> tuple[str, dict[str, str]]:
    """Write translations of `count` sources to `out`; returns what was written, and what was skipped.

    `sources` is an image, folder or zip, of which the first are taken; left out, the sources are held-out
    ones of the run's own data, evenly spaced over all. `out` ending in .png gets one grid of source, output
    and, of the run's data, target; in .npz the arrays `images`, `sources`, `targets` and `about`; any other
    is a folder of one PNG for each output.
    Images that cannot be read are skipped: name -> reason. Raises UserError where nothing can be read or
    written.
    """
    refuse_form(out)
    if count is not None and count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    given, names, skipped = _own(trained, count) if sources is None else _others(trained, sources, count)
    assert given.sources is not None
    about = {"command": command, "run": trained.run.path.name, "system": trained.run.config.system,
             "step": str(trained.step), "seed": str(seed),
             "weights": trained.resolve_weights(weights)}  # fmt: skip
    targets = given.images if given.images.numel() else None
    try:
        surplus = [] if out.suffix else own_images(out)
        shown = conditions(sources=given.sources)
        outputs = trained.sample(len(names), seed=seed, weights=weights, given=shown)
        if not out.suffix:
            abouts = [{"source": printable(name)} for name in names]
            write_folder(outputs.split(1), out, about, abouts, surplus)
            return f"{out}: {len(outputs)} images", skipped
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".png":
            grids.save_png(grids.pairs_grid(given.sources, outputs, targets), out, about)
        else:
            _write_arrays(given.sources, outputs, targets, out, about)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
    columns = "source, output" if targets is None else "source, output, target"
    return f"{out}: {len(outputs)} translations ({columns})", skipped


def _own(trained: Trained, count: int | None) -> tuple[Batch, list[str], dict[str, str]]:
    """Held-out pairs of the run's own data, their names, and nothing skipped."""
    config = trained.run.config
    try:
        with offline():
            dataset = open_dataset(config.data)
    except UserError as error:
        raise UserError(
            f"the data of {trained.run.path} cannot be opened ({error}): give other sources with --sources"
        ) from error
    if dataset.spec.source_shape != config.spec.source_shape or dataset.spec.shape != config.spec.shape:
        raise UserError(
            f"{config.data.data} has changed since {trained.run.path} was trained: give --sources FOLDER"
        )
    name, split = held_out(dataset)
    if count is not None and count > len(split):
        raise UserError(f"--count {count}: {config.data.data} {name} has {len(split)} pairs")
    rows = some_rows(split, DEFAULT_COUNT if count is None else count)
    return batch_of(split, rows), [split.name(row) for row in rows.tolist()], {}


def _others(trained: Trained, place: str, count: int | None) -> tuple[Batch, list[str], dict[str, str]]:
    config = trained.run.config
    assert config.spec.source_shape is not None
    found, names, skipped = read_sources(
        place, config.spec.source_shape, config.data, count, takes_grey=config.spec.enlarges
    )
    return conditions(sources=to_float(found)), names, skipped


def _write_arrays(
    sources: Tensor, outputs: Tensor, targets: Tensor | None, out: Path, about: dict[str, str]
) -> None:
    kinds = {"images": outputs, "sources": sources, "targets": targets}
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
    for name, images in kinds.items():
        if images is not None:
            arrays[name] = to_uint8(images).permute(0, 2, 3, 1).numpy()
    save_npz(arrays, out)
