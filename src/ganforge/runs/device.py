"""Device, precision, memory layout and compilation of a run."""

import functools
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.runs.options import TrainOptions
from ganforge.system import System, networks

Precision = Literal["fp32", "bf16"]


def choose_device(requested: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps" (Apple's GPUs); raises UserError where there is none."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if requested == "auto":
        requested = next(name for name, there in present.items() if there)
    if not present[requested]:
        what = "GPU" if requested == "cuda" else "Apple GPU"
        raise UserError(f"--device {requested}: torch finds no {what} here: use --device cpu or auto")
    return torch.device(requested)


def check_device(device: torch.device, precision: str, options: TrainOptions) -> None:
    """Raise UserError for what an Apple GPU does not do here: bf16, and compiled networks."""
    if device.type != "mps":
        return
    if precision == "bf16":
        raise UserError(
            "--device mps trains in fp32, and bf16 was chosen for this run: use --precision fp32 for a new "
            "run, or another --device"
        )
    if options.compile == "on":
        raise UserError("--compile on does not go with --device mps: leave it out")


def random_state(device: torch.device) -> Tensor:
    """The state of torch's global generator of a `device`."""
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Restore what `random_state` gave."""
    if device.type == "mps":
        torch.mps.set_rng_state(state)
    elif device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@functools.cache
def bf16_pays(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 on the device, as its own arithmetic shows.

    The CPU's flags do not tell: with AVX512-BF16 but no AMX, some Intel generations multiply bf16
    matrices at half the speed of fp32 ones, others and AMD's at twice (`benchmarks/precision.json`).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return False
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    fp32, bf16 = _matmul_seconds(torch.float32, torch.bfloat16)
    return bf16 < 0.9 * fp32


def _matmul_seconds(*dtypes: torch.dtype, size: int = 256, repeats: int = 100) -> list[float]:
    """For each type the fastest of many short products, in turn: what the CPU can do undisturbed.

    A product takes less than a busy machine's time slice, so that some run whole; one
    thread, because two would wait for each other on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pairs = [(torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)) for dtype in dtypes]
    fastest = [float("inf")] * len(pairs)
    for _ in range(repeats):
        for index, (left, right) in enumerate(pairs):
            begun = time.perf_counter()
            torch.mm(left, right)
            fastest[index] = min(fastest[index], time.perf_counter() - begun)
    torch.set_num_threads(threads)
    return fastest


def choose_precision(requested: str, device: torch.device) -> Precision:
    """The precision for "auto", "fp32" or "bf16"."""
    if requested == "auto":
        return "bf16" if bf16_pays(device) else "fp32"
    return "bf16" if requested == "bf16" else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which steps and decoding run."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def lay_out(system: nn.Module) -> None:
    """Put convolution weights channels-last, which CPU and CUDA kernels prefer in bf16."""
    if any(parameter.device.type == "mps" for parameter in system.parameters()):
        return
    system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def compile_networks(system: System, options: TrainOptions, device: torch.device) -> None:
    """Compile each child network in place, on request.

    "auto" compiles nothing. On a CPU it makes DCGAN's steps a twentieth faster (`benchmarks/speed.json`),
    which a short run does not earn back, and it needs a compiler; on GPUs it has not been measured.
    """
    if options.compile == "on":
        for network in networks(system).values():
            network.compile(dynamic=False)


@contextmanager
def explained_compiler(options: TrainOptions) -> Iterator[None]:
    """Within this context a compiler that is missing or fails is one line for the user."""
    try:
        yield
    except RuntimeError as error:
        # Known by its module's name: to import torch's compiler only to name its errors takes a second.
        compiler = ("torch._dynamo", "torch._inductor")
        if options.compile == "on" and type(error).__module__.startswith(compiler):
            first = str(error).strip().partition("\n")[0]
            raise UserError(f"--compile on: {first}: use --compile off, or install a C++ compiler") from error
        raise


def describe_machine(device: torch.device) -> str:
    """The model of the CPU or GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU of {platform.machine()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done what was requested so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory of this process so far: on the GPU where there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":  # which keeps no peak
        return torch.mps.driver_allocated_memory()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
