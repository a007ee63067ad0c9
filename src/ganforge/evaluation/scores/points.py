"""Scores of 2-D points, whose distribution is known."""

import torch
from torch import Tensor

from ganforge.data.dataset import Dataset, held_out
from ganforge.data.sources.toys import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.metrics.modes import mode_coverage
from ganforge.evaluation.score import Protocol, Score, stored_parts

MODE_SAMPLES = 2_500


def score_points(samples: Tensor, dataset: Dataset, protocol: Protocol) -> list[Score]:
    """The distance of two Gaussians, the modes of a mixture, and the moments of the gaussian."""
    points = samples.flatten(1)
    name, split = held_out(dataset)
    reference = torch.cat(list(stored_parts(split))).flatten(1)
    against = protocol | {
        "generated": len(points),
        "reference": f"{dataset.options.data} {name}, {len(reference)}",
    }
    scores = [
        Score(
            name="frechet_distance",
            value=frechet_distance(Moments.of(reference), Moments.of(points)),
            protocol=against | {"features": "the two coordinates"},
        )
    ]
    if dataset.mixture is not None:
        counted = points[:MODE_SAMPLES]
        coverage = mode_coverage(counted, dataset.mixture.means, dataset.mixture.std)
        rule = protocol | {
            "generated": len(counted),
            "high quality": "within 3 standard deviations of a mean",
        }
        scores += [
            Score(name="modes", value=coverage.modes, unit=f"of {coverage.num_modes}", protocol=rule),
            Score(name="high_quality", value=coverage.high_quality_percent, unit="%", protocol=rule),
            Score(name="reverse_kl", value=coverage.reverse_kl_nats, unit="nats", protocol=rule),
        ]
    if dataset.options.data == "gaussian":
        moments = Moments.of(points)
        mean_error = (moments.mean - GAUSSIAN_MEAN).abs().max()
        ratio = ((moments.covariance - GAUSSIAN_COVARIANCE) / GAUSSIAN_COVARIANCE).abs().max()
        exact = protocol | {"generated": len(points), "reference": "the exact mean and covariance"}
        scores += [
            Score(name="largest_mean_error", value=float(mean_error), protocol=exact),
            Score(name="largest_covariance_error", value=100 * float(ratio), unit="%", protocol=exact),
        ]
    return scores
