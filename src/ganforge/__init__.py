"""Train, evaluate and use generative adversarial networks and their classic rivals."""

import importlib
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError as UserError
from ganforge.version import __version__ as __version__

if TYPE_CHECKING:
    from ganforge import export as export
    from ganforge.data.batch import Batch as Batch
    from ganforge.data.spec import DataSpec as DataSpec
    from ganforge.evaluation.evaluate import evaluate as evaluate
    from ganforge.generation import explore as explore
    from ganforge.generation.apply import apply as apply
    from ganforge.runs.samples import to_pil as to_pil
    from ganforge.runs.trained import Trained as Trained
    from ganforge.runs.trained import load as load
    from ganforge.system import LatentSystem as LatentSystem
    from ganforge.system import System as System
    from ganforge.training.train import resume as resume
    from ganforge.training.train import train as train

# Imported on first use: torch alone takes seconds.
_MODULES = {
    "train": "ganforge.training.train",
    "resume": "ganforge.training.train",
    "load": "ganforge.runs.trained",
    "evaluate": "ganforge.evaluation.evaluate",
    "apply": "ganforge.generation.apply",
    "System": "ganforge.system",
    "LatentSystem": "ganforge.system",
    "Batch": "ganforge.data.batch",
    "DataSpec": "ganforge.data.spec",
    "Trained": "ganforge.runs.trained",
    "to_pil": "ganforge.runs.samples",
}
_ROOMS = {"explore": "ganforge.generation.explore", "export": "ganforge.export"}
__all__ = [
    "Batch",
    "DataSpec",
    "LatentSystem",
    "System",
    "Trained",
    "UserError",
    "__version__",
    "apply",
    "evaluate",
    "explore",
    "export",
    "load",
    "resume",
    "to_pil",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        value = importlib.import_module(_ROOMS[name])
    elif name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'ganforge' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
