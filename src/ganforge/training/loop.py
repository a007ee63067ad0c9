"""Training any system: the loop, exact resume, signals, images and costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.data.dataset import Dataset
from ganforge.data.loader import Loader
from ganforge.errors import UserError
from ganforge.reporting import grids
from ganforge.reporting.page import write_report
from ganforge.runs.checkpoint import Checkpoint, delete_older, save_checkpoint
from ganforge.runs.conditions import PREVIEW_COLUMNS, preview_conditions
from ganforge.runs.device import describe_machine, explained_compiler, peak_memory_bytes
from ganforge.runs.folder import Run, RunConfig, locked
from ganforge.runs.sampling import draw
from ganforge.system import networks
from ganforge.training.diagnosis import Diagnosis
from ganforge.training.divergence import (
    Diverged,
    check_skipped,
    check_state,
    finite_values,
    move_on,
    roll_back,
)
from ganforge.training.meter import Clock
from ganforge.training.plan import Plan
from ganforge.training.previews import Previews
from ganforge.training.progress import Display
from ganforge.training.resume import keep_text_encoder, open_or_create, skipped_images
from ganforge.training.signals import StopRequest, stop_signals
from ganforge.training.state import Training, build_training, load_state, pack_state
from ganforge.training.update import OptimizerUpdate
from ganforge.training.validation import Evaluation
from ganforge.training.warm_start import Start

NUM_PREVIEWS = 64


class Stopped(Exception):  # noqa: N818 - not an error: the run was saved
    """A signal requested a stop; the run was saved at `step`. `exit_code` is the shell's for that signal."""

    def __init__(self, step: int, signal_number: int) -> None:
        super().__init__(f"stopped at step {step}, everything is saved")
        self.step = step
        self.exit_code = 128 + signal_number


@dataclass
class _Session:
    """What one call of `train` has besides the training itself."""

    dataset: Dataset
    display: Display
    update: OptimizerUpdate
    previews: Previews
    health: Diagnosis
    clock: Clock
    evaluation: Evaluation


def build_loader(config: RunConfig, dataset: Dataset, images_per_step: int) -> Loader:
    """The training images in the order of the run's seed, as many at a time as a step takes."""
    return Loader(
        dataset.streamed,
        images_per_step,
        config.train.seed,
        flip=config.data.flip,
        dequantise=config.data.dequantise,
        binarise=config.data.binarise == "dynamic",
        values=config.spec.values,
        jitter=config.data.jitter,
        balance_classes=config.data.balance_classes,
    )


def train(plan: Plan, *, command: str = "", quiet: bool = False, started: float | None = None) -> Run:
    """Train what was planned, from the newest checkpoint of its run on.

    `started` is the `time.monotonic()` at which the program started. Raises UserError for a mistake and
    Stopped after SIGINT or SIGTERM, with the run saved. Of a new run that fails before its first step
    nothing stays.
    """
    started = time.monotonic() if started is None else started
    training: Training | None = None
    with locked(plan.path), explained_compiler(plan.config.train):
        with _writing(plan.path):
            run, origin, warnings = open_or_create(plan)
        try:
            checkpoint = origin if isinstance(origin, Checkpoint) else None
            if checkpoint is None:
                keep_text_encoder(run, plan.dataset)
            start = origin if isinstance(origin, Start) else None
            training = build_training(run.config, plan.dataset, start)
            if checkpoint is not None:
                load_state(training, checkpoint)
                move_on(run, training)
            _train(run, training, plan.dataset, warnings, quiet, command, started)
        except BaseException:
            if plan.run is None and (training is None or training.step == 0):
                run.discard()
            raise
    return run


def _train(
    run: Run,
    training: Training,
    dataset: Dataset,
    warnings: list[str],
    quiet: bool,
    command: str,
    started: float,
) -> None:
    """Train up to the last step; log warnings and the start, and write the report."""
    title, steps = f"{run.config.system} on {run.config.data.data}", _steps(run.config)
    warnings = warnings + skipped_images(dataset)
    for warning in warnings:
        _append(run, {"kind": "note", "step": training.step, "text": warning})
    with Display(title, training.step, steps, quiet) as display:
        for warning in warnings:
            display.say(warning)
        if training.step == steps:
            display.say(f"{run.path} has its {steps} steps done already: give more --steps to continue")
            if not any(line["step"] == steps for line in run.metrics("end")):
                _finish(run, training)
            return
        if training.step:
            display.say(f"resuming {run.path} at step {training.step}")
        _append(run, _start_line(training, command, time.monotonic() - started))
        try:
            _loop(run, training, dataset, display)
        except BaseException:
            with suppress(OSError):  # a full disk: the error that is raised says so
                write_report(run.path)
            raise
        with _writing(run.path):
            write_report(run.path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in one line that the run folder cannot be written."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}; earlier checkpoints are intact"
        again = "type the same command again once this is mended"
        raise UserError(f"cannot write {error.filename or path}: {why}: {again}") from error


def _append(run: Run, line: dict[str, Any]) -> None:
    with _writing(run.path):
        run.append(line)


def _steps(config: RunConfig) -> int:
    return int(config.config["steps"])


def _start_line(training: Training, command: str, startup_seconds: float) -> dict[str, Any]:
    parameters = {
        name: sum(p.numel() for p in net.parameters()) for name, net in networks(training.system).items()
    }
    return {
        "kind": "start",
        "step": training.step,
        "command": command,
        "device": training.device.type,
        "machine": describe_machine(training.device),
        "threads": torch.get_num_threads(),
        "precision": training.precision,
        "startup_seconds": round(startup_seconds, 3),
        "parameters": parameters,
        "torch": torch.__version__,
    }


def _loop(run: Run, training: Training, dataset: Dataset, display: Display) -> None:
    policy = run.config.train.on_nan
    session = _Session(
        dataset,
        display,
        OptimizerUpdate(training.optimizers, training.device.type, skip=policy == "skip"),
        Previews(dataset, run.config.train.seed, training.system),
        Diagnosis.of(run),
        Clock(training.images),
        Evaluation(run, dataset),
    )
    training.system.train()
    if training.step == 0:
        _image(run, training, session)
    with stop_signals() as request:
        while True:
            try:
                _advance_to_the_end(run, training, session, request)
                return
            except Diverged as error:
                _append(run, {"kind": "note", "step": training.step, "text": error.what})
                _append(
                    run, {"kind": "diagnosis", "step": training.step, "signal": "nan", "text": str(error)}
                )
                if policy != "rollback":
                    raise
                with _writing(run.path):
                    display.say(roll_back(run, training, error))
                session.health = Diagnosis.of(run)
                session.clock.lap(training.images)
                display.advance(training.step)


def _advance_to_the_end(run: Run, training: Training, session: _Session, request: StopRequest) -> None:
    options, steps = run.config.train, _steps(run.config)
    stream = build_loader(run.config, session.dataset, training.system.images_per_step())
    batches = stream.iterate(training.images)
    while training.step < steps:
        coming = training.step + 1
        session.update.measuring = coming % options.log_every == 0 or coming == steps
        training.advance(next(batches).to(training.device), session.update)
        check_skipped(training, session.update)
        session.display.advance(training.step)
        stop = request.signal_number  # read once: a signal during the save below waits for the next step
        last = training.step == steps or stop is not None
        if session.update.measuring:
            _log(run, training, session)
        with session.clock.paused():
            if training.step % options.sample_every == 0 or training.step == steps:
                _image(run, training, session)
            if options.evaluate_every and training.step % options.evaluate_every == 0:
                _evaluate(run, training, session)
            if training.step % options.checkpoint_every == 0 or last:
                _save(run, training)
        if last:
            _end_line(run, training, time.monotonic() - session.clock.begun)
        if stop is not None and training.step < steps:
            raise Stopped(training.step, stop)


def _log(run: Run, training: Training, session: _Session) -> None:
    values = finite_values(training, session.update)
    if run.config.train.on_nan == "skip":
        values |= session.update.read_skipped()
    seconds, images = session.clock.lap(training.images)
    rate = images / seconds
    left = (_steps(run.config) - training.step) * training.system.images_per_step() / rate
    line = {
        "kind": "train",
        "step": training.step,
        "images": training.images,
        "seconds": round(time.monotonic() - session.clock.begun, 3),
        "images_per_second": round(rate, 2),
        "seconds_per_step": round(training.system.images_per_step() / rate, 6),
        "peak_memory_bytes": peak_memory_bytes(training.device),
        **values,
    }
    _tell(run, session, line)
    training.meter.reset()
    losses = {name: value for name, value in values.items() if name.endswith("_loss")}
    session.display.measure(training.step, rate, left, losses)


def _tell(run: Run, session: _Session, line: dict[str, Any]) -> None:
    """Log a line, and what it says of the training's health."""
    _append(run, line)
    for sign in session.health.look(line):
        _append(run, sign)
        session.display.say(f"step {sign['step']}: {sign['text']}")


def _image(run: Run, training: Training, session: _Session) -> None:
    """Samples of the averaged weights from latents that are the same at every step; a row for each class.

    Of a system that needs sources: source, output and target of held-out pairs; of one that uses captions
    a row for each of some training captions.
    """
    if not training.system.generates_images:
        return
    seed, pairs = run.config.train.seed, session.previews.pairs
    given = pairs or session.previews.captions or preview_conditions(training.system)
    count, columns = (NUM_PREVIEWS, None) if given is None else (len(given.images), PREVIEW_COLUMNS)
    with training.average.in_place_of_raw(training.system):
        images = torch.cat(list(draw(training.system, count, seed, given)))
    about = {"run": run.path.name, "system": run.config.system, "step": str(training.step), "seed": str(seed)}
    file = run.path / "samples" / f"{training.step:06d}.png"
    with _writing(file):
        file.parent.mkdir(exist_ok=True)
        if pairs is not None and pairs.sources is not None:
            drawn = grids.pairs_grid(pairs.sources, images, pairs.images)
        else:
            drawn = grids.draw(images, run.config.spec, reference_points(session.dataset), columns)
        grids.save_png(drawn, file, about)
    if measured := session.previews.measure(images, None if given is None else given.labels):
        _tell(run, session, {"kind": "samples", "step": training.step, **measured})


def _evaluate(run: Run, training: Training, session: _Session) -> None:
    """Log the scores of the averaged weights; keep these where they are the best so far."""
    finite_values(training)
    with _writing(run.path):
        found = session.evaluation.measure(training)
        kept = session.evaluation.keep_if_best(training, found)
    metric = run.config.train.keep_best
    best = {"best_so_far": kept} if metric else {}
    _append(run, {"kind": "evaluation", "step": training.step, **found, **best})
    shown = " ".join(f"{name} {value:.4g}" for name, value in found.items() if name != "protocol")
    session.display.say(f"step {training.step}: {shown}" + (f", the best {metric} so far" if kept else ""))


def reference_points(dataset: Dataset) -> Tensor | None:
    """Real points to draw behind generated ones, or None for images."""
    if dataset.spec.values == "pixels":
        return None
    split = dataset.splits["train"]
    return split.read(torch.arange(min(1000, len(split))))


def _save(run: Run, training: Training) -> None:
    finite_values(training)  # a broken state is never committed
    tensors, state = pack_state(training)
    check_state(training, tensors)
    with _writing(run.path):
        run.sync_log()
    save_checkpoint(run.checkpoints, training.step, tensors, state, run.config.train.keep)


def _finish(run: Run, training: Training) -> None:
    """Do what a training that was killed after its last checkpoint left undone."""
    with _writing(run.path):
        delete_older(run.checkpoints, run.config.train.keep)
        _end_line(run, training, float((run.metrics() or [{"seconds": 0.0}])[-1]["seconds"]))
        write_report(run.path)


def _end_line(run: Run, training: Training, seconds: float) -> None:
    _append(
        run,
        {
            "kind": "end",
            "step": training.step,
            "images": training.images,
            "seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(training.device),
        },
    )
