"""Training any system: the loop, exact resume, signals, images and costs."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.data.batch import Batch
from ganforge.data.dataset import Dataset
from ganforge.errors import UserError
from ganforge.files.images import save_image
from ganforge.reporting import grids
from ganforge.reporting.page import write_report
from ganforge.reporting.trackers import check_tracker
from ganforge.reporting.units import duration
from ganforge.runs.checkpoint import Checkpoint, committed, delete_older, save_checkpoint
from ganforge.runs.conditions import PREVIEW_COLUMNS, preview_conditions
from ganforge.runs.device import explained_compiler, peak_memory_bytes
from ganforge.runs.folder import Run, RunConfig, locked
from ganforge.runs.sampling import draw
from ganforge.system import generates_images
from ganforge.training.cost import FirstSteps, faster_option
from ganforge.training.diagnosis import NUM_RECOUNTED, Diagnosis, must_recount
from ganforge.training.divergence import (
    Diverged,
    check_most_skipped,
    check_skipped,
    check_state,
    finite_values,
    move_on,
    roll_back,
)
from ganforge.training.live_report import LiveReport
from ganforge.training.memory import check_fits, is_shortage, shortage
from ganforge.training.meter import Clock
from ganforge.training.own_parts import changed_code, recorded_code
from ganforge.training.parallel import Leader, leading
from ganforge.training.plan import Plan
from ganforge.training.previews import Previews
from ganforge.training.progress import Display
from ganforge.training.record import end_line_of, failure_line_of, start_line_of
from ganforge.training.resume import data_notes, keep_text_encoder, open_or_create
from ganforge.training.signals import REQUEUE, StopRequest, requeue, stop_signals
from ganforge.training.state import OnStep, Training, build_loader, build_training, load_state, pack_state
from ganforge.training.update import OptimizerUpdate
from ganforge.training.validation import Evaluation
from ganforge.training.warm_start import Start

NUM_PREVIEWS = 64
LONG_SECONDS, FIRST_SHARE = 600.0, 0.1
"""From which time left on, and up to which share of the steps, a faster option is looked for."""


class Stopped(Exception):  # noqa: N818 - not an error: the run was saved
    """A signal requested a stop; `run` was saved at `step`. `exit_code` is the shell's for that signal.

    SIGUSR1 requeues a job of Slurm besides.
    """

    def __init__(self, step: int, signal_number: int, run: Path) -> None:
        done = f"stopped at step {step}, everything is saved" if step else "stopped before the first step"
        queued = requeue() if signal_number == REQUEUE else ""
        super().__init__(f"{done}; {queued}" if queued else done)
        self.step, self.run = step, shlex.quote(str(run))
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
    first_steps: FirstSteps
    report: LiveReport
    leader: Leader


def train(
    plan: Plan,
    *,
    command: str = "",
    quiet: bool = False,
    started: float | None = None,
    open_report: bool = False,
    on_step: OnStep | None = None,
) -> Run:
    """Train what was planned, from the newest checkpoint of its run on.

    `started` is the `time.monotonic()` at which the program started; `open_report` shows the report in a
    browser as soon as there is one; `on_step` is called after every step. Raises UserError for a mistake and
    Stopped after SIGINT or SIGTERM, with the run saved. Of a new run that fails before its first step nothing
    stays.
    """
    check_tracker(plan.config.train.log)
    check_fits(plan.config)
    try:
        started = time.monotonic() if started is None else started
        with leading() as leader:
            return _train_plan(plan, command, quiet, started, open_report, on_step, leader)
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
    # Only here are the networks gone that did not fit.
    kept = str(plan.path) if plan.run is not None and committed(plan.run.checkpoints) else ""
    raise shortage(plan.config, plan.dataset, kept)


def _train_plan(
    plan: Plan,
    command: str,
    quiet: bool,
    started: float,
    open_report: bool,
    on_step: OnStep | None,
    leader: Leader,
) -> Run:
    training: Training | None = None
    with stop_signals() as request, locked(plan.path), explained_compiler(plan.config.train):
        with _writing(plan.path):
            run, origin, warnings = open_or_create(plan)
        try:
            checkpoint = origin if isinstance(origin, Checkpoint) else None
            if checkpoint is None:
                keep_text_encoder(run, plan.dataset)
            _stop_early(request, checkpoint, run)
            start = origin if isinstance(origin, Start) else None
            training = build_training(run.config, plan.dataset, start, checkpoint)
            training.on_step = on_step
            if training.started_from:
                warnings = [*warnings, training.started_from]
            if checkpoint is not None:
                load_state(training, checkpoint)
                move_on(run, training)
                warnings = [*warnings, *changed_code(run)]
            _stop_early(request, checkpoint, run)
            leader.begin(run, training)
            start_line = start_line_of(training, command, time.monotonic() - started)
            start_line |= recorded_code(run.config)
            _train(run, training, plan.dataset, warnings, quiet, start_line, open_report, request, leader)
        except BaseException:
            if plan.run is None and (training is None or training.step == 0):
                run.discard()
            raise
    return run


def _stop_early(request: StopRequest, checkpoint: Checkpoint | None, run: Run) -> None:
    """Raise Stopped where a signal came before the loop: all that there is, is saved already."""
    if request.signal_number is not None:
        raise Stopped(0 if checkpoint is None else checkpoint.state["step"], request.signal_number, run.path)


def _train(
    run: Run,
    training: Training,
    dataset: Dataset,
    warnings: list[str],
    quiet: bool,
    start_line: dict[str, Any],
    open_report: bool,
    request: StopRequest,
    leader: Leader,
) -> None:
    """Train up to the last step; log warnings and the start, and write the report."""
    steps = _steps(run.config)
    warnings = warnings + data_notes(dataset)
    for warning in warnings:
        _append(run, {"kind": "note", "step": training.step, "text": warning})
    with Display(training.step, steps, quiet) as display:
        for warning in warnings:
            display.say(warning)
        if training.step == steps:
            more = f"`ganforge resume {shlex.quote(str(run.path))} --steps {2 * steps}`"
            display.say(f"{run.path} has its {steps} steps done already: to continue give more steps, {more}")
            if not any(line["step"] == steps for line in run.metrics("end")):
                _finish(run, training)
            return
        if training.step:
            display.say(f"resuming {run.path} at step {training.step}")
        _append(run, start_line)
        live = LiveReport(run, open_report, training.step or -1)
        try:
            _loop(run, training, dataset, display, live, request, leader)
        except BaseException as error:
            if not isinstance(error, Stopped | KeyboardInterrupt):
                with suppress(OSError):
                    run.append(failure_line_of(training, error))
            with suppress(OSError):  # a full disk: the error that is raised says so
                write_report(run.path)
            raise
        finally:
            live.close(display)
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


def _loop(
    run: Run,
    training: Training,
    dataset: Dataset,
    display: Display,
    live: LiveReport,
    request: StopRequest,
    leader: Leader,
) -> None:
    policy = run.config.train.on_nan
    session = _Session(
        dataset,
        display,
        OptimizerUpdate(
            training.optimizers,
            training.device.type,
            skip=policy == "skip",
            mean=None if training.part is None else training.shard.mean,
        ),
        Previews(dataset, run.config.train.seed, training.system),
        Diagnosis.of(run),
        Clock(training.images),
        Evaluation(run, dataset),
        FirstSteps(training.step),
        live,
        leader,
    )
    training.system.train()
    if training.step == 0:
        _image(run, training, session)
    live.refresh(display)
    while True:
        try:
            _advance_to_the_end(run, training, session, request)
            return
        except Diverged as error:
            _append(run, {"kind": "note", "step": training.step, "text": error.what})
            _append(run, {"kind": "diagnosis", "step": training.step, "signal": "nan", "text": str(error)})
            if policy != "rollback":
                raise
            with _writing(run.path):
                display.say(roll_back(run, training, error))
            leader.reload(training)
            session.health = Diagnosis.of(run)
            session.clock.lap(training.images)
            display.advance(training.step)


def _advance_to_the_end(run: Run, training: Training, session: _Session, request: StopRequest) -> None:
    options, steps = run.config.train, _steps(run.config)
    images_per_step = training.system.images_per_step()
    stream = build_loader(run.config, session.dataset, images_per_step, training.part)
    batches = stream.iterate(training.images)
    while training.step < steps:
        coming = training.step + 1
        session.update.measuring = coming % options.log_every == 0 or coming == steps
        batch = next(batches).to(training.device)
        with session.leader.step(training, checked=session.update.measuring):
            training.advance(batch, session.update)
        check_skipped(training, session.update)
        session.display.advance(training.step)
        _forecast(run, training, session)
        stop = request.signal_number  # read once: a signal during the save below waits for the next step
        last = training.step == steps or stop is not None
        if session.update.measuring:
            _log(run, training, session)
        with session.clock.paused():
            if training.step % options.sample_every == 0 or training.step == steps:
                _image(run, training, session)
                session.report.refresh(session.display)
            if options.evaluate_every and training.step % options.evaluate_every == 0:
                _evaluate(run, training, session)
            if training.step % options.checkpoint_every == 0 or last:
                _save(run, training)
            if session.update.measuring:
                session.report.follow(session.display)
        if last:
            _append(run, end_line_of(training, time.monotonic() - session.clock.begun))
        if training.step == steps:
            check_most_skipped(session.update)
        if stop is not None and training.step < steps:
            raise Stopped(training.step, stop, run.path)


def _forecast(run: Run, training: Training, session: _Session) -> None:
    """Say once how long the rest will take, and which option would shorten it most where that is long."""
    pace = session.first_steps.pace(training, session.clock.now())
    if pace is None:
        return
    session.display.time(pace)
    if session.display.quiet:
        return
    left = _steps(run.config) - training.step
    device = {"cpu": "CPU"}.get(training.device.type, "GPU")
    text = f"about {duration(left * pace)} for {left:,} steps on this {device}"
    is_new = training.step < FIRST_SHARE * _steps(run.config)  # a run that has much done keeps its options
    if left * pace > LONG_SECONDS and is_new:
        with session.clock.paused():
            text += faster_option(run.config, session.dataset)
    session.display.say(text)


def _log(run: Run, training: Training, session: _Session) -> None:
    values = finite_values(training, session.update)
    if run.config.train.on_nan == "skip":
        values |= session.update.read_skipped()
    seconds, images = session.clock.lap(training.images)
    rate = images / seconds
    seconds_per_step = training.system.images_per_step() / rate
    line = {
        "kind": "train",
        "step": training.step,
        "images": training.images,
        "seconds": round(time.monotonic() - session.clock.begun, 3),
        "images_per_second": round(rate, 2),
        "seconds_per_step": round(seconds_per_step, 6),
        "peak_memory_bytes": peak_memory_bytes(training.device),
        **values,
    }
    _tell(run, session, line)
    training.meter.reset()
    session.display.time(seconds_per_step)
    session.display.measure(training.step, rate, values)


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
    if not generates_images(training.system):
        return
    seed, pairs = run.config.train.seed, session.previews.pairs
    given = pairs or session.previews.captions or preview_conditions(training.system)
    count, columns = (NUM_PREVIEWS, None) if given is None else (len(given.images), PREVIEW_COLUMNS)
    with training.sampled() as system:
        images = torch.cat(list(draw(system, count, seed, given)))
    about = {"run": run.path.name, "system": run.config.system, "step": str(training.step), "seed": str(seed)}
    file = run.path / "samples" / f"{training.step:06d}.png"
    with _writing(file):
        file.parent.mkdir(exist_ok=True)
        if pairs is not None and pairs.sources is not None:
            drawn = grids.pairs_grid(pairs.sources, images, pairs.images)
        else:
            drawn = grids.draw(images, run.config.spec, reference_points(session.dataset), columns)
        save_image(drawn, file, about)
    if measured := session.previews.measure(images, None if given is None else given.labels):
        line = {"kind": "samples", "step": training.step, **measured}
        if must_recount(line):
            line |= session.previews.recount(_fresh_samples(training, seed, given))
        _tell(run, session, line)


def _fresh_samples(training: Training, seed: int, given: Batch | None) -> Tensor:
    """As many samples as a recount takes, of other latents at every step; the conditions take turns."""
    words = np.random.SeedSequence([seed, training.step]).generate_state(1, np.uint64)
    if given is not None:
        given = given[torch.arange(NUM_RECOUNTED) % len(given.images)]
    with training.sampled() as system:
        return torch.cat(list(draw(system, NUM_RECOUNTED, int(words[0]), given)))


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
        seconds = float((run.metrics() or [{"seconds": 0.0}])[-1]["seconds"])
        run.append(end_line_of(training, seconds))
        write_report(run.path)
