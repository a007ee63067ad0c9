"""How well runs tell another data set from their own: the area under the ROC curve of each of their scores.

python benchmarks/outliers.py runs/dcgan-mnist runs/vae-mnist --out benchmarks/outliers_mnist.json
python benchmarks/outliers.py --table benchmarks/outliers_mnist.json     prints the rows as the docs have them
"""

import argparse
import json
from pathlib import Path
from typing import Any

from record import record

import ganforge
from ganforge.errors import UserError
from ganforge.evaluation.downstream.outliers import outliers
from ganforge.runs.data import open_like


def main() -> None:
    """Measure each run both against held-out images of its own and of the other data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.table:
        print("| training | score | AUROC |\n|---|---|---|")
        for row in json.loads(given.table.read_text(encoding="utf-8"))["rows"]:
            value = "-" if row["auroc"] is None else f"{row['auroc']:.3f}"
            print(f"| `{row['command']}` | {row['score']} | {value} |")
        return
    rows = []
    for path in given.runs:
        trained = ganforge.load(path)
        config = trained.run.config
        row: dict[str, Any] = {"command": last_command(path), "score": "none", "auroc": None}
        try:
            scores = outliers(trained, open_like(config, None), open_like(config, given.data))
        except UserError as error:  # a critic, say, whose zero means nothing
            rows.append(row | {"why": str(error)})
            continue
        for score in scores:
            name = score.name.removeprefix("auroc_")
            rows.append(row | {"score": name, "auroc": round(score.value, 4), "protocol": score.protocol})
    record({"what": f"held-out images of the runs' own data against {given.data}", "rows": rows}, given.out)


def last_command(run: Path) -> str:
    """The training's command, without where its folder was and how often it spoke."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    *_, command = (line["command"] for line in lines if "command" in line)
    return str(command).partition(" --run ")[0]


if __name__ == "__main__":
    main()
