"""The data of a run, found wherever they are now, and other data brought to the shape of its networks."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.own import OwnData
from ganforge.data.sources.catalogue import PYTHON, ImageFiles, is_built_in, locate
from ganforge.data.sources.scenes import Scenes
from ganforge.data.sources.shards import PREFIX as SHARDS
from ganforge.errors import UserError, printable
from ganforge.files.download import offline
from ganforge.files.remote import is_remote
from ganforge.nn.stages import size_option
from ganforge.runs.folder import Run, RunConfig, locked
from ganforge.runs.identity import ways_on
from ganforge.runs.pretrained import PRETRAINED

_CELEBA = "celeba:"
_NAMES = (PRETRAINED, "sentence:", "hf:", PYTHON)
"""What names that are no paths begin with."""
Finish = Callable[[Dataset], Dataset]


def places_of(options: DataOptions, start_from: str | None = None) -> dict[str, str]:
    """Where the files that `options` and `--from` name are now: absolute paths, of those that are files."""
    typed: dict[str, str | None] = {
        "data": None if is_built_in(options.data) else options.data,
        "sources": options.sources,
        "text_encoder": options.text_encoder,
        "start_from": start_from,
    }
    found = {
        name: _absolute(_path(text))
        for name, text in typed.items()
        if text is not None and text and _is_place(text)
    }
    return {name: path for name, path in found.items() if os.path.exists(path)}


def find_place(run: Run, name: str, typed: str) -> Iterator[str]:
    """Paths that exist now for `typed`, the option `name` of `run`, the likeliest first.

    Where it was last seen; as typed, from here; and the same path seen from each folder around the run, which
    finds data that moved together with it.
    """
    if not _is_place(typed):
        return
    seen = run.config.places.get(name)
    parts = Path(seen or os.path.expanduser(_path(typed))).parts
    if seen or os.path.isabs(parts[0]):
        parts = parts[1:]
    around = [
        str(folder / Path(*parts[start:]))
        for folder in run.path.resolve().parents
        for start in range(len(parts))
    ]
    tried: dict[str, None] = {}
    for path in (*([seen] if seen else []), _path(typed), *around):
        tried.setdefault(_absolute(path))
    yield from (path for path in tried if os.path.exists(path))


def open_data(
    run: Run,
    data: str | OwnData | None = None,
    sources: str | None = None,
    *,
    finish: Finish = lambda dataset: dataset,
    strict: bool = True,
) -> Dataset:
    """The data that `run` was trained on: `data`, where they are now, else where they are found.

    Data of a Python program are passed as they are.

    `finish` completes a data set before it is compared. Of an imported run any `data` of its shape. Raises
    UserError where there are none, and, with `strict` or `data`, where they are other data than those of the
    run, in words.
    """
    if data is not None and not isinstance(data, str):
        return _same_data(run, finish(open_dataset(run.config.data, data)))
    if run.config.origin is not None:
        return finish(_other_than_trained_on(run, data))
    first: Dataset | None = None
    problem: UserError | None = None
    for options in _candidates(run, data, sources):
        try:
            dataset = finish(open_dataset(options))
        except UserError as error:
            problem = problem or error
            continue
        located = replace(dataset, options=run.config.data, located=options)
        if dataset.fingerprint == run.config.fingerprint:
            return located
        first = first or located
    if first is None:
        raise _not_found(run, data, problem)
    return _same_data(run, first, data) if strict or data is not None else first


def _same_data(run: Run, dataset: Dataset, typed: str | None = None) -> Dataset:
    """`dataset`, where it is the data of `run`; raises UserError, with the differences, where it is not."""
    if dataset.fingerprint == run.config.fingerprint:
        return dataset
    shown = printable(str(typed or dataset.options.data))
    raise UserError(f"{shown} is other data than {run.path} was trained on: {ways_on(run, dataset.spec)}")


def _other_than_trained_on(run: Run, data: str | None) -> Dataset:
    """`data` in the shape of the imported `run`, whose own data nobody recorded."""
    if data is None:
        raise UserError(f"{run.path} was imported, without its data: name some with --data")
    return open_like(run.config, data)


def captions_of(run: Run, data: str | None = None) -> list[str]:
    """The captions of the training images of a run's data, `data` where they are now; no image is read.

    None where the data cannot be found without a download, or have no captions.
    """
    for options in _candidates(run, data, None):
        try:
            with offline():
                origin = locate(options)
        except UserError:
            continue
        if isinstance(origin, Scenes):
            return list(chain.from_iterable(origin.captions["train"]))
        if isinstance(origin, ImageFiles):
            train = (entry.captions for entry in origin.listing.entries if entry.split == "train")
            return list(chain.from_iterable(train))
        return []
    return []


def _candidates(run: Run, data: str | None, sources: str | None) -> Iterator[DataOptions]:
    """Options that open the data of `run`, the likeliest first; the recorded ones come last."""
    options = run.config.data
    if data is not None:
        places = [data]
    elif is_built_in(options.data):
        places = []
    else:
        prefix = options.data.removesuffix(_path(options.data))
        places = [prefix + path for path in find_place(run, "data", options.data)]
    for place in [*places, *([] if data is not None else [options.data])]:
        changed = options.model_copy(update={"data": place})
        if options.sources is None:
            yield changed
            continue
        near = _moved_along(run, place)
        found = [sources] if sources else [*near, *find_place(run, "sources", options.sources)]
        for path in found or [options.sources]:
            yield changed.model_copy(update={"sources": path})


def _moved_along(run: Run, data: str) -> list[str]:
    """The sources of `run` where they lie as they lay next to its data, which are at `data` now."""
    seen = run.config.places
    if "data" not in seen or "sources" not in seen:
        return []
    path = _absolute(os.path.join(_path(data), os.path.relpath(seen["sources"], seen["data"])))
    return [path] if os.path.exists(path) else []


def _not_found(run: Run, data: str | None, problem: UserError | None) -> UserError:
    seen = run.config.places.get("data")
    if data is not None or seen is None or os.path.exists(seen):
        assert problem is not None
        return problem
    return UserError(
        f"the data of {run.path} were last seen at {printable(seen)} and are not there: name their place now "
        "with --data"
    )


def remember_places(run: Run, dataset: Dataset) -> None:
    """Note in `config.json` where the data of `run` were opened, unless someone else holds the run."""
    places = run.config.places | places_of(dataset.located or dataset.options)
    if run.packaged or run.config.origin is not None or places == run.config.places:
        return
    try:
        with locked(run.path):
            run.write_config(run.config.model_copy(update={"places": places}))
    except (OSError, UserError):  # in training, or not ours to write: the data are opened all the same
        return


def _path(text: str) -> str:
    """`text` without the prefix that says what kind of data is at the path."""
    return text.removeprefix(_CELEBA).removeprefix(SHARDS)


def _is_place(text: str) -> bool:
    return not text.startswith(_NAMES) and not is_remote(text)


def _absolute(path: str | Path) -> str:
    return os.path.abspath(os.path.expanduser(path))


def open_like(config: RunConfig, data: str) -> Dataset:
    """The data called `data` in the size, channels and binarisation of a run.

    Raises UserError where their shape is not the run's.
    """
    spec = config.spec
    if spec.values == "points":
        fields: dict[str, object] = {"data": data}
    else:
        channels = "grey" if spec.channels == 1 else "color"
        size = size_option(spec.height, spec.width)
        fields = {"data": data, "size": size, "channels": channels}
    dataset = open_dataset(config.data.model_copy(update=fields))
    if dataset.spec.bits != spec.bits:
        raise UserError(
            f"{data} has {dataset.spec.bits} bits a channel, the run's images {spec.bits}, which its "
            f"range {config.data.range} is for: name other data with --data"
        )
    if dataset.spec.shape != spec.shape or dataset.spec.values != spec.values:
        raise UserError(
            f"{data} has the shape {_words(dataset.spec.shape)}, the run {_words(spec.shape)}: name "
            "other data with --data"
        )
    return dataset


def _words(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
