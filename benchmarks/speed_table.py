"""The table of docs/speed.md, of the stored contests: `python benchmarks/speed_table.py` prints it."""

import json
from pathlib import Path
from typing import Any

from speed import CASES

from ganforge.reporting.units import size

STORED = Path(__file__).with_name("speed.json")
HEAD = ("training", "images/s", "plain", "times", "of peak", "sampling", "reading", "memory, plain")


def table(stored: dict[str, Any]) -> str:
    """A row for each case, in Markdown."""
    rows = [HEAD, ["---"] * len(HEAD)]
    for name in CASES:
        case = stored[name]
        memory = case["peak_memory_bytes"]
        rows.append(
            (
                f"{name} ({case['precision']})",
                f"{case['training']['ganforge']:,.0f}",
                f"{case['training']['plain']:,.0f}",
                _shown(case["training_ratio"]),
                f"{100 * case['share_of_peak']:.0f} %",
                f"{case['sampling_ratio']['median']:.2g}" if case["sampling_ratio"] else "",
                f"{case['reading_ratio']['median']:.2g}",
                f"{size(memory['ganforge'])}, {size(memory['plain'])}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


if __name__ == "__main__":
    print(table(json.loads(STORED.read_text("utf-8"))))
