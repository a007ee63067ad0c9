"""The one abstraction: `System`, a method of one paper, and `LatentSystem`, one that decodes latents."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError

Suggestions = dict[str, tuple[Any, str]]
DRAWING = (
    "sample",
    "draw_latents",
    "decode",
    "translate",
    "complete",
    "complete_rows",
    "reconstruct",
    "measure",
    "outlier_scores",
)
"""Methods that may draw random numbers; all take `generator`, see `System`."""


@dataclass(frozen=True)
class Inheritance:
    """What a run inherits from the one that `--from` names.

    `networks`: own child -> child of the other, which must fit whole, its averaged weights where it has some;
    other tensors are copied too where name and shape match. `fields`: own config field -> field of the
    other, whose value is the default.
    """

    networks: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tiling:
    """How an image of any size is translated, whole or in tiles.

    `scale`: output pixels per source pixel, each way; `multiple`: the sides of a source must be multiples of
    it; `reach`: the radius of the receptive field in source pixels, or None where it is the whole image, so
    that tiles must be blended; `least`: the side of the smallest of these, as large as training's images.
    """

    scale: int = 1
    multiple: int = 1
    reach: int | None = None
    least: int = 0


@dataclass(frozen=True)
class Prior:
    """How `size` numbers of a latent are drawn, for programs that draw latents themselves.

    "gaussian": N(0, 1); "uniform": U(low, high); "sphere": N(0, 1), then scaled to the length sqrt(size);
    "category": one 1 at random, the others 0; "correlated": `mean` `[size]` + `root` `[size, size]` N(0, 1).
    """

    kind: Literal["gaussian", "uniform", "sphere", "category", "correlated"]
    size: int
    low: float = -1.0
    high: float = 1.0
    mean: Tensor | None = None
    root: Tensor | None = None


@dataclass(frozen=True)
class ParentRun:
    """The run that `--from` names, whose weights another starts from."""

    system: str
    data: DataSpec


class Update(Protocol):
    """The engine's one verb: backward into one optimizer's parameters, and step it."""

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        """Step the optimizer `name` down `loss`; returns d loss / d watch of the same backward."""


class SystemConfig(BaseModel):
    """Options of every system; each system's own `Config` adds its fields and its paper's values."""

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

    Methods that may draw random numbers (`DRAWING`) take `generator` and draw from it, so that samples follow
    a seed, in several threads too, and a training's own random numbers stay as they are. In a step it is
    left out: torch then draws from its global state.
    """

    Config: ClassVar[type[SystemConfig]]
    purpose: ClassVar[str] = ""
    """What the system is for, in at most 44 characters: `ganforge list systems` shows it."""
    accepts: ClassVar[frozenset[Literal["pixels", "points", "alpha"]]] = frozenset({"pixels"})
    """The kinds of values that the networks are built for; "alpha" are pixels of four channels."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Parts of a batch, besides images, that a step uses."""
    averaged: ClassVar[tuple[str, ...]] = ()
    """Children whose moving average (EMA) is sampled and evaluated."""
    inherits: ClassVar[Mapping[str, Inheritance]] = {}
    """What is inherited from the run that `--from` names, by the name of its system."""

    config: SystemConfig
    data: DataSpec

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Config values that fit this data better than the paper's: field -> (value, reason).

        `device` is "cpu" or "cuda". A reason reads after the value: `width = 32: smaller because ...`.
        """
        return {}

    @abstractmethod
    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """A fresh optimizer for each name that `train_step` updates."""

    @abstractmethod
    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One complete update of every network; returns name -> 0-dim tensor."""

    @abstractmethod
    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """`count` images in [-1, 1] (or points), with the conditions `given`; random by `generator`."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    def images_per_step(self) -> int:
        """Real images that one step consumes."""
        return self.config.batch

    @property
    def conditions(self) -> frozenset[str]:
        """Conditions that `sample` accepts; missing ones are drawn at random."""
        return self.needs

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Set learning rates and momenta as a function of the images seen; called before every step."""


class LatentSystem(System):
    """A system that decodes latents, so that latents can be kept, walked and combined."""

    @abstractmethod
    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, ...]` of the prior."""

    @abstractmethod
    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images in [-1, 1] (or points) of `latents`; missing conditions are drawn by `generator`."""

    @property
    def prior(self) -> tuple[Prior, ...]:
        """What `draw_latents` draws, part after part: of this class a standard Gaussian."""
        latents = self.draw_latents(1, generator=torch.Generator(self.device))
        return (Prior("gaussian", latents.shape[1]),)

    @property
    def latents_are_gaussian(self) -> bool:
        """Whether latents lie near a shell, so that a path between two goes along the arc."""
        return getattr(self.config, "latent_distribution", "gaussian") != "uniform"

    @property
    def continuous_size(self) -> int | None:
        """The first so many numbers of a latent are what samples are continuous in; None: all."""
        return None

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of fresh latents."""
        return self.decode(self.draw_latents(count, generator=generator), given, generator=generator)


# What only some systems can do, besides training and sampling: see `Trained.call`.


@runtime_checkable
class NamesInferenceNetwork(Protocol):
    """A system whose exported network is not just its child `generator`."""

    def inference_network(self) -> nn.Module:
        """What is exported: latents or sources, then labels or embeddings, to images, as `sample` has them.

        Of systems that generate pixel by pixel images and labels to logits `[batch, levels, channels, height,
        width]`. It shares the weights of this system.
        """


def inference_network(system: System) -> nn.Module:
    """The network of `system` that is exported; raises UserError where there is none."""
    if isinstance(system, NamesInferenceNetwork):
        return system.inference_network()
    network = getattr(system, "generator", None)
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{type(system).__name__.lower()} has no network that makes images: export a run of another "
            "system, or define inference_network"
        )
    return network


@runtime_checkable
class ChecksStart(Protocol):
    """A system class that rejects some starting weights, or the lack of them."""

    def check_start(self, config: SystemConfig, data: DataSpec, start: ParentRun | None) -> None:
        """Raise UserError where a new run cannot start from the weights of `start`, or lacks some."""


@runtime_checkable
class Prepares(Protocol):
    """A system whose first weights depend on the data."""

    def prepare(self, images: Tensor) -> None:
        """Initialise from real `images` once, before the first step of a new run."""


@runtime_checkable
class HasCodes(Protocol):
    """A latent system whose latents hold codes with a meaning of their own."""

    def set_code(self, latents: Tensor, index: int, values: Tensor) -> Tensor:
        """A copy of `latents` whose code number `index` has the `values` `[count]`.

        Raises UserError where there is no such code, or a value is out of its range.
        """

    def categorise(self, images: Tensor) -> Tensor | None:
        """The value int64 `[batch]` of the first categorical code of `images`; None where there is none."""


@runtime_checkable
class Translates(Protocol):
    """A system that turns images of any size into images."""

    @property
    def tiling(self) -> Tiling:
        """How images of any size are translated, whole or in tiles."""

    def translate(self, sources: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images in [-1, 1] made from `sources` in [-1, 1] `[count, channels, ...]`, as `tiling` says."""


@runtime_checkable
class Discriminates(Protocol):
    """A system with a discriminator of single images."""

    @property
    def logits_are_log_odds(self) -> bool:
        """Whether the logits are the log odds of being real, as logistic losses make them."""

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Discriminator logits `[batch]` of `images`; None without a condition that they depend on."""


@runtime_checkable
class Features(Protocol):
    """A system whose networks give features for a linear classifier."""

    def features(self, images: Tensor) -> Tensor:
        """Features `[batch, n]` of `images`; raises UserError where the options leave none."""


@runtime_checkable
class EncodesCaptions(Protocol):
    """A system that puts captions and images into one space of embeddings."""

    def encode_captions(self, captions: Tensor) -> Tensor:
        """Embeddings `[batch, n]` of captions in codes int64 `[batch, length]`."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings `[batch, n]` of images, to compare with those of captions."""


@runtime_checkable
class Reconstructs(Protocol):
    """A system with an encoder and a decoder."""

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`images` encoded and decoded."""


@runtime_checkable
class InfersLatents(Protocol):
    """A system with an approximate posterior of the latents behind an image."""

    def posterior_mean(self, images: Tensor) -> Tensor:
        """The mean latent `[batch, n]` of each of `images`."""


@runtime_checkable
class CompletesRows(Protocol):
    """A system that generates row by row."""

    def complete(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """`images` with the first `rows` rows kept and the others sampled given these."""

    def complete_rows(
        self, images: Tensor, rows: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The rows `[count, channels, width]` of `complete`, each when it is complete."""


@runtime_checkable
class ScoresOutliers(Protocol):
    """A system that scores how unlike the data an image is; those with a discriminator need not."""

    def outlier_scores(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Scores `[batch]`, by name, that are larger the less an image is like the data."""


@runtime_checkable
class ClassLikelihoods(Protocol):
    """A system with p(x given y)."""

    def class_nats(self, images: Tensor) -> Tensor:
        """-log p(x given y) in nats `[batch, num_classes]`; raises UserError where the run has no labels."""


@runtime_checkable
class Measures(Protocol):
    """A system whose paper reports numbers besides images."""

    @property
    def measure_protocol(self) -> Mapping[str, Any]:
        """What the numbers of `measure` depend on besides the data."""

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The paper's numbers of real images in evaluation mode: name_unit -> 0-dim."""


def generates_images(system: System | type[System]) -> bool:
    """Whether `sample` of a system gives images (or points): an encoder of captions gives embeddings only."""
    return not hasattr(system, "encode_captions")


def networks(system: nn.Module) -> dict[str, nn.Module]:
    """The children of `system` that have weights, by name."""
    return {name: child for name, child in system.named_children() if any(True for _ in child.parameters())}


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
    """The sources `[count, ...]` of `given`; raises UserError for none, another number, or another shape."""
    if given is None or given.sources is None:
        raise UserError(
            f"{name} translates sources, and got none: `ganforge sample RUN` uses those of its data, "
            "--sources FOLDER others"
        )
    if len(given.sources) != count or given.sources.shape[1:] != data.source_shape:
        shape = "x".join(map(str, data.source_shape or ()))
        raise UserError(
            f"sources {list(given.sources.shape)} for {count} samples: expected one for each, of {shape}"
        )
    return given.sources
