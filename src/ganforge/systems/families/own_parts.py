"""Networks and a loss of the user's in place of a system's own, by name: `package.module:member`."""

from collections.abc import Callable
from typing import Any, final

from pydantic import Field, field_validator
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.files.code import import_allowed, is_name
from ganforge.system import SystemConfig
from ganforge.systems.families.adversarial import AdversarialConfig

PARTS = ("generator", "discriminator", "loss")


class OwnPartsConfig(AdversarialConfig):
    """Names of parts that are code outside of ganforge; none: those of the paper."""

    generator: str | None = Field(
        None,
        description="package.module:Network of yours, built as Network(latent_size=N, shape=(channels, "
        "height, width)): latents [batch, N] to images [batch, *shape] in [-1, 1].",
    )
    discriminator: str | None = Field(
        None,
        description="package.module:Network of yours, built as Network(shape=(channels, height, width)): "
        "images [batch, *shape] to logits [batch].",
    )
    loss: str | None = Field(
        None,
        description="package.module:function of yours: function(real_logits, fake_logits) returns the loss "
        "of the discriminator and that of the generator.",
    )

    @field_validator(*PARTS)
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and not is_name(name):
            raise ValueError("expected package.module:name, such as my_networks:Generator")
        return name


def named_parts(config: SystemConfig) -> dict[str, str]:
    """The parts of `config` that are code outside of ganforge: part -> its name."""
    if not isinstance(config, OwnPartsConfig):
        return {}
    return {part: name for part in PARTS if (name := getattr(config, part)) is not None}


def own_networks(
    config: OwnPartsConfig, data_shape: tuple[int, int, int], latent_size: int, shape: tuple[int, int, int]
) -> tuple[nn.Module | None, nn.Module | None]:
    """The generator of images of `data_shape` and the discriminator of inputs of `shape` that are named.

    Raises UserError where one may not be imported, or cannot be built.
    """
    generator = discriminator = None
    if config.generator is not None:
        generator = _built("generator", config.generator, latent_size=latent_size, shape=data_shape)
    if config.discriminator is not None:
        discriminator = _built("discriminator", config.discriminator, shape=shape)
    return generator, discriminator


def _built(part: str, name: str, **sizes: Any) -> nn.Module:
    kind = import_allowed(name, part)
    signature = f"({', '.join(f'{key}={value}' for key, value in sizes.items())})"
    if not callable(kind):
        raise UserError(f"--{part} {name} is {type(kind).__name__}: expected a class of networks")
    try:
        network = kind(**sizes)
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"--{part} {name} cannot be built as {signature}: {in_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"--{part} {name}{signature} gives {type(network).__name__}: expected a torch.nn.Module"
        )
    return network


def in_line(error: Exception) -> str:
    """Kind and first line of an error of the user's code."""
    first = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@final
class OwnLoss:
    """The user's function of logits `[batch]` of real and of generated images.

    It gives two numbers: what the discriminator minimises, and what the generator does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._function: Callable[[Tensor, Tensor], Any] = import_allowed(name, "loss")
        if not callable(self._function):
            raise UserError(f"--loss {name} is {type(self._function).__name__}: expected a function")

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The first number."""
        return self.pair(real_logits, fake_logits)[0]

    def generator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The second number."""
        return self.pair(real_logits, fake_logits)[1]

    def pair(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Both; raises UserError where the function gives anything else than two tensors."""
        losses = self._function(real_logits, fake_logits)
        if (
            not isinstance(losses, tuple | list)
            or len(losses) != 2
            or not all(isinstance(loss, Tensor) for loss in losses)
        ):
            got = f"{len(losses)} values" if isinstance(losses, tuple | list) else type(losses).__name__
            raise UserError(
                f"--loss {self.name} returns {got}: expected two tensors, the loss of the discriminator and "
                "that of the generator"
            )
        return losses[0], losses[1]


def own_loss(config: OwnPartsConfig) -> OwnLoss | None:
    """The loss that `config` names; None: that of the paper."""
    return None if config.loss is None else OwnLoss(config.loss)
