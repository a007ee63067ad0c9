"""Whole DCGAN steps, data included: ganforge against the tutorial loop, A B A B in one run.

    python benchmarks/dcgan_speed.py --out benchmarks/dcgan_speed.json

DCGAN 64x64x3, k4 networks of width 64, latent 100, batch 64, on the built-in emoji.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from record import record
from tutorial_dcgan import steps as tutorial_steps

from ganforge.data.dataset import Dataset
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.runs.device import choose_precision
from ganforge.runs.options import TrainOptions
from ganforge.training.plan import make_plan, on_disk
from ganforge.training.state import build_training
from ganforge.training.update import OptimizerUpdate

BATCH = 64
FIELDS = {
    "kernel_size": 4,
    "width": 64,
    "latent_size": 100,
    "latent_distribution": "gaussian",
    "batch": BATCH,
}


def ganforge_steps(dataset: Dataset, precision: str, compiled: str = "off") -> Iterator[float]:
    """Seconds of each step of `ganforge train dcgan`, with its schedule, meter and EMA."""
    options = TrainOptions(precision=precision, compile=compiled)
    config = make_plan(
        "dcgan", dataset, options, FIELDS, on_disk("dcgan", dataset.options, Path("unused"))
    ).config
    training = build_training(config, dataset)
    batches = Loader(dataset.splits["train"], BATCH, 0).iterate(0)
    update = OptimizerUpdate(training.optimizers, "cpu")
    training.system.train()
    while True:
        begun = time.perf_counter()
        training.advance(next(batches), update)
        yield time.perf_counter() - begun


def main() -> None:
    """Measure in turn, print and store medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each contender in a round")
    parser.add_argument("--contenders", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dataset = open_dataset(DataOptions(data="emoji"))
    split = dataset.splits["train"]
    contenders = {"tutorial": tutorial_steps(split.read(torch.arange(len(split))), BATCH)}
    for name in given.contenders:
        precision, _, compiled = name.partition("+")
        contenders[f"ganforge {name}"] = ganforge_steps(dataset, precision, "on" if compiled else "off")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(given.rounds + 1):
        for name, timed in contenders.items():
            found = [next(timed) for _ in range(given.steps)]
            if round_number:  # the first round warms up
                seconds[name].append(statistics.median(found))
    rates = {name: BATCH / statistics.median(values) for name, values in seconds.items()}
    ratios = {
        name: statistics.median(t / own for t, own in zip(seconds["tutorial"], values, strict=True))
        for name, values in seconds.items()
    }
    automatic = choose_precision("auto", torch.device("cpu"))
    result = {
        "command": f"python benchmarks/dcgan_speed.py --rounds {given.rounds} --steps {given.steps}"
        + f" --contenders {' '.join(given.contenders)}",
        "what": "DCGAN 64x64x3, k4, width 64, latent 100, batch 64, whole step with data",
        "images_per_second": {name: round(value, 1) for name, value in rates.items()},
        "ratio_to_tutorial": {name: round(value, 2) for name, value in ratios.items()},
        "precision_auto_is": automatic,
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
