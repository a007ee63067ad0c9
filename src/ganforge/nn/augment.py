"""Augmentation of discriminator inputs: DiffAugment, and the pipeline of ADA with its controller.

Both are drawn for every sample, and both are linear in the pixels (affine in the colours) once drawn, so
that gradients of any order go through them to the generator or to a penalty. Images are
`[batch, channels, height, width]` in [-1, 1], in which 0 is grey; results may leave that range, as in the
released codes. Lower precisions are computed in float32. Nothing is read back from the device.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

# DiffAugment


def diff_augment(images: Tensor, policy: Iterable[str]) -> Tensor:
    """`images` augmented by each of `policy` in turn: "color", "translation", "cutout".

    Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738, section
    3.2, with the ranges and the roundings of its released code.
    """
    images = _at_least_float32(images)
    for name in policy:
        images = _DIFF_AUGMENT[name](images)
    return images


def _color(images: Tensor) -> Tensor:
    """Brightness by up to 0.5, saturation by a factor of 0 to 2, contrast by one of 0.5 to 1.5.

    Contrast is about the mean of all pixels. Saturation leaves grey images as they are. Alpha, a fourth
    channel, stays.
    """
    if images.shape[1] == 4:
        return torch.cat([_color(images[:, :3]), images[:, 3:]], 1)
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + (brightness - 0.5)
    luma = images.mean(1, keepdim=True)
    images = (images - luma) * (2 * saturation) + luma
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _translation(images: Tensor) -> Tensor:
    """A shift by whole pixels, up to an eighth of the image along each axis; zeros come in."""
    for axis in (2, 3):
        size = images.shape[axis]
        largest = int(size / 8 + 0.5)
        shifts = torch.randint(-largest, largest + 1, (len(images), 1), device=images.device)
        places = torch.arange(size, device=images.device) + shifts
        inside = (places >= 0) & (places < size)
        shape = [len(images), 1, 1, 1]
        shape[axis] = size
        picked = images.gather(axis, places.clamp(0, size - 1).view(shape).expand_as(images))
        images = picked * inside.view(shape)
    return images


def _cutout(images: Tensor) -> Tensor:
    """Zeros in a rectangle of half the sides, its centre anywhere in the image."""
    cuts = []
    for axis in (2, 3):
        size = images.shape[axis]
        length = int(size / 2 + 0.5)
        centres = torch.randint(size + 1 - length % 2, (len(images), 1), device=images.device)
        distances = torch.arange(size, device=images.device) - (centres - length // 2)
        cuts.append((distances >= 0) & (distances < length))
    return images * ~(cuts[0][:, None, :, None] & cuts[1][:, None, None, :])


_DIFF_AUGMENT = {"color": _color, "translation": _translation, "cutout": _cutout}
DIFF_AUGMENTATIONS = tuple(_DIFF_AUGMENT)


# ADA


class Geometry(NamedTuple):
    """The moves of each sample, in the order in which they are made; turns in radians, `[batch, 1]`."""

    mirror: Tensor
    """-1 exchanges left and right, 1 does nothing."""
    quarters: Tensor
    """A multiple of a quarter turn."""
    pixels: Tensor
    """Shift by whole pixels, to the right and down: `[batch, 2]`."""
    scale: Tensor
    turn: Tensor
    stretch: Tensor
    """Factor of the width, and divisor of the height."""
    second_turn: Tensor
    shift: Tensor
    """Shift by fractions of a pixel, in pixels: `[batch, 2]`."""


class Colours(NamedTuple):
    """The changes of each sample's colours, in the order in which they are made, `[batch, 1, 1, 1]`."""

    brightness: Tensor
    """Added to every pixel."""
    contrast: Tensor
    """Factor about grey."""
    luma: Tensor
    """-1 reverses the luma, the mean of a pixel's channels, and keeps its chroma; 1 does nothing."""
    hue: Tensor
    """Turn of the chroma about the luma axis, in radians."""
    saturation: Tensor
    """Factor of the chroma."""


class AdaptiveAugmentation(nn.Module):
    """Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676.

    ADA with the pipeline "bgc" of appendix B, which the paper found best: moves by whole pixels, other
    geometry, colours, each with the probability p; p adapts so that the mean sign of the discriminator's
    logits of real images, r_t of section 3, approaches `target`. Constants are those of the released code.

    Differs from the paper: p is at most 0.8, below which the paper expects no leaks (section 2.2); moved
    images are interpolated bilinearly, without the orthogonal wavelet filter that oversamples them; they
    are reflected at their edges as often as it takes, where the released code reflects once and then shows
    zeros. The filters and corruptions of appendix B, which "bgc" leaves out, are left out.
    """

    probability: Tensor
    sign_sum: Tensor
    calls: Tensor

    INTERVAL = 4
    """Minibatches between two changes of p."""
    RISE = 500_000
    """Images in which p could go from 0 to 1."""
    HIGHEST = 0.8

    def __init__(self, target: float = 0.6) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("probability", torch.tensor(0.0))
        self.register_buffer("sign_sum", torch.tensor(0.0))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, images: Tensor) -> Tensor:
        """`images` augmented, each by a draw of its own."""
        images = _at_least_float32(images)
        count, _, height, width = images.shape
        with torch.autocast(images.device.type, enabled=False):
            geometry = draw_geometry(count, height, width, self.probability)
            images = warp(images, inverse_of(geometry))
            return recolour(images, draw_colours(count, self.probability))

    @torch.no_grad()
    def adapt(self, real_logits: Tensor, num_images: int) -> None:
        """Update with a minibatch of `num_images`; every fourth call moves p towards its target.

        p moves by the number of images since then, over 500,000. A logit that is NaN has the sign 0, so that
        p survives an update that is skipped for it.
        """
        self.sign_sum += real_logits.float().sign().mean()
        self.calls.add_(1).remainder_(self.INTERVAL)
        due = self.calls == 0
        excess = self.sign_sum / self.INTERVAL - self.target
        move = due * excess.sign() * (self.INTERVAL * num_images / self.RISE)
        self.probability.add_(move).clamp_(0, self.HIGHEST)
        self.sign_sum.mul_(~due)


def draw_geometry(count: int, height: int, width: int, probability: Tensor) -> Geometry:
    """The moves of `count` images, each made with `probability`, as in appendix B.

    The two turns, before and after the stretch, together have that probability.
    """
    device = probability.device

    def sometimes(values: Tensor, neutral: float, probability: Tensor = probability) -> Tensor:
        return torch.where(torch.rand(count, 1, device=device) < probability, values, neutral)

    def uniform(numbers: int) -> Tensor:
        return 2 * torch.rand(count, numbers, device=device) - 1

    def normal(numbers: int) -> Tensor:
        return torch.randn(count, numbers, device=device)

    def of_image(shares: Tensor) -> Tensor:
        return torch.stack((shares[:, 0] * width, shares[:, 1] * height), 1)

    one_of_two = 1 - (1 - probability).sqrt()
    return Geometry(
        mirror=sometimes(1.0 - 2 * torch.randint(2, (count, 1), device=device), 1.0),
        quarters=sometimes(math.pi / 2 * torch.randint(4, (count, 1), device=device), 0.0),
        pixels=of_image(sometimes(uniform(2) / 8, 0.0)).round(),
        scale=sometimes(torch.exp2(0.2 * normal(1)), 1.0),
        turn=sometimes(math.pi * uniform(1), 0.0, one_of_two),
        stretch=sometimes(torch.exp2(0.2 * normal(1)), 1.0),
        second_turn=sometimes(math.pi * uniform(1), 0.0, one_of_two),
        shift=of_image(sometimes(normal(2) / 8, 0.0)),
    )


def inverse_of(geometry: Geometry) -> Tensor:
    """Where each point of the moved image was before, as affine maps `[batch, 2, 3]`.

    Points are (right, down) in pixels from the centre of the image.
    """
    scale = geometry.scale
    inner = _scaling(1 / scale, 1 / scale) @ _rotation(-geometry.turn)
    inner = inner @ _scaling(1 / geometry.stretch, geometry.stretch) @ _rotation(-geometry.second_turn)
    outer = _scaling(geometry.mirror, torch.ones_like(scale)) @ _rotation(-geometry.quarters)
    offset = outer @ (inner @ geometry.shift.unsqueeze(2) + geometry.pixels.unsqueeze(2))
    return torch.cat((outer @ inner, -offset), 2)


def _scaling(right: Tensor, down: Tensor) -> Tensor:
    """Diagonal matrices `[batch, 2, 2]`."""
    return torch.diag_embed(torch.cat((right, down), 1))


def _rotation(angle: Tensor) -> Tensor:
    """Matrices `[batch, 2, 2]` that turn by `angle` `[batch, 1]`."""
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, -sin, sin, cos), 1).view(-1, 2, 2)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Images whose point x shows what `images` show at `inverse` (x, 1), as `inverse_of` gives it.

    Bilinear between pixels; outside, the image is reflected about the centres of its outermost pixels.
    """
    height, width = images.shape[2:]
    points = inverse.to(images.dtype).view(-1, 6, 1, 1)
    across = torch.arange(width, device=images.device) - (width - 1) / 2
    down = (torch.arange(height, device=images.device) - (height - 1) / 2).unsqueeze(1)
    right = points[:, 0] * across + points[:, 1] * down + points[:, 2]
    below = points[:, 3] * across + points[:, 4] * down + points[:, 5]
    grid = torch.stack((right * (2 / max(width - 1, 1)), below * (2 / max(height - 1, 1))), 3)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def draw_colours(count: int, probability: Tensor) -> Colours:
    """The changes of `count` images' colours, each made with `probability`, as in appendix B."""
    shape, device = (count, 1, 1, 1), probability.device

    def sometimes(values: Tensor, neutral: float) -> Tensor:
        return torch.where(torch.rand(shape, device=device) < probability, values, neutral)

    return Colours(
        brightness=sometimes(0.2 * torch.randn(shape, device=device), 0.0),
        contrast=sometimes(torch.exp2(0.5 * torch.randn(shape, device=device)), 1.0),
        luma=sometimes(1.0 - 2 * torch.randint(2, shape, device=device), 1.0),
        hue=sometimes(math.pi * (2 * torch.rand(shape, device=device) - 1), 0.0),
        saturation=sometimes(torch.exp2(torch.randn(shape, device=device)), 1.0),
    )


def recolour(images: Tensor, colours: Colours) -> Tensor:
    """`images` with their colours changed.

    Each change acts on the luma (the mean of a pixel's channels) or on the chroma (the rest) alone, or is the
    same factor of both, so that all five come down to one factor for each. Grey images have no
    chroma; hue is a notion of three channels. Alpha, a fourth channel, stays.
    """
    if images.shape[1] == 4:
        return torch.cat([recolour(images[:, :3], colours), images[:, 3:]], 1)
    brightness, contrast, sign, hue, saturation = colours
    luma = images.mean(1, keepdim=True)
    chroma = images - luma
    if images.shape[1] == 3:
        # The cross product with the luma axis (1, 1, 1) / sqrt 3: a quarter turn of the hue.
        quarter = (chroma.roll(1, 1) - chroma.roll(-1, 1)) / math.sqrt(3)
        chroma = hue.cos() * chroma + hue.sin() * quarter
    return (luma + brightness) * (contrast * sign) + chroma * (contrast * saturation)


def _at_least_float32(images: Tensor) -> Tensor:
    """`images`, in float32 where their precision is lower."""
    return images.to(torch.promote_types(images.dtype, torch.float32))
