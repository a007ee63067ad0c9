"""`ganforge demo`."""

import shlex
from dataclasses import dataclass

from ganforge.cli.evaluate import evaluate_with_status
from ganforge.cli.tables import print_scores
from ganforge.cli.train import print_finished, train_run

# A small DCGAN at five times the paper's rate: the most digits for a few minutes on two cores.
DEMO = shlex.split(
    "dcgan --data mnist --run runs/demo --width 32 --kernel-size 4 --batch 64"
    " --learning-rate 0.001 --steps 6000"
)


@dataclass(frozen=True)
class Demo:
    """Train a small DCGAN on MNIST for a few minutes and score it."""

    def __call__(self, command: str) -> int:
        """Train or resume `runs/demo`, evaluate it and print what to type next; returns the exit code."""
        run = train_run(DEMO)
        assert run is not None
        print_scores(evaluate_with_status(run.path), verbose=False)
        print_finished(run)
        return 0
