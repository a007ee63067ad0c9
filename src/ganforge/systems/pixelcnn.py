"""PixelCNN and Gated PixelCNN of van den Oord et al. 2016."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.losses import nats_of_any
from ganforge.nn.networks.gated_pixelcnn import GatedPixelCNN
from ganforge.nn.networks.pixelcnn import MaskedStack, ResidualBlock
from ganforge.nn.optimizers import adams, decay_linearly
from ganforge.system import Suggestions, System, Update
from ganforge.systems.families.adversarial import labels_of, num_classes_of
from ganforge.systems.families.autoregressive import (
    AutoregressiveConfig,
    complete_images,
    complete_rows,
    make_images,
    measures,
    nats_of,
)


class PixelCNNConfig(AutoregressiveConfig):
    """Depth and width of the CIFAR-10 PixelCNN of the first paper; `suggest` fits them to the data."""

    steps: PositiveInt = Field(100_000, description="Training steps.")
    network: Literal["gated", "original"] = Field(
        "gated",
        description="gated: two stacks without a blind spot (Gated PixelCNN); original: masked residual "
        "blocks (PixelCNN).",
    )
    width: PositiveInt = Field(128, description="Features h of a layer; the residual blocks lie between 2 h.")
    layers: PositiveInt = Field(15, description="Gated layers or residual blocks.")
    kernel_size: int = Field(3, ge=3, description="Side of the gated layers' kernels but the first; odd.")
    conditional: bool = Field(False, description="Use the labels; gated only.")

    def model_post_init(self, _: object) -> None:
        """Reject even kernels, and labels where nothing would use them."""
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} has no centre: use --kernel-size 3, 5 or 7")
        if self.network == "original" and self.conditional:
            raise ValueError(
                "--network original takes no labels: leave out --conditional, or use --network gated"
            )


@final
class PixelCNN(System):
    """Van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv 1606.05328.

    With `network` original, the PixelCNN of "Pixel Recurrent Neural Networks", arXiv 1601.06759.

    Differs from the paper: Adam instead of RMSProp, at a rate that decays to 0; an average of the network
    (EMA) is sampled and evaluated; kernels of 3x3 after the first, 7x7 on a CPU, where its ImageNet model
    has 5x5; the last layer has no connection to a next one; after the two layers of the head comes a third
    to the logits, which the paper does not count; black and white is a softmax of two levels, where the
    paper has a sigmoid, the same thing; the weights of labels start at 0.
    """

    Config = PixelCNNConfig
    purpose = "exact likelihoods; complete images"
    averaged: ClassVar[tuple[str, ...]] = ("network",)

    def __init__(self, config: PixelCNNConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: PixelCNNConfig = config
        self.data = data
        sizes = {"width": config.width, "head_width": config.head_width}
        sizes |= {"levels": config.levels, "colours": data.channels}
        self.network: GatedPixelCNN | MaskedStack
        if config.network == "gated":
            num_classes = num_classes_of("pixelcnn --conditional", data) if config.conditional else 0
            self.network = GatedPixelCNN(
                layers=config.layers, kernel_size=config.kernel_size, num_classes=num_classes, **sizes
            )
        else:
            blocks = [ResidualBlock(config.width, data.channels) for _ in range(config.layers)]
            self.network = MaskedStack(blocks, **sizes)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        return adams(self, {"network": self.config.learning_rate}, 0.9, 0.999)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative log-likelihood."""
        nll = self.nats(batch.images, batch).mean()
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

    @property
    def conditions(self) -> frozenset[str]:
        """The labels, where they are used."""
        return frozenset({"labels"}) if self.config.conditional else frozenset()

    def nats(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """-log p of each of `images` in [-1, 1], `[batch]`; raises UserError where labels are missing."""
        labels = None
        if self.config.conditional:
            if given is None or given.labels is None:
                raise UserError("a conditional pixelcnn gives p(x) of images with labels: these have none")
            labels = given.labels
        return nats_of(self.network, images, self.config.levels, labels)

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The negative log-likelihood: nats of an image, bits of a sub-pixel."""
        return measures(self.nats(batch.images, batch), self.data)

    def class_nats(self, images: Tensor) -> Tensor:
        """-log p(x given y) for every label y; raises UserError where the labels are not used."""
        if not self.config.conditional:
            raise UserError("this run of pixelcnn gives no p(x given y): use one with --conditional")
        levels = self.config.levels
        every = torch.arange(len(self.data.class_names), device=images.device)
        return torch.stack(
            [nats_of(self.network, images, levels, label.expand(len(images))) for label in every], 1
        )

    @property
    def measure_protocol(self) -> dict[str, Any]:
        """The levels: fewer of them are another set of images."""
        return {"levels": self.config.levels}

    def outlier_scores(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """-log p; of a conditional network that of all labels together, each as likely as the others."""
        if self.config.conditional:
            return {"likelihood": nats_of_any(self.class_nats(batch.images))}
        return {"likelihood": self.nats(batch.images)}

    def inference_network(self) -> nn.Module:
        """The network, which gives logits."""
        return self.network

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images, of the labels that are given or of random ones."""
        return make_images(
            self.network,
            count,
            self.data,
            self.config.levels,
            self._labels(given, count, generator),
            generator=generator,
        )

    def complete(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """`images` with the first `rows` kept, at their nearest levels, and the others drawn given these."""
        labels = self._labels(given, len(images), generator)
        return complete_images(self.network, images, rows, self.data, self.config.levels, labels, generator)

    def complete_rows(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The rows of `complete`, each when it is complete."""
        labels = self._labels(given, len(images), generator)
        return complete_rows(self.network, images, rows, self.data, self.config.levels, labels, generator)

    def _labels(self, given: Batch | None, count: int, generator: torch.Generator | None) -> Tensor | None:
        if not self.config.conditional:
            return None
        return labels_of(given, count, self.data, self.device, generator)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Levels by what the pixels are, sizes by the device."""
        return _suggest(data, device) if data.values == "pixels" else {}


FOR_CPU: Suggestions = {
    "width": (32, "smaller because the run trains on a CPU; the paper's 128 and more used GPUs"),
    "layers": (7, "fewer because the run trains on a CPU"),
    "kernel_size": (7, "larger because 7 layers of 3x3 have a small receptive field"),
    "steps": (10_000, "fewer because the run trains on a CPU: 160,000 images"),
    "learning_rate": (2e-3, "higher because there are few steps"),
    "ema_half_life": (4_000.0, "a fortieth of the training"),
}


def _suggest(data: DataSpec, device: str) -> Suggestions:
    levels: Suggestions = {"levels": (2, "the pixels are black or white")} if data.binary else {}
    if device != "cpu":
        return levels | {"head_width": (256, "smaller than the paper's 1,024, which are for photographs")}
    head: Suggestions = {"head_width": (64, "larger because 32 features are few for 256 levels")}
    return levels | FOR_CPU | ({} if data.binary else head)
