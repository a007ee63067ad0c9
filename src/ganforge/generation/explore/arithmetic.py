"""Sums and differences of latents: "thick 3 - thin 3 + thin 7" (Radford et al. 2015, figure 7)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.generation.explore.directions import draw_strips, named_direction
from ganforge.generation.explore.keys import Keys, keys_of_seeds, latent_system
from ganforge.generation.explore.vectors import load_vector, vector_names
from ganforge.generation.seeds import parse_seeds
from ganforge.generation.truncation import truncated
from ganforge.reporting import grids
from ganforge.runs.sampling import seeded
from ganforge.runs.trained import Label, Trained, Weights

NOISE = 0.25
"""Uniform noise of +-0.25 makes the eight neighbours of the paper's figure 7."""
SIDE, STRIPS = 3, 4
CANCELLED = 1e-6
_TERM = re.compile(r"\s*([+-]?)\s*(?:([0-9]*\.?[0-9]+)\s*\*\s*)?([^\s+*]+)")


@dataclass(frozen=True)
class Term:
    """`factor` times the mean latent of `seeds`, or times the vector `name`."""

    factor: float
    seeds: tuple[int, ...]
    name: str = ""


def parse_expression(text: str) -> list[Term]:
    """The terms of "1,2,3 - 4,5,6 + 0.5*smile"; raises UserError for another form."""
    terms, position = list[Term](), 0
    while position < len(text.rstrip()):
        match = _TERM.match(text, position)
        if match is None or (position and not match[1]):
            terms = []
            break
        factor = float(match[2] or 1) * (-1 if match[1] == "-" else 1)
        what = match[3]
        if re.fullmatch(r"[0-9]+(?:[,-][0-9]+)*", what):
            terms.append(Term(factor, tuple(parse_seeds(what))))
        else:
            terms.append(Term(factor, (), what))
        position = match.end()
    if not terms:
        raise UserError(
            f"{printable(text)[:80]!r}: expected seeds with commas, or names of vectors, and + or - between, "
            'such as "1,2,3 - 4,5,6 + 7,8,9" or "7 + 1.5*smile"'
        )
    return terms


def vector_of(trained: Trained, name: str, weights: Weights = "ema") -> Tensor:
    """The vector that was saved under `name`, or one that every run has: sefa-0, pca-0, z-0 and so on."""
    if name not in vector_names(trained.run) and (own := named_direction(trained, name, weights)) is not None:
        return own
    return load_vector(trained, name, weights).values


def evaluate_expression(
    trained: Trained,
    terms: Sequence[Term],
    weights: Weights = "ema",
    truncation: float | None = None,
    vectors: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, float]:
    """The latent `[1, ...]` of the terms, and the sum of their seeds' factors: 0 for a direction.

    Each list of seeds counts as the mean of their latents: of single samples the result is unstable. A name
    is one of `vectors`, if given, else a saved vector or a direction that every run has, such as sefa-0.
    """
    in_memory = vectors or {}
    total, points = torch.zeros_like(trained.draw_latents(1)), 0.0
    for term in terms:
        if term.name:
            values = in_memory.get(term.name)
            total = total + term.factor * (
                vector_of(trained, term.name, weights) if values is None else values
            )
            continue
        latents = [truncated(trained, 1, seed, weights, truncation) for seed in term.seeds]
        total = total + term.factor * torch.cat(latents).mean(0, keepdim=True)
        points += term.factor
    if (size := latent_system(trained).continuous_size) is not None:  # what is left is noise, no direction
        seeds = [seed for term in terms for seed in term.seeds] if abs(points) >= CANCELLED else []
        total[:, size:] = truncated(trained, 1, seeds[0], weights, truncation)[:, size:] if seeds else 0
    return total, points


def neighbours_of(trained: Trained, latent: Tensor, like: Keys, noise: float = NOISE, seed: int = 0) -> Keys:
    """Nine keys with the first conditions of `like`: in the centre `latent`, around it noisy ones."""
    generator, count = seeded(seed, torch.device("cpu")), SIDE * SIDE
    shifts = noise * (2 * torch.rand((count, *latent.shape[1:]), generator=generator) - 1)
    shifts[count // 2] = 0
    if (size := latent_system(trained).continuous_size) is not None:
        shifts[:, size:] = 0
    first = like.rows(torch.zeros(count, dtype=torch.long))
    return replace(first, latents=latent + shifts)


def draw_arithmetic(
    trained: Trained,
    terms: Sequence[Term],
    *,
    label: Label | None = None,
    text: str | None = None,
    noise: float = NOISE,
    weights: Weights = "ema",
    truncation: float | None = None,
) -> Image.Image:
    """The exemplars of each term with their mean at the end of the row, and below the result with neighbours.

    Of a direction, whose seeds cancel out, rows of samples with -2 to 2 times it instead. Raises UserError
    for vectors that do not exist, and conditions that the system lacks.
    """
    labels, texts = None if label is None else [label], () if text is None else (text,)
    total, points = evaluate_expression(trained, terms, weights, truncation)
    if abs(points) < CANCELLED:
        bases = keys_of_seeds(trained, range(STRIPS), labels, texts, weights, truncation)
        return draw_strips(trained, bases, total, weights=weights)
    rows = list[Image.Image]()
    for term in terms:
        if term.seeds:
            keys = keys_of_seeds(trained, term.seeds, labels, texts, weights, truncation)
            mean = replace(keys.rows(torch.tensor([0])), latents=keys.latents.mean(0, keepdim=True))
            shown = [torch.Tensor(trained.decode(k.latents, k.given(), weights)) for k in (keys, mean)]
            rows.append(grids.grid(torch.cat(shown), len(term.seeds) + 1))
    like = keys_of_seeds(trained, [0], labels, texts, weights)
    result = neighbours_of(trained, total, like, noise)
    rows.append(grids.grid(trained.decode(result.latents, result.given(), weights), SIDE))
    return grids.stacked(rows)
