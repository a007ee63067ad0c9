"""`docs/export.md` shows the table that the stored differences give."""

import json
import subprocess
import sys
from pathlib import Path

from ganforge.systems.discovery import available

ROOT = Path(__file__).parents[2]
STORED = ROOT / "benchmarks" / "export.json"


def test_the_page_has_the_stored_table() -> None:
    words = [sys.executable, ROOT / "benchmarks" / "export.py", "--table", "--out", STORED]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert page.partition("<!-- table -->\n")[2].partition("<!-- end -->")[0].strip() == done.stdout.strip()


def test_every_system_was_measured_and_equals_its_run() -> None:
    rows = json.loads(STORED.read_text(encoding="utf-8"))["rows"]
    assert {row["system"] for row in rows.values()} == set(available())
    exported = [row for row in rows.values() if "reason" not in row["onnx"]]
    assert len(exported) == len(rows) - 1
    for row in exported:
        for kind in ("onnx", "program", "module"):
            assert row[kind]["differences"].keys() == {"1", "7"}
            assert max(row[kind]["differences"].values()) <= 1e-4
