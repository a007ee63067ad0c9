"""The variational autoencoder of Kingma and Welling 2013, and its importance-weighted bound."""

import math
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import Means
from ganforge.nn.likelihoods import (
    LikelihoodName,
    gaussian_kl,
    importance_bound,
    latent_log_ratio,
    likelihood_of,
)
from ganforge.nn.networks.autoencoder import (
    ConvolutionalDecoder,
    DenseDecoder,
    convolutional_pair,
    dense_pair,
)
from ganforge.nn.networks.mlp import Activation
from ganforge.nn.networks.vae import GaussianEncoder
from ganforge.nn.optimizers import decay_linearly
from ganforge.system import LatentSystem, Suggestions, SystemConfig, Update
from ganforge.systems.families.resolutions import stages_for

_STAGES = 8  # of the learning rate of Burda et al. 2015: 3^i epochs each, i = 0 ... 7
# Values decoded at a time for the importance-weighted estimate: 1 MB, which a CPU's cache holds.
_DECODED_AT_A_TIME = 2**18
_NLL_SAMPLES = 5_000
_FEWER_NLL_SAMPLES = 500  # where 5,000 take half an hour or more for MNIST's test set


class VAEConfig(SystemConfig):
    """Defaults are the network with one stochastic layer of Burda et al. 2015, of whom the numbers are."""

    steps: PositiveInt = Field(1_640_000, description="Training steps; the default is 3,280 epochs of MNIST.")
    batch: PositiveInt = Field(100, description="Images per update.")
    hidden: tuple[PositiveInt, ...] = Field(
        (200, 200), description="Hidden units of the mlp's encoder; the decoder has them in reverse."
    )
    activation: Activation = Field("tanh", description="Of the mlp's hidden units.")
    latent_size: PositiveInt = Field(50, description="Standard Gaussian numbers in one latent.")
    objective: Literal["elbo", "iwae"] = Field(
        "elbo", description="elbo: one sample, analytic KL; iwae: the importance-weighted bound."
    )
    num_importance: PositiveInt = Field(
        1, description="Samples of q(z|x) for each image in --objective iwae."
    )
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's first rate.")
    learning_rate_decay: Literal["stages", "linear", "none"] = Field(
        "stages",
        description="stages: those of Burda et al., shortened in proportion to --steps; linear: to 0.",
    )

    # Not from the paper.
    network: Literal["mlp", "convolutional"] = Field(
        "mlp", description="mlp: dense layers; convolutional: stride-2 convolutions, for square images."
    )
    width: PositiveInt = Field(
        32, description="Channels of the first convolution; they double at each coarser map."
    )
    likelihood: LikelihoodName | None = Field(
        None,
        description="bernoulli for binary pixels, logistic for 256 levels, or gaussian; None: by the data.",
    )
    beta: NonNegativeFloat = Field(1.0, description="Weight of the KL in --objective elbo; 1: the ELBO.")
    nll_samples: NonNegativeInt | None = Field(
        None,
        description="Samples of q(z|x) for each image in the estimate of -log p(x) by `ganforge evaluate`; "
        "0: no estimate; None: 5,000 of black and white with the mlp, else 500.",
    )
    ema_half_life: NonNegativeFloat = Field(
        0, description="Half-life, in images, of the averaged networks (EMA); 0 turns it off."
    )

    def model_post_init(self, _: object) -> None:
        """Reject options of the one objective with the other."""
        if self.objective == "elbo" and self.num_importance > 1:
            raise ValueError(
                f"num_importance {self.num_importance} is of another bound: add --objective iwae"
            )
        if self.objective == "iwae" and self.beta != 1:
            raise ValueError(
                f"beta {self.beta:g} weighs the KL, which iwae does not have: use --objective elbo"
            )


@final
class VAE(LatentSystem):
    """Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv 1312.6114.

    With --objective iwae: Burda, Grosse and Salakhutdinov 2015, "Importance Weighted Autoencoders", arXiv
    1509.00519. Reconstruction and KL are both summed, over pixels and over latents. Samples are the means of
    p(x|z), not draws from it.

    Differs from the paper: the defaults are the network and the optimizer of Burda et al. with one stochastic
    layer (Kingma and Welling: 500 hidden units, Adagrad), with batch 100 instead of 20 and so a fifth of the
    updates. The log variance is clamped to [-10, 10]; the output bias starts at the mean training image.
    The convolutional networks, the logistic likelihood, beta (Higgins et al. 2017) and an average of the
    weights are options of ours.
    """

    Config = VAEConfig
    purpose = "a smooth latent space; reconstructions"
    accepts = frozenset({"pixels", "points"})
    averaged: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __init__(self, config: VAEConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: VAEConfig = config
        self.data = data
        self.likelihood_name: LikelihoodName = config.likelihood or _likelihood_for(data)[0]
        _check_likelihood(self.likelihood_name, data)
        self.likelihood = likelihood_of(self.likelihood_name, bounded=data.values == "pixels")
        self.num_values = math.prod(data.shape)
        per_value = self.likelihood.outputs_per_value
        self.decoder: DenseDecoder | ConvolutionalDecoder
        if config.network == "mlp":
            body, self.decoder = dense_pair(
                shape=data.shape,
                hidden=config.hidden,
                codes=2 * config.latent_size,
                latent_size=config.latent_size,
                outputs=per_value * self.num_values,
                activation=config.activation,
            )
            self.encoder = GaussianEncoder(body)
        else:
            maps, self.decoder = convolutional_pair(
                channels=data.channels,
                stages=stages_for("vae", data),
                width=config.width,
                codes=2 * config.latent_size,
                latent_size=config.latent_size,
                outputs_per_value=per_value,
            )
            self.encoder = GaussianEncoder(maps)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for both networks, with the epsilon of Burda et al."""
        rate = self.config.learning_rate
        return {"vae": torch.optim.Adam(self.parameters(), rate, (0.9, 0.999), 1e-4, fused=True)}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update both networks up the ELBO, or up the importance-weighted bound."""
        mean, log_variance = self.encoder(batch.images)
        kl = gaussian_kl(mean, log_variance).mean()
        if self.config.objective == "elbo":
            noise = torch.randn_like(mean)
            latents = mean + torch.exp(log_variance / 2) * noise
            log_probability = self.likelihood.log_probability(self.decoder(latents), batch.images.flatten(1))
            loss = self.config.beta * kl - log_probability.mean()
        else:
            log_weights = self.log_weights(batch.images, mean, log_variance, self.config.num_importance)
            loss = -importance_bound(log_weights).mean()
        update("vae", loss)
        return {"vae_loss": loss.detach(), "kl_nats": kl.detach()}

    def prepare(self, images: Tensor) -> None:
        """Set the decoder's output bias so that p(x|z) has the mean and the spread of the training images."""
        self.decoder.set_output_bias(self.likelihood.first_outputs(images.flatten(1)))

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """In stages: the rate times 10^(-i/7) for 3^i of every 3,280 parts of the training, i = 0 ... 7."""
        all_images = self.config.steps * self.config.batch
        if self.config.learning_rate_decay == "linear":
            decay_linearly(
                optimizers, dict.fromkeys(optimizers, self.config.learning_rate), images_seen, all_images
            )
        if self.config.learning_rate_decay != "stages":
            return
        parts = (3**_STAGES - 1) / 2 * images_seen / all_images
        stage = sum(parts >= (3**index - 1) / 2 for index in range(1, _STAGES))
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * 10 ** (-stage / (_STAGES - 1))

    def inference_network(self) -> nn.Module:
        """The decoder with the means of p(x|z)."""
        bounded = self.data.values == "pixels"
        return Means(self.decoder, self.likelihood_name, bounded, self.data.shape)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]` of the standard Gaussian prior."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The means of p(x|z)."""
        return self.likelihood.mean(self.decoder(latents)).unflatten(1, self.data.shape)

    def posterior_mean(self, images: Tensor) -> Tensor:
        """The means `[batch, latent_size]` of q(z|x) of images in [-1, 1]."""
        mean, _ = self.encoder(images)
        return mean

    def features(self, images: Tensor) -> Tensor:
        """Those means."""
        return self.posterior_mean(images)

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The means of p(x|z) where z is the mean of q(z|x)."""
        return self.decode(self.posterior_mean(images))

    def outlier_scores(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Minus the ELBO, and its reconstruction part, from one sample an image."""
        mean, log_variance = self.encoder(batch.images)
        latents = mean + torch.exp(log_variance / 2) * _noise_like(mean, generator)
        reconstruction = -self.likelihood.log_probability(self.decoder(latents), batch.images.flatten(1))
        return {"elbo": reconstruction + gaussian_kl(mean, log_variance), "reconstruction": reconstruction}

    def log_weights(
        self,
        images: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        count: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The log of p(x, z) / q(z|x) `[count, batch]` for `count` draws from each q(z|x)."""
        noise = torch.randn(count, *mean.shape, generator=generator, device=mean.device)
        latents = mean + torch.exp(log_variance / 2) * noise
        log_probability = self.likelihood.log_probability(self.decoder(latents), images.flatten(1))
        return log_probability + latent_log_ratio(latents, noise, log_variance)

    def log_likelihood(self, images: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The importance-weighted estimate of log p(x), float64 `[batch]` on the CPU, from `count` draws.

        In expectation a lower bound. Memory does not grow with `count`: few images are decoded at a time.
        """
        rows = max(1, _DECODED_AT_A_TIME // self.num_values)
        estimates = []
        for part in images.split(rows):
            mean, log_variance = self.encoder(part)
            total = torch.full((len(part),), -math.inf, dtype=torch.float64)
            left = count
            while left:
                drawn = min(left, max(1, rows // len(part)))
                drawn_weights = self.log_weights(part, mean, log_variance, drawn, generator)
                log_weights = drawn_weights.cpu().double()
                total = torch.logaddexp(total, log_weights.logsumexp(0))
                left -= drawn
            estimates.append(total - math.log(count))
        return torch.cat(estimates)

    @property
    def measure_protocol(self) -> dict[str, Any]:
        """The likelihood, and the number of samples of the estimate of -log p(x)."""
        return {"likelihood": self.likelihood_name, "nll_samples": self._nll_samples}

    @property
    def _nll_samples(self) -> int:
        count = self.config.nll_samples
        quick = self.config.network == "mlp" and self.likelihood_name == "bernoulli"
        return (_NLL_SAMPLES if quick else _FEWER_NLL_SAMPLES) if count is None else count

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The ELBO and its parts from one sample an image, and the estimate of -log p(x).

        In bits per pixel value where pixels have 256 levels.
        """
        mean, log_variance = self.encoder(batch.images)
        latents = mean + torch.exp(log_variance / 2) * _noise_like(mean, generator)
        outputs, values = self.decoder(latents), batch.images.flatten(1)
        reconstruction = -self.likelihood.log_probability(outputs, values).mean()
        kl = gaussian_kl(mean, log_variance).mean()
        measured = {
            "elbo_nats": -(reconstruction + kl),
            "reconstruction_nats": reconstruction,
            "kl_nats": kl,
        }
        if self._nll_samples:
            nll = -self.log_likelihood(batch.images, self._nll_samples, generator).mean()
            measured["nll_nats"] = nll
            if self.likelihood_name == "logistic":
                measured["nll_bits_per_dim"] = nll / (math.log(2) * self.num_values)
        return measured

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """The likelihood by what the values are; small networks for points; fewer steps on a CPU."""
        preset = FOR_POINTS if data.values == "points" else FOR_CPU if device == "cpu" else {}
        return {"likelihood": _likelihood_for(data), **preset}


def _noise_like(mean: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)


FEW_STEPS = "few steps, of which nine tenths would have rates below 2e-4 in stages"

FOR_POINTS: Suggestions = {
    "hidden": ((64, 64), "smaller because the data is 2-D points"),
    "latent_size": (2, "the data has two dimensions"),
    "steps": (10_000, "fewer because 2-D points train in a minute"),
    "learning_rate_decay": ("linear", FEW_STEPS),
}
FOR_CPU: Suggestions = {
    "steps": (100_000, "fewer because the run trains on a CPU"),
    "learning_rate": (3e-3, FEW_STEPS),
    "learning_rate_decay": ("linear", FEW_STEPS),
}


def _likelihood_for(data: DataSpec) -> tuple[LikelihoodName, str]:
    """The likelihood that fits the data, and why."""
    if data.values == "points":
        return "gaussian", "points are unbounded"
    return ("bernoulli", "binary pixels") if data.binary else ("logistic", "pixels of 256 levels")


def _check_likelihood(name: LikelihoodName, data: DataSpec) -> None:
    """Raise UserError where `name` gives the data no probability."""
    if data.values == "points" and name != "gaussian":
        raise UserError(
            f"--likelihood {name} is of pixels, this data is 2-D points: use --likelihood gaussian"
        )
    if name == "bernoulli" and not data.binary:
        raise UserError(
            "--likelihood bernoulli is of black and white pixels, this data has others, of which it would be "
            "no likelihood: add --binarise dynamic, or use --likelihood logistic"
        )
