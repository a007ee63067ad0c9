"""Device, precision, memory layout and compilation of a run."""

import platform
import resource
import sys
from pathlib import Path

import torch
from torch import nn

from ganforge.errors import UserError
from ganforge.run import TrainOptions


def choose_device(asked: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; raises UserError where there is no GPU."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here: use --device cpu or auto")
    return torch.device(asked)


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic, so that bf16 is faster than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_precision(asked: str, device: torch.device) -> str:
    """ "bf16" or "fp32" for "auto", "fp32" or "bf16"."""
    if asked != "auto":
        return asked
    return "bf16" if computes_bf16(device) else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which steps and decoding run."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def lay_out(system: nn.Module) -> None:
    """Put convolution weights channels-last, which CPU and GPU kernels prefer in bf16."""
    system.to(memory_format=torch.channels_last)


def compile_networks(system: nn.Module, options: TrainOptions, device: torch.device) -> None:
    """Compile each child network in place, where that was asked for.

    "auto" compiles nothing: on CPUs it was measured not to pay (`benchmarks/compile.md`), on GPUs it has not
    been measured.
    """
    if options.compile == "on":
        for network in system.children():
            network.compile(dynamic=False)


def describe_machine(device: torch.device) -> str:
    """Processor or GPU, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory of this process so far: on the GPU where there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
