"""The run folder of a plan: a new run, or the existing one at its newest checkpoint."""

import os

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError, printable
from ganforge.files.atomic import TEMPORARY, sync_folder
from ganforge.runs.checkpoint import Checkpoint, load_newest
from ganforge.runs.data import find_place
from ganforge.runs.folder import DAMAGED, LOG, Run
from ganforge.text.embeddings import keep_encoder
from ganforge.text.encoders import FOLDER, open_encoder
from ganforge.training.plan import Plan
from ganforge.training.warm_start import Start, load_start, open_parent


def open_or_create(plan: Plan) -> tuple[Run, Checkpoint | Start | None, list[str]]:
    """The run of `plan`, where its weights come from (None: the seed), and what to say of it.

    Call it while holding the folder. Raises UserError where the folder holds other files, or more steps than
    requested.
    """
    config, warnings = plan.config, list[str]()
    if plan.run is not None:
        check_resumable(plan.run)
    checkpoint = None if plan.run is None else load_newest(plan.run.checkpoints, warnings)
    if plan.run is not None and checkpoint is not None:
        done, steps = int(checkpoint.state["step"]), int(config.config["steps"])
        if done > steps:
            raise UserError(
                f"{plan.path} has {done} steps done, {steps} were requested: "
                f"give --steps {done} or more, or a new --run"
            )
        kept = ("start_from", "start_networks", "start_fields")
        origin = {name: getattr(plan.run.config, name) for name in kept}
        plan.run.write_config(config.model_copy(update=origin))  # what it started from stays on record
        warnings += _damage_noted(plan.run.rewind(done))
        return plan.run, checkpoint, warnings
    start = None
    if config.start_from is not None:
        place = config.start_from
        if plan.run is not None and plan.parent is None:
            place = next(find_place(plan.run, "start_from", place), place)
        start = load_start(config.system, plan.parent or open_parent(place), config.start_from)
        config = config.model_copy(update={"start_networks": start.networks})
    if plan.run is None:
        return Run.create(plan.path, config), start, [*plan.notes, *warnings]
    plan.run.write_config(config)
    warnings += _damage_noted(plan.run.rewind(None))
    return plan.run, start, warnings


def check_resumable(run: Run) -> None:
    """Raise UserError where the folder holds weights alone, shared or imported: no training is continued."""
    if run.config.origin is not None:
        raise UserError(
            f"{run.path} was imported, without what its training needs: start a new run with "
            f"--from {run.path} --partial"
        )
    if run.shared:
        raise UserError(
            f"{run.path} holds no checkpoint, only averaged weights to share: start a new run with --from "
            f"{run.path}"
        )


def _damage_noted(count: int) -> list[str]:
    if not count:
        return []
    return [f"{LOG}: {count} damaged line{'s' * (count > 1)} moved to {DAMAGED}"]


def keep_text_encoder(run: Run, dataset: Dataset) -> None:
    """Copy the encoder of captions into the folder of a run that begins, complete or not at all."""
    place, folder = run.config.data.text_encoder, run.path / FOLDER
    if place is None or folder.exists():
        return
    temporary = run.path / f"{FOLDER}{TEMPORARY}{os.getpid()}"
    keep_encoder(open_encoder(place), dataset, temporary)
    os.rename(temporary, folder)
    sync_folder(run.path)


def data_notes(dataset: Dataset) -> list[str]:
    """What a user should know of how the data were read, in lines: skipped images, and the set's notes."""
    if not dataset.skipped:
        return list(dataset.notes)
    shown = "; ".join(f"{printable(name)} ({why})" for name, why in dataset.skipped[:5])
    more = "; ..." if len(dataset.skipped) > 5 else ""
    line = f"{len(dataset.skipped)} images cannot be read and are skipped: {shown}{more}"
    return [line, *dataset.notes]
