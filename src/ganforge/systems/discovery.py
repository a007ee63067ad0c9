"""Finding a system by its file name."""

import importlib
import pkgutil
from inspect import Parameter, isabstract, signature
from pathlib import Path

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError, printable, unknown_name
from ganforge.files.code import check_allowed, import_member
from ganforge.system import DRAWING, System

KINDS = {"pixels": "images", "points": "2-D points", "alpha": "transparent images"}


def available() -> list[str]:
    """Names of the systems of this package: the files of `ganforge/systems`, except this one."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in modules if not module.ispkg and module.name != "discovery")


def find(name: str) -> type[System]:
    """The system `name`: a file of `ganforge/systems`, or `package.module:Class` from outside.

    The user has typed `name`: the module is imported. Raises UserError with the closest names where there
    is none.
    """
    if ":" in name:
        member = import_member(name, "system")
        if not (isinstance(member, type) and issubclass(member, System)) or isabstract(member):
            raise UserError(f"{name!r} is no system: expected a subclass of ganforge.System with its methods")
        _check_generators(member, name)
        return member
    if name not in available():
        raise unknown_name("system", name, available(), "(`ganforge list systems`)")
    module = importlib.import_module(f"ganforge.systems.{name}")
    for member in vars(module).values():
        if isinstance(member, type) and issubclass(member, System) and member.__module__ == module.__name__:
            return member
    raise AssertionError(f"{module.__name__} defines no System")


def _check_generators(system: type[System], name: str) -> None:
    """Raise UserError where a method that may draw random numbers takes no `generator`."""
    for method in DRAWING:
        if not hasattr(system, method):
            continue
        parameters = signature(getattr(system, method)).parameters
        if "generator" in parameters or any(p.kind == Parameter.VAR_KEYWORD for p in parameters.values()):
            continue
        own = ", ".join(
            key if parameter.default is Parameter.empty else f"{key}={parameter.default!r}"
            for key, parameter in parameters.items()
        )
        raise UserError(
            f"{method} of {name} takes no generator: write `def {method}({own}, generator=None)`, and "
            "torch.randn(..., generator=generator) where it draws"
        )


def find_recorded(name: str, typed: str | None = None) -> type[System]:
    """The system that a run folder names; `typed` is the name that the user typed besides, if any.

    A file never makes a module of its choice be imported: raises UserError where `name` is from outside of
    ganforge and neither `typed` nor allowed, or `typed` is another.
    """
    if typed not in (None, name):
        raise UserError(f"--system {typed}: the run is one of {printable(name)[:200]}")
    if ":" in name and typed is None:
        check_allowed(name, "system")
    return find(name)


FEWEST_IMAGES = 50
"""With fewer images a GAN learns them by heart."""


def suggest_system(data: DataSpec, device: str = "cpu") -> tuple[str, str]:
    """The system to try first on such data on a CPU or GPU, and why, in a few words.

    Raises UserError where the images are too few for new ones like them.
    """
    if data.values == "points":
        return "gan", "plain layers for 2-D points"
    if data.num_images < FEWEST_IMAGES:
        images = "1 training image" if data.num_images == 1 else f"{data.num_images} training images"
        raise UserError(
            f"{images}: expected {FEWEST_IMAGES} or more, since a GAN learns fewer by heart: add images, or "
            "name a system to train it all the same (`ganforge list systems`)"
        )
    if data.source_shape is not None:
        return ("srresnet", "enlarges") if data.enlarges else ("pix2pix", "translates sources into images")
    if device == "cpu":
        return "dcgan", "drew the best images per minute on a CPU (docs/comparisons.md)"
    return "r3gan", "the most stable in its paper's comparisons on GPUs; not measured here"


def check_needs(system: type[System], name: str, data: DataSpec) -> None:
    """Raise UserError where `system` does not accept the values of `data`, or needs what it lacks."""
    if data.kind not in system.accepts:
        kind, others = KINDS[data.kind], [n for n in available() if data.kind in find(n).accepts]
        way = "leave --alpha keep out, or use" if data.kind == "alpha" else "use other data, or"
        raise UserError(f"{name} does not accept {kind}: {way} {', '.join(others[:-1])} or {others[-1]}")
    missing = sorted(system.needs - data.offers)
    if missing:
        has = ", ".join(sorted(data.offers)) or "images only"
        hint = "add --pairs edges or downscale:4, or --sources FOLDER; " if "sources" in missing else ""
        if "embeddings" in missing and "captions" in data.offers:
            hint = "add --text-encoder RUN, a run of `ganforge train text_encoder`; "
        elif missing[0] in ("captions", "embeddings"):
            hint = "a caption for each image in a column `text` of metadata.jsonl, or in a .txt next to it; "
        raise UserError(
            f"{name} needs {' and '.join(missing)}; this data has {has}: {hint}see `ganforge data check`"
        )
