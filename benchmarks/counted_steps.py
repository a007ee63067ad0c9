"""What one training step does on a GPU, counted without one: the package's own step on tensors without data.

A step runs on torch's "meta" device as one process of many. Counted are the operations that a GPU would
launch, the sums over processes, the random numbers, and the calls that the hook of several processes sees.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganforge.data.batch import Batch, DataSpec
from ganforge.distributed import Shard
from ganforge.runs.ema import Average
from ganforge.system import System, networks
from ganforge.systems.discovery import find
from ganforge.training.cost import flops_of
from ganforge.training.state import Training
from ganforge.training.update import OptimizerUpdate

PRODUCTS = {
    functional.conv2d,
    functional.conv_transpose2d,
    functional.linear,
    functional.prelu,
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    torch.mm,
    torch.bmm,
    torch.mv,
    torch.addmm,
    torch.einsum,
}
"""What autocast computes in bf16."""
DRAWS = {"rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "bernoulli_", "native_dropout"}
NO_KERNEL = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view"}

Roof = Callable[[int, torch.dtype, int], float]
"""Seconds of an operation: floating-point operations, their type, bytes read and written."""


@dataclass
class Count:
    """A step of one process. `sums` are the bytes of each sum over processes; `images` those of all."""

    flops: int = 0
    moved: int = 0
    seconds: float = 0.0
    kernels: int = 0
    calls: int = 0
    drawn: int = 0
    largest: int = 0
    sums: list[int] = field(default_factory=list)
    parameters: int = 0
    images: int = 0


@dataclass(frozen=True)
class Job:
    """A training: a system, options that are not its defaults, and the data that its networks are for."""

    system: str
    options: dict[str, Any]
    spec: DataSpec
    processes: int = 1
    synchronised: bool = True
    precision: str = "bf16"

    def build(self) -> System:
        """The untrained system, where torch's default device is."""
        kind = find(self.system)
        return kind(kind.Config.model_validate(self.options), self.spec)


class _Autocast(TorchFunctionMode):
    """Casts the inputs of products to bf16 as autocast does, which "meta" lacks; counts torch's functions."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.on = False

    @contextmanager
    def instead(self, device_type: str, dtype: Any = None, enabled: bool = True) -> Iterator[None]:
        """In the place of `torch.autocast`."""
        before, self.on = self.on, enabled
        yield
        self.on = before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if self.on and func in PRODUCTS:
            args = [
                each.bfloat16() if isinstance(each, Tensor) and each.is_floating_point() else each
                for each in args
            ]
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Adds up what torch's kernels do."""

    def __init__(self, count: Count, roof: Roof) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._count, self._roof = count, roof

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.namespace != "aten" or func.is_view or name in NO_KERNEL:
            return out
        written = [each for each in tree_leaves(out) if isinstance(each, Tensor)]
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        self.add(name, func, args, kwargs or {}, out, tensors, written)
        return out

    def add(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: Any,
        out: Any,
        read: list[Tensor],
        written: list[Tensor],
    ) -> None:
        count = self._count
        moved = sum(map(stored_bytes, read)) + sum(map(stored_bytes, written))
        flops = flops_of(func, args, kwargs, out)
        dtype = next((each.dtype for each in read if each.is_floating_point()), torch.float32)
        count.kernels += 1
        count.flops += flops
        count.moved += moved
        count.seconds += self._roof(flops, dtype, moved)
        count.largest = max(count.largest, *(stored_bytes(each) for each in written), 0)
        if name in DRAWS:
            count.drawn += sum(each.numel() for each in written)


def stored_bytes(tensor: Tensor) -> int:
    """The bytes of a tensor; what is repeated by `expand` lies in memory once."""
    sizes = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return int(torch.Size(sizes).numel()) * tensor.element_size()


class _CountedAdam(torch.optim.Optimizer):
    """One kernel, as Adam's fused one: reads weights, gradients and two moments, writes all but gradients."""

    def __init__(self, parameters: Any, lr: float, betas: Any = (), **_: Any) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas})
        self.count, self.roof = Count(), _free

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        numbers = sum(p.numel() for group in self.param_groups for p in group["params"])
        moved = 7 * numbers * 4
        self.count.kernels += 1
        self.count.moved += moved
        self.count.seconds += self.roof(0, torch.float32, moved)


def _free(flops: int, dtype: torch.dtype, moved: int) -> float:
    return 0.0


def _batch(spec: DataSpec, size: int) -> Batch:
    return Batch(
        2 * torch.rand(size, *spec.shape) - 1,
        labels=torch.zeros(size, dtype=torch.int64) if spec.class_names else None,
        sources=2 * torch.rand(size, *spec.source_shape) - 1 if spec.source_shape else None,
        embeddings=torch.randn(size, spec.embedding_size) if spec.embedding_size else None,
    )


def training_of(job: Job) -> tuple[Training, Batch]:
    """A training as process 0 of `job.processes` has it, and its part of a batch, on the default device."""
    system = job.build()
    # Only autocast asks for the device of a training; the tensors are where the default is.
    training = Training(
        system, system.build_optimizers(), Average(system), torch.device("cpu"), job.precision
    )
    training.shard, training.synchronised = Shard(0, job.processes), job.synchronised
    system.train()
    return training, _batch(job.spec, system.images_per_step() // job.processes)


def count_step(job: Job, roof: Roof = _free) -> Count:
    """What process 0 of `job.processes` does in a step: the code of `Training.advance`, without any data."""
    count, cast = Count(), _Autocast()

    def all_reduce(tensor: Tensor) -> None:
        count.sums.append(tensor.numel() * tensor.element_size())

    with ExitStack() as stack:
        stack.enter_context(torch.device("meta"))
        stack.enter_context(mock.patch("torch.distributed.all_reduce", all_reduce))
        stack.enter_context(mock.patch("torch.optim.Adam", _CountedAdam))
        stack.enter_context(mock.patch("torch.autocast", cast.instead))
        training, batch = training_of(job)
        for optimizer in training.optimizers.values():
            assert isinstance(optimizer, _CountedAdam)
            optimizer.count, optimizer.roof = count, roof
        update = OptimizerUpdate(training.optimizers, "cpu", mean=training.shard.mean)
        with cast, _Operations(count, roof):
            training.advance(batch, update)
    count.calls, count.images = cast.calls, training.images
    nets = networks(training.system).values()
    count.parameters = sum(p.numel() for net in nets for p in net.parameters())
    return count
