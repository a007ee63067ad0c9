"""`--minutes`: the steps that a time allows on this machine; where they are few, narrower networks first."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.data.sources.catalogue import PYTHON
from ganforge.errors import UserError
from ganforge.reporting.units import duration
from ganforge.runs.device import choose_device
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.training.cost import Pace, pace
from ganforge.training.plan import OnDisk, Plan, make_plan

MIN_STEPS = 100
"""Fewer leave noise."""
WANTED_IMAGES = 100_000
"""Where fewer would be seen, narrower networks and then smaller images draw better in the same time."""
NARROWER = (0.75, 0.5)
SMALLEST_SIDE, LARGEST_SIDE = 32, {"cpu": 64, "cuda": 256}
TWO_LENGTHS = "--steps and --minutes both say how long a training is: leave one of them out"
_SHARE = 0.95  # of the time; the rest goes to the start, sample grids and checkpoints


def plan_within(
    system: str, dataset: Dataset, options: TrainOptions, fields: Mapping[str, Any], disk: OnDisk
) -> Plan:
    """The plan of `make_plan`, with the steps that `options.minutes` allow where these are given.

    Where the networks would see few images in that time they become narrower, then the images smaller, unless
    a width or size was requested. A run keeps what was chosen when it began; other minutes change its steps
    in proportion. Raises UserError where the time is too short.
    """
    if options.minutes is None:
        return make_plan(system, dataset, options, fields, disk)
    if "steps" in fields:
        raise UserError(TWO_LENGTHS)
    if disk.run is not None:
        steps = steps_of_minutes(disk.run, options.minutes)
        return make_plan(system, dataset, options, {**fields, "steps": steps}, disk)
    seconds = _SHARE * 60 * options.minutes
    timed = list[tuple[float, Plan, Pace]]()
    for plan in _candidates(system, dataset, options, fields, disk):
        measured = pace(plan.config, plan.dataset, seconds / 100)
        images = seconds / measured.seconds_per_step * measured.images_per_step
        timed.append((images, plan, measured))
        if images >= WANTED_IMAGES:
            break
    _, plan, measured = max(timed, key=lambda candidate: candidate[0])
    return _with_steps(plan, measured, options.minutes)


def steps_of_minutes(run: Run, minutes: float) -> int:
    """The steps that `minutes` mean for `run`; raises UserError where it began without `--minutes`."""
    begun, steps = run.config.train.minutes, int(run.config.config["steps"])
    if begun is None:
        raise UserError(
            f"{run.path} began without --minutes: to train it longer give --steps, more than its {steps}"
        )
    return max(1, round(steps * minutes / begun))


def _candidates(
    system: str, dataset: Dataset, options: TrainOptions, fields: Mapping[str, Any], disk: OnDisk
) -> Iterator[Plan]:
    """Plans to choose from, the costliest first: sizes, and within each its widths."""
    own = dataset.options.data.startswith(PYTHON)  # opened, and of the size that it has
    free = dataset.options.size is None and dataset.spec.values == "pixels" and not own
    while True:
        plan = make_plan(system, dataset, options, fields, disk)
        height, width = plan.config.spec.height, plan.config.spec.width
        largest = LARGEST_SIDE[plan.config.suggested_for]
        if free and max(height, width) > largest:
            dataset = _resized(dataset, largest / max(height, width))
            continue
        yield plan
        yield from _narrower(plan, fields)
        if not free or min(height, width) < 2 * SMALLEST_SIDE:
            return
        dataset = _resized(dataset, 0.5)


def _resized(dataset: Dataset, scale: float) -> Dataset:
    """The images of `dataset` this much smaller, with sides that are multiples of 8."""
    height, width = (max(8, round(side * scale / 8) * 8) for side in dataset.spec.shape[1:])
    size = height if height == width else f"{height}x{width}"
    return open_dataset(dataset.options.model_copy(update={"size": size}))


def _narrower(plan: Plan, fields: Mapping[str, Any]) -> Iterator[Plan]:
    """`plan` with three quarters, then half, of its width, where that is neither requested nor inherited."""
    config = plan.config
    width = config.config.get("width")
    if not isinstance(width, int) or "width" in fields or "width" in config.start_fields:
        return
    for share in NARROWER:
        chosen = {"width": max(8, round(width * share / 8) * 8)}
        if chosen["width"] >= width:
            return
        suggested = (config.suggested or {}) | chosen
        update = {"config": config.config | chosen, "suggested": suggested}
        yield replace(plan, config=config.model_copy(update=update))


def _with_steps(plan: Plan, measured: Pace, minutes: float) -> Plan:
    """`plan` with the steps that fit, and a note that says what was chosen; raises UserError for too few."""
    steps = int(_SHARE * 60 * minutes / measured.seconds_per_step)
    device = {"cpu": "CPU"}.get(choose_device(plan.config.train.device).type, "GPU")
    if steps < MIN_STEPS:
        least = math.ceil(MIN_STEPS * measured.seconds_per_step / _SHARE / 6) / 10
        raise UserError(
            f"--minutes {minutes:g} is too short: {MIN_STEPS} steps, the fewest that show anything, take "
            f"{duration(MIN_STEPS * measured.seconds_per_step)} on this {device}: type --minutes {least:g} "
            "or more, or a smaller --size or --width"
        )
    steps = int(float(f"{steps:.2g}")) if steps < 1000 else steps // 100 * 100
    spec, width = plan.config.spec, plan.config.config.get("width")
    shown = [f"{spec.width}x{spec.height}"] if spec.values == "pixels" else []
    shown += [f"width {width}"] if isinstance(width, int) else []
    images = steps * measured.images_per_step
    shown += [f"{steps:,} steps of {measured.images_per_step}", f"{images:,} images seen"]
    config = plan.config.model_copy(update={"config": plan.config.config | {"steps": steps}})
    note = f"{minutes:g} minutes on this {device}: {', '.join(shown)}"
    return replace(plan, config=config, notes=(*plan.notes, note))
