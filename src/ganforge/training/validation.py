"""Scores of a training on a schedule, and the checkpoint that scored best."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.dataset import Dataset, batch_of, held_out, some_rows
from ganforge.errors import UserError
from ganforge.evaluation.features.cache import FeatureNetwork, real_features
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.features.untrained import RandomConvolutions
from ganforge.evaluation.metrics.distances import Neighbourhoods
from ganforge.evaluation.metrics.frechet import Moments, fewest_for_fid, frechet_distance
from ganforge.evaluation.metrics.kernel import kernel_distance
from ganforge.evaluation.metrics.manifold import density_coverage, precision_recall
from ganforge.evaluation.metrics.modes import mode_coverage
from ganforge.runs.checkpoint import save_checkpoint
from ganforge.runs.conditions import captions_like, conditions_like
from ganforge.runs.folder import Run
from ganforge.runs.options import HIGHER_IS_BETTER
from ganforge.runs.sampling import SeededRandom, draw, evaluation_mode
from ganforge.system import Measures
from ganforge.systems.discovery import find
from ganforge.training.divergence import Diverged

if TYPE_CHECKING:
    from ganforge.training.state import Training

CHUNK = 1_000
FEWEST_NEIGHBOURS = 100
NUM_SUBSETS = 20
"""Of KID: a fifth of what `ganforge evaluate` takes, since this is done again and again."""


class Evaluation:
    """What `--evaluate-every` measures: samples of the averaged weights, by the run's seed.

    Raises UserError where the metric of `--keep-best` cannot be had of these data.
    """

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self._run, self._dataset = run, dataset
        options = run.config.train
        if options.evaluate_every and not find(run.config.system).generates_images:
            raise UserError(
                f"--evaluate-every {options.evaluate_every}: {run.config.system} makes no images to judge: "
                "leave it out"
            )
        name, self._reference = held_out(dataset)
        self._split = name if name in dataset.splits else "train"
        self._count = options.evaluate_samples
        self._network: FeatureNetwork | None = None
        if options.evaluate_every and dataset.spec.values == "pixels":
            with torch.random.fork_rng(devices=[]):  # to build a network draws its first weights
                found = classifier_of(dataset)
            self._network = RandomConvolutions(*dataset.spec.shape) if found is None else found[0]
        fewest = min(self._count, len(self._reference))
        needed = fewest_for_fid(0 if self._network is None else self._network.feature_size)
        self._allows_fid = self._network is not None and fewest >= needed
        if options.keep_best == "fid" and not self._allows_fid:
            raise UserError(
                f"--keep-best fid: FID needs {needed} samples and as many held-out images, "
                f"here {fewest} can be compared: give --keep-best kid"
            )

    def measure(self, training: "Training") -> dict[str, Any]:
        """The scores by name, and `protocol` in words, for a line of the log."""
        system, seed = training.system, self._run.config.train.seed
        if "embeddings" in system.needs:
            given: Batch | None = captions_like(self._dataset.splits["train"], self._count, seed)[0]
        else:
            given = conditions_like(system, self._reference, self._count, seed)
        with training.average.in_place_of_raw(system):
            parts = draw(system, self._count, seed, given)
            if self._network is None:
                found = self._of_points(_finite(torch.cat(list(parts)), training.step))
                features = "the points themselves"
            else:
                network = self._network
                fake = torch.cat([network.features(_finite(part, training.step)) for part in parts])
                real = real_features(network, self._dataset, self._split, self._count)
                found, features = self._of_features(real, fake), network.description
            found |= self._of_system(training)
        weights = "ema" if training.average.networks else "raw"
        reference = f"{self._dataset.options.data} {self._split}, {min(self._count, len(self._reference))}"
        protocol = f"{self._count} samples, {weights} weights, seed {seed}, against {reference}; {features}"
        return found | {"protocol": protocol}

    def keep_if_best(self, training: "Training", found: dict[str, Any]) -> bool:
        """Commit the weights to `checkpoints/best` where they score better than any before."""
        metric = self._run.config.train.keep_best
        if metric is None:
            return False
        if metric not in found:
            raise UserError(
                f"--keep-best {metric}: this run has "
                f"{', '.join(name for name in found if name in HIGHER_IS_BETTER) or 'none of its choices'}"
            )
        value = float(found[metric])
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        best = training.best
        if best is not None and best["metric"] == metric and sign * value <= sign * best["value"]:
            return False
        tensors = {"system": dict(training.system.state_dict()), "average": training.average.state()}
        state = {"step": training.step, "metric": metric, "value": value, "protocol": found["protocol"]}
        save_checkpoint(self._run.best, training.step, tensors, state, keep=1)
        training.best = {"metric": metric, "value": value}
        return True

    def _of_features(self, real: Tensor, fake: Tensor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._allows_fid:
            found["fid"] = frechet_distance(Moments.of(real), Moments.of(fake))
        if min(len(real), len(fake)) < 2:
            return found
        found["kid"] = 1_000 * kernel_distance(real, fake, NUM_SUBSETS).mean
        count = min(len(real), len(fake))
        if count >= FEWEST_NEIGHBOURS:
            pairs = Neighbourhoods(real[:count], fake[:count])
            shares = precision_recall(pairs)
            found |= {"precision": shares.precision, "recall": shares.recall}
            found["coverage"] = density_coverage(pairs).coverage
        return found

    def _of_points(self, samples: Tensor) -> dict[str, Any]:
        points, rows = samples.flatten(1), torch.arange(len(self._reference))
        reference = self._reference.read(rows).flatten(1)
        found: dict[str, Any] = {
            "frechet_distance": frechet_distance(Moments.of(reference), Moments.of(points))
        }
        mixture = self._dataset.mixture
        if mixture is not None:
            coverage = mode_coverage(points, mixture.means, mixture.std)
            found |= {"modes": coverage.modes, "high_quality": coverage.high_quality_percent}
        return found

    def _of_system(self, training: "Training") -> dict[str, Any]:
        """What the system measures of as many held-out images as there are samples."""
        system, random = training.system, SeededRandom(self._run.config.train.seed, training.device)
        if not isinstance(system, Measures):
            return {}
        sums: dict[str, float] = {}
        chosen = some_rows(self._reference, self._count)
        for rows in chosen.split(CHUNK):
            batch: Batch = batch_of(self._reference, rows).to(training.device)
            with evaluation_mode(system), random.stretch():
                values = system.measure(batch)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows) / len(chosen)
        return sums


def _finite(images: Tensor, step: int) -> Tensor:
    if not images.isfinite().all():
        raise Diverged(f"samples hold infinity or NaN at step {step}")
    return images
