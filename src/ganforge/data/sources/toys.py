"""Two-dimensional sets whose distribution is known exactly: float32 points `[count, 2, 1, 1]`."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TRAIN_POINTS = 100_000
TEST_POINTS = 10_000
_SEED = 2014  # fixed, so that a name always means the same points

# X ~ N(0, I); the data are X A + b (d2l.ai, "Generative Adversarial Networks").
_GAUSSIAN_A = ((1.0, 2.0), (-0.1, 0.5))
GAUSSIAN_MEAN = torch.tensor([1.0, 2.0])
GAUSSIAN_COVARIANCE = torch.tensor([[1.01, 1.95], [1.95, 4.25]])  # A' A
GAUSSIAN_POINTS = 1000

TOYS = {
    "gaussian": "2-D points: 1,000 of a correlated Gaussian (d2l.ai)",
    "ring": "2-D points: 8 Gaussians on a circle (VEEGAN)",
    "grid": "2-D points: 25 Gaussians on a 5x5 grid (VEEGAN)",
    "spiral": "2-D points: one spiral of one and a half turns",
    "moons": "2-D points: two interleaved half circles",
    "circles": "2-D points: two circles, one in the other",
    "checkerboard": "2-D points: the 8 dark squares of a 4x4 board",
}


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians with `means` float32 `[modes, 2]` and one standard deviation `std`."""

    means: Tensor
    std: float


def ring() -> Mixture:
    """Eight means on the unit circle (VEEGAN section 5; PacGAN 2DRing)."""
    # The end point is left out: an inclusive linspace(0, 2 pi, 8) makes the first and last mode coincide.
    angles = torch.arange(8) * (2 * math.pi / 8)
    return Mixture(torch.stack([angles.cos(), angles.sin()], dim=1), std=0.01)


def grid() -> Mixture:
    """Means on {-4, -2, 0, 2, 4} squared (VEEGAN section 5; PacGAN 2DGrid)."""
    line = torch.arange(-4.0, 5.0, 2.0)
    return Mixture(torch.cartesian_prod(line, line), std=0.05)


def mixture_of(name: str) -> Mixture | None:
    """The mixture that the set `name` is drawn from, if it is one."""
    return {"ring": ring, "grid": grid}[name]() if name in ("ring", "grid") else None


def draw(name: str, split: str) -> tuple[Tensor, Tensor | None]:
    """The points of the set `name`, and their labels where it has modes (ring, grid), moons or circles.

    Labels are int64 `[count]`. The splits are independent draws; the same name and split give the same points
    every time.
    """
    # Philox keys are exact: no two sets or splits share random numbers.
    key = [_SEED, 2 * list(TOYS).index(name) + (split == "test")]
    random = np.random.Generator(np.random.Philox(key=key))
    train = GAUSSIAN_POINTS if name == "gaussian" else TRAIN_POINTS
    count = train if split == "train" else TEST_POINTS
    if name == "gaussian":
        points = random.standard_normal((count, 2)) @ np.array(_GAUSSIAN_A) + GAUSSIAN_MEAN.numpy()
        return _as_points(points), None
    if name == "spiral":
        return _as_points(_spiral(random, count)), None
    if name == "moons":
        modes = random.integers(2, size=count)
        return _as_points(_moons(random, modes)), torch.from_numpy(modes)
    if name == "circles":
        modes = random.integers(2, size=count)
        return _as_points(_circles(random, modes)), torch.from_numpy(modes)
    if name == "checkerboard":
        return _as_points(_checkerboard(random, count)), None
    mixture = mixture_of(name)
    assert mixture is not None
    modes = random.integers(len(mixture.means), size=count)
    points = mixture.means.double().numpy()[modes] + mixture.std * random.standard_normal((count, 2))
    return _as_points(points), torch.from_numpy(modes)


def _as_points(points: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(points.astype(np.float32)).reshape(-1, 2, 1, 1)


def _spiral(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    # Radius proportional to the angle; the root makes the density along the arc about even.
    angle = 3 * np.pi * np.sqrt(random.random(count))
    curve = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (angle / (3 * np.pi))[:, None]
    return curve + 0.02 * random.standard_normal((count, 2))


def _moons(random: np.random.Generator, modes: NDArray[np.int64]) -> NDArray[np.float64]:
    angle = np.pi * random.random(len(modes))
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return np.where(modes[:, None] == 0, outer, inner) + 0.05 * random.standard_normal((len(modes), 2))


def _circles(random: np.random.Generator, modes: NDArray[np.int64]) -> NDArray[np.float64]:
    angle = 2 * np.pi * random.random(len(modes))
    radius = np.where(modes == 0, 1.0, 0.5)[:, None]
    curve = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return curve + 0.03 * random.standard_normal((len(modes), 2))


def _checkerboard(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    rows, columns = random.integers(4, size=count), random.integers(2, size=count)
    corner = np.stack([2 * columns + rows % 2, rows], axis=1)
    return corner + random.random((count, 2)) - 2
