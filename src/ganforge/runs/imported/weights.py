"""The tensors of a file that other people's code wrote, each checked when it is taken."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.files.pth import MOST_BYTES, read_tensors
from ganforge.files.reading import read_regular

PARALLEL = "module."
"""What `nn.DataParallel` puts before every name."""
CHECKPOINT = "model_state_dict"
"""What a checkpoint with its optimizer calls the weights."""
COUNTER = "num_batches_tracked"
COLOURS = (1, 3)
Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Foreign:
    """A network of other people's code in the terms of `system`: its `weights` have the names of that system.

    `config` are the fields that are not defaults, `shape` that of the images, `data` options of data that
    would suit it. `source_channels` is set for networks that translate images of that shape.
    """

    system: str
    config: dict[str, Any]
    shape: tuple[int, int, int]
    weights: dict[str, Tensor]
    source_channels: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


class ForeignWeights:
    """The tensors of the file `path`, which should be one of `kind`; `sha256` is that of the whole file.

    Nothing in the file is executed. Raises UserError where it cannot be read.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.sha256, tensors = _read(path)
        if tensors and all(name.startswith(PARALLEL) for name in tensors):
            tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
        self._left = tensors

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def shape(self, name: str, *shape: int | str) -> tuple[int, ...]:
        """The shape of the tensor `name`; texts in the expected `shape` stand for any size, such as "nz".

        Raises UserError, which names both, where there is no such tensor, or it has another shape.
        """
        if name not in self._left:
            raise UserError(f"{self.what}: no {name} in it, expected {_show(shape)}")
        there = tuple(self._left[name].shape)
        fits = len(there) == len(shape) and all(
            size > 0 and (isinstance(wanted, str) or wanted == size)
            for wanted, size in zip(shape, there, strict=True)
        )
        if not fits or not self._left[name].is_floating_point():
            raise self.mismatch(name, *shape)
        return there

    def mismatch(self, name: str, *shape: int | str) -> UserError:
        """The error of a tensor that has another shape, or other numbers, than is expected."""
        tensor = self._left[name]
        kind = "" if tensor.is_floating_point() else f" of {str(tensor.dtype).removeprefix('torch.')}"
        return UserError(
            f"{self.what}: {name} is {_show(tuple(tensor.shape))}{kind}, expected {_show(shape)}"
        )

    def take(self, name: str, *shape: int | str) -> Tensor:
        """The tensor `name` float32, not to be taken again; `shape` as of the method of that name."""
        self.shape(name, *shape)
        return self._left.pop(name).float()

    def colours(self, name: str, axis: int, *shape: int | str) -> int:
        """The channels of images, 1 or 3, that `axis` of the tensor `name` has."""
        wanted = (*shape[:axis], "1 or 3", *shape[axis + 1 :])
        channels = self.shape(name, *wanted)[axis]
        if channels not in COLOURS:
            raise self.mismatch(name, *wanted)
        return channels

    def batch_norm(self, name: str, features: int) -> dict[str, Tensor]:
        """The tensors of a batch norm by their names within it; files of old versions have no counter."""
        parts = ("weight", "bias", "running_mean", "running_var")
        norm = {part: self.take(f"{name}.{part}", features) for part in parts}
        self._left.pop(f"{name}.{COUNTER}", None)
        return norm | {COUNTER: torch.tensor(0)}

    def discard_statistics(self, name: str) -> None:
        """Drop what an instance norm of a version before 0.4 kept and did not use."""
        for part in ("running_mean", "running_var", COUNTER):
            self._left.pop(f"{name}.{part}", None)

    def check_all_taken(self) -> None:
        """Raise UserError where the file has a tensor that the network of its kind does not have."""
        if self._left:
            name = next(iter(self._left))
            raise UserError(f"{self.what}: it has {printable(name)[:80]}, which such a network does not have")

    @property
    def what(self) -> str:
        """What the file is not, the beginning of a message."""
        return f"{printable(str(self.path))} is no {self.kind}"


def _show(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The SHA-256 of the file and its tensors, by the ending of its name."""
    shown = printable(str(path))
    try:
        content = read_regular(path.resolve(), MOST_BYTES)
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if path.suffix == ".pth":
        return digest, read_tensors(path, CHECKPOINT)
    if path.suffix != ".safetensors":
        raise UserError(f"{shown}: expected a name ending in .pth or .safetensors")
    try:
        return digest, safetensors.torch.load(content)
    # A type of numbers that torch lacks is a KeyError of safetensors.
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        why = printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
        raise UserError(f"{shown} is damaged, or no .safetensors: {why}") from error
