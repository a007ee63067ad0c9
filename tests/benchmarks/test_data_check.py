"""`data check` of a folder of sprites, as `benchmarks/data_check.py` measures it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from data_check import measure

MOST_CPU_SECONDS = 10.0


@pytest.mark.parametrize("count", [90, pytest.param(3500, marks=pytest.mark.slow)])
def test_sprites_are_checked_in_seconds_and_lose_no_limbs(count: int) -> None:
    result = measure(count)
    assert result["check_cpu_seconds"] < MOST_CPU_SECONDS
    assert result["fit"] == "pad"
    lines = result["report"]
    assert isinstance(lines, list)
    titles = [line[:12].strip() for line in lines]
    facts = ["shape", "images", "sizes", "modes", "with alpha", "animated", "fit", "duplicates"]
    assert [title for title in titles if title not in ("warning", "note")] == [*facts, "ready to tra"]
    assert max(map(len, lines)) < 130
