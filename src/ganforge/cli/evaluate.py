"""`ganforge evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ganforge.cli.arguments import CHECKPOINT, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_or_dump
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import Score, evaluate, evaluate_images
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import Weights, Which


@dataclass(frozen=True)
class Evaluate:
    """Score a run; every score with its protocol."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    num_samples: Annotated[
        int | None, tyro.conf.arg(help="Samples to score; default: 10,000, of stacked-mnist 26,000.")
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the samples.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    checkpoint: Annotated[Which, CHECKPOINT] = "newest"
    features: Annotated[
        str,
        tyro.conf.arg(
            help="auto (the data's reference classifier), pixels, random, inception, inception-clean, or "
            "package.module:callable."
        ),
    ] = "auto"
    features_weights: Annotated[
        Path | None,
        tyro.conf.arg(help="The weights of Inception, .pth or .safetensors; default: downloaded."),
    ] = None
    samples: Annotated[
        str | None,
        tyro.conf.arg(help="Score the images of this folder or .zip against the run's data instead."),
    ] = None
    devices: Annotated[
        int,
        tyro.conf.arg(help="Processes that share the sampling, started by torchrun, each on its own GPU."),
    ] = 1
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.")] = False
    verbose: Annotated[bool, tyro.conf.arg(help="Print all scores, each with its protocol.")] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Evaluate, print and return the exit code."""
        names = ("num_samples", "features", "features_weights", "seed", "weights", "checkpoint", "devices")
        options = {name: getattr(self, name) for name in names}
        if self.samples is not None:
            if self.devices != 1:
                raise UserError(
                    f"--devices {self.devices}: expected 1 with --samples, which are not drawn but read"
                )
            scores = evaluate_images(self.run, self.samples, **{name: options[name] for name in names[:3]})
        else:
            scores = evaluate_with_status(self.run, system=self.system, **options)
        if not scores:  # of several processes only the first prints
            return 0
        print_or_dump(scores, self.json, self.verbose)
        stored = self.samples is None and not str(self.run).startswith(PRETRAINED)
        if stored and not self.json:
            print(f"stored in {self.run / 'evaluation.json'}, shown in {self.run / 'report.html'}")
        return 0


def evaluate_with_status(run: Path, **options: Any) -> list[Score]:
    """The scores of `run`; what is being measured is shown meanwhile."""
    with Console(stderr=True).status("evaluating") as status:
        return evaluate(run, say=lambda text: status.update(f"evaluating: {text}"), **options)
