"""The tables of docs/speed.md are those of the stored results, and every case has options that exist."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from ganforge.cli.arguments import options_of
from ganforge.cli.bench import bench_arguments

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import profiles  # noqa: E402
import speed  # noqa: E402
import speed_table  # noqa: E402


def test_the_page_has_the_stored_tables() -> None:
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    for table, name in ((speed_table.table, "speed"), (profiles.table, "profiles")):
        stored = json.loads((ROOT / f"benchmarks/{name}.json").read_text(encoding="utf-8"))
        assert table(stored) in page, (
            f"python benchmarks/{name}.py measures it, --table or speed_table.py prints it"
        )


@pytest.mark.parametrize("name", speed.CASES)
def test_cases_have_options_that_exist(name: str) -> None:
    system, *words = shlex.split(speed.CASES[name])
    assert {word for word in words if word.startswith("--")} <= options_of(bench_arguments(system, {})).keys()


def test_a_lost_ratio_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads((ROOT / "benchmarks/speed.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(speed, "describe_machine", lambda _: stored["vae"]["machine"])
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(stored), encoding="utf-8")
    for lost, code in ((0.1, 0), (0.2, 1)):

        def measured(
            words: str, rounds: int, places: dict[str, str], lost: float = lost
        ) -> dict[str, object]:
            (row,) = [row for name, row in stored.items() if words == speed.CASES.get(name)]
            return row | {"training_ratio": {"median": row["training_ratio"]["median"] * (1 - lost)}}

        monkeypatch.setattr(speed, "measure", measured)
        assert speed.check(path, 1) == code
    monkeypatch.setattr(speed, "describe_machine", lambda _: "another machine")
    assert speed.check(path, 1) == 0
