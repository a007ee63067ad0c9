"""Source images derived from their targets: edges, grey, blurred, with a hole, shrunk.

Everything maps uint8 `[count, channels, height, width]` to uint8, all but `downscale` of the same height and
width, and treats each image on its own.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ganforge.data.bicubic import resize
from ganforge.errors import UserError

EDGE_THRESHOLD = 0.03
"""In brightness from 0 to 1 per pixel; a sharp step of the full range has 0.375 after the smoothing."""
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, what Pillow's grey is
HOLE = 128  # mid-grey, which as a value in [-1, 1] is 0
SMOOTH = (0.25, 0.5, 0.25)
SLOPE = (-0.5, 0.0, 0.5)
_CHUNK = 32  # images, so that intermediate results stay in the CPU's cache


def parse_pairs(pairs: str) -> tuple[str, int]:
    """The name and the number of "edges" or "downscale:4"; the number is 0 where there is none."""
    name, _, number = pairs.partition(":")
    return name, int(number) if number.isdecimal() else 0


def is_derived(pairs: str) -> bool:
    """Whether the sources of these pairs are derived from the targets."""
    return parse_pairs(pairs)[0] in ("edges", "grey", "blur", "mask", "downscale")


def derived_shape(pairs: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Channels, height and width of the sources of targets of this `shape`."""
    name, factor = parse_pairs(pairs)
    channels, height, width = shape
    if name == "downscale":
        return channels, height // factor, width // factor
    return 1 if name in ("edges", "grey") else channels, height, width


def check_derivation(pairs: str, jitter: int, height: int, width: int) -> None:
    """Raise UserError where `pairs` cannot be derived from images of this size."""
    _, factor = parse_pairs(pairs)
    if factor and (height % factor or width % factor):
        raise UserError(
            f"--pairs {pairs}: {width}x{height} pixels are not divisible by {factor}: choose another"
        )
    if factor and jitter:
        raise UserError(f"--jitter {jitter} does not go with --pairs {pairs}: leave it out")


def derivation(pairs: str, height: int, width: int, jitter: int = 0) -> Callable[[Tensor], Tensor]:
    """The function from targets to the sources of `pairs`; raises UserError as `check_derivation`."""
    check_derivation(pairs, jitter, height, width)
    name, factor = parse_pairs(pairs)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "edges": edges,
        "grey": grey,
        "blur": blur,
        "mask": mask,
        "downscale": lambda pixels: downscale(pixels, factor),
    }

    def derive(pixels: Tensor) -> Tensor:
        return torch.cat([functions[name](part) for part in pixels.split(_CHUNK)])

    return derive


def grey(pixels: Tensor) -> Tensor:
    """The brightness, `[count, 1, height, width]`."""
    if pixels.shape[1] == 1:
        return pixels.clone()
    weights = torch.tensor(LUMA).view(1, 3, 1, 1)
    return _to_bytes((pixels.float() * weights).sum(1, keepdim=True))


def edges(pixels: Tensor) -> Tensor:
    """Black lines, one pixel wide, on white where the brightness or a colour jumps: `[count, 1, ...]`.

    A binomial smoothing over 3x3, Sobel's gradient of each channel, of which the longest counts, thinned to
    its maxima along its own direction, rounded to 45 degrees, and thresholded at `EDGE_THRESHOLD`: Canny's
    detector (1986) without its second threshold.
    """
    light = _along(_along(pixels.float() / 255, SMOOTH, 3), SMOOTH, 2)
    across = _along(_along(light, SLOPE, 3), SMOOTH, 2)
    down = _along(_along(light, SLOPE, 2), SMOOTH, 3)
    across, down = _longest(across, down)
    length = torch.hypot(across, down)
    around = pad(length, (1, 1, 1, 1))
    height, width = length.shape[2:]

    def peak(step_down: int, step_across: int) -> Tensor:
        """Whether the gradient is the longest of three in a row; of two equal ones the first."""
        rows, columns = 1 + step_down, 1 + step_across
        after = around[:, :, rows : rows + height, columns : columns + width]
        rows, columns = 1 - step_down, 1 - step_across
        before = around[:, :, rows : rows + height, columns : columns + width]
        return (length > before + 1e-6) & (length >= after - 1e-6)

    flat = math.tan(math.pi / 8)
    level, steep = down.abs() <= flat * across.abs(), across.abs() <= flat * down.abs()
    diagonal = torch.where(across * down > 0, peak(1, 1), peak(1, -1))
    thin = torch.where(level, peak(0, 1), torch.where(steep, peak(1, 0), diagonal))
    return torch.where(thin & (length > EDGE_THRESHOLD), 0, 255).to(torch.uint8)


def _longest(across: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """The longest gradient of all channels, `[count, 1, height, width]`; of two equal ones the first."""
    best_across, best_down = across[:, :1], down[:, :1]
    for channel in range(1, across.shape[1]):
        one, other = across[:, channel, None], down[:, channel, None]
        longer = one.square() + other.square() > best_across.square() + best_down.square()
        best_across, best_down = torch.where(longer, one, best_across), torch.where(longer, other, best_down)
    return best_across, best_down


def downscale(pixels: Tensor, factor: int) -> Tensor:
    """`pixels` with both sides divided by `factor`, by MATLAB's antialiased bicubic resampling."""
    height, width = pixels.shape[2:]
    return _to_bytes(resize(pixels.float(), height // factor, width // factor))


def blur(pixels: Tensor) -> Tensor:
    """`pixels` under a Gaussian whose standard deviation is 1/32 of the shorter side, at least 1 pixel."""
    std = max(1.0, min(pixels.shape[2:]) / 32)
    reach = math.ceil(3 * std)
    bell = [math.exp(-0.5 * (step / std) ** 2) for step in range(-reach, reach + 1)]
    weights = [height / sum(bell) for height in bell]
    return _to_bytes(_along(_along(pixels.float(), weights, 3), weights, 2))


def mask(pixels: Tensor) -> Tensor:
    """`pixels` with a mid-grey hole in the centre, half as high and half as wide.

    The central region of Pathak et al. 2016, arXiv 1604.07379.
    """
    height, width = pixels.shape[2:]
    holed = pixels.clone()
    top, left = height // 4, width // 4
    holed[:, :, top : top + height // 2, left : left + width // 2] = HOLE
    return holed


def _along(images: Tensor, weights: Sequence[float], dim: int) -> Tensor:
    """Every row (`dim` 3) or column (2) correlated with `weights`, the border repeated.

    A sum of shifted images is many times faster on a CPU than a convolution of one channel.
    """
    reach, length = len(weights) // 2, images.shape[dim]
    wide = pad(images, (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach), mode="replicate")
    total = torch.zeros_like(images)
    for start, weight in enumerate(weights):
        if weight:
            total.add_(wide.narrow(dim, start, length), alpha=weight)
    return total


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
