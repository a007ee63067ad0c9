"""Scores of 2-D points, whose distribution is known."""

import torch

from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.metrics.modes import mode_coverage
from ganforge.evaluation.score import Evaluated, Score, stored_parts


def score_points(evaluated: Evaluated) -> list[Score]:
    """The distance of two Gaussians, the modes of a mixture, and the moments of data whose own are exact."""
    dataset, protocol = evaluated.dataset, evaluated.sample_protocol
    points = evaluated.samples.flatten(1)
    name, split = evaluated.reference
    reference = torch.cat(list(stored_parts(split))).flatten(1)
    against = {"generated": len(points), "reference": f"{dataset.options.data} {name}, {len(reference)}"}
    scores = [
        Score(
            name="frechet_distance",
            value=frechet_distance(Moments.of(reference), Moments.of(points)),
            protocol=protocol | against | {"features": "the two coordinates"},
        )
    ]
    if dataset.mixture is not None:
        counted = points[: evaluated.mode_samples]
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
    if dataset.moments is not None:
        mean, covariance = dataset.moments
        moments = Moments.of(points)
        mean_error = (moments.mean - mean).abs().max()
        ratio = ((moments.covariance - covariance) / covariance).abs().max()
        exact = protocol | {"generated": len(points), "reference": "the exact mean and covariance"}
        scores += [
            Score(name="largest_mean_error", value=float(mean_error), protocol=exact),
            Score(name="largest_covariance_error", value=100 * float(ratio), unit="%", protocol=exact),
        ]
    return scores
