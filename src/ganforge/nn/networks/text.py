"""The encoders of captions and images of Reed et al. 2016, character CNN-RNN and convolutions."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, one_hot, pad

from ganforge.nn.layers import initialise_normal
from ganforge.nn.whole_batch import gathered

_PAIRS = 1 << 20  # more than there are numbers of words, so that two make one number


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


class WordEncoder(nn.Module):
    """Codes int64 `[batch, length]` to embeddings `[batch, embedding_size]`, word by word.

    A word is the vector of its hash and the mean of those of its character trigrams (fastText, Bojanowski et
    al. 2017, arXiv 1607.04606), so that words that training never saw resemble similar ones. A bidirectional
    GRU of `width` units each way reads the words, in `length` codes at most `length / 4`; the mean and the
    maximum of its states are mapped to the embedding, with the batch norm of `CharacterEncoder`. `separators`
    are the codes between words; code 0 is nothing.
    """

    NUM_VECTORS: ClassVar = 8_192
    FEWEST_WORDS: ClassVar = 8
    separators: Tensor

    def __init__(self, *, separators: Sequence[int], embedding_size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("separators", torch.tensor([0, *separators]), persistent=False)
        self.words = nn.Embedding(self.NUM_VECTORS, max(1, width // 2))
        nn.init.zeros_(self.words.weight)  # a word that training never sees is its trigrams alone
        self.trigrams = nn.Embedding(self.NUM_VECTORS, max(1, width // 2))
        self.recurrent = nn.GRU(max(1, width // 2), width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(4 * width, embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size, affine=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Embeddings."""
        vectors, exists, _ = self._words(codes)
        return self._read(vectors, exists)

    def with_swapped(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, those of captions with two words swapped, and bool `[batch]`: whether there were two.

        They are drawn among the pairs of a caption of which the batch shows each next to the neighbours of
        the other, as "red" and "blue" in most captions with both. A caption without any stays as it is.
        """
        vectors, exists, hashes = self._words(codes)
        order, swapped = _swap_order(hashes, exists[:, :, 0])
        other = vectors.gather(1, order[:, :, None].expand_as(vectors))
        both = self._read(torch.cat([vectors, other]), torch.cat([exists, exists]))
        return both[: len(codes)], both[len(codes) :], swapped

    def _read(self, vectors: Tensor, exists: Tensor) -> Tensor:
        states = self.recurrent(vectors)[0].float() * exists
        most = states.masked_fill(~exists, -torch.inf).amax(1)
        mean = states.sum(1) / exists.sum(1)
        return self.norm(self.output(torch.cat([mean, most], 1)).float())

    def _words(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors `[batch, words, n]` of words, 0 behind them, which words there are, and their hashes."""
        letters = ~torch.isin(codes, self.separators)
        codes, batch, length = codes * letters, *codes.shape
        before, after = pad(codes, (1, 0))[:, :-1], pad(codes, (0, 1))[:, 1:]
        begins = letters & (before == 0)
        count = max(self.FEWEST_WORDS, length // 4)
        number = (begins.cumsum(1) - 1).clamp(0, count - 1)
        exists = torch.arange(count, device=codes.device) < begins.sum(1, keepdim=True).clamp(min=1)

        positions = torch.arange(length, device=codes.device).expand_as(codes)
        places = positions - torch.where(begins, positions, 0).cummax(1).values  # of a letter in its word
        none = codes.new_zeros(batch, count)
        hashes = none.scatter_add(1, number, codes * (7_919 * places * places + 104_729 * places + 31))
        trigrams = self.trigrams(((before * 131 + codes) * 137 + after) % self.NUM_VECTORS)
        trigrams = trigrams * letters[:, :, None]
        sums = trigrams.new_zeros(batch, count, trigrams.shape[2])
        sums = sums.scatter_add(1, number[:, :, None].expand_as(trigrams), trigrams)
        lengths = none.scatter_add(1, number, letters.long()).clamp(min=1)
        hashes = hashes % self.NUM_VECTORS
        vectors = self.words(hashes) + sums / lengths[:, :, None]
        return vectors * exists[:, :, None], exists[:, :, None], hashes


def _swap_order(words: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """The order int64 `[batch, words]` of each caption with two words swapped, and whether there were any.

    `words` int64 `[batch, words]` are numbers, `exists` bool of the same shape.
    """
    batch, count = words.shape
    numbers = torch.where(exists, words + 1, 0)  # 0 at both ends of a caption
    before, after = pad(numbers, (1, 0))[:, :-1], pad(numbers, (0, 1))[:, 1:]
    possible = (numbers[:, :, None] != numbers[:, None, :]) & exists[:, :, None] & exists[:, None, :]
    for neighbours in (before, -after):  # a negative number is that of the word after
        seen = torch.where(exists, neighbours * _PAIRS + numbers, 0)
        # Whether the batch shows word j somewhere at the neighbour of word i.
        seen = gathered(seen).flatten()
        fits = torch.isin(neighbours[:, :, None] * _PAIRS + numbers[:, None, :], seen)
        possible &= fits & fits.transpose(1, 2)
    chances = torch.rand(batch, count * count, device=words.device) * possible.flatten(1)
    first, second = chances.argmax(1) // count, chances.argmax(1) % count
    order = torch.arange(count, device=words.device).repeat(batch, 1)
    other = order.scatter(1, first[:, None], second[:, None]).scatter(1, second[:, None], first[:, None])
    swapped = possible.flatten(1).any(1)
    return torch.where(swapped[:, None], other, order), swapped


class ImageEncoder(nn.Module):
    """Images to embeddings `[batch, embedding_size]`: stride-2 convolutions down to `start`, a dense layer.

    `width` counts the channels of the first, doubled at every halving; batch norm everywhere but the input,
    leaky ReLU 0.2: DCGAN's discriminator with more outputs.
    """

    image_first: ClassVar = "layers"

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
