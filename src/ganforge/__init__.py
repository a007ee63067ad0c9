"""Train, judge and use generative adversarial networks and their classic rivals."""

import time

STARTED = time.monotonic()
"""When this program began to import: what start-up time is counted from."""

from ganforge.errors import UserError as UserError
from ganforge.evaluation.evaluate import evaluate as evaluate
from ganforge.generation.apply import apply as apply
from ganforge.runs.trained import load as load
from ganforge.training.train import train as train
from ganforge.version import __version__ as __version__

__all__ = ["UserError", "__version__", "apply", "evaluate", "load", "train"]
