"""What is timed: a training as ganforge runs it, and what a case of it is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.runs.device import synchronise
from ganforge.runs.options import TrainOptions
from ganforge.runs.sampling import draw
from ganforge.system import System, generates_images
from ganforge.training.cost import FlopCounter
from ganforge.training.plan import OnDisk, Plan, make_plan
from ganforge.training.state import build_loader, build_training
from ganforge.training.update import OptimizerUpdate

MOST_SAMPLES = 64


@dataclass(frozen=True)
class Case:
    """A training by its options: `fields` are those of the system that differ from what the data suggest."""

    system: str
    data: DataOptions
    train: TrainOptions
    fields: Mapping[str, Any]

    def plan(self) -> Plan:
        """The plan of a training that is never written; opens the data. Raises UserError for a mistake."""
        nowhere = OnDisk(Path("runs/bench"), None, None, None)
        return make_plan(self.system, open_dataset(self.data), self.train, self.fields, nowhere)


class Contestant(Protocol):
    """One way to train; times are in seconds."""

    images_per_step: int

    def read(self) -> float:
        """Of the next batch alone."""

    def step(self) -> float:
        """Of a whole step, its batch included."""

    def sample(self) -> tuple[float, int] | None:
        """Of some samples, and their number; None where the system draws no images."""


class Ours:
    """The training loop of ganforge: fused optimizers, the chosen precision, averaged weights."""

    def __init__(self, plan: Plan) -> None:
        self._training = build_training(plan.config, plan.dataset)
        self.images_per_step = self._training.system.images_per_step()
        self._update = OptimizerUpdate(self._training.optimizers, self._training.device.type)
        loader = build_loader(plan.config, plan.dataset, self.images_per_step)
        self._given = loader.batch_at(0)
        self._batches = loader.iterate(0)
        self._training.system.train()

    def read(self) -> float:
        """The next batch, on the device."""
        begun = time.perf_counter()
        next(self._batches).to(self._training.device)
        synchronise(self._training.device)
        return time.perf_counter() - begun

    def step(self) -> float:
        """With its schedule, meter and averaged weights."""
        begun = time.perf_counter()
        self._training.advance(next(self._batches).to(self._training.device), self._update)
        synchronise(self._training.device)
        return time.perf_counter() - begun

    def flops_per_image(self) -> float:
        """Multiplications and additions of the products in one step, per image."""
        with FlopCounter() as counter:
            self.step()
        return counter.flops / self.images_per_step

    def sample(self) -> tuple[float, int] | None:
        """As `ganforge sample` draws them."""
        with self._training.sampled() as system:
            if not generates_images(system):
                return None
            given = some(self._given, system)
            begun = time.perf_counter()
            for _ in draw(system, len(given.images), 0, given):
                pass
            return time.perf_counter() - begun, len(given.images)

    def describe(self) -> dict[str, Any]:
        """The number of parameters, and the precision that was chosen."""
        parameters = sum(p.numel() for p in self._training.system.parameters())
        return {"parameters": parameters, "precision": self._training.precision}


def some(batch: Batch, system: System) -> Batch:
    """Conditions of at most MOST_SAMPLES samples of `system`, from a training batch."""
    rows: Tensor = torch.arange(min(MOST_SAMPLES, len(batch.images)))
    return batch[rows].to(system.device)
