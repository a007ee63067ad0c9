"""axe-core, which finds violations of accessibility in a page; fetched by npm, not part of the repository."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.14.1"
FILE = Path(__file__).parents[2] / ".cache" / f"axe-core-{VERSION}.js"
GRAVE = ("serious", "critical")


def axe_source() -> str:
    """The script; skips the test where it is neither in the cache nor available through npm."""
    if not FILE.exists():
        _fetch()
    return FILE.read_text("utf-8")


def _fetch() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs axe-core: apt-get install npm, which fetches it")
    FILE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FILE.parent) as folder:
        done = subprocess.run(
            [npm, "pack", f"axe-core@{VERSION}", "--silent"], cwd=folder, capture_output=True, timeout=120
        )
        if done.returncode:
            pytest.skip(f"needs axe-core: `npm pack axe-core@{VERSION}` failed")
        with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as archive:
            content = archive.extractfile("package/axe.min.js")
            assert content is not None
            part = Path(folder) / "axe.js"
            part.write_bytes(content.read())
        os.replace(part, FILE)


def violations(page: Any, impacts: tuple[str, ...] = GRAVE) -> list[str]:
    """What axe finds wrong in a page, one line for each rule with the first elements."""
    page.evaluate(axe_source())  # not as a script of the page, which its policy forbids
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{found['impact']} {found['id']}: {found['help']}: "
        + "; ".join(f"{node['html'][:160]} ({node['failureSummary'][:200]})" for node in found["nodes"][:3])
        for found in result["violations"]
        if found["impact"] in impacts
    ]
