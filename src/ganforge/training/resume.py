"""The run folder as a training finds it: new, or begun and gone on with."""

from pathlib import Path

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError, printable
from ganforge.runs.checkpoint import Checkpoint, load_newest
from ganforge.runs.device import choose_device, choose_precision
from ganforge.runs.folder import Run, RunConfig


def open_or_create(path: Path, config: RunConfig) -> tuple[Run, Checkpoint | None, list[str]]:
    """The run in `path`, checked against `config`, its newest good checkpoint, warnings of damage."""
    warnings: list[str] = []
    steps = int(config.config["steps"])
    run, config = begun_run(path, config)
    if run is None:
        return Run.create(path, config), None, warnings
    checkpoint = load_newest(run.checkpoints, warnings)
    done = 0 if checkpoint is None else int(checkpoint.state["step"])
    if done > steps:
        raise UserError(
            f"{path} has {done} steps done, {steps} were asked for: "
            f"give --steps {done} or more, or a new --run"
        )
    if checkpoint is not None:  # what its weights began from does not change any more
        begun = {name: getattr(run.config, name) for name in ("start_from", "start_networks")}
        config = config.model_copy(update=begun)
    run.write_config(config)
    run.rewind(done)
    return run, checkpoint, warnings


def begun_run(path: Path, config: RunConfig) -> tuple[Run | None, RunConfig]:
    """The run that `path` holds, if any, and `config` with its precision settled; writes nothing.

    Raises UserError where it is another run than that of `config`.
    """
    begun = Run.open(path) if (path / "config.json").exists() else None
    config = _settle_precision(config, begun)
    if begun is not None:
        begun.check_same(config)
    return begun, config


def _settle_precision(config: RunConfig, begun: Run | None) -> RunConfig:
    """Replace "auto" by what the run began with, so that it goes on alike, or by what pays here."""
    if config.train.precision != "auto":
        return config
    device = choose_device(config.train.device)
    precision = begun.config.train.precision if begun else choose_precision("auto", device)
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})


def skipped_images(dataset: Dataset) -> list[str]:
    """A warning of the images that cannot be read, where there are some."""
    if not dataset.skipped:
        return []
    shown = "; ".join(f"{printable(name)} ({why})" for name, why in dataset.skipped[:5])
    more = "; ..." if len(dataset.skipped) > 5 else ""
    return [f"{len(dataset.skipped)} images cannot be read and are skipped: {shown}{more}"]
