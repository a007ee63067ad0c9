"""The features that FID is defined by: Inception-v3 of 2015, with its weights by path or download."""

import hashlib
from pathlib import Path
from typing import Literal, final

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from ganforge.data.batch import to_uint8
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers import full_precision
from ganforge.files.download import cache_folder, fetch
from ganforge.files.pth import read_tensors
from ganforge.nn.networks.inception import InceptionV3

WEIGHTS_URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d.pth"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIDE = 299
Resize = Literal["legacy", "clean"]


@final
class InceptionFeatures:
    """The 2,048 "pool3" features of images of any size, grey ones repeated to three channels.

    Images are rounded to 8 bit, brought to 299x299 and given as `(pixel - 128) / 128`. `resize` "legacy" is
    the bilinear one of TensorFlow 1 that published FIDs used, without antialiasing; "clean" is Pillow's
    bicubic one (Parmar et al. 2022), clamped to [0, 255]. `network` has the released weights, whose hash is
    `digest`.
    """

    batch_size = 50
    feature_size = InceptionV3.feature_size

    def __init__(self, network: InceptionV3, digest: str, resize: Resize) -> None:
        self._network = network.eval().requires_grad_(False)
        self._resize = resize_legacy if resize == "legacy" else resize_clean
        self.identity = f"inception {digest} {resize}"
        self.description = (
            f"Inception-v3 of 2015-12-05, {self.feature_size} features, weights SHA-256 {digest[:12]}"
            f"{'' if digest == WEIGHTS_SHA256 else ' (not the published file)'}; images rounded to 8 bit, "
            f"{resize} resize to {SIDE}x{SIDE}, given as (pixel - 128) / 128"
        )

    def features(self, images: Tensor) -> Tensor:
        """`[n, 2048]`, float32, of `images` `[n, 1 or 3, h, w]` in [-1, 1]; raises UserError of others."""
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise UserError(f"images {list(images.shape)} for Inception: expected [n, 1 or 3, height, width]")
        self._network.to(images.device)
        found = torch.empty(len(images), self.feature_size, device=images.device)
        with full_precision(images.device):
            for rows in torch.arange(len(images)).split(self.batch_size):
                pixels = to_uint8(images[rows]).float()
                found[rows] = self._network((self._resize(pixels).expand(-1, 3, -1, -1) - 128) / 128)
        return found


def resize_legacy(pixels: Tensor, side: int = SIDE) -> Tensor:
    """`pixels` float `[n, channels, height, width]` as TensorFlow 1's ResizeBilinear has them at `side`.

    The place i of the result reads at `i * old / new`: corners are not aligned, pixels have no half.
    """
    for axis in (2, 3):
        size = pixels.shape[axis]
        places = torch.arange(side, device=pixels.device, dtype=torch.float32) * (size / side)
        low = places.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (places - low).view(-1, 1) if axis == 2 else places - low
        near, far = pixels.index_select(axis, low), pixels.index_select(axis, high)
        pixels = near + (far - near) * share
    return pixels


def resize_clean(pixels: Tensor, side: int = SIDE) -> Tensor:
    """`pixels` as Pillow's bicubic filter of float images has them at `side`, clamped to [0, 255]."""
    resized = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 255)


def load_inception(weights: Path | None = None, resize: Resize = "legacy") -> InceptionFeatures:
    """The network with the weights of a file, or with the published ones, which are downloaded once.

    `weights` is a file of pytorch-fid (.pth, read without unpickling) or the same tensors as .safetensors.
    Raises UserError where they cannot be had, or are not of this network.
    """
    if weights is None:
        folder = cache_folder() / "inception"
        known = f"sha256:{WEIGHTS_SHA256}"
        fetch("the weights of Inception", WEIGHTS_URL, WEIGHTS_FILE, known, folder, "--features-weights FILE")
        weights = folder / WEIGHTS_FILE
    if weights.suffix == ".safetensors":
        try:
            tensors = safetensors.torch.load_file(weights)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{weights} cannot be read: {error}") from error
    else:
        tensors = read_tensors(weights)
    with torch.random.fork_rng(devices=[]):  # first weights, which are replaced
        network = InceptionV3()
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:160]
        raise UserError(f"{weights} has not the weights of Inception-v3 of 2015: {first}") from error
    return InceptionFeatures(network, hashlib.sha256(weights.read_bytes()).hexdigest(), resize)
