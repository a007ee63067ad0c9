"""The deep convolutional GAN of Radford et al. 2015."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.losses import (
    adversarial_metrics,
    discriminator_logistic,
    generator_loss,
    logit_metrics,
    one_stage_scale,
)
from ganforge.system import LatentSystem, Prior, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput, LogisticConfig
from ganforge.systems.families.networks import (
    ODD_MAPS,
    OddMaps,
    network_pair,
    pooled_features,
    suggest_odd_maps,
)
from ganforge.systems.families.own_parts import OwnPartsConfig, own_loss


class DCGANConfig(LogisticConfig, OwnPartsConfig):
    """Defaults are those of section 4 of the paper and of its released networks."""

    steps: PositiveInt = Field(20_000, description="Training steps; about 25 epochs of 100,000 images.")
    batch: PositiveInt = Field(128, ge=2, description="Images per update; batch norm needs two.")
    width: PositiveInt = Field(
        128, description="Channels next to the image, doubled at every halving; hidden units of the mlp."
    )
    kernel_size: Literal[5, 4] = Field(5, description="5: the paper's convolutions; 4: the PyTorch ports'.")
    latent_size: PositiveInt = Field(100, description="Numbers in one latent.")
    learning_rate: PositiveFloat = Field(2e-4, description="Adam's rate for both networks.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")
    weight_decay: NonNegativeFloat = Field(0.0, description="L2 penalty; the released code has 1e-5.")

    # Not from the paper.
    odd_maps: OddMaps = Field("keep", description=ODD_MAPS)
    dense_units: NonNegativeInt = Field(
        0, description="Units of a dense layer next to the latents and the logit, as InfoGAN has; 0: none."
    )
    generator_steps: PositiveInt = Field(
        1,
        description="Generator updates in each step, after the first with fresh fakes; PacGAN has 2.",
    )
    update: Literal["alternating", "simultaneous", "one_stage"] = Field(
        "alternating",
        description="alternating: the generator's gradient by the updated discriminator; simultaneous: both "
        "gradients from one pass; one_stage: from one backward too (OSGAN), without batch norm.",
    )
    network: Literal["convolutional", "mlp"] = Field(
        "convolutional", description="convolutional: the paper's; mlp: plain layers, for 2-D points."
    )
    discriminator_norm: Literal["batch", "group"] = Field(
        "batch",
        description="Norm of the convolutional discriminator; group: each image on its own, as OSGAN.",
    )
    latent_distribution: Literal["uniform", "gaussian"] = Field(
        "uniform", description="U(-1, 1), the paper's, or standard Gaussian."
    )

    def model_post_init(self, _: object) -> None:
        """Reject updates of both networks and norms that have no meaning."""
        super().model_post_init(_)
        if self.generator_steps > 1 and self.update != "alternating":
            raise ValueError("generator_steps above 1 needs --update alternating")
        if self.update == "one_stage" and (self.label_flips or self.loss is not None):
            option = "--label-flips" if self.label_flips else "--loss"
            raise ValueError(
                f"--update one_stage does not know the slopes of the loss: leave out {option}, or use "
                "--update simultaneous"
            )
        if self.discriminator_norm == "group" and (self.network == "mlp" or self.discriminator is not None):
            option = "--discriminator" if self.discriminator is not None else "--network mlp"
            raise ValueError(
                f"--discriminator-norm is of the paper's discriminator: leave it out, or {option}"
            )


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)


@final
class DCGAN(LatentSystem):
    """Radford, Metz and Chintala 2015, "Unsupervised Representation Learning with DCGANs", arXiv 1511.06434.

    Differs from the paper: no L2 penalty by default and both networks are updated on every batch (the
    paper's text; its code adds 1e-5 and alternates by batch); the generator is updated with the fakes that
    the discriminator has just seen (as the PyTorch tutorial does: one generator pass less); an average of the
    generator (EMA) is what is sampled. 28x28 starts from 4x4 maps, over 7x7 (`odd_maps`). Simultaneous
    gradients and group norm (`update`, `discriminator_norm`) are those of Shen et al. 2021, "Training
    Generative Adversarial Networks in One Stage", arXiv 2103.00430; smoothed labels and packs are exact too.
    """

    Config = DCGANConfig
    purpose = "new images like yours: start here"
    accepts = frozenset({"pixels", "points", "alpha"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: DCGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: DCGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        self.generator, self.discriminator = network_pair(
            "dcgan",
            data,
            own=config,
            network=config.network,
            width=config.width,
            latent_size=config.latent_size,
            shape=self.augment.shape,
            kernel_size=config.kernel_size,
            dense_units=config.dense_units,
            odd_stage=config.odd_maps == "halve",
            norm=config.discriminator_norm,
        )
        has_batch_norm = any(isinstance(module, BATCH_NORMS) for module in self.discriminator.modules())
        if config.update == "one_stage" and has_batch_norm:
            raise UserError(
                "--update one_stage needs a discriminator without batch norm, which mixes images: "
                "use --discriminator-norm group, or --update simultaneous"
            )
        self.own_loss = own_loss(config)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        return {
            name: torch.optim.Adam(
                self.get_submodule(name).parameters(),
                rate,
                betas=(config.beta1, config.beta2),
                weight_decay=config.weight_decay,
                fused=True,
            )
            for name, rate in config.rates(("discriminator", "generator")).items()
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One update of both networks, one after the other or at the same weights."""
        if self.config.update == "alternating":
            return self._alternating_step(batch, update)
        return self._simultaneous_step(batch, update)

    def _simultaneous_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Both gradients at the same weights of both networks, from one pass of the discriminator."""
        one_stage = self.config.update == "one_stage"
        fakes = self.generator(self.draw_latents(len(batch.images)))
        leaf = fakes.detach().requires_grad_()
        # Where two backwards follow it is not compiled: that may free what the second one needs.
        discriminator = self.discriminator if one_stage else self.discriminator.forward
        real_logits = self.discriminator(self.augment(batch.images))
        fake_logits = discriminator(self.augment(leaf))
        if self.own_loss is None:
            targets = self.config.target_options
            discriminator_loss = discriminator_logistic(real_logits, fake_logits, **targets)
            loss = generator_loss("non_saturating", fake_logits)
        else:
            discriminator_loss, loss = self.own_loss.pair(real_logits, fake_logits)

        # The generator's gradient at the fakes: the discriminator's, rescaled image by image, or its own,
        # taken before the discriminator's weights change.
        if one_stage:
            gradient = update("discriminator", discriminator_loss, watch=leaf)
            assert gradient is not None
            scale = one_stage_scale("non_saturating", fake_logits).repeat_interleave(self.config.pack)
            gradient = scale.view(-1, 1, 1, 1) * gradient
        else:
            with torch.autocast(leaf.device.type, enabled=False):
                (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
            update("discriminator", discriminator_loss)
        self.augment.adapt(real_logits)
        update("generator", (fakes * gradient).sum())
        return self._metrics(discriminator_loss, loss, real_logits, fake_logits)

    def _alternating_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator, then the generator against it with the same fakes."""
        fakes = self.generator(self.draw_latents(len(batch.images)))

        # Discriminator: tell real from generated, in separate passes because of its batch norm.
        real_logits = self.discriminator(self.augment(batch.images))
        fake_logits = self.discriminator(self.augment(fakes.detach()))
        if self.own_loss is None:
            targets = self.config.target_options
            discriminator_loss = discriminator_logistic(real_logits, fake_logits, **targets)
        else:
            discriminator_loss = self.own_loss.discriminator(real_logits, fake_logits)
        update("discriminator", discriminator_loss)
        self.augment.adapt(real_logits)

        # Generator: be taken for real.
        with frozen(self.discriminator):
            for k in range(self.config.generator_steps):
                if k:
                    fakes = self.generator(self.draw_latents(len(batch.images)))
                logits = self.discriminator(self.augment(fakes))
                if self.own_loss is None:
                    loss = generator_loss("non_saturating", logits)
                else:
                    loss = self.own_loss.generator(self.discriminator(self.augment(batch.images)), logits)
                update("generator", loss)
        return self._metrics(discriminator_loss, loss, real_logits, fake_logits)

    def _metrics(self, *losses_and_logits: Tensor) -> dict[str, Tensor]:
        metrics = adversarial_metrics if self.own_loss is None else logit_metrics
        return metrics(*losses_and_logits) | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

    @property
    def prior(self) -> tuple[Prior, ...]:
        """Uniform in [-1, 1], or Gaussian."""
        kind = self.config.latent_distribution
        return (Prior(kind, self.config.latent_size),)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        shape = (count, self.config.latent_size)
        if self.config.latent_distribution == "gaussian":
            return torch.randn(shape, generator=generator, device=self.device)
        return 2 * torch.rand(shape, generator=generator, device=self.device) - 1

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return self.generator(latents)

    @property
    def logits_are_log_odds(self) -> bool:
        """Of the paper's loss; what an own loss makes of them is unknown."""
        return self.own_loss is None

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """Logits."""
        return self.augment.logits(self.discriminator, images)

    def features(self, images: Tensor) -> Tensor:
        """Pooled maps of the discriminator."""
        return pooled_features(self.discriminator, self.config.pack, images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For 2-D points plain networks; on a CPU what draws most in minutes; one more stage for 28x28."""
        if data.values == "points":
            return dict(FOR_POINTS)
        return (dict(FOR_CPU) if device == "cpu" else {}) | suggest_odd_maps(data)


# Emoji at 32x32, 2,000 steps: FID 11.6 (`benchmarks/short_budgets.json`); the paper's rate and kernel: 41.7.
FOR_CPU: Suggestions = {
    "width": (32, "smaller because the run trains on a CPU"),
    "kernel_size": (4, "two thirds of the work of 5"),
    "batch": (64, "smaller, for more steps in the same time"),
    "learning_rate": (1e-3, "higher because there are few steps"),
    "latent_distribution": ("gaussian", "as in the PyTorch ports"),
}
FOR_POINTS: Suggestions = {
    "network": ("mlp", "2-D points have no neighbours to convolve"),
    "latent_size": (2, "the data has two dimensions"),
    "latent_distribution": ("gaussian", "points are unbounded"),
}
