"""What several processes were measured to compute is within the targets, and the page shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_golden import RUNS

ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "benchmarks" / "processes.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
ROWS = STORED["equality"]["rows"]


def gradients(row: dict[str, Any]) -> float:
    return max([*row["gradient_difference"].values(), *row["zero_gradients"].values()])


def test_every_configuration_was_measured() -> None:
    assert [row["name"] for row in ROWS] == list(RUNS)


@pytest.mark.parametrize("row", ROWS, ids=list(RUNS))
def test_two_processes_are_within_the_target_of_one(row: dict[str, Any]) -> None:
    bar = 1e-5 if row["batch_statistics"] else 1e-6
    assert row["gradient_difference"]
    assert gradients(row) <= bar
    assert row["loss_difference"]["50"] <= bar


@pytest.mark.parametrize(
    ("batch_statistics", "name", "bar"), [(False, "no batch norm", 1e-6), (True, "batch norm", 1e-5)]
)
def test_the_page_has_the_largest_differences(batch_statistics: bool, name: str, bar: float) -> None:
    rows = [row for row in ROWS if row["batch_statistics"] == batch_statistics]
    largest = [max(map(gradients, rows)), max(row["loss_difference"]["50"] for row in rows), bar]
    assert f"| {name} | {len(rows)} | {' | '.join(f'{value:g}' for value in largest)} |" in PAGE


def test_the_page_has_how_the_largest_difference_grew() -> None:
    row = max(ROWS, key=lambda row: row["loss_difference"]["50"])
    assert row["name"] == "sngan-cnn-mnist"
    grown = row["loss_difference"]
    assert f"{grown['1']:g} in step 1, {grown['10']:g} by step 10 and {grown['50']:g} by step 50" in PAGE
    assert f"{row['loss_difference_by_rounding']['50']:g} after 50 steps" in PAGE


def test_samples_are_those_of_one_process_and_the_page_says_so() -> None:
    samples = STORED["samples"]
    count = samples["count"]
    assert samples["killed"]["killed"]
    assert samples["killed"]["half_written"] > 0
    assert samples["again"]["left_as_they_were"] == samples["killed"]["complete_folders"] > 0
    assert samples["each_index_once"]
    assert samples["equal_names"]
    assert samples["files"] == samples["equal_bytes"] == count
    assert samples["left_half_written"] == 0
    assert f"{samples['killed']['complete_folders']} folders complete" in PAGE
    assert f"{samples['equal_bytes']:,} files" in PAGE
    assert f"{samples['killed']['half_written']:,} samples in others" in PAGE


def test_memory_does_not_grow_with_the_samples() -> None:
    for part in ("one_process", "again"):
        megabytes = [each for each in STORED["samples"][part]["megabytes_by_complete_folders"] if each]
        assert max(megabytes) < 1.1 * megabytes[0]
    one = STORED["samples"]["one_process"]["megabytes_by_complete_folders"]
    assert f"{one[0]:.0f} MB in the first folder and {one[9]:.0f} MB in the tenth" in PAGE
