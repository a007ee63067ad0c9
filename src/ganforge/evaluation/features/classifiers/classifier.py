"""The small convolutional network of a reference classifier: images in, features and logits out."""

import torch
from torch import Tensor, nn


class Convolution(nn.Module):
    """A 3x3 convolution, its normalisation (`None` once folded into the convolution) and a ReLU."""

    def __init__(self, inputs: int, outputs: int, folded: bool) -> None:
        super().__init__()
        self.linear = nn.Conv2d(inputs, outputs, 3, padding=1, bias=folded)
        self.norm = None if folded else nn.BatchNorm2d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h, w]`, never negative."""
        outputs = self.linear(inputs)
        return torch.relu(outputs if self.norm is None else self.norm(outputs))


class Dense(nn.Module):
    """A fully connected layer, its normalisation (`None` once folded into the layer) and a ReLU."""

    def __init__(self, inputs: int, outputs: int, folded: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=folded)
        self.norm = None if folded else nn.BatchNorm1d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[n, inputs]` to `[n, outputs]`, never negative."""
        outputs = self.linear(inputs)
        return torch.relu(outputs if self.norm is None else self.norm(outputs))


class Classifier(nn.Module):
    """Stages of two 3x3 convolutions and a halving of the image, then one dense layer: the features.

    Images float `[n, channels, size, size]` in [-1, 1]. The number of channels starts at `width` and
    doubles with each stage up to `4 * width`; stages follow until the image is at most 4 pixels wide
    (28 -> 14 -> 7 -> 3). `folded` builds the network without batch normalisation, as `fold` returns it:
    then nothing but the image itself can influence an image's features.
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        num_classes: int,
        width: int = 16,
        feature_size: int = 128,
        dropout: float = 0.3,
        folded: bool = False,
    ) -> None:
        super().__init__()
        stages: list[nn.ModuleList] = []
        inputs, outputs = channels, width
        while size > 4:
            stages.append(
                nn.ModuleList([Convolution(inputs, outputs, folded), Convolution(outputs, outputs, folded)])
            )
            inputs, outputs, size = outputs, min(2 * outputs, 4 * width), size // 2
        self.stages = nn.ModuleList(stages)
        self.pool = nn.MaxPool2d(2)
        self.dense = Dense(inputs * size * size, feature_size, folded)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(feature_size, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate activations `[n, feature_size]` of `images` in [-1, 1]; never negative."""
        hidden = images
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for convolution in stage:
                hidden = convolution(hidden)
            hidden = self.pool(hidden)
        features: Tensor = self.dense(hidden.flatten(1))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Logits `[n, num_classes]` from the features `[n, feature_size]`."""
        logits: Tensor = self.output(self.dropout(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, num_classes]` of `images` in [-1, 1]."""
        return self.logits(self.features(images))


def fold(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a trained `Classifier` as the state of an equal one built with `folded=True`.

    With the running mean m and variance v, scale g and shift b of a batch normalisation that follows a
    layer without a bias, `g (W x - m) / sqrt(v + 1e-5) + b` is one layer again.
    """
    folded = {name: value for name, value in weights.items() if ".norm." not in name}
    for name in weights:
        if not name.endswith(".norm.weight"):
            continue
        norm = name.removesuffix("weight")
        layer = norm.removesuffix("norm.") + "linear."
        scale = weights[name] / (weights[norm + "running_var"] + 1e-5).sqrt()
        kernel = weights[layer + "weight"]
        folded[layer + "weight"] = kernel * scale.view(-1, *[1] * (kernel.dim() - 1))
        folded[layer + "bias"] = weights[norm + "bias"] - weights[norm + "running_mean"] * scale
    return folded
