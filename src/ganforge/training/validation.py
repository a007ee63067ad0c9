"""Scores of a training on a schedule, and the checkpoint that scored best."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganforge.data.batch import Batch, to_uint8
from ganforge.data.dataset import Dataset, batch_of, held_out, some_rows
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.metrics.clusters import one_to_one_error
from ganforge.evaluation.metrics.frechet import fewest_for_fid
from ganforge.evaluation.score import CHUNK, Evaluated
from ganforge.evaluation.scores.distribution import score_fid, score_kid, score_precision_recall
from ganforge.evaluation.scores.points import score_points
from ganforge.runs.checkpoint import save_checkpoint
from ganforge.runs.conditions import captions_like, conditions_like
from ganforge.runs.folder import Run
from ganforge.runs.options import HIGHER_IS_BETTER
from ganforge.runs.sampling import draw, seeded
from ganforge.system import HasCodes, Measures, System, generates_images
from ganforge.systems.discovery import find
from ganforge.training.divergence import Diverged

if TYPE_CHECKING:
    from ganforge.training.state import Training

LOGGED = ("fid", "kid", "precision", "recall", "coverage", "frechet_distance", "modes", "high_quality")
NUM_SUBSETS = 20
"""Of KID: a fifth of what `ganforge evaluate` takes, since a training does this repeatedly."""


class Evaluation:
    """What `--evaluate-every` measures: samples of the averaged weights, by the run's seed.

    Raises UserError where the metric of `--keep-best` does not exist for these data.
    """

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self._run, self._dataset = run, dataset
        options = run.config.train
        if options.evaluate_every and not generates_images(find(run.config.system)):
            raise UserError(
                f"--evaluate-every {options.evaluate_every}: {run.config.system} generates no "
                "images to score: leave it out"
            )
        name, self._reference = held_out(dataset)
        self._split = name if name in dataset.splits else "train"
        self._count = options.evaluate_samples
        self._extractor: FeatureExtractor | None = None
        if options.evaluate_every and dataset.spec.values == "pixels":
            # A run of 0.2 on unknown data resumes with the features that it began with.
            earlier = [str(line.get("protocol")) for line in run.metrics("evaluation")]
            began = "random" if any("random convolutions" in protocol for protocol in earlier) else "auto"
            self._extractor = feature_extractor(began, dataset)
        fewest = min(self._count, len(self._reference))
        needed = fewest_for_fid(0 if self._extractor is None else self._extractor.feature_size)
        if options.keep_best == "fid" and (self._extractor is None or fewest < needed):
            raise UserError(
                f"--keep-best fid: FID needs {needed} samples and as many held-out images, "
                f"here {fewest} can be compared: give --keep-best kid"
            )

    def measure(self, training: "Training") -> dict[str, Any]:
        """The scores by name, and `protocol` in words, for a line of the log."""
        seed, needs = self._run.config.train.seed, training.system.needs
        if "embeddings" in needs:
            conditions: Batch | None = captions_like(self._dataset.splits["train"], self._count, seed)[0]
        else:
            conditions = conditions_like(training.system, self._reference, self._count, seed)
        with training.sampled() as system:
            samples = self._stored(draw(system, self._count, seed, conditions), training.step)
            evaluated = Evaluated(
                self._dataset,
                samples,
                {"seed": seed},
                extractor=self._extractor,
                kid_subsets=NUM_SUBSETS,
                explained=False,
                mode_samples=self._count,
            )
            if self._extractor is None:
                scores = score_points(evaluated)
            else:
                scores = [*score_fid(evaluated), *score_kid(evaluated), *score_precision_recall(evaluated)]
            measured: dict[str, Any] = {score.name: score.value for score in scores if score.name in LOGGED}
            if "modes" in measured:
                measured["modes"] = int(measured["modes"])
            measured |= self._of_system(system) | self._of_codes(system)
        weights = "ema" if training.average.networks else "raw"
        reference = f"{self._dataset.options.data} {self._split}, {min(self._count, len(self._reference))}"
        features = "the points themselves" if self._extractor is None else self._extractor.description
        protocol = f"{self._count} samples, {weights} weights, seed {seed}, against {reference}; {features}"
        return measured | {"protocol": protocol}

    def keep_if_best(self, training: "Training", measured: dict[str, Any]) -> bool:
        """Commit the weights to `checkpoints/best` where they score better than any before."""
        metric = self._run.config.train.keep_best
        if metric is None:
            return False
        if metric not in measured:
            raise UserError(
                f"--keep-best {metric}: this run has "
                f"{', '.join(name for name in measured if name in HIGHER_IS_BETTER) or 'none of its choices'}"
            )
        value = float(measured[metric])
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        best = training.best
        if best is not None and best["metric"] == metric and sign * value <= sign * best["value"]:
            return False
        tensors = {"system": dict(training.system.state_dict()), "average": training.average.state()}
        state = {"step": training.step, "metric": metric, "value": value, "protocol": measured["protocol"]}
        save_checkpoint(self._run.best, training.step, tensors, state, keep=1)
        training.best = {"metric": metric, "value": value}
        return True

    def _stored(self, parts: Iterator[Tensor], step: int) -> Tensor:
        """Samples as data sets store them: pixels uint8, or points."""
        finite = (_finite(part, step) for part in parts)
        return torch.cat([part if self._extractor is None else to_uint8(part) for part in finite])

    def _of_system(self, system: System) -> dict[str, Any]:
        """What the system measures of as many held-out images as there are samples."""
        if not isinstance(system, Measures):
            return {}
        generator = seeded(self._run.config.train.seed, system.device)
        sums: dict[str, float] = {}
        chosen = some_rows(self._reference, self._count)
        for rows in chosen.split(CHUNK):
            batch: Batch = batch_of(self._reference, rows).to(system.device)
            with torch.no_grad():
                values = system.measure(batch, generator=generator)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows) / len(chosen)
        return sums

    def _of_codes(self, system: System) -> dict[str, float]:
        """How badly codes tell the classes of as many held-out images apart, as `ganforge evaluate` does."""
        labels = self._reference.labels
        if labels is None or not isinstance(system, HasCodes):
            return {}
        chosen = some_rows(self._reference, self._count)
        with torch.no_grad():
            parts = [
                system.categorise(batch_of(self._reference, rows).images.to(system.device))
                for rows in chosen.split(CHUNK)
            ]
        codes = [part.cpu() for part in parts if part is not None]
        if not codes:
            return {}
        found = torch.cat(codes)
        sizes = int(found.max()) + 1, len(self._dataset.spec.class_names)
        return {"code_error": one_to_one_error(found, labels[chosen], *sizes)}


def _finite(images: Tensor, step: int) -> Tensor:
    if not images.isfinite().all():
        raise Diverged(f"samples hold infinity or NaN at step {step}")
    return images
