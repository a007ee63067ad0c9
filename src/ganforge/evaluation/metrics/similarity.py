"""How similar images are: PSNR and SSIM to an original, sharpness, and MS-SSIM among samples of one class.

PSNR, luma and gradients take values from 0 to 255 and give one float64 for each image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganforge.errors import UserError

LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, studio swing: 16 is black, 235 white
PEAK = 255.0
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_SIZE, WINDOW_STD = 11, 1.5
K1, K2 = 0.01, 0.03
NUM_PAIRS = 100


def luma(pixels: Tensor) -> Tensor:
    """Y float64 `[count, height, width]` of uint8 `[count, 1 or 3, height, width]`, as MATLAB's `rgb2ycbcr`.

    16 + 65.481 R + 128.553 G + 24.966 B with R, G, B in [0, 1], not rounded. Grey images have no luma to
    take: they are returned as they are, from 0 to 255.
    """
    values = pixels.double()
    if pixels.shape[1] == 1:
        return values[:, 0]
    weights = torch.tensor(LUMA, dtype=torch.float64, device=pixels.device) / 255
    return 16 + torch.einsum("c,nchw->nhw", weights, values)


def without_border(images: Tensor, border: int) -> Tensor:
    """`images` `[..., height, width]` without `border` rows and columns on each side."""
    height, width = images.shape[-2:]
    return images[..., border : height - border, border : width - border]


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """10 log10(255^2 / mean squared error) in dB, `[count]`; infinite where they are equal."""
    errors = (images.double() - originals.double()).square().flatten(1).mean(1)
    return 10 * (PEAK**2 / errors).log10()


def mean_gradient(images: Tensor) -> Tensor:
    """The mean length of the gradient `[count]` of `[count, height, width]`, in levels per pixel.

    By differences to the next pixel across and down. The sharper an image, or the noisier, the longer.
    """
    values = images.double()
    across = values[:, :-1, 1:] - values[:, :-1, :-1]
    down = values[:, 1:, :-1] - values[:, :-1, :-1]
    return torch.hypot(across, down).flatten(1).mean(1)


def num_scales(height: int, width: int) -> int:
    """How many of the five scales an image has room for: each halves it, and an 11-pixel window must fit."""
    scales, side = 0, min(height, width)
    while side >= WINDOW_SIZE and scales < len(SCALE_WEIGHTS):
        scales, side = scales + 1, side // 2
    return scales


def ssim(left: Tensor, right: Tensor) -> Tensor:
    """The structural similarity of each pair, `[n]`, of images `[n, channels, height, width]` in [0, 255].

    The mean of luminance times contrast-structure over channels and all places where the Gaussian window
    (11x11, standard deviation 1.5) fits, with K1 = 0.01, K2 = 0.03, L = 255. 1 for equal images, at most 1.
    In float64. Raises UserError for unequal shapes or images smaller than the window. Wang et al. 2004.
    """
    luminance, contrast = _terms(left, right)
    return (luminance * contrast).flatten(1).mean(1)


def ms_ssim(left: Tensor, right: Tensor) -> Tensor:
    """The multi-scale structural similarity `[n]` of images `[n, channels, height, width]` in [0, 255].

    `l_M^w_M prod_j cs_j^w_j`, each scale averaged 2x2 from the one before, with the weights of Wang et al.
    2003. Five scales need a side of 176 pixels; smaller images get as many as fit, whose weights are
    divided by their sum: `num_scales` says how many. A negative mean counts as 0. Raises UserError as `ssim`.
    """
    scales = num_scales(*left.shape[2:]) if left.dim() == 4 else 0
    if not scales:
        raise UserError(f"images {list(left.shape)}: MS-SSIM needs sides of {WINDOW_SIZE} pixels or more")
    weights = torch.tensor(SCALE_WEIGHTS[:scales], dtype=torch.float64, device=left.device)
    weights = weights / weights.sum()
    result = torch.ones(left.shape[:2], dtype=torch.float64, device=left.device)
    left, right = left.double(), right.double()
    for scale, weight in enumerate(weights):
        luminance, contrast = _terms(left, right)
        last = scale == scales - 1
        term = (luminance * contrast if last else contrast).flatten(2).mean(2).clamp(min=0)
        result = result * term**weight
        left, right = F.avg_pool2d(left, 2), F.avg_pool2d(right, 2)
    return result.mean(1)


def _terms(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure at each place where the window fits, float64."""
    if left.dim() != 4 or left.shape != right.shape or min(left.shape[2:]) < WINDOW_SIZE:
        raise UserError(
            f"images {list(left.shape)} and {list(right.shape)}: expected equal shapes [n, channels, "
            f"height, width] with sides of {WINDOW_SIZE} pixels or more"
        )
    left, right = left.double(), right.double()
    places = torch.arange(WINDOW_SIZE, dtype=torch.float64, device=left.device) - (WINDOW_SIZE - 1) / 2
    line = (-places.square() / (2 * WINDOW_STD**2)).exp()
    line = line / line.sum()

    def smooth(images: Tensor) -> Tensor:
        flat = images.flatten(0, 1)[:, None]
        across = F.conv2d(flat, line.view(1, 1, 1, -1))
        return F.conv2d(across, line.view(1, 1, -1, 1)).unflatten(0, images.shape[:2])

    mean_left, mean_right = smooth(left), smooth(right)
    variance_left = smooth(left * left) - mean_left.square()
    variance_right = smooth(right * right) - mean_right.square()
    covariance = smooth(left * right) - mean_left * mean_right
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    luminance = (2 * mean_left * mean_right + c1) / (mean_left.square() + mean_right.square() + c1)
    contrast = (2 * covariance + c2) / (variance_left + variance_right + c2)
    return luminance, contrast


def sample_pairs(count: int, labels: Tensor | None, num_pairs: int, seed: int = 0) -> Tensor:
    """Random pairs of different rows, of one label where there are labels: int64 `[pairs, 2]`.

    `labels` int64 `[count]`. Classes take turns; one with fewer than two rows is left out. Raises UserError
    where no class has two.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = [torch.arange(count)]
    if labels is not None:
        groups = [(labels == number).nonzero()[:, 0] for number in labels.unique()]
    groups = [rows for rows in groups if len(rows) > 1]
    if not groups:
        raise UserError(f"{count} images have no two of one class: draw more samples")
    pairs = []
    for index in range(num_pairs):
        rows = groups[index % len(groups)]
        pairs.append(rows[torch.randperm(len(rows), generator=generator)[:2]])
    return torch.stack(pairs)
