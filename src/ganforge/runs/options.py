"""The training options that every system shares."""

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Metric = Literal[
    "fid", "kid", "precision", "recall", "coverage", "frechet_distance", "modes", "high_quality",
    "nll_nats", "nll_bits_per_dim", "elbo_nats", "code_error",
]  # fmt: skip


HIGHER_IS_BETTER: dict[Metric, bool] = {
    "fid": False,
    "kid": False,
    "precision": True,
    "recall": True,
    "coverage": True,
    "frechet_distance": False,
    "modes": True,
    "high_quality": True,
    "nll_nats": False,
    "nll_bits_per_dim": False,
    "elbo_nats": True,
    "code_error": False,
}
"""What `--keep-best` can choose by."""


class TrainOptions(BaseModel):
    """Training options of every system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: NonNegativeInt = Field(
        0, lt=2**64, description="Seed of the weights, the data's order and the latents."
    )
    minutes: PositiveFloat | None = Field(
        None,
        allow_inf_nan=False,
        description="Train for about this long: times the first steps and chooses --steps, and where few fit "
        "--width and --size too. What it chose is kept in the run.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where it is measured to be faster, else fp32; settled when a run begins.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where to train: cuda, mps (Apple's GPUs), or cpu; auto: the first that is here."
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile each network; auto: only where it was measured to pay, so far nowhere.",
    )
    batch_norm: Literal["synchronised", "local"] = Field(
        "synchronised",
        description="With several processes of torchrun: statistics of the whole batch, or of each process's "
        "part of it.",
    )
    checkpoint_every: PositiveInt = Field(500, description="Steps between checkpoints.")
    sample_every: PositiveInt = Field(500, description="Steps between sample images.")
    log_every: PositiveInt = Field(50, description="Steps between lines of metrics.jsonl.")
    keep: PositiveInt = Field(2, description="Newest checkpoints that are kept.")
    log: Literal["tensorboard", "wandb", "trackio"] | None = Field(
        None,
        description="Also show the run's record, metrics.jsonl, with samples and diagnosis there; each needs "
        "the extra of its name.",
    )
    evaluate_every: NonNegativeInt = Field(
        0, description="Steps between evaluations of samples, into metrics.jsonl and the report; 0: none."
    )
    evaluate_samples: int = Field(5_000, ge=2, description="Samples of each such evaluation.")
    keep_best: Metric | None = Field(
        None, description="Keep the checkpoint that is best by this metric of the evaluations too."
    )
    on_nan: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="What to do about NaN or infinity: stop; skip the updates that have it, which reads "
        "from the device at every update, and stop after 100 in a row; or rollback to the newest checkpoint "
        "and continue with other random numbers, at most 3 times from each.",
    )

    freeze_discriminator: NonNegativeInt = Field(
        0,
        description="With --from: stages of the discriminator, from the image on, without updates (FreezeD).",
    )
    partial: bool = Field(
        False, description="With --from: take what fits, even if it is less than half of a network."
    )

    @model_validator(mode="after")
    def _best_needs_evaluations(self) -> "TrainOptions":
        if self.keep_best is not None and not self.evaluate_every:
            raise ValueError(f"--keep-best {self.keep_best} needs evaluations: add --evaluate-every 1000")
        return self


# What the same run may be continued with; everything else is part of what the run is.
FREE_TO_CHANGE = ("config.steps", "train.device", "train.compile", "train.checkpoint_every",
                  "train.sample_every", "train.minutes", "train.log",
                  "train.log_every", "train.keep", "train.evaluate_every", "train.evaluate_samples",
                  "train.keep_best", "train.on_nan", "train.partial", "ganforge", "start_from")  # fmt: skip

# Where files were found; what they hold is known by the fingerprint, the kept encoder and the SHA-256.
LOCATIONS = ("data.data", "data.sources", "data.text_encoder", "config.vgg_weights")
