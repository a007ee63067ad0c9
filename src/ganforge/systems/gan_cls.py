"""The text-to-image GANs of Reed et al. 2016: GAN-CLS, and with --interpolate GAN-INT-CLS."""

from typing import ClassVar, final

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.nn.losses import adversarial_metrics, generator_loss, mode_seeking_loss
from ganforge.nn.networks.gan_cls import TextDiscriminator, TextGenerator
from ganforge.nn.optimizers import adams
from ganforge.system import LatentSystem, Suggestions, Update, frozen
from ganforge.systems.families.adversarial import DiscriminatorInput
from ganforge.systems.families.resolutions import stages_for
from ganforge.systems.families.text_to_image import (
    MatchingConfig,
    embedding_size_of,
    embeddings_of,
    matching_loss,
    mismatched,
)


class GANCLSConfig(MatchingConfig):
    """Defaults are those of the released code for birds and flowers."""

    width: PositiveInt = Field(
        128, description="Channels next to the generated image, doubled at each halving."
    )
    mismatch_weight: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of images with the wrong caption among the discriminator's negatives (CLS); 0: "
        "none, a conditional GAN on embeddings.",
    )
    interpolate: bool = Field(
        False,
        description="Train the generator on means of two captions as well (INT), half as many as captions.",
    )

    # Not from the paper.
    mode_seeking_weight: NonNegativeFloat = Field(
        0.0,
        description="Weight of a loss that rewards images of one caption for differing as their latents do "
        "(MSGAN); 0: none, and a caption may come to have one image.",
    )


@final
class GANCLS(LatentSystem):
    """Reed et al. 2016, "Generative Adversarial Text to Image Synthesis", arXiv 1605.05396.

    Differs from the paper: the generator is updated with the fakes that the discriminator has just seen, and
    those of interpolated captions; a mismatched pair is an image with a wrong caption of the same batch, as
    in algorithm 1 (the released code takes a wrong image of another class); embeddings have length sqrt(n);
    one caption of an image counts unless --captions-per-image is 4, as in the code; the discriminator's third
    convolution is rectified like the others, and where the text joins, each sample is normed, not the batch,
    whose statistics would reveal which captions are mismatched; convolutions before a batch norm have no
    bias, which the code sets to 0 at every step; an average of the generator (EMA) is what is sampled;
    `--mode-seeking-weight` is not of the paper. Sizes
    other than 64x64 have fewer or more halvings.
    """

    Config = GANCLSConfig
    purpose = "images from captions"
    needs = frozenset({"embeddings"})
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: GANCLSConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: GANCLSConfig = config
        self.data = data
        embedding_size = embedding_size_of("gan_cls", data)
        start, doublings = stages_for("gan_cls", data, plain=False)
        self.augment = DiscriminatorInput(config, data)
        self.generator = TextGenerator(
            latent_size=config.latent_size,
            embedding_size=embedding_size,
            text_size=config.text_size,
            channels=data.channels,
            start=start,
            doublings=doublings,
            width=config.width,
        )
        self.discriminator = TextDiscriminator(
            embedding_size=embedding_size,
            text_size=config.text_size,
            channels=data.channels,
            start=start,
            doublings=doublings,
            width=config.discriminator_width,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network."""
        config = self.config
        names = ("discriminator", "generator")
        return adams(self, config.rates(names), config.beta1, config.beta2)

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Update the discriminator on three kinds of pairs, then the generator."""
        assert batch.embeddings is not None
        texts, config = batch.embeddings, self.config
        prompts, half = texts, len(texts) // 2
        if config.interpolate:
            prompts = torch.cat([prompts, (texts[: 2 * half : 2] + texts[1::2]) / 2])
        if config.mode_seeking_weight:  # every second caption once more, with other latents
            prompts = torch.cat([prompts, texts[: 2 * half : 2]])
        latents = self.draw_latents(len(prompts))
        fakes = self.generator(latents, prompts)

        # Discriminator: real with the right caption against real with a wrong one, and generated.
        wrong_texts, counts = mismatched(texts, batch.labels if config.mismatch == "class" else None)
        maps = self.discriminator.look(self.augment(batch.images))
        real_logits = self.discriminator.logits(maps, texts)
        wrong_logits = self.discriminator.logits(maps, wrong_texts)
        fake_logits = self.discriminator(self.augment(fakes[: len(texts)].detach()), texts)
        loss = matching_loss(real_logits, wrong_logits, counts, fake_logits, config.mismatch_weight)
        update("discriminator", loss)
        self.augment.adapt(real_logits)

        # Generator: be taken for a real image of the caption.
        with frozen(self.discriminator):
            fooling = generator_loss("non_saturating", self.discriminator(self.augment(fakes), prompts))
            if config.mode_seeking_weight:
                first, second = slice(0, 2 * half, 2), slice(len(prompts) - half, None)
                seeking = mode_seeking_loss(fakes[first], fakes[second], latents[first], latents[second])
                update("generator", fooling + config.mode_seeking_weight * seeking)
            else:
                update("generator", fooling)
        metrics = adversarial_metrics(loss, fooling, real_logits, fake_logits)
        wrong = torch.sigmoid(wrong_logits.detach().float()).mean()
        if config.mode_seeking_weight:
            metrics["mode_seeking_loss"] = seeking.detach()
        return metrics | self.augment.metrics() | {"mismatched_probability": wrong}

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Halve the rates and decay the instance noise."""
        self.augment.schedule(images_seen)
        self.config.halve(optimizers, images_seen / self.data.num_images)

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents `[count, latent_size]`."""
        return torch.randn(count, self.config.latent_size, generator=generator, device=self.device)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of latents and the captions of `given`; raises UserError without."""
        return self.generator(latents, embeddings_of(given, len(latents), "gan_cls"))

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Logits of images with the captions of `given`; None without."""
        if given is None or given.embeddings is None:
            return None
        return self.discriminator(images, given.embeddings)

    @property
    def logits_are_log_odds(self) -> bool:
        """Not where mismatched captions count too."""
        return self.config.mismatch_weight == 0

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """Mismatches by caption where classes are few; narrow networks on a CPU."""
        return GANCLSConfig.suggest(data, device, ("width", "discriminator_width"))
