"""Scores of how samples differ: from one another, and along short paths between latents."""

import copy

import torch
from torch import Tensor

from ganforge.data.batch import conditions
from ganforge.data.dataset import some_rows
from ganforge.evaluation.metrics.path_length import EPSILON, path_length
from ganforge.evaluation.metrics.similarity import NUM_PAIRS, ms_ssim, num_scales, sample_pairs
from ganforge.evaluation.score import Evaluated, Score
from ganforge.runs.sampling import CHUNK, seeded
from ganforge.system import HasCodes, LatentSystem

NUM_PATHS = 500


def score_similarity(evaluated: Evaluated) -> list[Score]:
    """MS-SSIM of random pairs of samples, of one class where samples were drawn by class."""
    samples, labels = evaluated.samples, evaluated.labels
    scales = num_scales(*samples.shape[2:])
    name, reference = evaluated.reference
    counted = reference.labels is not None and labels is not None
    groups = labels.bincount().max() if labels is not None else len(samples)
    if not scales or int(groups) < 2 or len(reference) < 2:
        return []
    rows = sample_pairs(len(samples), labels, NUM_PAIRS)
    value = ms_ssim(samples[rows[:, 0]], samples[rows[:, 1]])
    chosen = some_rows(reference, len(samples))
    real_labels = reference.labels[chosen] if counted and reference.labels is not None else None
    if real_labels is not None and int(real_labels.bincount().max()) < 2:
        return []
    real_rows = chosen[sample_pairs(len(chosen), real_labels, NUM_PAIRS)]
    real = ms_ssim(reference.read(real_rows[:, 0]), reference.read(real_rows[:, 1])).mean()
    note = f"of real {name} images {real.item():.4g}; lower is more various"
    few = len(samples) < 2 * NUM_PAIRS
    if few:
        note += f"; no ±: pairs of fewer than {2 * NUM_PAIRS} samples share images"
    rule = {
        "generated": len(samples),
        "pairs": f"{NUM_PAIRS} at random, of {'any kind' if labels is None else 'one class each'}, seed 0",
        "scales": f"{scales} of 5, weights divided by their sum",
    }
    return [
        Score(
            name="ms_ssim",
            value=value.mean().item(),
            plus_minus=None if few else value.std().item() / NUM_PAIRS**0.5,
            protocol=evaluated.sample_protocol | rule,
            note=note,
        )
    ]


def score_path_length(evaluated: Evaluated) -> list[Score]:
    """The perceptual path length in the reference classifier's features, where latents have no codes.

    Both ends of a path have the same caption, in a system that is conditioned on captions, and the same
    numbers where samples are not continuous in them: there the length would grow without bound.
    """
    trained, classifier, given = evaluated.trained, evaluated.classifier, evaluated.conditions
    if trained is None or classifier is None or evaluated.translated:
        return []
    protocol = evaluated.sample_protocol
    system = trained.with_weights(protocol["weights"])
    if not isinstance(system, LatentSystem) or isinstance(system, HasCodes):
        return []
    seed, spherical = protocol["seed"], system.latents_are_gaussian
    latents = trained.draw_latents(2 * NUM_PATHS, seed, protocol["weights"]).double()
    starts, ends = latents[:NUM_PATHS], latents[NUM_PATHS:].clone()
    size = system.continuous_size
    if size is not None:
        ends[:, size:] = starts[:, size:]
    texts = None if given is None or given.embeddings is None else given.embeddings.double()
    exact = copy.deepcopy(system).cpu().double()

    def features(points: Tensor) -> Tensor:
        parts = []
        for rows in torch.arange(len(points)).split(CHUNK):
            captions = None if texts is None else conditions(embeddings=texts[rows % len(texts)])
            generator = seeded(seed % 2**63, exact.device)  # labels that it draws are those of the other end
            with torch.no_grad():
                images = exact.decode(points[rows], captions, generator=generator)
                parts.append(classifier.exact_features(images.double()))
        return torch.cat(parts)

    result = path_length(
        lambda near, far: (features(near) - features(far)).square().sum(1),
        starts,
        ends,
        spherical=spherical,
        seed=seed % 2**63,
    )
    rule = {
        "paths": f"{NUM_PATHS} {'arcs' if spherical else 'lines'}, epsilon {EPSILON:g}, 1 % cut at each end",
        "arithmetic": "float64 but for the generator's last layer, which is float32",
        "features": f"squared L2, samples not rounded, of the {classifier.description}",
    }
    if size is not None:
        rule["latents"] = f"the first {size} numbers, the others equal at both ends"
    return [
        Score(
            name="perceptual_path_length",
            value=result.mean,
            plus_minus=result.standard_error,
            protocol=protocol | rule,
        )
    ]
