"""A panel as a run folder, which every command opens and `ganforge resume` continues exactly."""

from pathlib import Path

import torch

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
        config = panel.config
        with panel.shown() as system:
            samples = system.sample(NUM_DRAWN, generator=seeded(SAMPLE_SEED, system.device))
        lines, step, seconds = list(panel.lines), panel.step, panel.seconds
        parameters = {
            name: sum(p.numel() for p in net.parameters()) for name, net in networks(panel.system).items()
        }
    with locked(path):
        options = config.data
        if options.data == DRAWN:
            options = options.model_copy(update={"data": str(path / DRAWN)})
        run = Run.create(path, config.model_copy(update={"data": options}))
        try:
            if options is not config.data:
                points = session.dataset.splits["train"].read(torch.arange(config.spec.num_images))
                write_synced(path / DRAWN, write_points(points.flatten(1).tolist()))
                run.write_config(run.config.model_copy(update={"places": places_of(options)}))
            start = {
                "kind": "start",
                "step": 0,
                "command": f"the playground of ganforge studio: {link}",
                "device": "cpu",
                "machine": describe_machine(torch.device("cpu")),
                "threads": 1,
                "precision": config.train.precision,
                "startup_seconds": 0.0,
                "parameters": parameters,
                "torch": torch.__version__,
            }
            end = {"kind": "end", "step": step, "images": state["images"], "seconds": round(seconds, 3)}
            for line in (start, *lines, end):
                run.append(line)
            about = {"run": path.name, "system": config.system, "step": str(step), "seed": str(SAMPLE_SEED)}
            (path / "samples").mkdir(exist_ok=True)
            drawn = grids.draw(samples, config.spec, shown_points(session.dataset).reshape(-1, 2, 1, 1))
            save_image(drawn, path / "samples" / f"{step:06d}.png", about)
            run.sync_log()
            save_checkpoint(run.checkpoints, step, tensors, state, config.train.keep)
            write_report(path)
        except BaseException:
            (path / DRAWN).unlink(missing_ok=True)
            run.discard()
            raise
    return run
