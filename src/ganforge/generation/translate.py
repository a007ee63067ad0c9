"""Translate held-out sources of a run's data, or the images of a folder."""

from pathlib import Path

from torch import Tensor

from ganforge.data.batch import conditions, to_float
from ganforge.data.pairs import read_sources
from ganforge.errors import UserError, printable
from ganforge.generation.output import IMAGES, open_output, provenance, to_arrays
from ganforge.generation.sources import takes_lines, thin_drawings
from ganforge.reporting import grids
from ganforge.runs.conditions import held_out_pairs
from ganforge.runs.trained import Trained, Weights


def write_translations(
    trained: Trained,
    out: Path,
    count: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    sources: str | None = None,
    overwrite: bool = False,
    data: str | None = None,
) -> tuple[str, dict[str, str]]:
    """Write translations of `count` sources to `out`; returns a line for the user, and what was skipped.

    `sources` is an image, folder or zip, whose first images are used; left out, held-out sources of the run's
    data, evenly spaced, are used, which may be at `data` now. `out` ending like an image gets one grid of
    source, output and, for the run's data, target; in .npz the arrays `images`, `sources`, `targets` and
    `about`; any other is a folder of one PNG for each output. Images that cannot be read are skipped: name ->
    reason.
    Raises UserError where nothing can be read or written.
    """
    if count is not None and count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    skipped: dict[str, str] = {}
    num_thinned = 0
    if sources is None:
        batch, names = held_out_pairs(trained.run, count, data)
    else:
        pixels, names, skipped = _read(trained, sources, count)
        if takes_lines(trained):
            pixels, num_thinned = thin_drawings(pixels)
        batch = conditions(sources=to_float(pixels))
    assert batch.sources is not None
    thinned = f"; lines thinned as in training: {num_thinned}" if num_thinned else ""
    about = provenance(trained, weights, command, seed)
    targets = batch.images if batch.images.numel() else None
    with open_output(out, *IMAGES, ".npz", about=about, overwrite=overwrite) as output:
        outputs = trained.sample(
            len(names), seed=seed, weights=weights, given=conditions(sources=batch.sources)
        )
        if not output.form:
            each = [{"source": printable(name)} for name in names]
            return output.write_folder([outputs], about, each) + thinned, skipped
        if output.is_image:
            output.write_image(grids.pairs_grid(batch.sources, outputs, targets), about)
        else:
            output.write_arrays(
                about,
                images=to_arrays(outputs),
                sources=to_arrays(batch.sources),
                targets=None if targets is None else to_arrays(targets),
            )
    columns = "source, output" if targets is None else "source, output, target"
    return f"{out}: {len(outputs)} translations ({columns}){thinned}{output.replaced}", skipped


def _read(trained: Trained, place: str, count: int | None) -> tuple[Tensor, list[str], dict[str, str]]:
    config = trained.run.config
    assert config.spec.source_shape is not None
    return read_sources(
        place, config.spec.source_shape, config.data, count, config.spec.enlarges, config.spec.bits
    )
