"""What the log of a run says of the training itself: its start, its end, a failure."""

from datetime import UTC, datetime
from typing import Any

import torch

from ganforge.runs.device import describe_machine, peak_memory_bytes
from ganforge.system import networks
from ganforge.training.state import Training


def start_line_of(training: Training, command: str, startup_seconds: float) -> dict[str, Any]:
    """The line of a training that begins or is resumed."""
    parameters = {
        name: sum(p.numel() for p in net.parameters()) for name, net in networks(training.system).items()
    }
    return {
        "kind": "start",
        "step": training.step,
        "date": datetime.now(UTC).isoformat(),  # to the microsecond: it tells one training from another
        "command": command,
        "device": training.device.type,
        "machine": describe_machine(training.device),
        "processes": training.shard.ranks,
        "threads": torch.get_num_threads(),
        "precision": training.precision,
        "startup_seconds": round(startup_seconds, 3),
        "parameters": parameters,
        "torch": torch.__version__,
    }


def failure_line_of(training: Training, error: BaseException) -> dict[str, Any]:
    """The line of a training that an error has ended."""
    return {"kind": "failure", "step": training.step, "text": f"{type(error).__name__}: {error}"}


def end_line_of(training: Training, seconds: float) -> dict[str, Any]:
    """The line of a training that has come to its last step, or was stopped, after `seconds`."""
    return {
        "kind": "end",
        "step": training.step,
        "images": training.images,
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(training.device),
    }
