"""The real command line in a subprocess, images to feed it, and what a run folder holds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ganforge

PROGRAM = [sys.executable, "-c", "import sys; from ganforge.cli.main import program; sys.exit(program())"]
COSTS = ("seconds", "images_per_second", "seconds_per_step", "peak_memory_bytes", "startup_seconds", "date")


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment, one thread, with `changes`; None removes a variable."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(ganforge.__file__).parents[1]), "COLUMNS": "200"}
    return {name: value for name, value in {**os.environ, **own, **changes}.items() if value is not None}


def run(*arguments: object, cwd: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """`ganforge ARGUMENTS` in the folder `cwd`, to its end."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """`ganforge ARGUMENTS` in the folder `cwd`, in its own process group, without waiting."""
    return begin([*PROGRAM, *map(str, arguments)], cwd)


def begin(words: list[str], cwd: Path, **changes: str | None) -> subprocess.Popen[str]:
    """Any program in the folder `cwd`, in its own process group, without waiting."""
    return subprocess.Popen(
        words,
        cwd=cwd,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def draw_images(folder: Path, count: int = 40, side: int = 8) -> Path:
    """`count` colour PNGs of noise around a mean that differs from one to the next."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.normal(40 + 4 * index, 30, (side, side, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file under `folder`, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def metrics_of(run_folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    """The lines of one kind of `metrics.jsonl`, without what depends on the machine's mood."""
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [
        {name: value for name, value in line.items() if name not in COSTS}
        for line in lines
        if line["kind"] == kind
    ]
