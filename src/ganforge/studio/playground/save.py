"""A panel as a run folder, which every command opens and `ganforge resume` continues exactly."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.data.sources.points import write_points
from ganforge.errors import UserError
from ganforge.files.atomic import write_synced
from ganforge.files.images import save_image
from ganforge.reporting import grids
from ganforge.reporting.page import write_report
from ganforge.runs.checkpoint import save_checkpoint
from ganforge.runs.data import places_of
from ganforge.runs.device import describe_machine
from ganforge.runs.folder import Run, locked
from ganforge.runs.sampling import seeded
from ganforge.studio.playground.panel import Panel
from ganforge.studio.playground.points import DRAWN, shown_points
from ganforge.studio.playground.session import Session
from ganforge.studio.playground.views import SAMPLE_SEED
from ganforge.system import networks
from ganforge.training.divergence import check_state
from ganforge.training.state import pack_state

NUM_DRAWN = 1_000


def save_run(session: Session, index: int, path: Path, link: str) -> Run:
    """Write the panel `index` to the new folder `path`; drawn points lie in it as a CSV file.

    Raises UserError where there is something already, before the first step, and after NaN.
    """
    with session.still():
        if not 0 <= index < len(session.panels):
            raise UserError(f"panel {index + 1}: expected 1 to {len(session.panels)}")
        panel = session.panels[index]
        if panel.stopped:
            raise UserError(f"this training diverged and cannot be saved: {panel.stopped}")
        if not panel.step:
            raise UserError("nothing is trained yet: play first")
        if path.exists():
            raise UserError(f"there is a {path.name} already: choose another name")
        with panel.random_state():
            tensors, state = pack_state(panel.training)
        check_state(panel.training, tensors)
        with panel.shown() as system:
            samples = system.sample(NUM_DRAWN, generator=seeded(SAMPLE_SEED, system.device))
        config, lines = panel.config, _log(panel, link)
    with locked(path):
        run = Run.create(path, config)
        try:
            if config.data.data == DRAWN:
                _write_data(run, session)
            for line in lines:
                run.append(line)
            _draw_samples(run, session, samples, panel.step)
            run.sync_log()
            save_checkpoint(run.checkpoints, int(state["step"]), tensors, state, config.train.keep)
            write_report(path)
        except BaseException:
            (path / DRAWN).unlink(missing_ok=True)
            run.discard()
            raise
    return run


def _log(panel: Panel, link: str) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, as a training writes them."""
    start = {
        "kind": "start",
        "step": 0,
        "date": datetime.now(UTC).isoformat(),
        "command": f"the playground of ganforge studio: {link}",
        "device": "cpu",
        "machine": describe_machine(torch.device("cpu")),
        "threads": 1,
        "precision": panel.plan.config.train.precision,
        "startup_seconds": 0.0,
        "parameters": {
            name: sum(p.numel() for p in net.parameters()) for name, net in networks(panel.system).items()
        },
        "torch": torch.__version__,
    }
    end = {
        "kind": "end",
        "step": panel.step,
        "images": panel.training.images,
        "seconds": round(panel.seconds, 3),
    }
    return [start, *panel.lines, end]


def _write_data(run: Run, session: Session) -> None:
    """The drawn points as a file in the run folder, which becomes the data of the run."""
    points = session.dataset.splits["train"].read(torch.arange(run.config.spec.num_images))
    write_synced(run.path / DRAWN, write_points(points.flatten(1).tolist()))
    options = run.config.data.model_copy(update={"data": str(run.path / DRAWN)})
    run.write_config(run.config.model_copy(update={"data": options, "places": places_of(options)}))


def _draw_samples(run: Run, session: Session, samples: Tensor, step: int) -> None:
    about = {"run": run.path.name, "system": run.config.system, "step": str(step), "seed": str(SAMPLE_SEED)}
    (run.path / "samples").mkdir(exist_ok=True)
    drawn = grids.draw(samples, run.config.spec, shown_points(session.dataset).reshape(-1, 2, 1, 1))
    save_image(drawn, run.path / "samples" / f"{step:06d}.png", about)
