"""The encoders of captions and images of Reed et al. 2016, character CNN-RNN and convolutions."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, one_hot

from ganforge.nn.layers import initialise_normal


class CharacterEncoder(nn.Module):
    """Codes int64 `[batch, length]` below `num_codes` to embeddings `[batch, embedding_size]`.

    Each of `widths` is a convolution over 4 steps with a ReLU; the maximum of 3 steps is taken after all but
    the last. A recurrent layer of rectified units reads what is left, 18 steps of 201 characters; the mean of
    its states is mapped to the embedding. Code 0 is nothing: a vector of zeros, as the others are one-hot.
    `modules/HybridCNNLong.lua` of the code released with arXiv 1605.05396, and a batch norm without gains:
    what all captions have in common would otherwise outweigh what distinguishes them.
    """

    def __init__(
        self, *, num_codes: int, embedding_size: int, widths: tuple[int, ...] = (384, 512, 256)
    ) -> None:
        super().__init__()
        self.num_codes = num_codes
        sizes = (num_codes - 1, *widths)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, outputs, 4) for inputs, outputs in pairwise(sizes)
        )
        self.of_inputs = nn.Linear(widths[-1], widths[-1])
        self.of_state = nn.Linear(widths[-1], widths[-1])
        self.output = nn.Linear(widths[-1], embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size, affine=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Embeddings."""
        steps = one_hot(codes, self.num_codes)[:, :, 1:].transpose(1, 2).float()
        for index, convolution in enumerate(self.convolutions):
            steps = torch.relu(convolution(steps))
            if index + 1 < len(self.convolutions):
                steps = max_pool1d(steps, 3)
        inputs = self.of_inputs(steps.transpose(1, 2))
        state = torch.relu(inputs[:, 0])
        total = state.float()
        for step in range(1, inputs.shape[1]):
            state = torch.relu(inputs[:, step] + self.of_state(state))
            total = total + state.float()
        return self.norm(self.output(total / inputs.shape[1]).float())


class ImageEncoder(nn.Module):
    """Images to embeddings `[batch, embedding_size]`: stride-2 convolutions down to `start`, a dense layer.

    `width` counts the channels of the first, doubled at every halving; batch norm everywhere but the input,
    leaky ReLU 0.2: DCGAN's discriminator with more outputs.
    """

    def __init__(self, *, channels: int, start: int, doublings: int, width: int, embedding_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for index in range(doublings):
            outputs = width * 2**index
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
            if index:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(inputs * start * start, embedding_size)
        initialise_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings."""
        return self.output(self.layers(images).flatten(1))
