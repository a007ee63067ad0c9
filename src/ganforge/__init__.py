"""Train, judge and use generative adversarial networks and their classic rivals."""

import time

STARTED = time.monotonic()
"""When this program began to import: what start-up time is counted from."""

from ganforge.data.batch import Batch as Batch
from ganforge.data.batch import DataSpec as DataSpec
from ganforge.errors import UserError as UserError
from ganforge.evaluation.evaluate import evaluate as evaluate
from ganforge.generation.apply import apply as apply
from ganforge.runs.trained import Trained as Trained
from ganforge.runs.trained import load as load
from ganforge.system import LatentSystem as LatentSystem
from ganforge.system import System as System
from ganforge.training.train import train as train
from ganforge.version import __version__ as __version__

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
    "load",
    "train",
]
