"""Blocks and initialisers used by two or more networks."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, dropout, pad
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


class Maxout(nn.Module):
    """The largest of `pieces` affine maps, unit by unit: `[batch, in_features]` -> `[batch, units]`.

    Goodfellow et al. 2013, "Maxout Networks", equation 1.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(in_features, units * pieces)

    def forward(self, inputs: Tensor) -> Tensor:
        """The maximum over the pieces of each unit."""
        return self.linear(inputs).unflatten(1, (-1, self.pieces)).amax(2)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and bias depend on the class: gain_y (h - mean) / sqrt(variance + eps) + bias_y.

    Maps `[batch, num_features, height, width]` and labels int64 `[batch]` to maps. One row of gains, from 1,
    and one of biases, from 0, for each class; all classes share the running statistics. Dumoulin et al. 2017,
    arXiv 1610.07629; eps as in the code released with Miyato and Koyama 2018, arXiv 1802.05637.
    """

    def __init__(self, num_features: int, num_classes: int, eps: float = 2e-5) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, eps=eps, affine=False)
        self.gain = nn.Embedding(num_classes, num_features)
        self.bias = nn.Embedding(num_classes, num_features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Normalised maps."""
        maps = self.norm(maps)
        gain, bias = self.gain(labels).to(maps.dtype), self.bias(labels).to(maps.dtype)
        return torch.addcmul(bias[:, :, None, None], gain[:, :, None, None], maps)


class ProjectionHead(nn.Module):
    """Logits `[batch]` of features `[batch, size]`: psi(features), with classes plus <e(label), features>.

    psi is a dense layer without bias, e an embedding; both start Glorot uniform and are computed in float32.
    `num_classes` 0 leaves the embedding out. Miyato and Koyama 2018, arXiv 1802.05637, equation 5.
    """

    def __init__(self, size: int, num_classes: int = 0) -> None:
        super().__init__()
        self.dense = nn.Linear(size, 1, bias=False)
        nn.init.xavier_uniform_(self.dense.weight)
        self.embedding = nn.Embedding(num_classes, size) if num_classes else None
        if self.embedding is not None:
            nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits; `labels` int64 `[batch]` where there are classes."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            logits = self.dense(features).squeeze(1)
            if self.embedding is None:
                return logits
            assert labels is not None, "a conditional discriminator needs labels"
            return logits + (self.embedding(labels) * features).sum(1)


DROPOUT = 0.5


def keep_dropping(maps: Tensor, generator: torch.Generator | None) -> Tensor:
    """Dropout of 0.5 that is noise, on in evaluation too: torch's, which takes no generator.

    By a generator it has the same numbers on a CPU.
    """
    if generator is None:
        return dropout(maps, DROPOUT, training=True)
    return maps * torch.empty_like(maps).bernoulli_(1 - DROPOUT, generator=generator) / (1 - DROPOUT)


def norm_of(kind: Literal["instance", "batch"], channels: int) -> nn.Module:
    """Instance norm, of each image's own statistics, or batch norm; both with gain and bias."""
    return nn.InstanceNorm2d(channels, affine=True) if kind == "instance" else nn.BatchNorm2d(channels)


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees what comes earlier in raster order: rows above, pixels to the left, colours.

    Maps `[batch, maps_in * in_features, height, width]` to `[batch, maps_out * out_features, height, width]`.
    The features of each of the `maps_in` and `maps_out` maps are split into `colours` groups as
    `colour_spans` says. `above` rows above and `side` columns on either side are seen whole. At the centre
    group o sees the groups i < o (mask A) or i <= o (mask B). What the masks would close for good, the rows
    below, and with `above` 0 the columns to the right, has no weights. The mask is applied in every pass, and
    leaves `open_inputs` inputs to an output, on average.
    Van den Oord et al. 2016, "Pixel Recurrent Neural Networks", section 3.4.
    """

    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        mask: Literal["A", "B"],
        colours: int,
        *,
        above: int = 0,
        side: int = 0,
        maps_in: int = 1,
        maps_out: int = 1,
    ) -> None:
        columns = 2 * side + 1 if above else side + 1
        super().__init__(maps_in * in_features, maps_out * out_features, (above + 1, columns))
        self.above, self.side, self.maps_out = above, side, maps_out
        own, spans = colour_spans(in_features, colours), colour_spans(out_features, colours)
        pairs = zip(own, spans, strict=True)
        centre = sum((i.start if mask == "A" else i.stop) * (o.stop - o.start) for i, o in pairs)
        self.open_inputs = maps_in * (in_features * (above * columns + side) + centre / out_features)
        inputs = _colours_of(in_features, colours).repeat(maps_in)
        outputs = _colours_of(out_features, colours).repeat(maps_out)[:, None]
        seen = torch.ones(self.weight.shape)
        seen[:, :, -1, side + 1 :] = 0
        seen[:, :, -1, side] = (inputs < outputs if mask == "A" else inputs <= outputs).float()
        self.register_buffer("mask", seen, persistent=False)

    def masked_weight(self) -> Tensor:
        """The weight that is used, `[outputs, inputs, above + 1, columns]`."""
        return self.weight * self.mask

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same height and width."""
        if self.above or self.side:
            maps = pad(maps, (self.side, self.side if self.above else 0, self.above, 0))
        return conv2d(maps, self.masked_weight(), self.bias)


def colour_spans(features: int, colours: int) -> list[slice]:
    """The features of each colour, in order and in numbers as equal as can be."""
    starts = [-(-colour * features // colours) for colour in range(colours + 1)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def _colours_of(features: int, colours: int) -> Tensor:
    """The colour int64 `[features]` that each feature belongs to."""
    return torch.arange(features) * colours // features


def normalise_spectrally(network: nn.Module) -> None:
    """Divide every dense, convolution and embedding weight of `network` by its largest singular value.

    A convolution counts as the matrix `[outputs, inputs * height * width]`. The singular vectors are kept as
    buffers and refined by one round of power iteration at each pass in training mode, none in evaluation
    mode; no gradient flows through them. Initialise the weights first. Miyato et al. 2018, algorithm 1.
    """
    for module in list(network.modules()):
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            continue
        if module.weight.is_meta:
            parametrize.register_parametrization(module, "weight", _NormShapes(module.weight))
        else:
            spectral_norm(module, n_power_iterations=1, eps=1e-12)


class _NormShapes(nn.Module):
    """The buffers of a spectral norm where there are no numbers, without its slow start."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.register_buffer("_u", weight.new_empty(rows))
        self.register_buffer("_v", weight.new_empty(columns))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as it is."""
        return weight


def spectral_norms(network: nn.Module) -> dict[str, float]:
    """The true largest singular value of every spectrally normalised weight, by the layer's name.

    Of the weight as evaluation mode uses it: about 1 where the power iteration keeps up with the training.
    Changes nothing in `network`.
    """
    norms = {}
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            normalisation = module.parametrizations["weight"]
            training = normalisation.training
            normalisation.eval()
            with torch.no_grad():
                norms[name] = float(torch.linalg.matrix_norm(module.weight.flatten(1).cpu().double(), ord=2))
            normalisation.train(training)
    return norms


def initialise_uniform(network: nn.Module, bound: float) -> None:
    """Draw every linear weight from U(-bound, bound) and set biases to 0, as pylearn2's `irange` does."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)


def initialise_normal(network: nn.Module, std: float = 0.02, biases: bool = False) -> None:
    """Draw every weight from N(0, std) and gains of norms from N(1, std); biases too, or set to 0.

    Radford et al. 2015, section 4 (std 0.02).
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, std) if biases else nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
