"""One number of a latent, or one condition, changed at a time: what each stands for."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import conditions
from ganforge.errors import UserError
from ganforge.generation.explore.keys import Keys, latent_system
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights
from ganforge.system import HasCodes, Prior

COLUMNS = 9
MOST_ROWS = 16
REACH = 3.0  # standard deviations


def draw_traversal(
    trained: Trained,
    base: Keys,
    what: str = "auto",
    dimensions: Sequence[int] = (),
    columns: int = COLUMNS,
    weights: Weights = "ema",
) -> tuple[Image.Image, str]:
    """A labelled grid, and what its rows are.

    codes: a row for each code of InfoGAN, all its categories or its range. classes: a row for each latent of
    `base`, a column for each class. latents: a row for each of `dimensions` (left out: those that change the
    image most) from -3 to 3 standard deviations, of uniform latents over their range. auto: the first of
    these that the system has. Raises UserError for what the system does not have.
    """
    system = latent_system(trained)
    if what == "auto":
        has_classes = "labels" in system.conditions
        what = "codes" if isinstance(system, HasCodes) else "classes" if has_classes else "latents"
    if what == "codes":
        return _codes(trained, base, columns, weights), "a row for each code"
    if what == "classes":
        return _classes(trained, base, weights), "a column for each class"
    size = system.continuous_size or base.latents[0].numel()
    if not all(0 <= number < size for number in dimensions):
        raise UserError(f"--dimensions: expected numbers from 0 to {size - 1}, as a latent has {size}")
    prior, first = system.prior[0], base.rows(torch.tensor([0]))
    uniform = prior.kind == "uniform"
    shown = torch.linspace(prior.low if uniform else -REACH, prior.high if uniform else REACH, columns)
    chosen = list(dimensions) or strongest_numbers(trained, first, size, weights)
    values = [_values_of(prior, number, shown) for number in chosen]
    rows = [_along(trained, first, n, steps, weights) for n, steps in zip(chosen, values, strict=True)]
    grid = grids.labelled_grid(torch.cat(rows), [f"z{n}" for n in chosen], [f"{v:+.2g}" for v in shown])
    return grid, f"a row for each of {len(chosen)} numbers of the latent"


def _values_of(prior: Prior, number: int, shown: Tensor) -> Tensor:
    """The values of a number of the latent that are `shown` as standard deviations, or as they are."""
    if prior.kind != "correlated" or prior.mean is None or prior.root is None:
        return shown
    return prior.mean[number].cpu() + prior.root[number].norm().cpu() * shown


def _along(trained: Trained, base: Keys, number: int, values: Tensor, weights: Weights) -> Tensor:
    keys = base.rows(torch.zeros(len(values), dtype=torch.long))
    flat = keys.latents.flatten(1).clone()
    flat[:, number] = values
    return trained.decode(flat.view_as(keys.latents), keys.given(), weights)


def strongest_numbers(trained: Trained, base: Keys, size: int, weights: Weights = "ema") -> list[int]:
    """The numbers of a latent whose ends differ most in the image, the strongest first."""
    prior = latent_system(trained).prior[0]
    shown = [prior.low, prior.high] if prior.kind == "uniform" else [-REACH, REACH]
    effects = []
    for number in range(size):
        ends = _values_of(prior, number, torch.tensor(shown))
        low, high = _along(trained, base, number, ends, weights)
        effects.append(float((high - low).square().mean()))
    return torch.tensor(effects).argsort(descending=True)[:MOST_ROWS].tolist()


def _classes(trained: Trained, base: Keys, weights: Weights) -> Image.Image:
    names = trained.run.config.spec.class_names
    if "labels" not in latent_system(trained).conditions:
        raise UserError(f"{trained.run.config.system} takes no classes: leave --of classes out")
    count = len(base.latents)
    latents = base.latents.repeat_interleave(len(names), 0)
    labels = torch.arange(len(names)).repeat(count)
    images = trained.decode(latents, conditions(labels=labels), weights)
    return grids.labelled_grid(images, [""] * count, [name[:8] for name in names])


def _codes(trained: Trained, base: Keys, columns: int, weights: Weights) -> Image.Image:
    system = latent_system(trained)
    if not isinstance(system, HasCodes):
        raise UserError(f"{trained.run.config.system} has no codes: leave --of codes out")
    first, rows, names = base.rows(torch.tensor([0])), list[Tensor](), list[str]()
    while True:
        values = _values_of_code(trained, first, len(rows), columns)
        if values is None:
            break
        latents = first.latents.expand(len(values), -1)
        latents = system.set_code(latents, len(rows), values)
        names.append(f"code {len(rows)}: {values[0]:g} to {values[-1]:g}")
        rows.append(trained.decode(latents, None, weights))
    widest = max(len(row) for row in rows)
    filled = [torch.cat([row, torch.ones(widest - len(row), *row.shape[1:])]) for row in rows]
    return grids.labelled_grid(torch.cat(filled), names, [""] * widest)


def _values_of_code(trained: Trained, first: Keys, index: int, columns: int) -> Tensor | None:
    """The values of the code `index`: its categories, or a range; None where there is no such code."""
    config = trained.run.config.config
    categories = list(config["categorical_codes"])
    if index < len(categories):
        return torch.arange(float(categories[index]))
    index -= len(categories)
    if index < config["uniform_codes"]:
        return torch.linspace(-1, 1, columns)
    is_gaussian = index < config["uniform_codes"] + config["gaussian_codes"]
    return torch.linspace(-REACH, REACH, columns) if is_gaussian else None
