"""`ganforge info`: where a file comes from, or what is in a run."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import JSON, SYSTEM
from ganforge.errors import UserError, printable
from ganforge.files.provenance import read_provenance
from ganforge.generation.explore.vectors import vector_names
from ganforge.reporting.evaluations import read_evaluations
from ganforge.reporting.units import folder_size
from ganforge.runs.folder import Origin, Run
from ganforge.runs.identity import original_command
from ganforge.runs.pretrained import SAMPLES
from ganforge.runs.state import state_of
from ganforge.system import LatentSystem, System
from ganforge.systems.discovery import find_recorded

ABILITIES = {
    "reconstruct": "explore reconstructions",
    "complete": "explore completions",
    "translate": "apply",
    "features": "analyze features",
    "outlier_scores": "analyze outliers",
    "class_nats": "analyze classify",
}
"""Method of a system -> the verb that uses it."""
COMMANDS = {"made_by": "to make it again", "begun_by": "begun by", "continue": "to continue"}
OF_DISCRIMINATOR = ("analyze features", "analyze outliers")
"""What a GAN uses its discriminator for."""
SHOWN_SCORES = 8
Rows = dict[str, str]


@dataclass(frozen=True)
class Info:
    """Where an image, array or video comes from and how to make it again; or what a run is and can do."""

    path: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="A file that ganforge wrote, a run folder, or pretrained:NAME.")]
    ]
    json: Annotated[bool, JSON] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Print it; returns the exit code."""
        if self.path.is_file():
            rows, commands = _about_file(self.path)
        else:
            rows, commands = _about_run(Run.open(self.path), self.path, self.system)
        if self.json:
            print(json.dumps(rows | commands, indent=1))
            return 0
        width = max(map(len, rows))
        for name, value in rows.items():
            print(f"{name:<{width}}  {value}")
        for what, words in commands.items():
            print(f"\n{COMMANDS[what]}: {words}")
        return 0


def _about_file(path: Path) -> tuple[Rows, Rows]:
    about = {name: printable(value) for name, value in sorted(read_provenance(path).items())}
    if not about:
        raise UserError(f"{printable(str(path))} carries no origin: expected a file that ganforge wrote")
    command = about.pop("command", "")
    return about, {"made_by": command} if command else {}


def _about_run(run: Run, path: Path, typed: str | None) -> tuple[Rows, Rows]:
    """What a run is, and the commands that belong to it."""
    config, kind = run.config, find_recorded(run.config.system, typed)
    channels, height, width = config.spec.shape
    state = state_of(run)
    scores = [score for stored in read_evaluations(run.path)[0][:1] for score in stored.values.items()]
    imported = config.origin is not None
    # What is shared or imported has no discriminator; vae and others have scores of their own.
    alone = imported or run.packaged or run.shared
    missing = OF_DISCRIMINATOR if alone and hasattr(kind, "discriminate") else ()
    rows = {
        "system": config.system,
        "data": "unknown"
        if imported
        else f"{printable(config.data.data)}, {config.spec.num_images:,} training images",
        "shape": f"{width}x{height}, {channels} channel{'s' if channels > 1 else ''}",
        "classes": ", ".join(map(printable, config.spec.class_names[:10])),
        "steps": "unknown" if imported else f"{state.step:,} of {config.config['steps']:,}",
        "origin": "" if config.origin is None else _origin(config.origin),
        "size": folder_size(run.path),
        "scores": ", ".join(f"{printable(name)} {value:.4g}" for name, value in scores[:SHOWN_SCORES]),
        "can": ", ".join(verb for verb in abilities(kind) if verb not in missing),
        "samples": str(run.path / SAMPLES) if (run.path / SAMPLES).is_file() else "",
        "vectors": ", ".join(vector_names(run)),
    }
    commands = {"begun_by": original_command(run) or ""}
    if not (run.packaged or imported) and state.step < config.config["steps"]:
        commands["continue"] = f"ganforge resume {shlex.quote(str(path))}"
    return _not_empty(rows), _not_empty(commands)


def _not_empty(rows: Rows) -> Rows:
    return {name: value for name, value in rows.items() if value}


def _origin(origin: Origin) -> str:
    return f"{printable(origin.file)} ({printable(origin.kind)}), SHA-256 {printable(origin.sha256)[:16]}"


def abilities(kind: type[System]) -> list[str]:
    """The verbs that make something of a run of this system."""
    verbs = ["sample"] if kind.sample is not System.sample else []
    verbs += ["explore"] if issubclass(kind, LatentSystem) else []
    verbs += [verb for method, verb in ABILITIES.items() if hasattr(kind, method)]
    return verbs + ["analyze outliers"] * (hasattr(kind, "discriminate") and "analyze outliers" not in verbs)
