"""The autoencoder: images through a narrow code and back."""

from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.inference import Means
from ganforge.nn.likelihoods import Bernoulli
from ganforge.nn.networks.autoencoder import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DenseDecoder,
    DenseEncoder,
    convolutional_pair,
    dense_pair,
)
from ganforge.nn.whole_batch import gathered
from ganforge.system import LatentSystem, Prior, SystemConfig, Update
from ganforge.systems.families.resolutions import stages_for

# The fitted Gaussian is a moving average: a batch counts a hundredth.
_LEAST_WEIGHT = 0.01
_PIXELS = Bernoulli()


class AutoencoderConfig(SystemConfig):
    """Defaults are a common baseline for MNIST; there is no one paper of it."""

    steps: PositiveInt = Field(20_000, description="Training steps; the default is 40 epochs of MNIST.")
    batch: PositiveInt = Field(100, description="Images per update.")
    hidden: tuple[PositiveInt, ...] = Field(
        (512, 256), description="Hidden units of the mlp's encoder; the decoder has them in reverse."
    )
    latent_size: PositiveInt = Field(32, description="Numbers in one code.")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's rate.")

    # Not from the paper.
    network: Literal["mlp", "convolutional"] = Field(
        "mlp", description="mlp: dense layers; convolutional: stride-2 convolutions, for square images."
    )
    width: PositiveInt = Field(
        32, description="Channels of the first convolution; they double at each coarser map."
    )
    loss: Literal["bce", "squared"] = Field(
        "bce", description="bce: cross-entropy of pixels in [0, 1]; squared: their squared error."
    )
    ema_half_life: NonNegativeFloat = Field(
        0, description="Half-life, in images, of the averaged networks (EMA); 0 turns it off."
    )


@final
class Autoencoder(LatentSystem):
    """Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks".

    Science 313, 504. It has no prior over latents. Samples are decoded draws from a Gaussian with full
    covariance, fitted to the codes of the last hundred or so training batches.

    Differs from the paper: all layers are trained at once by Adam, without Boltzmann machines first; they
    have rectified units; 784-512-256-32 instead of 784-1000-500-250-30; the Gaussian for sampling is ours.
    """

    Config = AutoencoderConfig
    purpose = "compress images to a few numbers and back"
    averaged: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    measure_protocol: ClassVar[dict[str, Any]] = {}
    latent_mean: Tensor
    latent_square: Tensor
    batches_seen: Tensor

    def __init__(self, config: AutoencoderConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: AutoencoderConfig = config
        self.data = data
        self.encoder: DenseEncoder | ConvolutionalEncoder
        self.decoder: DenseDecoder | ConvolutionalDecoder
        size = config.latent_size
        if config.network == "mlp":
            self.encoder, self.decoder = dense_pair(
                shape=data.shape,
                hidden=config.hidden,
                codes=size,
                latent_size=size,
                outputs=data.channels * data.height * data.width,
            )
        else:
            self.encoder, self.decoder = convolutional_pair(
                channels=data.channels,
                stages=stages_for("autoencoder", data),
                width=config.width,
                codes=size,
                latent_size=size,
            )
        self.register_buffer("latent_mean", torch.zeros(size))
        self.register_buffer("latent_square", torch.eye(size))
        self.register_buffer("batches_seen", torch.zeros(()))

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for both networks."""
        return {"autoencoder": torch.optim.Adam(self.parameters(), self.config.learning_rate, fused=True)}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update both networks together, and the statistics of the codes."""
        latents = self.encode(batch.images)
        cross_entropy, squared_error = self._errors(batch.images, self.decoder(latents))
        loss = (cross_entropy if self.config.loss == "bce" else squared_error).mean()
        update("autoencoder", loss)
        self._remember(gathered(latents.detach()))
        return {
            "autoencoder_loss": loss.detach(),
            "squared_error": squared_error.detach().mean(),
        }

    def _remember(self, latents: Tensor) -> None:
        """Moving averages of the codes and of their products; plain averages at first."""
        weight = (1 / (self.batches_seen + 1)).clamp(min=_LEAST_WEIGHT)
        self.latent_mean.lerp_(latents.mean(0), weight)
        self.latent_square.lerp_((latents[:, :, None] * latents[:, None]).mean(0), weight)
        self.batches_seen += 1

    def prepare(self, images: Tensor) -> None:
        """Set the decoder's output bias to the logits of the mean training image."""
        self.decoder.set_output_bias(_PIXELS.first_outputs(images.flatten(1)))

    def encode(self, images: Tensor) -> Tensor:
        """Codes `[batch, latent_size]` of images in [-1, 1]."""
        return self.encoder(images).float()

    @property
    def latents_are_gaussian(self) -> bool:
        """Not about the origin, as arcs would need."""
        return False

    def inference_network(self) -> nn.Module:
        """The decoder, whose outputs are logits."""
        return Means(self.decoder, "bernoulli", True, self.data.shape)

    @property
    def prior(self) -> tuple[Prior, ...]:
        """The Gaussian fitted to the codes of training images."""
        return (Prior("correlated", len(self.latent_mean), mean=self.latent_mean, root=self._root()),)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]` of the Gaussian fitted to the codes of training images."""
        root = self._root()
        return (
            self.latent_mean + torch.randn(count, len(root), generator=generator, device=self.device) @ root.T
        )

    def _root(self) -> Tensor:
        """A square root `[latent_size, latent_size]` of the covariance of the codes."""
        covariance = self.latent_square - torch.outer(self.latent_mean, self.latent_mean)
        variances, directions = torch.linalg.eigh(covariance.cpu().double())
        return (directions * variances.clamp(min=0).sqrt()).to(covariance)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents."""
        return _PIXELS.mean(self.decoder(latents)).unflatten(1, self.data.shape)

    def features(self, images: Tensor) -> Tensor:
        """Those codes."""
        return self.encode(images)

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images of the codes of images."""
        return self.decode(self.encode(images))

    def outlier_scores(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The squared error of the reconstruction."""
        _, squared_error = self._errors(batch.images, self.decoder(self.encode(batch.images)))
        return {"reconstruction": squared_error}

    def _errors(self, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats and squared error, `[batch]`, of pixels in [0, 1], summed over an image."""
        pixels = images.flatten(1)
        squares = ((_PIXELS.mean(logits) - pixels) / 2).square()
        return -_PIXELS.log_probability(logits, pixels), squares.sum(1)

    def measure(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Errors of reconstruction per image: cross-entropy in nats, and squared, of pixels in [0, 1].

        The cross-entropy is -log p(x|z) where pixels are binary, and no likelihood where they are grey.
        """
        logits = self.decoder(self.encode(batch.images))
        cross_entropy, squared_error = self._errors(batch.images, logits)
        return {
            "reconstruction_cross_entropy_nats": cross_entropy.mean(),
            "reconstruction_squared_error": squared_error.mean(),
        }
