"""`ganforge evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ganforge.cli.arguments import CHECKPOINT, JSON, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_or_dump, print_verdict
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import Score, evaluate
from ganforge.reporting.evaluations import evaluation_path, read_evaluations
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import Weights


@dataclass(frozen=True)
class Evaluate:
    """Score a run, or a folder of images; every score with its protocol."""

    run: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(help="A run folder; without one: --samples A --data B.")]
    ] = None
    num_samples: Annotated[
        int | None, tyro.conf.arg(help="Samples to score; default: 10,000, of stacked-mnist 26,000.")
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the samples.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    features: Annotated[
        str,
        tyro.conf.arg(
            help="auto (the data's reference classifier; of unknown data, that of emoji), pixels, random, "
            "inception, inception-clean, or package.module:callable."
        ),
    ] = "auto"
    features_weights: Annotated[
        Path | None,
        tyro.conf.arg(help="The weights of Inception, .pth or .safetensors; default: downloaded."),
    ] = None
    samples: Annotated[
        str | None,
        tyro.conf.arg(help="Score the images of this folder or .zip instead, against the run's data."),
    ] = None
    data: Annotated[
        str | None,
        tyro.conf.arg(
            help="Where the run's data are now, if moved; without a run what --samples is compared with."
        ),
    ] = None
    size: Annotated[int | None, tyro.conf.arg(help="Without a run: the side at which both are compared.")] = (
        None
    )
    devices: Annotated[
        int,
        tyro.conf.arg(help="Processes that share the sampling, started by torchrun, each on its own GPU."),
    ] = 1
    json: Annotated[bool, JSON] = False
    verbose: Annotated[bool, tyro.conf.arg(help="Print all scores, each with its protocol.")] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Evaluate, print and return the exit code."""
        names = ("num_samples", "features", "features_weights")
        own = ("seed", "weights", "checkpoint", "devices", "system")
        options = {name: getattr(self, name) for name in (*names, "data", "size")}
        if self.samples is not None and self.devices != 1:
            raise UserError(
                f"--devices {self.devices}: expected 1 with --samples, which are not drawn but read"
            )
        options |= {name: getattr(self, name) for name in own}
        scores = evaluate_with_status(self.run, samples=self.samples, **options)
        if not scores:  # of several processes only the first prints
            return 0
        print_or_dump(scores, self.json, self.verbose)
        if self.json:
            return 0
        print_verdict(scores)
        if self.samples is None and self.run is not None and not str(self.run).startswith(PRETRAINED):
            _print_stored(self.run, scores)
        return 0


def _print_stored(run: Path, scores: list[Score]) -> None:
    """Where the scores are, and whether the report and `compare` choose others."""
    path = evaluation_path(run, [score.model_dump(mode="json") for score in scores])
    if not path.exists():  # a warning has said why
        return
    print(f"stored in {path}, shown in {run / 'report.html'}")
    first = read_evaluations(run)[0][0]
    if first.path != path:
        print(f"the report and `ganforge compare` choose another evaluation: {first.summary}")


def evaluate_with_status(run: Path | None, **options: Any) -> list[Score]:
    """The scores of `run`; what is being measured is shown meanwhile."""
    with Console(stderr=True).status("evaluating") as status:
        return evaluate(run, say=lambda text: status.update(f"evaluating: {text}"), **options)
