"""The text encoder of Reed et al. 2016, whose embeddings of captions condition text-to-image systems."""

from typing import ClassVar, Literal, final

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.data.captions import SHORTEST, num_codes
from ganforge.errors import UserError
from ganforge.nn.losses import contrastive_loss, joint_embedding_loss
from ganforge.nn.networks.text import CharacterEncoder, ImageEncoder, WordEncoder
from ganforge.nn.whole_batch import gathered
from ganforge.system import Suggestions, System, SystemConfig, Update
from ganforge.systems.families.resolutions import stages_for


class TextEncoderConfig(SystemConfig):
    """Defaults are those of the training code that the authors released with arXiv 1605.05395."""

    steps: PositiveInt = Field(60_000, description="Training steps, each one update of both encoders.")
    batch: PositiveInt = Field(40, ge=2, description="Pairs of an image and a caption per update.")
    embedding_size: PositiveInt = Field(1024, description="Numbers in an embedding.")
    character_widths: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (384, 512, 256), description="Channels of the convolutions over characters; the last also recurrent."
    )
    width: PositiveInt = Field(64, description="Channels of the first convolution over images.")
    learning_rate: PositiveFloat = Field(4e-4, description="First rate of RMSProp.")
    learning_rate_decay: float = Field(
        0.98, gt=0, le=1, description="The rate is multiplied by this once an epoch."
    )

    # Not from the paper.
    network: Literal["characters", "words"] = Field(
        "characters",
        description="characters: the paper's CNN-RNN; words: a recurrent network over words, each of them a "
        "vector of its own and those of its character trigrams; faster, and it tells word orders apart.",
    )
    word_width: PositiveInt = Field(128, description="Recurrent units, each way, of the network over words.")
    loss: Literal["joint", "contrastive"] = Field(
        "joint",
        description="joint: the paper's, by margins; contrastive: cross-entropy of cosines, as in CLIP.",
    )
    class_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the contrastive target that goes to the other images of a caption's class.",
    )

    swap_words: bool = Field(
        False,
        description="Compare each image also with its own caption with two words swapped, as a wrong one, so "
        "that embeddings say whose colour is which; for --network words --loss contrastive.",
    )

    def model_post_init(self, _: object) -> None:
        """Reject a share of classes without the contrastive loss, and swapped words without words."""
        if self.swap_words and (self.network, self.loss) != ("words", "contrastive"):
            raise ValueError(
                f"--swap-words is for words and the contrastive loss, got --network {self.network} --loss "
                f"{self.loss}: add --network words --loss contrastive"
            )
        if self.class_share and self.loss == "joint":
            raise ValueError(
                f"--class-share {self.class_share:g} is of the contrastive loss: add --loss contrastive"
            )


@final
class TextEncoder(System):
    """Reed et al. 2016, "Generative Adversarial Text to Image Synthesis", arXiv 1605.05396, section 3.2.

    A character CNN-RNN and a convolutional network of images, trained so that a caption is nearer to its
    image than to others and an image nearer to its caption (deep structured joint embedding, equation 2;
    Reed et al. 2016, arXiv 1605.05395). It makes no images: its embeddings condition other systems.

    Differs from the paper: the network of images is trained along from its first weights, where the paper
    has features of a GoogLeNet trained on ImageNet; a class is an image, one caption of each in a batch, and
    pairs whose captions are equal are left out; a batch norm keeps embeddings of captions about 0; letters
    outside of the alphabet have codes too; `--loss contrastive`, `--network words` and `--swap-words` (after
    NegCLIP, Yuksekgonul et al. 2023, arXiv 2210.01936) are not of the paper; the average of the weights (EMA)
    is what is used; first weights are torch's, not uniform in +-0.08.
    """

    Config = TextEncoderConfig
    purpose = "encode captions, for gan_cls and stackgan"
    needs = frozenset({"captions"})
    averaged: ClassVar[tuple[str, ...]] = ("text", "image")

    def __init__(self, config: TextEncoderConfig, data: DataSpec) -> None:
        super().__init__()
        self.config: TextEncoderConfig = config
        self.data = data
        if config.class_share and not data.class_names:
            raise UserError(
                f"--class-share {config.class_share:g} needs classes, and this data has none: leave it out"
            )
        start, doublings = stages_for("text_encoder", data, plain=False)
        if data.caption_length < SHORTEST:
            raise UserError(
                "text_encoder needs captions, this data has none: put a .txt next to each image, or use "
                "--data emoji"
            )
        self.text = _caption_network(config, data)
        self.image = ImageEncoder(
            channels=data.channels,
            start=start,
            doublings=doublings,
            width=config.width,
            embedding_size=config.embedding_size,
        )

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """RMSProp for both networks."""
        return {"encoders": torch.optim.RMSprop(self.parameters(), self.config.learning_rate)}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One update of both encoders: each caption nearest to its image, each image to its caption."""
        assert batch.captions is not None
        wrong = None
        if isinstance(self.text, WordEncoder) and self.config.swap_words:
            texts, *swapped = self.text.with_swapped(batch.captions)
            wrong = gathered(swapped[0]), gathered(swapped[1])
        else:
            texts = self.text(batch.captions)
        images, texts, captions = (
            gathered(self.image(batch.images)),
            gathered(texts),
            gathered(batch.captions),
        )
        equal = (captions[:, None] == captions).all(2)
        if self.config.loss == "contrastive":
            labels = None if batch.labels is None else gathered(batch.labels)
            same = equal if labels is None else labels[:, None] == labels
            loss, share = contrastive_loss(images, texts, equal, same, self.config.class_share, wrong)
        else:
            loss, share = joint_embedding_loss(images, texts, equal)
        update("encoders", loss)
        return {"embedding_loss": loss.detach(), "matched_share": share}

    def schedule(self, optimizers: dict[str, torch.optim.Optimizer], images_seen: int) -> None:
        """Decay the rate once an epoch."""
        decay = self.config.learning_rate_decay ** (images_seen // self.data.num_images)
        for group in optimizers["encoders"].param_groups:
            group["lr"] = self.config.learning_rate * decay

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Raises UserError: an encoder makes no images."""
        raise UserError(
            "text_encoder makes no images: train gan_cls with --text-encoder RUN, and sample that"
        )

    def encode_captions(self, captions: Tensor) -> Tensor:
        """Embeddings `[batch, embedding_size]`; their inner product with an image's is the match."""
        return self.text(captions)

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings `[batch, embedding_size]`."""
        return self.image(images)

    @classmethod
    def suggest(cls, data: DataSpec, device: str = "cpu") -> Suggestions:
        """For small sets a smaller embedding and fewer steps."""
        return {} if data.num_images >= MANY_IMAGES else dict(FOR_FEW_IMAGES)


def _caption_network(config: TextEncoderConfig, data: DataSpec) -> nn.Module:
    if config.network == "words":
        return WordEncoder(
            separators=[code for code, each in enumerate(data.caption_alphabet, 1) if not each.isalnum()],
            embedding_size=config.embedding_size,
            width=config.word_width,
        )
    return CharacterEncoder(
        num_codes=num_codes(data.caption_alphabet),
        embedding_size=config.embedding_size,
        widths=config.character_widths,
    )


MANY_IMAGES = 20_000
FEW = f"fewer than {MANY_IMAGES:,} training images"

FOR_FEW_IMAGES: Suggestions = {
    "embedding_size": (256, f"smaller because of {FEW}"),
    "batch": (64, "more negatives in a batch"),
    "width": (32, f"smaller because of {FEW}"),
    "character_widths": ((192, 256, 128), f"smaller because of {FEW}"),
    "steps": (6_000, f"fewer because of {FEW}"),
}
