"""The convolutions of VGG-19 (Simonyan and Zisserman 2014, arXiv 1409.1556), for perceptual losses."""

from typing import Literal

import torch
from torch import Tensor, nn

VGGLayer = Literal["22", "54"]
NUM_CONVOLUTIONS = (2, 2, 4, 4, 4)
WIDTHS = (64, 128, 256, 512, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for values in [0, 1]


class VGGFeatures(nn.Module):
    """Images in [-1, 1], grey ones too, to the maps of VGG-19 after the activation of one convolution.

    `layer` "54": the fourth convolution before the fifth pooling, 512 maps of 1/16 of the size; "22": the
    second before the second, 128 maps of half the size. Weights have the names of torchvision's `vgg19`:
    `features.0.weight` and so on. The weights are not trained. Evaluation and training mode are the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layer: VGGLayer) -> None:
        super().__init__()
        stage, convolution = int(layer[0]), int(layer[1])
        layers: list[nn.Module] = []
        before = 3
        for index in range(stage):
            last = index == stage - 1
            for _ in range(convolution if last else NUM_CONVOLUTIONS[index]):
                layers += [nn.Conv2d(before, WIDTHS[index], 3, 1, 1), nn.ReLU(inplace=True)]
                before = WIDTHS[index]
            if not last:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps."""
        unit = (images.expand(-1, 3, -1, -1) + 1) / 2
        return self.features((unit - self.mean) / self.std)
