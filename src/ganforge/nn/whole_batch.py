"""One batch that several processes share, each computing its own rows of it.

Within `sharing` every process draws the random numbers of a step for the whole batch and uses those of its
own rows, so that they do not depend on the number of processes; batch norm sees the whole batch. `gathered`
is for the few places where a row is compared with the others.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Part:
    """What process `rank` of `ranks` has of every batch: `batch` consecutive rows."""

    rank: int
    ranks: int
    batch: int

    def rows_of(self, count: int) -> Tensor:
        """Its rows, int64, of `count` rows in all: those of several batches, one after the other."""
        return self.cut(torch.arange(count), 0)

    def widened(self, shape: Sequence[int]) -> tuple[int, list[int]]:
        """The dimension of a tensor that counts rows, and the shape that it has for all processes.

        It is the leading one; where that is less than a batch, the first that is a multiple of one.
        """
        dim = 0
        if shape[0] < self.batch:
            dim = next((dim for dim, size in enumerate(shape) if size and size % self.batch == 0), 0)
        whole = list(shape)
        whole[dim] *= self.ranks
        return dim, whole

    def cut(self, whole: Tensor, dim: int) -> Tensor:
        """Its rows, along the dimension `dim`, of a tensor for all processes: of each batch and the rest."""
        own = whole.shape[dim] // self.ranks
        full = own - own % self.batch
        parts = whole.split([full * self.ranks, (own - full) * self.ranks], dim)
        cuts = [
            part.unflatten(dim, (-1, self.ranks, size)).select(dim + 1, self.rank).flatten(dim, dim + 1)
            for part, size in zip(parts, (self.batch, own - full), strict=True)
            if part.shape[dim]
        ]
        return cuts[0] if len(cuts) == 1 else torch.cat(cuts, dim)


_part: ContextVar[Part | None] = ContextVar("part", default=None)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is that of its gradients, of any order."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def gathered(rows: Tensor) -> Tensor:
    """`rows` `[batch, ...]` of all processes, in the order of the whole batch; differentiable.

    Of one process alone it is `rows`.
    """
    part = _part.get()
    if part is None:
        return rows
    batch = part.batch if len(rows) % part.batch == 0 else len(rows)
    own = (rows.byte() if rows.dtype == torch.bool else rows).unflatten(0, (-1, batch))
    parts = [own if rank == part.rank else torch.zeros_like(own) for rank in range(part.ranks)]
    return _sum(torch.cat(parts, 1)).flatten(0, 1).to(rows.dtype)


@contextmanager
def sharing(part: Part, *, synchronised: bool = True) -> Iterator[None]:
    """Within this context a step computes `part` of its batch.

    `synchronised`: batch norm has the statistics of the whole batch, else of the part.
    """
    token = _part.set(part)
    try:
        with _WholeBatch(part, synchronised):
            yield
    finally:
        _part.reset(token)


class _WholeBatch(TorchFunctionMode):
    """Takes the place of what draws random numbers, and of batch norm."""

    def __init__(self, part: Part, synchronised: bool) -> None:
        super().__init__()
        self._part = part
        self._instead: dict[Any, Callable[..., Any]] = {
            torch.rand: self._draw,
            torch.randn: self._draw,
            torch.randint: self._draw_integers,
            torch.rand_like: self._draw_like,
            torch.randn_like: self._draw_like,
            functional.dropout: self._dropout,
        }
        if synchronised:
            self._instead[functional.batch_norm] = _batch_norm

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        instead = self._instead.get(func)
        if instead is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return instead(*args, **kwargs) if instead is _batch_norm else instead(func, *args, **kwargs)

    def _draw(self, func: Any, *size: Any, **kwargs: Any) -> Tensor:
        shape = size[0] if size and isinstance(size[0], Sequence) else size or kwargs.pop("size")
        return self._drawn(shape, lambda whole: func(whole, **kwargs))

    def _draw_integers(self, func: Any, *args: Any, **kwargs: Any) -> Tensor:
        *bounds, shape = args if "size" not in kwargs else (*args, kwargs.pop("size"))
        return self._drawn(shape, lambda whole: func(*bounds, size=whole, **kwargs))

    def _draw_like(self, func: Any, like: Tensor, **kwargs: Any) -> Tensor:
        return self._drawn(like.shape, lambda whole: func(_empty_like(like, whole), **kwargs))

    def _dropout(
        self, func: Any, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return func(values, p, training, inplace)
        kept = self._drawn(values.shape, lambda whole: func(_empty_like(values, whole).fill_(1), p))
        return values.mul_(kept) if inplace else values * kept

    def _drawn(self, shape: Sequence[int], draw: Callable[[list[int]], Tensor]) -> Tensor:
        """The own rows of what `draw` draws for all processes."""
        if not len(shape):
            return draw(list(shape))  # one number for all
        dim, whole = self._part.widened(shape)
        return self._part.cut(draw(whole), dim)


def _empty_like(tensor: Tensor, shape: list[int]) -> Tensor:
    """As `tensor` in all but its shape: numbers are drawn in the order in which they lie in memory."""
    empty = tensor.new_empty(shape)
    if tensor.dim() == 4 and not tensor.is_contiguous():
        return empty.to(memory_format=torch.channels_last)
    return empty


def _batch_norm(
    input: Tensor,  # noqa: A002 - torch's own name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` with the statistics of the whole batch; torch's own needs a GPU."""
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    part = _part.get()
    assert part is not None
    dims = [0, *range(2, input.dim())]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    with torch.autocast(input.device.type, enabled=False):
        values = input if input.dtype == torch.float64 else input.float()
        count = values.numel() // values.shape[1] * part.ranks
        # In float64 a difference of means of squares is exact enough, and one sum over processes does.
        sums = [values.sum(dims, dtype=torch.float64), values.square().sum(dims, dtype=torch.float64)]
        mean, square = _sum(torch.stack(sums)) / count
        variance = (square - mean.square()).clamp(min=0)
        scale = torch.rsqrt(variance + eps).to(values.dtype)
        scaled = (values - mean.to(values.dtype).view(shape)) * scale.view(shape)
        if weight is not None:
            scaled = scaled * weight.view(shape)
        if bias is not None:
            scaled = scaled + bias.view(shape)
        with torch.no_grad():
            if running_mean is not None and running_var is not None:
                unbiased = variance * (count / max(count - 1, 1))
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return scaled.to(input.dtype)
