"""The gallery of Create: the models that came with the package, and the runs of the folder."""

from functools import partial
from pathlib import Path
from typing import Any

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.files.reading import read_regular
from ganforge.runs.folder import Run, find_runs
from ganforge.runs.pretrained import PRETRAINED, SAMPLES, packaged_runs
from ganforge.runs.state import best_score
from ganforge.studio.runs import Readings, newest_grid, read_grid, stamp_of
from ganforge.system import CompletesRows, HasCodes, LatentSystem, System
from ganforge.systems.discovery import find

MOST_BYTES = 64 * 2**20


def tools_of(spec: DataSpec, system: type[System]) -> list[str]:
    """What can be done with a run of `system`: latents, text, draw, enlarge, complete."""
    if spec.values != "pixels":
        return []
    tools = list[str]()
    if issubclass(system, LatentSystem):
        tools.append("text" if "embeddings" in system.needs else "latents")
    if hasattr(system, "translate"):
        tools.append("enlarge" if spec.enlarges else "draw")
    if issubclass(system, CompletesRows):
        tools.append("complete")
    return tools


def list_models(runs: Path, readings: Readings) -> list[dict[str, Any]]:
    """A row for each model: those of the package first, then the runs of the folder, the newest first."""
    rows = list[dict[str, Any]]()
    own = find_runs(runs)
    for name, path in packaged_runs().items():
        full = f"{PRETRAINED}{name}"
        rows.append(readings.get("model", path, (), partial(_row, Path(full), full)))
    for path in own:
        stamp = stamp_of(path, "config.json", "evaluations", "checkpoints", "samples")
        rows.append(readings.get("model", path, stamp, partial(_row, path, path.name)))
    readings.forget_others([*own, *packaged_runs().values()])
    return [row for row in rows if row]


def _row(path: Path, name: str) -> dict[str, Any]:
    """What is shown of a run; nothing of one that makes no images, or has no checkpoint yet."""
    try:
        run = Run.open(path)
        system = find(run.config.system)
    except UserError:
        return {}
    tools = tools_of(run.config.spec, system)
    if not tools or not any((run.path / "checkpoints").glob("[0-9]*")):
        return {}
    spec = run.config.spec
    return {
        "name": name,
        "system": run.config.system,
        "data": Path(run.config.data.data).name,
        "classes": "labels" in system.needs or bool(run.config.config.get("conditional")),
        "codes": issubclass(system, HasCodes),
        "score": best_score(run),
        "tools": tools,
        "width": spec.width,
        "height": spec.height,
        "shipped": run.packaged,
        "thumbnail": (run.path / SAMPLES).is_file() or newest_grid(run.path) is not None,
    }


def read_thumbnail(folder: Path) -> tuple[bytes, str]:
    """An image of what a run makes, and its type; raises OSError where there is none."""
    if (folder / SAMPLES).is_file():
        return read_regular(folder / SAMPLES, MOST_BYTES), "image/webp"
    if (step := newest_grid(folder)) is None:
        raise FileNotFoundError(folder)
    return read_grid(folder, step), "image/png"
