"""A contact sheet: what training will see of a data set."""

import os
from pathlib import Path

from ganforge.data.batch import to_float
from ganforge.data.dataset import Dataset, some_rows
from ganforge.errors import UserError, printable
from ganforge.files.images import save_image
from ganforge.files.provenance import read_provenance
from ganforge.reporting import grids

NUM_IMAGES = 64


def write_sheet(dataset: Dataset, out: str | Path, count: int = NUM_IMAGES) -> Path:
    """Write `count` training images, evenly spaced, to the PNG `out`, as training sees them; returns `out`.

    Each has its source to its left, where there are pairs. Raises UserError for points, for another ending,
    and where `out` is not an earlier sheet.
    """
    path = Path(out)
    shown = printable(str(path))
    if dataset.spec.values != "pixels":
        raise UserError(f"--sheet {shown}: {dataset.options.data} holds 2-D points, which no sheet shows")
    if path.suffix.lower() != ".png":
        raise UserError(f"--sheet {shown}: expected a name ending in .png")
    if os.path.lexists(path) and not read_provenance(path).keys() >= {"sheet", "data"}:
        raise UserError(f"--sheet {shown} exists and is not a contact sheet: choose another name")
    images = dataset.splits["train"]
    rows = some_rows(images, count)
    pixels, sources = images.read_pairs(rows)
    cells = to_float(pixels)
    sheet = grids.grid(cells) if sources is None else grids.pairs_grid(to_float(sources), cells)
    about = {
        "sheet": f"{len(rows)} of {len(images)} training images",
        "data": dataset.options.data,
        "fit": dataset.options.fit,
        "shape": "x".join(map(str, dataset.spec.shape)),
    }
    try:
        save_image(sheet, path, about)
    except OSError as error:
        raise UserError(f"--sheet {shown}: {error.strerror or error}") from error
    return path
