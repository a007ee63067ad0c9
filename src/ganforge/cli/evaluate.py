"""`ganforge evaluate`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ganforge.cli import EXIT_MISTAKE
from ganforge.cli.arguments import JSON, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_or_dump, print_verdict
from ganforge.errors import UserError
from ganforge.evaluation.evaluate import Score, evaluate
from ganforge.evaluation.presets import PRESETS
from ganforge.evaluation.shared_work import SharedWork
from ganforge.reporting.evaluations import evaluation_path, read_evaluations
from ganforge.runs.checkpoint import committed
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import Weights


@dataclass(frozen=True)
class Evaluate:
    """Score a run, or a folder of images; every score with its protocol."""

    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Run folders; without one: --samples A --data B.")]
    ] = ()
    num_samples: Annotated[
        int | None, tyro.conf.arg(help="Samples to score; default: 10,000, of stacked-mnist 26,000.")
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the samples.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    checkpoint: Annotated[
        str,
        tyro.conf.arg(
            help="newest; best, as kept by `train --keep-best`; the step of a kept one; several of these, "
            "with commas; or all that are kept."
        ),
    ] = "newest"
    protocol: Annotated[
        str | None, tyro.conf.arg(help=f"The protocol of published numbers: {', '.join(PRESETS)}.")
    ] = None
    statistics: Annotated[
        Path | None,
        tyro.conf.arg(help="Only the FID against this .npz of mu and sigma, as pytorch-fid writes."),
    ] = None
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
        if self.samples is not None and self.devices != 1:
            raise UserError(
                f"--devices {self.devices}: expected 1 with --samples, which are not drawn but read"
            )
        wanted = [(run, which) for run in self.runs for which in _checkpoints(run, self.checkpoint)]
        if len(wanted) > 1:
            return self._evaluate_each(wanted)
        run, which = wanted[0] if wanted else (None, "newest")
        scores = evaluate_with_status(run, checkpoint=which, **self._options())
        if scores:  # of several processes only the first prints
            self._print(run, scores)
        return 0

    def _options(self) -> dict[str, Any]:
        names = ("num_samples", "features", "features_weights", "data", "size", "seed", "weights", "devices",
                 "system", "samples", "protocol", "statistics")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def _print(self, run: Path | None, scores: list[Score]) -> None:
        print_or_dump(scores, self.json, self.verbose)
        if self.json:
            return
        if self.protocol is None and self.statistics is None:
            print_verdict(scores)
        if self.samples is None and run is not None and not str(run).startswith(PRETRAINED):
            _print_stored(run, scores)

    def _evaluate_each(self, wanted: list[tuple[Path, str]]) -> int:
        """Evaluate one after the other, with the features of real images shared; 2 where one cannot be."""
        if self.samples is not None or self.devices != 1:
            raise UserError("--samples and --devices are for one run and checkpoint: name only one")
        work, failed, found = SharedWork(), 0, list[dict[str, Any]]()
        for place, (run, which) in enumerate(wanted):
            title = f"{run}, checkpoint {which} ({place + 1} of {len(wanted)})"
            try:
                options = {"checkpoint": which, "shared_work": work, **self._options()}
                scores = evaluate_with_status(run, title, **options)
            except UserError as error:  # the others are worth their time
                print(f"error: {run}, checkpoint {which}: {error}", file=sys.stderr)
                failed += 1
                continue
            entries = [score.model_dump(mode="json") for score in scores]
            found.append({"run": str(run), "checkpoint": which, "scores": entries})
            if not self.json:
                print(f"\n{title}")
                self._print(run, scores)
        if self.json:
            print(json.dumps(found, indent=1))
        return EXIT_MISTAKE if failed else 0


def _print_stored(run: Path, scores: list[Score]) -> None:
    """Where the scores are, and whether the report and `compare` choose others."""
    path = evaluation_path(run, [score.model_dump(mode="json") for score in scores])
    if not path.exists():  # a warning has said why
        return
    print(f"stored in {path}, shown in {run / 'report.html'}")
    first = read_evaluations(run)[0][0]
    if first.path != path:
        print(f"the report and `ganforge compare` choose another evaluation: {first.summary}")


def evaluate_with_status(run: Path | None, title: str = "evaluating", **options: Any) -> list[Score]:
    """The scores of `run`; what is being measured, and the time left, are shown meanwhile."""
    with Console(stderr=True).status(title) as status:
        return evaluate(run, say=lambda text: status.update(f"{title}: {text}"), **options)


def _checkpoints(run: Path, wanted: str) -> list[str]:
    """The checkpoints that `--checkpoint` names: words with commas between, or all that `run` keeps."""
    if wanted != "all":
        return [word for word in wanted.split(",") if word]
    opened = Run.open(run)
    kept = sorted(
        {int(path.name) for folder in (opened.checkpoints, opened.best) for path in committed(folder)}
    )
    return [str(step) for step in kept] or ["newest"]
