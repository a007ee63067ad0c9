"""The run folder of a plan: a new run, or the existing one at its newest checkpoint."""

import os

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError, printable
from ganforge.files.atomic import TEMPORARY, sync_folder
from ganforge.runs.checkpoint import Checkpoint, load_newest
from ganforge.runs.folder import Run
from ganforge.text.embeddings import keep_encoder
from ganforge.text.encoders import FOLDER, open_encoder
from ganforge.training.plan import Plan
from ganforge.training.warm_start import Start, load_start, open_parent


def open_or_create(plan: Plan) -> tuple[Run, Checkpoint | Start | None, list[str]]:
    """The run of `plan`, where its weights come from (None: the seed), and warnings of damaged checkpoints.

    Call it while holding the folder. Raises UserError where the folder holds other files, or more steps than
    requested.
    """
    config, warnings = plan.config, list[str]()
    checkpoint = None if plan.run is None else load_newest(plan.run.checkpoints, warnings)
    if plan.run is not None and checkpoint is not None:
        done, steps = int(checkpoint.state["step"]), int(config.config["steps"])
        if done > steps:
            raise UserError(
                f"{plan.path} has {done} steps done, {steps} were requested: "
                f"give --steps {done} or more, or a new --run"
            )
        origin = {name: getattr(plan.run.config, name) for name in ("start_from", "start_networks")}
        plan.run.write_config(config.model_copy(update=origin))  # what it started from stays on record
        plan.run.rewind(done)
        return plan.run, checkpoint, warnings
    start = None
    if config.start_from is not None:
        start = load_start(config.system, plan.parent or open_parent(config.start_from), config.start_from)
        config = config.model_copy(update={"start_networks": start.networks})
    if plan.run is None:
        return Run.create(plan.path, config), start, warnings
    plan.run.write_config(config)
    plan.run.rewind(None)
    return plan.run, start, warnings


def keep_text_encoder(run: Run, dataset: Dataset) -> None:
    """Copy the encoder of captions into the folder of a run that begins, complete or not at all."""
    place, folder = run.config.data.text_encoder, run.path / FOLDER
    if place is None or folder.exists():
        return
    temporary = run.path / f"{FOLDER}{TEMPORARY}{os.getpid()}"
    keep_encoder(open_encoder(place), dataset, temporary)
    os.rename(temporary, folder)
    sync_folder(run.path)


def skipped_images(dataset: Dataset) -> list[str]:
    """A warning that names images that cannot be read, where there are some."""
    if not dataset.skipped:
        return []
    shown = "; ".join(f"{printable(name)} ({why})" for name, why in dataset.skipped[:5])
    more = "; ..." if len(dataset.skipped) > 5 else ""
    return [f"{len(dataset.skipped)} images cannot be read and are skipped: {shown}{more}"]
