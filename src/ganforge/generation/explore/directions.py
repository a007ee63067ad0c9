"""Directions of a latent space that a generator reacts to, found without labels, and strips along them."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.generation.explore.keys import Keys, latent_system
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

Method = Literal["sefa", "pca"]
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
NUM_ACTIVATIONS = 4_000
NAMED = re.compile(r"(sefa|pca|z)-([0-9]{1,6})")


class Direction(NamedTuple):
    """A direction `[...]` of length 1, and its share of all that the first layer does."""

    values: Tensor
    share: float


def find_directions(
    trained: Trained, bases: Keys, count: int, method: Method = "sefa", weights: Weights = "ema"
) -> list[Direction]:
    """The `count` directions that change most, the strongest first; `bases` has conditions for a pass.

    sefa: eigenvectors of the first layer's weights (Shen and Zhou 2021, "Closed-Form Factorization of Latent
    Semantics in GANs"); the share is that of its squared weights. pca: principal components of the first
    layer's activations of 4,000 samples, and the directions that give them by regression (Harkonen et al.
    2020, "GANSpace"); the share is that of the variance. Raises UserError where no such layer is found.
    """
    system = latent_system(trained)
    size = trained.draw_latents(1).flatten(1).shape[1]
    reach = system.continuous_size or size
    if not 1 <= count <= reach:
        raise UserError(f"--count {count}: expected 1 to {reach}, the numbers of a latent")
    matrix = _first_layer(trained, reach, bases, weights)
    if method == "sefa":
        values, vectors = torch.linalg.eigh(matrix.T @ matrix)
        found, shares = vectors.flip(1).T, values.flip(0).clamp(min=0) / values.clamp(min=0).sum()
    else:
        latents = trained.draw_latents(NUM_ACTIVATIONS, 0, weights).flatten(1)[:, :reach].double()
        centred = latents - latents.mean(0)
        # The activations are centred @ matrix.T, as wide as a layer: decomposed by way of a small matrix.
        _, small = torch.linalg.qr(centred)
        _, lengths, components = torch.linalg.svd(small @ matrix.T, full_matrices=False)
        scores = centred @ (matrix.T @ components.T)
        solved = torch.linalg.lstsq(scores, centred).solution
        found = solved / solved.norm(dim=1, keepdim=True).clamp(min=1e-12)
        shares = lengths.square() / lengths.square().sum()
    whole = torch.zeros(count, size)
    whole[:, :reach] = found[:count].float()
    shape = trained.draw_latents(1).shape[1:]
    return [
        Direction(row.view(shape), float(share)) for row, share in zip(whole, shares[:count], strict=True)
    ]


def named_direction(trained: Trained, name: str, weights: Weights = "ema") -> Tensor | None:
    """The direction `[...]` that a name such as sefa-0, pca-3 or z-12 means for every run; None for others.

    Those of `find_directions`, the strongest first, and single numbers of a latent. Raises UserError for a
    number that the latents do not have.
    """
    if (match := NAMED.fullmatch(name)) is None:
        return None
    method, number, latents = match[1], int(match[2]), trained.draw_latents(1)
    size = latent_system(trained).continuous_size or latents[0].numel()
    if number >= size:
        raise UserError(f"{name}: expected {method}-0 to {method}-{size - 1}, the numbers of a latent")
    if method == "z":
        number_alone = torch.zeros(latents[0].numel())
        number_alone[number] = 1
        return number_alone.view(latents.shape[1:])
    return find_directions(
        trained, any_keys(trained), number + 1, "sefa" if method == "sefa" else "pca", weights
    )[number].values


def any_keys(trained: Trained) -> Keys:
    """A key with some condition of the kinds that the system needs, for `find_directions`."""
    needs_text = "embeddings" in trained.system.needs
    embeddings = torch.zeros(1, trained.run.config.spec.embedding_size) if needs_text else None
    labels = torch.zeros(1, dtype=torch.long) if "labels" in trained.system.conditions else None
    return Keys(trained.draw_latents(1), embeddings, labels)


def draw_strips(
    trained: Trained,
    bases: Keys,
    directions: Tensor | Sequence[Tensor],
    names: Sequence[str] = (),
    steps: Sequence[float] = STEPS,
    weights: Weights = "ema",
) -> Image.Image:
    """Rows of samples with `steps` times a direction: of each base, or for each direction of the first."""
    single = isinstance(directions, Tensor)
    each = [directions] * len(bases.latents) if isinstance(directions, Tensor) else list(directions)
    rows = list[Tensor]()
    for index, direction in enumerate(each):
        base = bases.rows(torch.full((len(steps),), index if single else 0))
        shifts = torch.stack([step * direction.reshape(base.latents.shape[1:]) for step in steps])
        rows.append(trained.decode(base.latents + shifts, base.given(), weights))
    shown = list(names) or [""] * len(each)
    return grids.labelled_grid(torch.cat(rows), shown, [f"{step:+g}" for step in steps])


def _first_layer(trained: Trained, reach: int, bases: Keys, weights: Weights) -> Tensor:
    """The weights float64 `[outputs, reach]` of the first layer whose input begins with the latents."""
    latents = bases.latents[:1]
    expected, found = latents.flatten(1)[:, :reach], list[Tensor]()

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0].detach().flatten(1)[:, :reach].cpu().float()
        if not found and given.shape == expected.shape and torch.equal(given, expected):
            weight = layer.weight.detach().cpu().double()  # type: ignore[operator]
            matrix = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
            found.append(matrix.movedim(1, -1).reshape(-1, matrix.shape[1])[:, :reach])

    layers = (nn.Linear, nn.ConvTranspose2d, nn.Conv2d)
    hooks = [
        module.register_forward_pre_hook(look)
        for module in trained.with_weights(weights).modules()
        if isinstance(module, layers)
    ]
    try:
        trained.decode(latents, bases.rows(torch.tensor([0])).given(), weights)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError(
            f"{trained.run.config.system} has no layer that takes its latents as they are: use a run of "
            "another system, such as dcgan"
        )
    return found[0]
