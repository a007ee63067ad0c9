"""The information-maximising GAN of Chen et al. 2016, whose latents hold codes that images show."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.losses import adversarial_metrics, discriminator_logistic, generator_loss
from ganforge.nn.networks.infogan import InfoGANDiscriminator, InfoGANGenerator, InfoGANRecogniser
from ganforge.system import LatentSystem, Prior, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput, LogisticConfig
from ganforge.systems.families.resolutions import stages_for

CodeKind = Literal["categorical", "uniform", "gaussian"]

UNIFORM_ENTROPY = math.log(2)
GAUSSIAN_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
LOWEST_LOG_STD = -5.0
LARGEST_CODE = {"uniform": 2.0, "gaussian": 4.0}
MOST_MEASURED = 1_000


class InfoGANConfig(LogisticConfig):
    """Defaults are the MNIST experiment of section 7 and appendix C.1 of the paper, and of its code."""

    steps: PositiveInt = Field(5_000, description="Training steps; the released code has 50 times 100.")
    batch: PositiveInt = Field(128, ge=2, description="Images per update; batch norm needs two.")
    width: PositiveInt = Field(64, description="Channels next to the image, doubled at every halving.")
    dense_units: PositiveInt = Field(1024, description="Units of the dense layers of both networks.")
    leaky_slope: NonNegativeFloat = Field(
        0.1, description="Slope of the leaky ReLUs; the released code has 0.01."
    )
    categorical_codes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (10,), description="Number of categories of each categorical code."
    )
    uniform_codes: NonNegativeInt = Field(2, description="Codes uniform in [-1, 1].")
    gaussian_codes: NonNegativeInt = Field(0, description="Codes of a standard Gaussian.")
    latent_size: PositiveInt = Field(62, description="Numbers of noise in one latent, besides the codes.")
    mutual_information_weight: NonNegativeFloat = Field(
        1.0, description="Lambda: weight of the categorical codes' information."
    )
    continuous_information_weight: NonNegativeFloat = Field(
        1.0, description="Lambda of the uniform and Gaussian codes; popular ports have 0.1."
    )
    information_bonus: bool = Field(
        True, description="Whether the generator is rewarded for information; without: figure 1's control."
    )
    fixed_std: bool = Field(
        True,
        description="Whether continuous codes are read with a standard deviation of 1, or a learned one.",
    )
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's rate for the generator.")
    discriminator_learning_rate: PositiveFloat = Field(
        2e-4, description="Adam's rate for the discriminator and the recogniser."
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    # Not from the paper.
    latent_distribution: Literal["uniform", "gaussian"] = Field(
        "uniform", description="Of the noise: U(-1, 1), the paper's, or standard Gaussian."
    )

    def model_post_init(self, _: object) -> None:
        """Reject packs, whose images have different codes, and a run without a code."""
        if self.pack > 1:
            raise ValueError(
                f"infogan recognises the codes of single images, got --pack {self.pack}: use --pack 1"
            )
        if not self.categorical_codes and self.uniform_codes + self.gaussian_codes == 0:
            raise ValueError("infogan needs a code: use --categorical-codes 10, or `ganforge train dcgan`")


@final
class InfoGAN(LatentSystem):
    """Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by GANs", arXiv 1606.03657.

    A latent is `[noise, one-hot categories, uniform codes, Gaussian codes]`. The recogniser Q reads the codes
    of generated images from the discriminator's last hidden layer; both networks are rewarded for a bound on
    the information that images have of their codes (equations 4 to 6), as in openai/InfoGAN.

    Differs from the paper: the generator is updated with the fakes that the discriminator has just seen; the
    bound's entropy of a uniform code is its own, ln 2, where the code has a Gaussian's (no gradient depends
    on it); convolutions start from N(0, 0.02) that is not truncated; layers before a batch norm have no bias
    and a fixed standard deviation no output, as neither would do anything; a learned one is at least exp(-5);
    an average of the generator (EMA) is what is sampled. Sizes other than 28x28 are ours.
    """

    Config = InfoGANConfig
    purpose = "codes that steer images, without labels"
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    logits_are_log_odds = True
    measure_protocol: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: InfoGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: InfoGANConfig = config
        self.data = data
        self.augment = DiscriminatorInput(config, data)
        start, doublings = stages_for("infogan", data, plain=False)
        self.num_continuous = config.uniform_codes + config.gaussian_codes
        num_categories = sum(config.categorical_codes)
        sizes = {
            "channels": data.channels,
            "start": start,
            "doublings": doublings,
            "width": config.width,
            "dense_units": config.dense_units,
        }
        self.generator = InfoGANGenerator(
            latent_size=config.latent_size + num_categories + self.num_continuous, **sizes
        )
        self.discriminator = InfoGANDiscriminator(leaky_slope=config.leaky_slope, **sizes)
        self.recogniser = InfoGANRecogniser(
            in_features=config.dense_units,
            num_outputs=num_categories + self.num_continuous * (1 if config.fixed_std else 2),
            leaky_slope=config.leaky_slope,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for the generator, and one for the discriminator and the recogniser together."""
        config = self.config
        groups = {
            "discriminator": (
                [*self.discriminator.parameters(), *self.recogniser.parameters()],
                config.discriminator_learning_rate,
            ),
            "generator": ([*self.generator.parameters()], config.learning_rate),
        }
        return {
            name: torch.optim.Adam(parameters, rate, betas=(config.beta1, config.beta2), fused=True)
            for name, (parameters, rate) in groups.items()
        }

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update discriminator and recogniser, then the generator against both with the same fakes."""
        latents = self.draw_latents(len(batch.images))
        fakes = self.generator(latents)

        # Discriminator: tell real from generated, in separate passes because of its batch norm. Recogniser:
        # read the codes of the generated.
        real_logits, _ = self.discriminator(self.augment(batch.images))
        fake_logits, features = self.discriminator(self.augment(fakes.detach()))
        discriminator_loss = discriminator_logistic(real_logits, fake_logits, **self.config.target_options)
        information = self._information(features, latents)
        update("discriminator", discriminator_loss - self._reward(information))
        self.augment.adapt(real_logits)

        # Generator: be taken for real, and let the codes be read.
        with frozen(self.discriminator, self.recogniser):
            logits, features = self.discriminator(self.augment(fakes))
            loss = generator_loss("non_saturating", logits)
            if self.config.information_bonus:
                update("generator", loss - self._reward(self._information(features, latents)))
            else:
                update("generator", loss)
        metrics = adversarial_metrics(discriminator_loss, loss, real_logits, fake_logits)
        metrics |= {name: value.detach() for name, value in information.items()}
        return metrics | self.augment.metrics()

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the instance noise."""
        self.augment.schedule(images_seen)

    @property
    def prior(self) -> tuple[Prior, ...]:
        """The noise, the categories, the uniform and the Gaussian codes."""
        config = self.config
        return (
            Prior(config.latent_distribution, config.latent_size),
            *(Prior("category", size) for size in config.categorical_codes),
            Prior("uniform", config.uniform_codes),
            Prior("gaussian", config.gaussian_codes),
        )

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, noise and codes]`, 74 numbers with the defaults."""
        config, device = self.config, self.device
        if config.latent_distribution == "gaussian":
            noise = torch.randn(count, config.latent_size, generator=generator, device=device)
        else:
            noise = 2 * torch.rand(count, config.latent_size, generator=generator, device=device) - 1
        categories = [
            one_hot(torch.randint(size, (count,), generator=generator, device=device), size).float()
            for size in config.categorical_codes
        ]
        uniform = 2 * torch.rand(count, config.uniform_codes, generator=generator, device=device) - 1
        gaussian = torch.randn(count, config.gaussian_codes, generator=generator, device=device)
        return torch.cat([noise, *categories, uniform, gaussian], 1)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return self.generator(latents)

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor:
        """Logits."""
        return self.discriminator(images)[0]

    @property
    def num_codes(self) -> int:
        """Codes are numbered from 0: categorical ones first, then uniform, then Gaussian ones."""
        return len(self.config.categorical_codes) + self.num_continuous

    def code_kind(self, index: int) -> CodeKind:
        """What the code number `index` is; raises UserError where there is none."""
        if not 0 <= index < self.num_codes:
            raise UserError(f"--code {index}: expected a code from 0 to {self.num_codes - 1}")
        index -= len(self.config.categorical_codes)
        if index < 0:
            return "categorical"
        return "uniform" if index < self.config.uniform_codes else "gaussian"

    def set_code(self, latents: Tensor, index: int, values: Tensor) -> Tensor:
        """A copy of `latents` whose code number `index` has the `values` `[count]`.

        Categories are whole numbers from 0; uniform codes may go to +-2, as in the paper's figure 2, and
        Gaussian ones to +-4. Raises UserError for another value, or where there is no such code.
        """
        kind, sizes = self.code_kind(index), self.config.categorical_codes
        if kind == "categorical":
            low, high = 0.0, sizes[index] - 1.0
            expected = f"a whole number from 0 to {high:g}"
        else:
            low, high = -LARGEST_CODE[kind], LARGEST_CODE[kind]
            expected = f"{low:g} to {high:g}"
        values = values.to(latents.device)
        fits = (values >= low) & (values <= high) & ((kind != "categorical") | (values == values.round()))
        if not fits.all():
            raise UserError(f"--code {index}={float(values[~fits][0]):g}: expected {expected}")
        latents = latents.clone()
        start = self.config.latent_size + sum(sizes[:index])
        if kind == "categorical":
            latents[:, start : start + sizes[index]] = one_hot(values.long(), sizes[index]).to(latents.dtype)
        else:
            latents[:, start + index - len(sizes)] = values.to(latents.dtype)
        return latents

    def categorise(self, images: Tensor) -> Tensor | None:
        """The likeliest category of the first categorical code; None where there is none."""
        if not self.config.categorical_codes:
            return None
        _, features = self.discriminator(images)
        return self.recogniser(features)[:, : self.config.categorical_codes[0]].argmax(1)

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The bounds in nats, of as many fresh samples as `batch` has images, at most 1000."""
        latents = self.draw_latents(min(len(batch.images), MOST_MEASURED), generator)
        _, features = self.discriminator(self.generator(latents))
        return self._information(features, latents)

    def _information(self, features: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """The bounds that Q gives, in nats, of those kinds of codes that there are: name -> 0-dim."""
        config, information = self.config, {}
        outputs, codes = self.recogniser(features).float(), latents[:, config.latent_size :]
        num_categories = sum(config.categorical_codes)
        if num_categories:
            information["categorical_information_nats"] = categorical_information(
                outputs[:, :num_categories], codes[:, :num_categories], config.categorical_codes
            )
        if self.num_continuous:
            means = outputs[:, num_categories : num_categories + self.num_continuous]
            log_stds = outputs[:, num_categories + self.num_continuous :].clamp(min=LOWEST_LOG_STD)
            entropy = config.uniform_codes * UNIFORM_ENTROPY + config.gaussian_codes * GAUSSIAN_ENTROPY
            information["continuous_information_nats"] = entropy + gaussian_log_likelihood(
                codes[:, num_categories:], means, torch.zeros_like(means) if config.fixed_std else log_stds
            )
        return information

    def _reward(self, information: dict[str, Tensor]) -> Tensor:
        """Lambda L_I, the kinds of codes each with its lambda."""
        weights = {
            "categorical_information_nats": self.config.mutual_information_weight,
            "continuous_information_nats": self.config.continuous_information_weight,
        }
        return torch.stack([weights[name] * value for name, value in information.items()]).sum()


def categorical_information(logits: Tensor, one_hots: Tensor, sizes: Sequence[int]) -> Tensor:
    """H(c) + E log Q(c|x) in nats, summed over categorical codes of these `sizes`, side by side in columns.

    `logits` and `one_hots` `[batch, sum of sizes]`. For a code of k categories at most ln k, where Q is right
    and sure; 0 where it says 1/k. Section 5 of Chen et al. 2016, equation 4.
    """
    likelihoods = [
        math.log(size) + (code * log_softmax(scores.float(), 1)).sum(1).mean()
        for size, scores, code in zip(sizes, logits.split(sizes, 1), one_hots.split(sizes, 1), strict=True)
    ]
    return torch.stack(likelihoods).sum()


def gaussian_log_likelihood(codes: Tensor, means: Tensor, log_stds: Tensor) -> Tensor:
    """E log Q(c|x) in nats of continuous `codes` `[batch, num]`, Q a factored Gaussian; summed over codes."""
    errors = (codes - means.float()) * torch.exp(-log_stds.float())
    return -(0.5 * errors.square() + log_stds.float() + 0.5 * math.log(2 * math.pi)).sum(1).mean()
