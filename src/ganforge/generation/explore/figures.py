"""Figures of single images: reconstructions, completions; and a map of two latents."""

import torch
from PIL import Image
from torch import Tensor

from ganforge.data.batch import Batch, as_images, conditions
from ganforge.data.dataset import Dataset, held_out
from ganforge.data.pairs import read_sources
from ganforge.errors import UserError
from ganforge.generation.explore.keys import latent_system
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, Weights

NUM_COMPLETIONS = 4
BACKGROUND = -1.0
SMALLEST_SHARE = 0.01


def held_out_images(dataset: Dataset, count: int, seed: int = 0) -> Batch:
    """`count` of the images that were not trained on, or all there are, with their labels."""
    _, images = held_out(dataset)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed % 2**64))[:count]
    labels = None if images.labels is None else images.labels[chosen]
    return Batch(as_images(images.read(chosen)), labels)


def own_images(
    trained: Trained, place: str, count: int | None = None, option: str = "--images"
) -> tuple[Tensor, dict[str, str]]:
    """The first `count` images of `place`, an image, a folder or a .zip, as the run's data are.

    Those that cannot be read are skipped: name -> reason. Raises UserError where none can be read.
    """
    config = trained.run.config
    if config.spec.values == "points":
        raise UserError(f"{option}: this run is of 2-D points: leave it out")
    pixels, _, skipped = read_sources(
        place, config.spec.shape, config.data, count, True, config.spec.bits, option
    )
    if config.spec.binary:
        pixels = torch.where(pixels > 127, 255, 0).to(torch.uint8)
    return as_images(pixels), skipped


def draw_reconstructions(trained: Trained, images: Tensor, weights: Weights = "ema") -> Image.Image:
    """`images` float `[n, c, h, w]` in [-1, 1], and below each its reconstruction.

    Raises UserError where the system reconstructs none.
    """
    made = torch.cat(list(trained.call("reconstruct", [images], weights=weights)))
    return grids.grid(torch.cat([images, made]), len(images))


def draw_completions(
    trained: Trained, batch: Batch, rows: int | None = None, seed: int = 0, weights: Weights = "ema"
) -> Image.Image:
    """Images, their first `rows` rows (left out: half), and four completions of these.

    Raises UserError for other numbers of rows than the images have, and where the system completes none.
    """
    height = batch.images.shape[2]
    rows = height // 2 if rows is None else rows
    if not 0 < rows < height:
        raise UserError(f"--rows {rows}: expected 1 to {height - 1}, the images have {height}")
    kept = batch.images.clone()
    kept[:, :, rows:] = BACKGROUND
    lines = [batch.images, kept]
    for way in range(NUM_COMPLETIONS):
        lines += trained.call("complete", [(batch.images, rows, batch)], seed=seed + way, weights=weights)
    return grids.grid(torch.cat(lines), len(batch.images))


def draw_manifold(trained: Trained, side: int, weights: Weights = "ema") -> Image.Image:
    """Decoded pairs of latents on a grid of equal probability (Kingma and Welling 2013, figure 4).

    The first latent goes across, the second upwards; of a conditional system all are of its first class.
    Raises UserError where there are not two.
    """
    latents = trained.draw_latents(1)
    if latents.shape != (1, 2):
        raise UserError(
            f"a map needs two latents, this run has {latents[0].numel()}: train one with --latent-size 2"
        )
    shares = torch.linspace(SMALLEST_SHARE, 1 - SMALLEST_SHARE, side)
    system = latent_system(trained)
    prior = system.prior[0]
    if prior.kind == "uniform":
        places = prior.low + shares * (prior.high - prior.low)
    else:
        places = torch.distributions.Normal(0, 1).icdf(shares)
    down, across = torch.meshgrid(places.flip(0), places, indexing="ij")
    pairs = torch.stack([across.flatten(), down.flatten()], 1)
    classes = torch.zeros(len(pairs), dtype=torch.long) if "labels" in system.conditions else None
    given = None if classes is None else conditions(labels=classes)
    return grids.grid(torch.Tensor(trained.decode(pairs, given, weights)), side, gap=0)
