"""NaN and infinity: where they began, and going back to before they did."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.runs.checkpoint import load_newest
from ganforge.runs.folder import Run
from ganforge.training.state import load_state
from ganforge.training.update import OptimizerUpdate

if TYPE_CHECKING:
    from ganforge.training.state import Training

MOST_SKIPPED, MOST_SKIPPED_SHARE = 100, 0.5
MOST_ROLLBACKS = 3
_WAY_OUT = "try a smaller --learning-rate or --precision fp32"


class Diverged(UserError):  # noqa: N818 - said of a training, as its user would
    """A number of the training is NaN or infinite, and no policy of the run can mend that."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: stopped, earlier checkpoints are intact: {_WAY_OUT}")
        self.what = what


def finite_values(training: "Training", update: OptimizerUpdate | None = None) -> dict[str, float]:
    """The means since the last log line, and the norms of the newest gradients that `update` has measured.

    Sync: reads from the device. Raises Diverged, with the first step and the weights concerned, where a mean
    is not finite, or a norm whose update was not skipped.
    """
    means = training.meter.read()
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        began = training.meter.first_bad_steps()
        first = min(broken, key=lambda name: began.get(name, training.step))
        where = _where(training, began.get(first, training.step))
        raise Diverged(f"{first} became {means[first]} by step {training.step}{where}")
    norms = {} if update is None else update.read_gradient_norms()
    for name, norm in norms.items():
        if not math.isfinite(norm):
            raise Diverged(f"{name} became {norm} by step {training.step}{_where(training, training.step)}")
    return means | norms


def _where(training: "Training", began: int) -> str:
    """The first broken step, and the weights and buffers that are broken by now."""
    broken = broken_names(training.system.state_dict().items())
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    return f": it began at step {began}" + (f", not finite now: {broken[0]}{more}" if broken else "")


def broken_names(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors that hold NaN or infinity. Sync: reads from the device."""
    return [name for name, tensor in tensors if not torch.isfinite(tensor).all()]


def check_state(training: "Training", tensors: dict[str, dict[str, Tensor]]) -> None:
    """Raise Diverged where a tensor that a checkpoint would hold is not finite.

    Finite losses do not tell what the last update did.
    """
    for named in tensors.values():
        if broken := broken_names(named.items()):
            raise Diverged(f"{broken[0]} became infinite or NaN by step {training.step}")


def check_skipped(training: "Training", update: OptimizerUpdate) -> None:
    """Raise Diverged where too many updates in a row have been skipped."""
    for name, count in update.skipped_in_a_row.items():
        if count >= MOST_SKIPPED:
            raise Diverged(
                f"the last {count} updates of the {name} had NaN or infinity by step {training.step}"
                f"{_where(training, training.step - count + 1)}"
            )


def check_most_skipped(update: OptimizerUpdate) -> None:
    """Raise UserError where a training has come to its end by skipping most of its updates."""
    for name, count in update.all_skipped.items():
        if count > MOST_SKIPPED_SHARE * update.all_updates[name]:
            raise UserError(
                f"{count} of {update.all_updates[name]} updates of the {name} had NaN or infinity and were "
                f"skipped: the run is saved, but hardly trained: {_WAY_OUT}"
            )


def roll_back(run: Run, training: "Training", error: Diverged) -> str:
    """Put `training` and the log back to the newest checkpoint, with other random numbers; say so in words.

    Raises `error` where there is no checkpoint, UserError after too many times from the same one.
    """
    checkpoint = load_newest(run.checkpoints)
    if checkpoint is None:
        raise error
    step = int(checkpoint.state["step"])
    done = sum(line["step"] == step for line in _rollbacks(run))
    if done >= MOST_ROLLBACKS:
        raise UserError(
            f"{error.what}, after {done} rollbacks to step {step}: stopped, its checkpoint is intact: "
            f"{_WAY_OUT}"
        )
    load_state(training, checkpoint)
    run.rewind(step)
    text = f"{error.what}: rolled back to step {step} (rollback {done + 1} of {MOST_ROLLBACKS})"
    run.append({"kind": "diagnosis", "step": step, "signal": "rollback", "text": text})
    move_on(run, training)
    return text


def move_on(run: Run, training: "Training") -> None:
    """After a rollback to this very step: random numbers that no earlier attempt has drawn."""
    rollbacks = _rollbacks(run)
    if rollbacks and rollbacks[-1]["step"] == training.step:
        words = np.random.SeedSequence([run.config.train.seed, len(rollbacks)]).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0]))


def _rollbacks(run: Run) -> list[dict[str, int]]:
    return [line for line in run.metrics("diagnosis") if line.get("signal") == "rollback"]
