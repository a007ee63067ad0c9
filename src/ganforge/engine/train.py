"""Training any system: the loop, exact resume, signals, pictures and costs."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge import pictures
from ganforge.checkpoint import Checkpoint, load_newest, save_checkpoint
from ganforge.data.batch import as_images
from ganforge.data.datasets import Dataset
from ganforge.data.decode import printable
from ganforge.data.stream import Stream
from ganforge.engine import accelerate
from ganforge.engine.display import Display
from ganforge.engine.ema import Average
from ganforge.engine.meter import Clock, Meter
from ganforge.engine.sampling import draw
from ganforge.engine.signals import stop_signals
from ganforge.engine.state import load_state, pack_state
from ganforge.engine.update import OptimizerUpdate
from ganforge.errors import UserError
from ganforge.report import write_report
from ganforge.run import Run, RunConfig, locked
from ganforge.system import System, find

NUM_PREVIEWS = 64
NUM_PREPARE_IMAGES = 10_000


class Stopped(Exception):  # noqa: N818 - not an error: the run was saved
    """A signal asked to stop; the run was saved at `step`. `exit_code` is the shell's for that signal."""

    def __init__(self, step: int, signal_number: int) -> None:
        super().__init__(f"stopped at step {step}, everything is saved")
        self.step = step
        self.exit_code = 128 + signal_number


@dataclass
class Training:
    """Everything that changes while a run trains."""

    system: System
    optimizers: dict[str, torch.optim.Optimizer]
    average: Average
    device: torch.device
    precision: str
    meter: Meter = field(default_factory=Meter)
    step: int = 0

    @property
    def images(self) -> int:
        """Real images consumed so far."""
        return self.step * self.system.images_per_step()


def build_system(config: RunConfig) -> System:
    """The untrained system of a run; its first weights are a function of the seed."""
    kind = find(config.system)
    torch.manual_seed(config.train.seed)
    return kind(kind.Config.model_validate(config.config), config.spec)


def build_training(
    config: RunConfig, dataset: Dataset, start_from: dict[str, Tensor] | None = None
) -> Training:
    """A training at step 0."""
    device = accelerate.choose_device(config.train.device)
    system = build_system(config)
    train_images = dataset.splits["train"]
    order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(config.train.seed))
    system.prepare(as_images(train_images.read(order[: _num_prepare_images(config)])))
    if start_from is not None:
        start_weights(system, start_from)
    system.to(device)
    accelerate.lay_out(system)
    average = Average(system)
    accelerate.compile_networks(system, config.train, device)
    precision = accelerate.choose_precision(config.train.precision, device)
    return Training(system, system.build_optimizers(), average, device, precision)


def _num_prepare_images(config: RunConfig) -> int:
    """As many images as a statistic of the data needs, but no more than 100 MB of floats."""
    return max(1, min(NUM_PREPARE_IMAGES, 25_000_000 // math.prod(config.spec.shape)))


def build_stream(config: RunConfig, dataset: Dataset, images_per_step: int) -> Stream:
    """The training images in the order of the run's seed, as many at a time as a step takes."""
    return Stream(
        dataset.splits["train"],
        images_per_step,
        config.train.seed,
        flip=config.data.flip,
        dequantise=config.data.dequantise,
        values=config.spec.values,
    )


def start_weights(system: System, weights: dict[str, Tensor]) -> None:
    """Copy into `system` the tensors of another run that have the same name and shape."""
    own = system.state_dict()
    fitting = {name: t for name, t in weights.items() if name in own and own[name].shape == t.shape}
    if not fitting:
        raise UserError("--from: no network of that run has the names and shapes of this one")
    system.load_state_dict(own | fitting)


def train(
    config: RunConfig,
    dataset: Dataset,
    path: Path,
    *,
    command: str = "",
    quiet: bool = False,
    started: float | None = None,
    start_from: dict[str, Tensor] | None = None,
) -> Run:
    """Train the run in the folder `path`, from its newest checkpoint on, up to `config`'s steps.

    `started` is the `time.monotonic()` at which the program started. Raises UserError on a mistake and
    Stopped after SIGINT or SIGTERM, with the run saved.
    """
    started = time.monotonic() if started is None else started
    with locked(path), _disk_errors(path):
        begun = (path / "config.json").exists()
        run, checkpoint, warnings = open_or_create(path, config)
        config = run.config
        try:
            training = build_training(config, dataset, start_from if checkpoint is None else None)
        except UserError:  # such as networks that cannot have the shape of this data
            if not begun:
                (path / "config.json").unlink()
            raise
        if checkpoint is not None:
            load_state(training, checkpoint)
        if dataset.skipped:
            shown = "; ".join(f"{printable(name)} ({why})" for name, why in dataset.skipped[:5])
            more = "; ..." if len(dataset.skipped) > 5 else ""
            warnings.append(f"{len(dataset.skipped)} pictures cannot be read and are skipped: {shown}{more}")
        for warning in warnings:
            run.append({"kind": "note", "step": training.step, "text": warning})
        with Display(
            f"{config.system} on {config.data.data}", training.step, _steps(config), quiet
        ) as display:
            for warning in warnings:
                display.say(warning)
            if training.step == _steps(config):
                display.say(f"{path} has its {training.step} steps done already: more --steps would go on")
                return run
            if training.step:
                display.say(f"resuming {path} at step {training.step}")
            run.append(_start_line(training, command, time.monotonic() - started))
            try:
                _loop(run, training, dataset, display)
            except BaseException:
                with suppress(OSError):  # a full disk: the error that comes says so
                    write_report(path)
                raise
            write_report(path)
        return run


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Say in one line that the run folder cannot be written."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}; type the same command again once this is mended"
        raise UserError(f"cannot write {error.filename or path}: {why}") from error


def open_or_create(path: Path, config: RunConfig) -> tuple[Run, Checkpoint | None, list[str]]:
    """The run in `path`, checked against `config`, its newest good checkpoint, warnings of damage."""
    warnings: list[str] = []
    begun = Run.open(path) if (path / "config.json").exists() else None
    config = _settle_precision(config, begun)
    if begun is None:
        return Run.create(path, config), None, warnings
    run = begun
    run.check_same(config)
    checkpoint = load_newest(run.checkpoints, warnings)
    done = 0 if checkpoint is None else int(checkpoint.state["step"])
    if done > _steps(config):
        raise UserError(
            f"{path} has {done} steps done, {_steps(config)} were asked for: "
            f"give --steps {done} or more, or a new --run"
        )
    run.write_config(config)
    run.rewind(done)
    return run, checkpoint, warnings


def _settle_precision(config: RunConfig, begun: Run | None) -> RunConfig:
    """Replace "auto" by what the run began with, so that it goes on alike, or by what pays here."""
    if config.train.precision != "auto":
        return config
    device = accelerate.choose_device(config.train.device)
    precision = begun.config.train.precision if begun else accelerate.choose_precision("auto", device)
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})


def _steps(config: RunConfig) -> int:
    return int(config.config["steps"])


def _start_line(training: Training, command: str, startup_seconds: float) -> dict[str, Any]:
    parameters = {
        name: sum(p.numel() for p in net.parameters()) for name, net in training.system.networks().items()
    }
    return {
        "kind": "start",
        "step": training.step,
        "command": command,
        "device": training.device.type,
        "machine": accelerate.describe_machine(training.device),
        "threads": torch.get_num_threads(),
        "precision": training.precision,
        "startup_seconds": round(startup_seconds, 3),
        "parameters": parameters,
        "torch": torch.__version__,
    }


def _loop(run: Run, training: Training, dataset: Dataset, display: Display) -> None:
    options, steps = run.config.train, _steps(run.config)
    system, images_per_step = training.system, training.system.images_per_step()
    stream = build_stream(run.config, dataset, images_per_step)
    update = OptimizerUpdate(training.optimizers, training.device.type)
    system.train()
    if training.step == 0:
        _picture(run, training, dataset)
    with stop_signals() as asked:
        batches = stream.iterate(training.images)
        clock = Clock(training.images)
        while training.step < steps:
            batch = next(batches).to(training.device)
            system.schedule(training.optimizers, training.images)
            with accelerate.autocast(training.device, training.precision):
                training.meter.add(system.train_step(batch, update))
            training.step += 1
            training.average.update(images_per_step, training.images)
            display.advance(training.step)
            stop = asked.signal_number  # read once: a signal during the save below waits for the next step
            last = training.step == steps or stop is not None
            if training.step % options.log_every == 0 or training.step == steps:
                _log(run, training, display, clock, steps)
            with clock.paused():
                if training.step % options.sample_every == 0 or training.step == steps:
                    _picture(run, training, dataset)
                if training.step % options.checkpoint_every == 0 or last:
                    _save(run, training)
            if last:
                _end_line(run, training, clock)
            if stop is not None and training.step < steps:
                raise Stopped(training.step, stop)


def _log(run: Run, training: Training, display: Display, clock: Clock, steps: int) -> None:
    values = _finite_means(run, training)
    seconds, images = clock.lap(training.images)
    rate = images / seconds
    left = (steps - training.step) * training.system.images_per_step() / rate
    run.append(
        {
            "kind": "train",
            "step": training.step,
            "images": training.images,
            "seconds": round(time.monotonic() - clock.begun, 3),
            "images_per_second": round(rate, 2),
            "seconds_per_step": round(training.system.images_per_step() / rate, 6),
            "peak_memory_bytes": accelerate.peak_memory_bytes(training.device),
            **values,
        }
    )
    training.meter.reset()
    display.measure(training.step, rate, left, {k: v for k, v in values.items() if k.endswith("_loss")})


def _finite_means(run: Run, training: Training) -> dict[str, float]:
    """The meter's means. Sync: reads from the device. Raises UserError where one is NaN or infinite."""
    values = training.meter.read()
    for name, value in values.items():
        if not isfinite(value):
            run.append({"kind": "note", "step": training.step, "text": f"{name} became {value}"})
            raise UserError(
                f"{name} became {value} by step {training.step}: stopped, earlier checkpoints are intact: "
                "try a smaller --learning-rate or --precision fp32"
            )
    return values


def _picture(run: Run, training: Training, dataset: Dataset) -> None:
    """Samples of the averaged weights from latents that are the same at every step."""
    seed = run.config.train.seed
    with training.average.in_place_of_raw(training.system):
        images = torch.cat(list(draw(training.system, NUM_PREVIEWS, seed)))
    about = {"run": run.path.name, "system": run.config.system, "step": str(training.step), "seed": str(seed)}
    file = run.path / "samples" / f"{training.step:06d}.png"
    try:
        file.parent.mkdir(exist_ok=True)
        pictures.save_png(pictures.draw(images, run.config.spec, reference_points(dataset)), file, about)
    except OSError as error:
        raise UserError(
            f"cannot write {file}: {error.strerror or error}; earlier checkpoints are intact"
        ) from error


def reference_points(dataset: Dataset) -> Tensor | None:
    """Real points to draw behind generated ones, or None for pictures."""
    if dataset.spec.values == "pixels":
        return None
    split = dataset.splits["train"]
    return split.read(torch.arange(min(1000, len(split))))


def _save(run: Run, training: Training) -> None:
    _finite_means(run, training)  # a broken state is never committed
    tensors, state = pack_state(training)
    for name, tensor in (pair for named in tensors.values() for pair in named.items()):
        if not torch.isfinite(tensor).all():  # finite losses do not tell what the step's update did
            raise UserError(
                f"{name} became infinite or NaN by step {training.step}: stopped, earlier checkpoints "
                "are intact: try a smaller --learning-rate or --precision fp32"
            )
    save_checkpoint(run.checkpoints, training.step, tensors, state, run.config.train.keep)


def _end_line(run: Run, training: Training, clock: Clock) -> None:
    run.append(
        {
            "kind": "end",
            "step": training.step,
            "images": training.images,
            "seconds": round(time.monotonic() - clock.begun, 3),
            "peak_memory_bytes": accelerate.peak_memory_bytes(training.device),
        }
    )
