"""Generators of pytorch-CycleGAN-and-pix2pix: `latest_net_G.pth`, a U-Net or residual blocks.

Its norm is read off the file: only with instance norm, which has no weights, does a convolution before a norm
have a bias. Such a bias does nothing, since the norm subtracts the mean of each channel: it is left out.
"""

from itertools import count
from typing import Any

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.runs.imported.weights import Foreign, ForeignWeights

RESNET_SIDE = 256
"""The size of its images by default; residual blocks take any, and do not say which they were trained on."""
FEWEST_LEVELS, MOST_LEVELS, WIDEST = 5, 8, 8
FIRST_BLOCK = 10
"""The place of the first residual block: pads, convolutions, norms and ReLUs come before."""


def read_generator(weights: ForeignWeights, *, dropout: bool, evaluation: bool, pairs: str) -> Foreign:
    """The generator as one of `pix2pix`, which computes what `test.py` of that code does.

    There batch norm uses the image's own statistics, which makes it an instance norm with gain and bias, and
    dropout stays on, unless the network was trained without (`dropout` false). `evaluation` is its `--eval`:
    running statistics, no dropout. `pairs` say where data for it have their sources.
    """
    layers = _Layers(weights, running=evaluation)
    drops = dropout and not evaluation
    if "model.model.0.weight" in weights:
        channels, outputs, side, config = _read_unet(layers, drops)
    elif "model.1.weight" in weights:
        channels, outputs, side, config = _read_resnet(layers, drops)
    else:
        raise UserError(
            f"{weights.what}: neither model.model.0.weight (U-Net) nor model.1.weight (residual blocks) in it"
        )
    weights.check_all_taken()
    config["norm"] = layers.norm_kind
    data = {"pairs": pairs}
    return Foreign("pix2pix", config, (outputs, side, side), layers.own, channels, data)


class _Layers:
    """What is taken of `weights`, under own names in `own`; `biases` is set with instance norm."""

    def __init__(self, weights: ForeignWeights, running: bool) -> None:
        self.weights, self.running, self.biases = weights, running, False
        self.own: dict[str, Tensor] = {}

    @property
    def norm_kind(self) -> str:
        """The kind of own norms: running statistics are those of batch norm alone."""
        return "batch" if self.running and not self.biases else "instance"

    def convolution(self, ours: str, theirs: str, *shape: int, bias: int | None = None) -> None:
        """A convolution of this shape of weights, and its bias where it has one before a norm, or `bias`."""
        self.own[f"generator.{ours}.weight"] = self.weights.take(f"{theirs}.weight", *shape)
        if bias is not None:
            self.own[f"generator.{ours}.bias"] = self.weights.take(f"{theirs}.bias", bias)

    def norm(self, ours: str, theirs: str, before: str, features: int) -> None:
        """The norm `theirs` of the convolution `before`, whose bias it cancels."""
        name = f"generator.{ours}"
        if not self.biases:
            parts = self.weights.batch_norm(theirs, features)
            kept = parts if self.running else {part: parts[part] for part in ("weight", "bias")}
            self.own |= {f"{name}.{part}": tensor for part, tensor in kept.items()}
            return
        self.weights.take(f"{before}.bias", features)
        self.weights.discard_statistics(theirs)
        self.own |= {f"{name}.weight": torch.ones(features), f"{name}.bias": torch.zeros(features)}


def _read_unet(layers: _Layers, drops: bool) -> tuple[int, int, int, dict[str, Any]]:
    """Channels of sources and images, the side, and fields of the config.

    Its blocks are nested: `names[level]` is the one whose maps are halved once more than those of the level
    before. Its decoder is given the encoder's maps first, ours last.
    """
    weights = layers.weights
    channels = weights.colours("model.model.0.weight", 1, "ngf", "nc", 4, 4)
    width, *_ = weights.shape("model.model.0.weight", "ngf", channels, 4, 4)
    layers.biases = "model.model.0.bias" in weights
    names = ["model.model", "model.model.1.model"]
    while len(names) < MOST_LEVELS and f"{names[-1]}.3.model.1.weight" in weights:
        names.append(f"{names[-1]}.3.model")
    depth = len(names)
    if depth < FEWEST_LEVELS:
        missing = f"{names[-1]}.3.model.1.weight"
        raise UserError(f"{weights.what}: no {missing} in it, expected {FEWEST_LEVELS} levels or more")
    sizes = [width * min(2**level, WIDEST) for level in range(depth)]
    outputs = weights.colours("model.model.3.weight", 1, 2 * width, "nc", 4, 4)
    last = depth - 1
    for level, (name, size) in enumerate(zip(names, sizes, strict=True)):
        before = sizes[level - 1] if level else channels
        down = f"{name}.{min(level, 1)}"
        free = level in (0, last)  # no norm follows
        bias = size if layers.biases and free else None
        layers.convolution(f"encoder.{level}", down, size, before, 4, 4, bias=bias)
        if not free:
            layers.norm(f"encoder_norms.{level - 1}", f"{name}.2", down, size)
        elif not layers.biases:
            layers.own[f"generator.encoder.{level}.bias"] = torch.zeros(size)
        own, up = f"decoder.{last - level}", f"{name}.{3 if free else 5}"
        joined, after = size * (1 if level == last else 2), before if level else outputs
        layers.convolution(own, up, joined, after, 4, 4, bias=None if level else outputs)
        if level < last:
            kernel = layers.own[f"generator.{own}.weight"]
            layers.own[f"generator.{own}.weight"] = torch.cat([kernel[size:], kernel[:size]])
        if level:
            layers.norm(f"decoder_norms.{last - level}", f"{name}.{4 if level == last else 6}", up, after)
    config: dict[str, Any] = {"depth": depth, "width": width, "biases": True, "first_dropout": 1}
    config["dropout_blocks"] = depth - FEWEST_LEVELS if drops else 0
    return channels, outputs, 2**depth, config


def _read_resnet(layers: _Layers, drops: bool) -> tuple[int, int, int, dict[str, Any]]:
    """Channels of sources and images, the side, and fields of the config."""
    weights = layers.weights
    channels = weights.colours("model.1.weight", 1, "ngf", "nc", 7, 7)
    width, *_ = weights.shape("model.1.weight", "ngf", channels, 7, 7)
    layers.biases = "model.1.bias" in weights
    layers.convolution("first", "model.1", width, channels, 7, 7)
    layers.norm("first_norm", "model.2", "model.1", width)
    for index in range(2):
        size, theirs = width * 2**index, 4 + 3 * index
        layers.convolution(f"halvings.{index}", f"model.{theirs}", 2 * size, size, 3, 3)
        layers.norm(f"halving_norms.{index}", f"model.{theirs + 1}", f"model.{theirs}", 2 * size)
    widest = 4 * width
    blocks = next(n for n in count() if f"model.{FIRST_BLOCK + n}.conv_block.1.weight" not in weights)
    if not blocks:
        raise UserError(f"{weights.what}: no model.{FIRST_BLOCK}.conv_block.1.weight in it, a residual block")
    has_dropout = f"model.{FIRST_BLOCK}.conv_block.5.weight" not in weights
    for index in range(blocks):
        block = f"model.{FIRST_BLOCK + index}.conv_block"
        for number, place in ((1, 1), (2, 6 if has_dropout else 5)):
            convolution = f"{block}.{place}"
            layers.convolution(f"blocks.{index}.convolution{number}", convolution, widest, widest, 3, 3)
            layers.norm(f"blocks.{index}.norm{number}", f"{block}.{place + 1}", convolution, widest)
    after = FIRST_BLOCK + blocks
    for index in range(2):
        size, theirs = widest // 2**index, after + 3 * index
        layers.convolution(f"doublings.{index}", f"model.{theirs}", size, size // 2, 3, 3)
        layers.norm(f"doubling_norms.{index}", f"model.{theirs + 1}", f"model.{theirs}", size // 2)
    last = f"model.{after + 7}"
    outputs = weights.colours(f"{last}.weight", 0, "nc", width, 7, 7)
    layers.convolution("output", last, outputs, width, 7, 7, bias=outputs)
    dropouts = blocks if drops and has_dropout else 0
    config = {"network": "resnet", "blocks": blocks, "width": width, "dropout_blocks": dropouts}
    return channels, outputs, RESNET_SIDE, config
