"""Figures of a run: reconstructions, completions, a map of its latents."""

from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import Batch, as_images
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.pairs import read_sources
from ganforge.errors import UserError
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

Kind = Literal["reconstructions", "completions", "manifold"]
BACKGROUND = -1.0
SMALLEST_SHARE = 0.01


def draw_use(
    trained: Trained,
    dataset: Dataset | None,
    kind: Kind,
    count: int = 10,
    rows: int | None = None,
    seed: int = 0,
    weights: Weights = "ema",
) -> Image.Image:
    """A grid of `count` columns; a manifold needs no `dataset`.

    reconstructions: held-out images, and below each its reconstruction. completions: held-out images, their
    first `rows` rows (left out: half), and four completions of these. manifold: decoded pairs of standard
    Gaussian latents on a grid of equal probability (Kingma and Welling 2013, figure 4). Raises UserError
    where the system has no such figure.
    """
    if kind == "manifold":
        return grids.grid(_manifold(trained, count, weights), count, gap=0)
    assert dataset is not None
    _, images = held_out(dataset)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed % 2**64))[:count]
    labels = None if images.labels is None else images.labels[chosen]
    batch = Batch(as_images(images.read(chosen)), labels)
    if kind == "reconstructions":
        lines = [batch.images, *trained.call("reconstruct", [batch.images], weights=weights)]
    else:
        height = batch.images.shape[2]
        rows = height // 2 if rows is None else rows
        if not 0 < rows < height:
            raise UserError(f"--rows {rows}: expected 1 to {height - 1}, the images have {height}")
        kept = batch.images.clone()
        kept[:, :, rows:] = BACKGROUND
        part = (batch.images, rows, batch)
        lines = [batch.images, kept]
        for way in range(4):
            lines += trained.call("complete", [part], seed=seed + way, weights=weights)
    return grids.grid(torch.cat(lines), len(chosen))


def draw_reconstructions(
    trained: Trained, images: str, count: int = 10, weights: Weights = "ema"
) -> tuple[Image.Image, dict[str, str]]:
    """The first `count` of `images`, an image, a folder or a .zip, and below each its reconstruction.

    Images are brought to the run's shape as its data were; those that cannot be read are skipped: name ->
    reason. Raises UserError where none can be read, or the system reconstructs none.
    """
    config = trained.run.config
    if config.spec.values == "points":
        raise UserError("--images: this run is of 2-D points: leave it out")
    pixels, _, skipped = read_sources(
        images, config.spec.shape, config.data, count, True, config.spec.bits, "--images"
    )
    if config.spec.binary:
        pixels = torch.where(pixels > 127, 255, 0).to(torch.uint8)
    originals = as_images(pixels)
    made = torch.cat(list(trained.call("reconstruct", [originals], weights=weights)))
    return grids.grid(torch.cat([originals, made]), len(originals)), skipped


def _manifold(trained: Trained, side: int, weights: Weights) -> Tensor:
    latents = trained.draw_latents(1)
    if latents.shape != (1, 2):
        raise UserError(
            f"a map needs two latents, this run has {latents[0].numel()}: train one with --latent-size 2"
        )
    shares = torch.linspace(SMALLEST_SHARE, 1 - SMALLEST_SHARE, side)
    places = torch.distributions.Normal(0, 1).icdf(shares)
    down, across = torch.meshgrid(places.flip(0), places, indexing="ij")
    return trained.decode(torch.stack([across.flatten(), down.flatten()], 1), weights=weights)
