"""The one abstraction: `System`, a method of one paper, and `LatentSystem`, one that decodes latents."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError

Suggestions = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class Inheritance:
    """What a run takes over from the one that `--from` names.

    `networks`: own child -> child of the other, which must fit whole, its averaged weights where it has some;
    other tensors come too where name and shape are those of an own one. `fields`: own config field -> field
    of the other, whose value is taken unless another is asked for.
    """

    networks: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tiling:
    """How an image of any size goes through a system whole, or in tiles.

    `scale`: pixels of the result for one of the source, each way; `multiple`: what the sides of a source must
    be multiples of; `reach`: how many pixels around its own a pixel of the result depends on, each way, in
    those of the source, or None where it is the whole image, so that tiles must be blended.
    """

    scale: int = 1
    multiple: int = 1
    reach: int | None = None


@dataclass(frozen=True)
class ParentRun:
    """The run whose weights another begins with, `--from`."""

    system: str
    data: DataSpec


class Update(Protocol):
    """The engine's one verb: backward into one optimizer's parameters, and step it."""

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        """Step the optimizer `name` down `loss`; returns d loss / d watch of the same backward."""


class SystemConfig(BaseModel):
    """What every system can be told; each system's own `Config` adds its fields and its paper's values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: PositiveInt = Field(10_000, description="Training steps, each a full cycle of every network.")
    batch: PositiveInt = Field(64, description="Images per update.")
    ema_half_life: NonNegativeFloat = Field(
        10_000, description="Half-life, in images, of the averaged generator that is sampled; 0 turns it off."
    )
    ema_ramp_up: float = Field(
        0.05, gt=0, description="The half-life never exceeds this share of the images seen so far."
    )


class System(nn.Module, ABC):
    """A method of one paper: networks as children, one training step as plain code.

    Its docstring names the paper and every difference from it. A step obeys five rules: one full cycle,
    no host reads, no step index, no fetching of data, one program per run.
    """

    Config: ClassVar[type[SystemConfig]]
    needs: ClassVar[frozenset[str]] = frozenset()
    averaged: ClassVar[tuple[str, ...]] = ()
    """Children whose moving average (EMA) is what is sampled and judged."""
    inherits: ClassVar[Mapping[str, Inheritance]] = {}
    """What is taken over from the run that `--from` names, by the name of its system."""
    generates_images: ClassVar[bool] = True
    """Whether there is something to sample; an encoder of captions makes embeddings only."""

    config: SystemConfig
    data: DataSpec

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Config values that fit this data better than the paper's: field -> (value, why).

        `device` is "cpu" or "cuda": what is worth its time differs.
        """
        return {}

    @classmethod
    def check_start(cls, config: SystemConfig, data: DataSpec, start: ParentRun | None) -> None:
        """Raise UserError where a new run cannot begin with the weights of `start`, or lacks some."""

    @abstractmethod
    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """A fresh optimizer for each name that `train_step` updates."""

    @abstractmethod
    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One complete update of every network; returns name -> 0-dim tensor."""

    @abstractmethod
    def sample(self, count: int, given: Batch | None = None) -> Tensor:
        """`count` images in [-1, 1] (or points), with the conditions `given`."""

    @property
    def tiling(self) -> Tiling | None:
        """How `translate` takes images of any size; None where a system translates none."""
        return None

    def translate(self, sources: Tensor) -> Tensor:
        """Images in [-1, 1] made from `sources` in [-1, 1] `[count, channels, ...]`, as `tiling` says."""
        raise UserError(f"{type(self).__name__.lower()} translates no images: use pix2pix or srgan")

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    def networks(self) -> dict[str, nn.Module]:
        """The children that have weights, by name."""
        return {name: child for name, child in self.named_children() if any(True for _ in child.parameters())}

    def images_per_step(self) -> int:
        """Real images that one step consumes."""
        return self.config.batch

    @property
    def conditions(self) -> frozenset[str]:
        """Parts of `given` that `sample` heeds; those that are not given it draws itself."""
        return self.needs

    def prepare(self, images: Tensor) -> None:
        """Initialise from real `images` once, before the first step of a new run."""

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Set learning rates and momenta as a function of the images seen; called before every step."""

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Discriminator logits `[batch]` of `images`, or None where there is no discriminator."""
        return None

    @property
    def logits_are_log_odds(self) -> bool:
        """Whether `discriminate` gives the log odds of being real, as logistic losses make them."""
        return True

    def features(self, images: Tensor) -> Tensor | None:
        """Features `[batch, n]` of `images` that a linear classifier can use, or None."""
        return None

    def encode_captions(self, captions: Tensor) -> Tensor | None:
        """Embeddings `[batch, n]` of captions in codes int64 `[batch, length]`, or None."""
        return None

    def encode_images(self, images: Tensor) -> Tensor | None:
        """Embeddings `[batch, n]` of images that can be compared with those of captions, or None."""
        return None

    def reconstruct(self, images: Tensor) -> Tensor | None:
        """What `images` become when they are encoded and decoded, or None."""
        return None

    def complete(self, images: Tensor, rows: int, given: Batch | None = None) -> Tensor | None:
        """`images` with the first `rows` rows kept and the others drawn given these, or None."""
        return None

    def outlier_scores(self, batch: Batch) -> dict[str, Tensor]:
        """Numbers `[batch]`, by name, that are larger the less an image is like the data to this system."""
        logits = self.discriminate(batch.images, batch)
        return {} if logits is None else {"discriminator": -logits}

    def class_nats(self, images: Tensor) -> Tensor | None:
        """-log p(x given y) in nats, `[batch, num_classes]`, of `images` for every class y, or None."""
        return None

    def categorise(self, images: Tensor) -> Tensor | None:
        """Class numbers int64 `[batch]` that the system gives `images`, never having seen labels; or None."""
        return None

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """What the paper reports besides images, of real images in evaluation mode: name_unit -> 0-dim."""
        return {}

    @property
    def measure_protocol(self) -> dict[str, Any]:
        """What the numbers of `measure` depend on besides the data, for their protocol."""
        return {}


class LatentSystem(System):
    """A system that decodes latents, so that latents can be kept, walked and combined."""

    @abstractmethod
    def draw_latents(self, count: int) -> Tensor:
        """Latents `[count, ...]` of the prior."""

    @abstractmethod
    def decode(self, latents: Tensor, given: Batch | None = None) -> Tensor:
        """Images in [-1, 1] (or points) of `latents`."""

    @property
    def latents_are_gaussian(self) -> bool:
        """Whether latents lie near a shell, so that a path between two goes along the arc."""
        return getattr(self.config, "latent_distribution", "gaussian") != "uniform"

    def set_code(self, latents: Tensor, index: int, values: Tensor) -> Tensor:
        """A copy of `latents` whose code number `index` has the `values` `[count]`.

        Raises UserError where there is no such code, or a value is out of its range.
        """
        raise UserError(f"{type(self).__name__.lower()} has no codes: train infogan to get some")

    def sample(self, count: int, given: Batch | None = None) -> Tensor:
        """Images of fresh latents."""
        return self.decode(self.draw_latents(count), given)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within this context no gradient of these networks' weights is computed, only of their inputs."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def sources_of(given: Batch | None, data: DataSpec, count: int, name: str) -> Tensor:
    """The sources `[count, ...]` that are given; raises UserError for none, not as many, or others."""
    if given is None or given.sources is None:
        raise UserError(
            f"{name} translates sources, and none were given: `ganforge sample RUN` takes those of its "
            "data, --sources FOLDER others"
        )
    if len(given.sources) != count or given.sources.shape[1:] != data.source_shape:
        shape = "x".join(map(str, data.source_shape or ()))
        raise UserError(
            f"sources {list(given.sources.shape)} for {count} samples: expected one for each, of {shape}"
        )
    return given.sources
