"""Binary images: every pixel is black or white, white with the probability of its brightness."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from ganforge.data.split import Split, in_memory
from ganforge.errors import UserError

_CHUNK = 4096


def binarise(pixels: Tensor, drawn: Tensor) -> Tensor:
    """`pixels` uint8 as 0 or 255, 255 with the probability byte / 255 (Salakhutdinov and Murray 2008).

    `drawn` float32 are numbers of U(0, 1), one for each pixel.
    """
    return (drawn * 255 < pixels).to(torch.uint8) * 255


def binarised_once(images: Split, data: str) -> Split:
    """The split `images` binarised once, with the SHA-256 of its pixels as the seed.

    So the binary set is a function of the images alone: the same for every run, seed and machine. It differs
    from that of Larochelle and Murray (2011), whose draws exist only as a file. Raises UserError where the
    images do not fit into memory, or have colours.
    """
    if images.shape[0] != 1:
        raise UserError(f"--binarise is for grey images, {data} has colours: add --channels grey")
    if images.pixels is None:
        raise UserError(
            f"--binarise needs images that fit into memory, {data} does not: use a smaller --size"
        )
    digest = hashlib.sha256(images.pixels.contiguous().numpy().data.cast("B")).digest()
    random = np.random.default_rng(list(digest))
    parts = [
        binarise(part, torch.from_numpy(random.random(tuple(part.shape), dtype=np.float32)))
        for part in images.pixels.split(_CHUNK)
    ]
    names = [images.name(row) for row in range(len(images))]
    return in_memory(torch.cat(parts), images.labels, images.captions, names, images.sources)
