"""The losses of the package that train on points, each with what the playground lets one change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ganforge.systems.discovery import find

Units = tuple[int, ...]
MOST_LAYERS, MOST_UNITS = 5, 512
LIVE = frozenset(
    {
        "learning_rate", "discriminator_learning_rate", "final_learning_rate", "momentum", "final_momentum",
        "beta1", "beta2", "clip", "penalty_weight", "gamma", "final_gamma", "label_smoothing", "beta",
    }
)  # fmt: skip
"""Fields that may change while a training goes on: neither networks nor the order of the data follow them."""
LARGEST = {"discriminator_steps": 20, "critic_steps": 20, "pack": 8, "generator_batch_factor": 4}
"""Of what costs time in every step."""


class Shared(BaseModel):
    """What all panels have in common: the networks, the noise and the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generator_hidden: Units = Field((64, 64), max_length=MOST_LAYERS, description="Units of each layer.")
    discriminator_hidden: Units = Field((64, 64), max_length=MOST_LAYERS, description="Units of each layer.")
    latent_size: int = Field(2, ge=1, le=32, description="Numbers in one latent; 1 and 2 show a manifold.")
    latent_distribution: Literal["gaussian", "uniform", "spherical"] = Field(
        "gaussian", description="What the noise is drawn from, where a loss lets one choose."
    )
    batch: int = Field(128, ge=8, le=1024, description="Real points in each update.")


@dataclass(frozen=True)
class Loss:
    """A loss: the `system` with the fields `fixed`, its paper, and which of its fields can be changed.

    `defaults` are the playground's, where they are not the package's for points.
    """

    system: str
    title: str
    about: str
    paper: str
    arxiv: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    open: tuple[str, ...] = ()

    def fields(self, shared: Shared, own: Mapping[str, Any]) -> dict[str, Any]:
        """The config fields of the system."""
        known = find(self.system).Config.model_fields
        units = {"generator_hidden": shared.generator_hidden}
        critic = "critic_hidden" if "critic_hidden" in known else "discriminator_hidden"
        units |= {critic: shared.discriminator_hidden, "hidden": shared.discriminator_hidden}
        common = {**units, "latent_size": shared.latent_size, "batch": shared.batch}
        noise = known.get("latent_distribution")
        if noise is not None and shared.latent_distribution in getattr(noise.annotation, "__args__", ()):
            common["latent_distribution"] = shared.latent_distribution
        common = {name: value for name, value in common.items() if name in known}
        return {"ema_half_life": 0, "steps": STEPS, **common, **self.defaults, **own, **self.fixed}

    def schema(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of each field that can be changed, and whether it may during the training."""
        properties = find(self.system).Config.model_json_schema()["properties"]
        return {name: {**properties[name], "live": name in LIVE} for name in self.open}


STEPS = 20_000
_GAN = ("learning_rate", "discriminator_learning_rate", "discriminator_steps", "optimizer", "momentum",
        "activation", "pack", "label_smoothing", "instance_noise", "ema_half_life")  # fmt: skip
_ANY_COUNT = {"learning_rate": 1e-3, "activation": "leaky_relu", "init_std": None}
"""What the package suggests for many points, for few too."""
_GOODFELLOW = "Goodfellow et al. 2014"

LOSSES: dict[str, Loss] = {
    "non_saturating": Loss(
        "gan",
        "Non-saturating",
        "D tells real from generated; G maximises log D(G(z)), whose gradient stays large where D is sure.",
        _GOODFELLOW,
        "1406.2661",
        fixed={"loss": "non_saturating"},
        defaults=_ANY_COUNT,
        open=_GAN,
    ),
    "minimax": Loss(
        "gan",
        "Minimax",
        "The same game, but G minimises log(1 - D(G(z))), which is flat where D is sure.",
        _GOODFELLOW,
        "1406.2661",
        fixed={"loss": "minimax"},
        defaults=_ANY_COUNT,
        open=_GAN,
    ),
    "wgan": Loss(
        "wgan",
        "WGAN",
        "A critic estimates the Wasserstein distance; clipped weights keep its slope bounded.",
        "Arjovsky et al. 2017",
        "1701.07875",
        defaults={"learning_rate": 1e-3, "clip": 0.1},
        open=("learning_rate", "critic_steps", "clip", "instance_noise", "ema_half_life"),
    ),
    "wgan_gp": Loss(
        "wgan_gp",
        "WGAN-GP",
        "The same distance; a penalty keeps the critic's slope near 1 between real and generated points.",
        "Gulrajani et al. 2017",
        "1704.00028",
        defaults={"learning_rate": 1e-3},
        open=("learning_rate", "critic_steps", "penalty_weight", "beta1", "beta2", "ema_half_life"),
    ),
    "hinge": Loss(
        "sngan",
        "Hinge",
        "D is pushed to margins of 1 and no further; spectral normalisation bounds its slope.",
        "Miyato et al. 2018",
        "1802.05957",
        fixed={"loss": "hinge"},
        defaults={
            "learning_rate": 1e-3,
            "learning_rate_decay": "none",
            "discriminator_steps": 1,
            "generator_batch_factor": 1,
        },
        open=("learning_rate", "discriminator_learning_rate", "discriminator_steps", "spectral", "beta1",
              "beta2", "ema_half_life"),
    ),
    "lsgan": Loss(
        "lsgan",
        "Least squares",
        "D aims at 1 for real and 0 for generated points by squared error, which never saturates.",
        "Mao et al. 2016",
        "1611.04076",
        defaults={"learning_rate": 1e-3},
        open=("learning_rate", "discriminator_learning_rate", "beta1", "beta2", "pack", "instance_noise",
              "ema_half_life"),
    ),
    "r3gan": Loss(
        "r3gan",
        "R3GAN",
        "D compares pairs of real and generated points; penalties on its slope let the game converge.",
        "Huang et al. 2024",
        "2501.05441",
        open=("learning_rate", "discriminator_learning_rate", "final_learning_rate", "gamma", "final_gamma",
              "beta2", "ema_half_life"),
    ),
    "vae": Loss(
        "vae",
        "VAE",
        "For contrast, no game: encoder and decoder maximise a bound of log p(x). The map shows that bound.",
        "Kingma and Welling 2013",
        "1312.6114",
        defaults={"learning_rate": 3e-3, "learning_rate_decay": "none"},
        open=("learning_rate", "beta", "activation", "ema_half_life"),
    ),
}  # fmt: skip
