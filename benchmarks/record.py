"""How a measurement is kept: printed, and stored with machine, threads, torch and date."""

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import torch

from ganforge.runs.device import describe_machine


def surroundings() -> dict[str, Any]:
    """Machine, threads, torch and date."""
    return {
        "machine": describe_machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def record(result: dict[str, Any], out: Path | None) -> None:
    """Print `result` as JSON, and write it to `out` if that is given."""
    _write(result | surroundings(), out)


def record_part(name: str, part: dict[str, Any], out: Path | None) -> None:
    """As `record`, but `part` becomes the entry `name` of `out`, with surroundings of its own."""
    before = (
        json.loads(out.read_text("utf-8")) if out and out.exists() and _is_record(out) else surroundings()
    )
    _write(before | {name: part | surroundings()}, out)


def _write(record: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(record, indent=1)
    print(text)
    if out:
        if out.exists() and not _is_record(out):
            sys.exit(f"error: --out {out} is not the JSON of a benchmark: name another file")
        out.write_text(text + "\n", encoding="utf-8")


def _is_record(path: Path) -> bool:
    try:
        return json.loads(path.read_bytes()).keys() >= {"machine", "torch", "date"}
    except (ValueError, AttributeError):
        return False
