"""`ganforge demo`."""

import shlex
from dataclasses import dataclass

from ganforge.cli.evaluate import evaluate_with_status
from ganforge.cli.tables import print_scores, print_verdict
from ganforge.cli.train import print_finished, train_run

# With dense layers and a slower discriminator, as InfoGAN has: the most digits for a few minutes.
DEMO = shlex.split(
    "dcgan --data mnist --run runs/demo --width 32 --kernel-size 4 --batch 128 --dense-units 256"
    " --odd-maps keep --learning-rate 0.001 --discriminator-learning-rate 0.0002 --steps 2200"
)


@dataclass(frozen=True)
class Demo:
    """Train a small DCGAN on MNIST for a few minutes and score it."""

    def __call__(self, command: str) -> int:
        """Train or resume `runs/demo`, evaluate it and print what to type next; returns the exit code."""
        run = train_run(DEMO)
        assert run is not None
        scores = evaluate_with_status(run.path)
        print_scores(scores, verbose=False)
        print_verdict(scores)
        print_finished(run)
        return 0
