"""PixelRNN of van den Oord et al. 2016: Row LSTM and Diagonal BiLSTM."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.networks.pixelcnn import MaskedStack
from ganforge.nn.networks.pixelrnn import DiagonalBiLSTM, RowLSTM
from ganforge.nn.optimizers import adams, decay_linearly
from ganforge.system import Suggestions, System, Update
from ganforge.systems.families.autoregressive import (
    AutoregressiveConfig,
    complete_images,
    complete_rows,
    make_images,
    measures,
    nats_of,
)


class PixelRNNConfig(AutoregressiveConfig):
    """The best network of the paper on MNIST; `suggest` fits it to other data and to a CPU."""

    steps: PositiveInt = Field(60_000, description="Training steps.")
    network: Literal["diagonal", "row"] = Field(
        "diagonal",
        description="diagonal: the Diagonal BiLSTM, which sees all earlier pixels; row: the Row LSTM, which "
        "sees a triangle above.",
    )
    width: PositiveInt = Field(16, description="Features h of an LSTM; the layers lie between 2 h.")
    layers: PositiveInt = Field(7, description="LSTM layers, each added to its input.")


@final
class PixelRNN(System):
    """Van den Oord et al. 2016, "Pixel Recurrent Neural Networks", arXiv 1601.06759.

    Differs from the paper: Adam instead of RMSProp, at a rate that decays to 0; an average of the network
    (EMA) is sampled and evaluated; after the two layers of the head comes a third to the logits, which the
    paper does not count; black and white is a softmax of two levels, where the paper has a sigmoid, the same
    thing; the recurrence is in float32 whatever the precision.
    """

    Config = PixelRNNConfig
    purpose = "exact likelihoods, by recurrent layers"
    averaged: ClassVar[tuple[str, ...]] = ("network",)

    def __init__(self, config: PixelRNNConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: PixelRNNConfig = config
        self.data = data
        block = DiagonalBiLSTM if config.network == "diagonal" else RowLSTM
        self.network = MaskedStack(
            [block(config.width, data.channels) for _ in range(config.layers)],
            width=config.width,
            head_width=config.head_width,
            levels=config.levels,
            colours=data.channels,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        return adams(self, {"network": self.config.learning_rate}, 0.9, 0.999)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative log-likelihood."""
        nll = self.nats(batch.images).mean()
        update("network", nll)
        return {"nll_nats": nll.detach()}

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the rate linearly to 0, unless that is off."""
        config = self.config
        if config.learning_rate_decay == "linear":
            decay_linearly(
                optimizers,
                dict.fromkeys(optimizers, config.learning_rate),
                images_seen,
                config.steps * config.batch,
            )

    def nats(self, images: Tensor) -> Tensor:
        """-log p of each of `images` in [-1, 1], `[batch]`."""
        return nats_of(self.network, images, self.config.levels, None)

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The negative log-likelihood: nats of an image, bits of a sub-pixel."""
        return measures(self.nats(batch.images), self.data)

    @property
    def measure_protocol(self) -> dict[str, Any]:
        """The levels: fewer of them are another set of images."""
        return {"levels": self.config.levels}

    def outlier_scores(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """-log p."""
        return {"likelihood": self.nats(batch.images)}

    def inference_network(self) -> nn.Module:
        """The network, which gives logits."""
        return self.network

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images, sub-pixel by sub-pixel."""
        return make_images(self.network, count, self.data, self.config.levels, generator=generator)

    def complete(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """`images` with the first `rows` kept, at their nearest levels, and the others drawn given these."""
        return complete_images(self.network, images, rows, self.data, self.config.levels, None, generator)

    def complete_rows(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The rows of `complete`, each when it is complete."""
        return complete_rows(self.network, images, rows, self.data, self.config.levels, None, generator)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Levels by what the pixels are, sizes by the device."""
        return _suggest(data, device) if data.values == "pixels" else {}


def _suggest(data: DataSpec, device: str) -> Suggestions:
    suggestions: Suggestions = {"levels": (2, "the pixels are black or white")} if data.binary else {}
    if not data.binary:
        suggestions["head_width"] = (64, "larger because 32 features are few for 256 levels")
    if device == "cpu":
        steps = 30_000 if data.binary else 20_000
        suggestions |= {
            "width": (32, "the paper's other network for MNIST, one wide layer: faster on a CPU"),
            "layers": (1, "fewer because the run trains on a CPU: a layer waits for every diagonal or row"),
            "steps": (steps, f"fewer because the run trains on a CPU: {steps * 16 / 1e6:.2g} million images"),
            "ema_half_life": (steps * 16 / 40, "a fortieth of the training"),
        }
        if data.binary:
            suggestions["learning_rate"] = (3e-3, "higher because there are few steps")
    return suggestions
