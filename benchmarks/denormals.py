"""Steps with and without numbers below 1e-38, which CPUs reckon with slowly.

python benchmarks/denormals.py --out benchmarks/denormals.json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import record

from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.systems.discovery import find
from ganforge.training.update import OptimizerUpdate

BINARY = {"data": "mnist", "binarise": "dynamic"}
CASES: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "vae": ("vae", BINARY, {}),
    "vae, IWAE with 5 samples": ("vae", BINARY, {"objective": "iwae", "num_importance": 5}),
    "vae, IWAE with 50 samples": ("vae", BINARY, {"objective": "iwae", "num_importance": 50}),
    "autoencoder": ("autoencoder", {"data": "mnist"}, {}),
    "gan": ("gan", {"data": "mnist"}, {}),
    "dcgan, width 32": ("dcgan", {"data": "mnist"}, {"width": 32, "kernel_size": 4, "batch": 64}),
    "infogan, width 32": ("infogan", {"data": "mnist"}, {"width": 32, "dense_units": 256}),
}
WARM, TURNS, STEPS = 200, 4, 20


def stepper(name: str, data: dict[str, str], fields: dict[str, Any]) -> Callable[[], float]:
    """A function that takes one step of a training and returns its CPU seconds."""
    torch.manual_seed(0)
    dataset, kind = open_dataset(DataOptions.model_validate(data)), find(name)
    suggested = {field: value for field, (value, _) in kind.suggest(dataset.spec).items()}
    system = kind(kind.Config(**(suggested | fields)), dataset.spec).train()
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    size = system.images_per_step()
    stream = Loader(dataset.streamed, size, 0, binarise=dataset.spec.binary)
    seen = 0

    def step() -> float:
        nonlocal seen
        batch = stream.batch_at(seen)
        begun = time.process_time()
        system.train_step(batch, update)
        seen += size
        return time.process_time() - begun

    return step


def measure(name: str, data: dict[str, str], fields: dict[str, Any]) -> dict[str, float]:
    """Median seconds of a step, in turns, after `WARM` steps."""
    step = stepper(name, data, fields)
    torch.set_flush_denormal(True)
    for _ in range(WARM):
        step()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(TURNS):
        for flushed in seconds:
            torch.set_flush_denormal(flushed)
            step()
            seconds[flushed] += [step() for _ in range(STEPS)]
    kept, flushed = (statistics.median(values) for values in seconds.values())
    return {"kept": round(kept, 5), "flushed": round(flushed, 5), "times_faster": round(kept / flushed, 2)}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "command": "python benchmarks/denormals.py",
        "what": f"CPU seconds of a step after {WARM}, medians of {TURNS * STEPS} in turns of {STEPS}; "
        "suggested settings unless named",
        "systems": {label: measure(*case) for label, case in CASES.items()},
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
