"""Very many samples: folders or archives of 10,000, each complete or not there, shared by processes."""

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.distributed import Shard, num_processes, rank_of_process
from ganforge.errors import UserError, printable
from ganforge.files.atomic import (
    TEMPORARY,
    building,
    make_folder,
    remove,
    remove_leftovers,
    replace_file,
    replacing,
    synced_together,
)
from ganforge.files.images import save_image
from ganforge.files.png import write_png
from ganforge.generation.output import provenance, stored_levels, to_stored
from ganforge.reporting import grids
from ganforge.runs.conditions import class_conditions
from ganforge.runs.sampling import CHUNK, NotApart, chunks
from ganforge.runs.trained import Label, Trained, Weights

IN_EACH = 40 * CHUNK
"""Samples in a folder or archive, 10,000: more slow most file systems down."""
ABOUT = "samples.json"


def write_many(
    trained: Trained,
    out: Path,
    count: int,
    seed: int = 0,
    weights: Weights = "ema",
    command: str = "",
    labels: Sequence[Label] | None = None,
    tar: bool = False,
) -> Iterator[str]:
    """Write `count` samples into the folder `out`, 10,000 in each of its folders, or of archives with `tar`.

    Yields a line for the user for each. A folder or archive is complete or not there, and one that is there
    is left as it is: the same command again writes those that are missing. Processes of torchrun take turns
    at them. The samples are those of one process, whatever their number. Raises UserError where `out` holds
    something else or samples of another draw, and where samples cannot be drawn apart.
    """
    if count < 1:
        raise UserError(f"--count {count}: expected 1 or more")
    if trained.run.config.spec.values == "points":
        raise UserError(f"--out {out}: 2-D points are written to an image, such as a .png, or an .npz")
    batch, _ = class_conditions(trained, None if labels is None else list(labels), count, count)
    about = provenance(trained, weights, command, seed)
    _claim(out, about | {"count": str(count), "labels": ", ".join(map(str, labels or []))})
    remove_leftovers(out)
    shard = Shard(rank_of_process(), num_processes())
    numbers = [number for number in range(-(-count // IN_EACH)) if number % shard.ranks == shard.rank]
    missing = [number for number in numbers if not _place(out, number, tar).exists()]
    ours = set(missing)
    wanted = [rows for rows in chunks(count) if rows.start // IN_EACH in ours]
    parts = _draw(trained, count, wanted, seed, weights, batch, shard)
    for number in missing:
        rows, place = _rows(number, count), _place(out, number, tar)
        with _folder_or_archive(place) as folder:
            for index, image in enumerate(_images(parts, len(rows)), rows.start):
                _write(trained, image, folder / f"{index:09d}.png", about | _own(trained, index, batch))
        yield f"{place}: {len(rows):,} images"
    if done := len(numbers) - len(missing):
        yield f"{out}: {done} of its folders or archives were complete"


def _draw(
    trained: Trained,
    count: int,
    wanted: list[slice],
    seed: int,
    weights: Weights,
    given: Batch | None,
    shard: Shard,
) -> Iterator[Tensor]:
    """The `wanted` chunks; all are drawn where a system cannot do without, and there is one process."""
    try:
        yield from trained.draw_chunks(count, wanted, seed=seed, weights=weights, given=given)
    except NotApart as error:  # which comes before the first of them
        if shard.ranks > 1:
            raise UserError(f"{error}: leave torchrun out") from error
        parts = trained.draw_share(count, shard, seed=seed, weights=weights, given=given)
        yield from (part for rows, part in parts if rows in wanted)


@contextmanager
def _folder_or_archive(place: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `place`, or an archive there, when it is complete."""
    if place.suffix != ".tar":
        with building(place) as folder, synced_together(folder):
            yield folder
        return
    temporary = place.with_name(f"{place.name}.files{TEMPORARY}{os.getpid()}")
    temporary.mkdir()
    try:
        with synced_together(temporary):
            yield temporary
        with replacing(place) as file, tarfile.open(fileobj=file, mode="w") as archive:
            for each in sorted(temporary.iterdir()):
                archive.add(each, each.name, filter=_timeless)
    finally:
        remove(temporary)


def _timeless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """So that equal samples make equal archives."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _place(out: Path, number: int, tar: bool) -> Path:
    return out / (f"{number:06d}.tar" if tar else f"{number:06d}")


def _rows(number: int, count: int) -> range:
    return range(number * IN_EACH, min((number + 1) * IN_EACH, count))


def _images(parts: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """The next `count` images `[1, ...]` of `parts`, which end where their rows do."""
    while count:
        part = next(parts)
        count -= len(part)
        yield from part.split(1)


def _own(trained: Trained, index: int, batch: Batch | None) -> dict[str, str]:
    """What is stored in one image only."""
    if batch is None or batch.labels is None:
        return {"index": str(index)}
    return {"index": str(index), "label": trained.run.config.spec.class_names[int(batch.labels[index])]}


def _write(trained: Trained, image: Tensor, file: Path, about: dict[str, str]) -> None:
    levels = stored_levels(trained)
    if levels is None:
        save_image(grids.grid(image, scale=1, transparent=True), file, about)
    else:
        write_png(file, image.shape[3], image.shape[2], to_stored(image, levels), about)


def _claim(out: Path, about: dict[str, str]) -> None:
    """Say in the folder which samples it holds; raises UserError where it holds others already."""
    about = {name: value for name, value in about.items() if name not in ("command", "step")}
    file = out / ABOUT
    # In this order: another process may write the file and begin with its samples at this very time.
    if _holds_something(out) and not file.exists():
        raise UserError(f"--out {out}: expected a new or empty folder, or one of the same samples")
    if not file.exists():
        make_folder(out)
        replace_file(file, json.dumps(about, indent=1).encode())
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        found = {}
    if found != about:
        names = (name for name in about if not isinstance(found, dict) or found.get(name) != about[name])
        differing = next(names, "something")
        raise UserError(
            f"--out {out} holds samples of another draw ({differing} differs, in {printable(ABOUT)}): name "
            "another folder"
        )


def _holds_something(out: Path) -> bool:
    """Whether `out` is a file, or a folder with more than what says which samples it holds."""
    if not out.is_dir():
        return out.exists()
    return any(path.name[0] != "." and not path.name.startswith(ABOUT) for path in out.iterdir())
