"""The stacked GAN of Zhang et al. 2016: stage 1 sketches an image of a caption, stage 2 refines it."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.inference import FirstOutput, TwoStages
from ganforge.nn.losses import adversarial_metrics, generator_loss
from ganforge.nn.networks.gan_cls import TextDiscriminator
from ganforge.nn.networks.stackgan import RefiningGenerator, SketchGenerator
from ganforge.nn.optimizers import adams
from ganforge.system import Inheritance, LatentSystem, ParentRun, Suggestions, SystemConfig, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput
from ganforge.systems.families.resolutions import stages_for
from ganforge.systems.families.text_to_image import (
    MatchingConfig,
    embedding_size_of,
    embeddings_of,
    matching_loss,
    mismatched,
)

ENLARGEMENT = 4  # of Stage II: 64 to 256 in the paper
OF_STAGE_ONE = ("width", "latent_size", "text_size", "augment_conditioning")


class StackGANConfig(MatchingConfig):
    """Defaults are those of the paper for birds."""

    stage: Literal["1", "2"] = Field(
        "1", description="1: sketches; 2: images four times as large, with --from a run of stage 1."
    )
    width: PositiveInt = Field(
        64, description="Channels of stage 1 next to the image, doubled at each halving."
    )
    refiner_width: PositiveInt = Field(128, description="Channels of the first maps of stage 2.")
    blocks: NonNegativeInt = Field(4, description="Residual blocks of stage 2; 2 in the code for COCO.")
    augment_conditioning: bool = Field(
        True,
        description="Draw the generator's condition around the embedding; without: the embedding's mean.",
    )
    divergence_weight: NonNegativeFloat = Field(
        1.0,
        description="Weight, lambda, of the KL divergence of the conditions from N(0, 1); 2/128 in the code.",
    )


@final
class StackGAN(LatentSystem):
    """Zhang et al. 2016, "StackGAN: Text to Photo-realistic Image Synthesis", arXiv 1612.03242.

    Two runs: stage 1 makes sketches, stage 2, at four times the size, learns to refine those of a run of
    stage 1, which stays as it is. Both draw their condition around the embedding, and both discriminators
    score whether image and caption match.

    Differs from the paper: the generator is updated with the fakes that the discriminator has just seen; mean
    and logarithm of the standard deviation are affine in the embedding (the released code rectifies them) and
    the noise is not cut off; a mismatched pair is an image with a wrong caption of the same batch; both
    discriminators are that of GAN-CLS, at 256x256 without the two convolutions that narrow its last maps;
    embeddings have length sqrt(n); an average of the generator (EMA) is what is sampled, of stage 1 also what
    stage 2 is given. Sizes other than 64x64 and 256x256 have fewer or more halvings.
    """

    Config = StackGANConfig
    purpose = "images from captions, in two stages"
    needs = frozenset({"embeddings"})
    averaged: ClassVar[tuple[str, ...]] = ("sketch", "refiner")
    logits_are_log_odds = False  # mismatched captions count too
    inherits: ClassVar[dict[str, Inheritance]] = {
        "stackgan": Inheritance(networks={"sketch": "sketch"}, fields={name: name for name in OF_STAGE_ONE})
    }

    def __init__(self, config: StackGANConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: StackGANConfig = config
        self.data = data
        self.second = config.stage == "2"
        embedding_size = embedding_size_of("stackgan", data)
        start, doublings = stages_for("stackgan", data, plain=False)
        if self.second and doublings < 3:
            raise UserError(f"--stage 2 makes images of 32 pixels or more, got {data.height}: use --size 64")
        text = {"embedding_size": embedding_size, "text_size": config.text_size}
        self.augment = DiscriminatorInput(config, data)
        self.sketch = SketchGenerator(
            latent_size=config.latent_size,
            augment=config.augment_conditioning,
            channels=data.channels,
            start=start,
            doublings=doublings - 2 if self.second else doublings,
            width=config.width,
            **text,
        )
        discriminator = TextDiscriminator(
            channels=data.channels, start=start, doublings=doublings, width=config.discriminator_width, **text
        )
        # Names of their own, so that --from takes the sketch over and nothing else.
        self.refiner: nn.Module = nn.Identity()
        if self.second:
            self.sketch.requires_grad_(False)
            self.refiner = RefiningGenerator(
                augment=config.augment_conditioning,
                channels=data.channels,
                width=config.refiner_width,
                blocks=config.blocks,
                **text,
            )
            self.refiner_discriminator = discriminator
        else:
            self.sketch_discriminator = discriminator
        self.names = (
            ("refiner_discriminator", "refiner") if self.second else ("sketch_discriminator", "sketch")
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network of this stage."""
        config = self.config
        return adams(self, config.rates(self.names), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator on three kinds of pairs, then the generator of this stage."""
        assert batch.embeddings is not None
        texts, config = batch.embeddings, self.config
        discriminator, (discriminator_name, generator_name) = self._discriminator, self.names
        fakes, divergence = self._generate(self.draw_latents(len(texts)), texts)

        # Discriminator: real with the right caption against real with a wrong one, and generated.
        wrong_texts, counts = mismatched(texts, batch.labels if config.mismatch == "class" else None)
        maps = discriminator.look(self.augment(batch.images))
        real_logits = discriminator.logits(maps, texts)
        wrong_logits = discriminator.logits(maps, wrong_texts)
        fake_logits = discriminator(self.augment(fakes.detach()), texts)
        loss = matching_loss(real_logits, wrong_logits, counts, fake_logits, 0.5)
        update(discriminator_name, loss)
        self.augment.adapt(real_logits)

        # Generator: be taken for a real image of the caption, its conditions near N(0, 1).
        with frozen(discriminator):
            fooling = generator_loss("non_saturating", discriminator(self.augment(fakes), texts))
            update(generator_name, fooling + config.divergence_weight * divergence)
        metrics = adversarial_metrics(loss, fooling, real_logits, fake_logits)
        wrong = torch.sigmoid(wrong_logits.detach().float()).mean()
        return metrics | {
            "mismatched_probability": wrong,
            "divergence_nats": divergence.detach(),
            **self.augment.metrics(),
        }

    def train(self, mode: bool = True) -> "StackGAN":
        """In stage 2 the sketches come from the statistics that stage 1 has left."""
        super().train(mode)
        if self.second:
            self.sketch.eval()
        return self

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Halve the rates and decay the instance noise."""
        self.augment.schedule(images_seen)
        self.config.halve(optimizers, images_seen / self.data.num_images)

    def inference_network(self) -> nn.Module:
        """The generator of this stage, with that of the stage before."""
        if not self.second:
            return FirstOutput(self.sketch)
        return TwoStages(self.sketch, self.refiner, self.config.latent_size + self._noise_size)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, n]`: those of the paper, then the noise of each stage's conditioning."""
        size = self.config.latent_size + self._noise_size * (1 + self.second)
        return torch.randn(count, size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents and the captions of `given`; raises UserError without."""
        return self._generate(latents, embeddings_of(given, len(latents), "stackgan"))[0]

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Logits of images with the captions of `given`; None without."""
        if given is None or given.embeddings is None:
            return None
        return self._discriminator(images, given.embeddings)

    @property
    def _discriminator(self) -> TextDiscriminator:
        discriminator = self.get_submodule(self.names[0])
        assert isinstance(discriminator, TextDiscriminator)
        return discriminator

    @property
    def _noise_size(self) -> int:
        return self.config.text_size if self.config.augment_conditioning else 0

    def _generate(self, latents: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Images of this stage, and the divergence of its conditions."""
        own = self.config.latent_size + self._noise_size
        if not self.second:
            images, divergence = self.sketch(latents, texts)
            return images, divergence
        with torch.no_grad():
            sketches, _ = self.sketch(latents[:, :own], texts)
        images, divergence = self.refiner(sketches, texts, latents[:, own:])
        return images, divergence

    @classmethod
    def check_start(cls, config: SystemConfig, data: DataSpec, start: ParentRun | None) -> None:
        """Reject stage 2 without a stage 1 that fits it."""
        assert isinstance(config, StackGANConfig)
        if config.stage == "1":
            return
        if start is None or start.system != "stackgan":
            came = "there is none" if start is None else f"that is one of {start.system}"
            raise UserError(f"--stage 2 refines the sketches of a run of stage 1, and {came}: add --from RUN")
        if start.data.height * ENLARGEMENT != data.height:
            fitting = start.data.height * ENLARGEMENT
            raise UserError(
                f"--from: that run makes images of {start.data.height} pixels, of which stage 2 makes "
                f"{fitting}, not {data.height}: use --size {fitting}"
            )

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Mismatches by caption where classes are few; narrow networks on a CPU."""
        suggestions = StackGANConfig.suggest(data, device, ("width", "refiner_width", "discriminator_width"))
        return suggestions | (
            {"blocks": (2, "fewer because the run trains on a CPU")} if "width" in suggestions else {}
        )
