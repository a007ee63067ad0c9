"""What text-to-image systems share: options, mismatched captions, the loss of three kinds of pairs."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import softplus

from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.nn.whole_batch import gathered
from ganforge.system import Suggestions
from ganforge.systems.families.adversarial import TwoRatesConfig

FEW_CLASSES = 50  # below this a class says little of what a caption says; birds have 200, flowers 102


class MatchingConfig(TwoRatesConfig):
    """Options of text-to-image systems; defaults are those of the papers and their code for birds."""

    steps: PositiveInt = Field(80_000, description="Training steps; 600 epochs of 8,800 birds.")
    batch: PositiveInt = Field(64, ge=2, description="Images with their captions per update.")
    discriminator_width: PositiveInt = Field(64, description="Channels of the discriminator's first maps.")
    latent_size: PositiveInt = Field(100, description="Numbers in one latent, standard Gaussian.")
    text_size: PositiveInt = Field(128, description="Numbers that each network makes of an embedding.")
    mismatch: Literal["class", "caption"] = Field(
        "class",
        description="Whose caption is wrong: class, an image's of another class; caption, any other.",
    )
    learning_rate: PositiveFloat = Field(2e-4, description="First rate of Adam for both networks.")
    halving_epochs: PositiveInt = Field(
        100, description="Epochs after which the rate is halved, again and again."
    )
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second decay.")

    def model_post_init(self, _: object) -> None:
        """Reject packs, whose images would have different captions."""
        if self.pack > 1:
            raise ValueError(
                f"the discriminator takes one image with its caption, got --pack {self.pack}: use --pack 1"
            )

    @classmethod
    def suggest(cls, data: DataSpec, device: str, widths: Sequence[str]) -> Suggestions:
        """Mismatches by caption where classes are few; the fields `widths` narrow on a CPU."""
        suggestions: Suggestions = {}
        if len(data.class_names) < FEW_CLASSES:
            suggestions["mismatch"] = ("caption", "classes are few, and captions say more than a class")
        if device == "cpu" and data.values == "pixels":
            suggestions |= dict.fromkeys(widths, (32, "smaller because the run trains on a CPU"))
        return suggestions

    def halve(self, optimizers: dict[str, torch.optim.Optimizer], epoch: float) -> None:
        """Set every rate to the first one, halved once every `halving_epochs`."""
        rates = self.rates(optimizers)
        for name, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates[name] * 0.5 ** (epoch // self.halving_epochs)


def mismatched(embeddings: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """For each row of `embeddings` `[batch, n]` another row of the batch at random, that of another caption.

    With `labels` int64 `[batch]` it is one of another class wherever the batch has one. Also returns float
    `[batch]`, 0 for a row to which all others are equal: its pair then is no mismatch.
    """
    batch = gathered(embeddings)
    other = (embeddings[:, None] != batch).any(2)
    scores = torch.rand(other.shape, device=embeddings.device)
    if labels is not None:
        scores = scores + (labels[:, None] != gathered(labels))
    return batch[torch.where(other, scores, -1.0).argmax(1)], other.any(1).float()


def matching_loss(
    real_logits: Tensor, mismatched_logits: Tensor, counts: Tensor, fake_logits: Tensor, weight: float
) -> Tensor:
    """-E log D(x, h) - w E log(1 - D(x, wrong h)) - (1 - w) E log(1 - D(G(z, h), h)), in nats.

    `counts` `[batch]` is 0 where a mismatched pair is none. Log 4 where D is undecided, as without mismatched
    pairs. Reed et al. 2016, arXiv 1605.05396, algorithm 1.
    """
    wrong = (softplus(mismatched_logits.float()) * counts).mean()
    return (
        softplus(-real_logits.float()).mean()
        + weight * wrong
        + (1 - weight) * softplus(fake_logits.float()).mean()
    )


def embeddings_of(given: Batch | None, count: int, name: str) -> Tensor:
    """The embeddings `[count, size]` of `given`; raises UserError for none, or another number."""
    if given is None or given.embeddings is None:
        raise UserError(f'{name} needs a prompt for each image: add --text "a red apple"')
    if len(given.embeddings) != count:
        raise UserError(f"{len(given.embeddings)} captions for {count} samples: expected one for each")
    return given.embeddings


def embedding_size_of(name: str, data: DataSpec) -> int:
    """The size of a caption's embedding; raises UserError where `data` has none."""
    if not data.embedding_size:
        raise UserError(
            f"{name} needs embeddings of captions: add --text-encoder RUN, of `ganforge train text_encoder`"
        )
    return data.embedding_size
