"""Training steps of systems, eager and under `--compile on`.

python benchmarks/compile.py --out benchmarks/compile.json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import record
from torch import Tensor

from ganforge.data.batch import Batch, DataSpec
from ganforge.runs.device import compile_networks, lay_out
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import find

GREY = DataSpec(channels=1, height=28, width=28, num_images=50_000)
BINARY = GREY.model_copy(update={"binary": True})
COLOURS = DataSpec(channels=3, height=32, width=32, num_images=3_331)
CASES = {
    "pixelcnn, black and white 28x28": ("pixelcnn", BINARY, {}),
    "pixelcnn, 256 levels 32x32": ("pixelcnn", COLOURS, {}),
    "pixelrnn, black and white 28x28": ("pixelrnn", BINARY, {}),
    "vae, black and white 28x28": ("vae", BINARY, {}),
    "dcgan, width 32, 28x28": ("dcgan", GREY, {"width": 32, "kernel_size": 4, "batch": 64}),
    "r3gan, 28x28": ("r3gan", GREY, {}),
}
TURNS, STEPS = 4, 3


def steps_of(name: str, spec: DataSpec, fields: dict[str, int], compiled: bool) -> Callable[[], float]:
    """A function that takes one step and returns its CPU seconds."""
    torch.manual_seed(0)
    kind = find(name)
    suggested = {field: value for field, (value, _) in kind.suggest(spec).items()}
    system = kind(kind.Config(**(suggested | fields)), spec).train()
    lay_out(system)
    options = TrainOptions(compile="on" if compiled else "off")
    compile_networks(system, options, torch.device("cpu"))
    optimizers = system.build_optimizers()
    images = 2 * torch.rand(system.config.batch, *spec.shape) - 1
    batch = Batch(images.sign() if spec.binary else images)

    def update(name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        optimizers[name].zero_grad()
        slope = None if watch is None else torch.autograd.grad(loss, watch, retain_graph=True)[0]
        loss.backward()
        optimizers[name].step()
        return slope

    def step() -> float:
        begun = time.process_time()
        system.train_step(batch, update)
        return time.process_time() - begun

    return step


def measure(name: str, spec: DataSpec, fields: dict[str, int]) -> dict[str, float]:
    """Medians, the two ways in turn."""
    ways = {way: steps_of(name, spec, fields, compiled=way == "compiled") for way in ("eager", "compiled")}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(TURNS + 1):
        for way, step in ways.items():
            taken = [step() for _ in range(STEPS)]
            seconds[way] += taken if turn else []  # the first turn compiles
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    return {
        "eager_seconds": round(medians["eager"], 4),
        "compiled_seconds": round(medians["compiled"], 4),
        "times_faster": round(medians["eager"] / medians["compiled"], 2),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "command": "python benchmarks/compile.py",
        "what": f"CPU seconds of a training step of one thread, medians of {TURNS * STEPS}, suggested sizes",
        "systems": {what: measure(*case) for what, case in CASES.items()},
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
