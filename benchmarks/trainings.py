"""The recipes that compare methods with their papers and with each other: train, evaluate, keep the numbers.

python benchmarks/trainings.py toys --seeds 0 1 2 3 4        writes benchmarks/family_toys.json
python benchmarks/trainings.py toys --table                  prints the stored rows as the docs have them
python benchmarks/trainings.py --list

Every row is one run: its command, seed, minutes, images/s, peak memory and scores. Rows are kept as they
come, so that a long comparison can be made in parts; a row measured again replaces the old one. Run folders
stay under --runs: the same command resumes, and a finished run is only evaluated. In a command {runs} is the
comparison's folder and {seed} the seed, for trainings that begin with another one of the table.
"""

import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from trainings_table import TABLE, Comparison, Training

import ganforge
from ganforge.nn.layers import spectral_norms
from ganforge.runs.device import describe_machine

FOLDER = Path(__file__).parent


def measure(training: Training, seed: int, runs: Path) -> dict[str, Any]:
    """Train to the end (or resume), evaluate, and say what it cost and reached."""
    run = runs / f"{training.name}-{seed}"
    words = training.command.replace("{seed}", str(seed))
    # As anyone would type it, wherever --runs is here.
    command = ["ganforge", *shlex.split(words.replace("{runs}", f"runs/{runs.name}")), "--seed", str(seed)]
    trained = [*shlex.split(words.replace("{runs}", str(runs))), "--seed", str(seed)]
    program = [str(Path(sys.executable).with_name("ganforge"))]
    quiet = ["--sample-every", "1000000", "--checkpoint-every", "2000", "--log-every", "200", "--keep", "1"]
    subprocess.run([*program, *trained, "--run", str(run), *quiet], check=True)
    evaluated = subprocess.run(
        [*program, "evaluate", str(run), *shlex.split(training.evaluate), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    ends = [line for line in lines if line["kind"] == "end"]
    row: dict[str, Any] = {
        "name": training.name,
        "command": shlex.join(command),
        "seed": seed,
        "minutes": round(sum(line["seconds"] for line in ends) / 60, 2),
        "images_per_second": round(
            statistics.median(line["images_per_second"] for line in lines if "images_per_second" in line)
        ),
        "memory_mb": round(max(line["peak_memory_bytes"] for line in ends) / 1e6),
        "health": sorted({line.get("signal", "") for line in lines if line["kind"] == "health"}),
        "scores": {
            score["name"]: [round(score["value"], 4), score["plus_minus"] and round(score["plus_minus"], 4)]
            for score in json.loads(evaluated.stdout)
        },
    }
    if training.singular_values:
        norms = spectral_norms(ganforge.load(run).system.get_submodule("discriminator"))
        row["largest_singular_values"] = {name: round(value, 4) for name, value in norms.items()}
    return row | {
        "machine": describe_machine(torch.device("cpu")),
        "threads": int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def keep(comparison: Comparison, row: dict[str, Any]) -> None:
    """Put `row` into the comparison's file, in place of an older one of the same name and seed."""
    path = FOLDER / comparison.file
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [old for old in stored if (old["name"], old["seed"]) != (row["name"], row["seed"])] + [row]
    rows.sort(key=lambda entry: (entry["name"], entry["seed"]))
    whole = {"what": comparison.what, "rows": rows}
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def print_table(comparison: Comparison) -> None:
    """The stored rows in Markdown, a line for each run."""
    rows = json.loads((FOLDER / comparison.file).read_text(encoding="utf-8"))["rows"]
    hidden = ("sampling_speed", "fid_floor")
    scores = [
        name for name in dict.fromkeys(key for row in rows for key in row["scores"]) if name not in hidden
    ]
    columns = ["run", "seed", *scores, "minutes", "images/s", "MB"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        values = [f"{row['scores'][name][0]:g}" if name in row["scores"] else "-" for name in scores]
        cost = [f"{row[name]:g}" for name in ("minutes", "images_per_second", "memory_mb")]
        print("| " + " | ".join([row["name"], str(row["seed"]), *values, *cost]) + " |")


def main() -> None:
    """Measure the trainings that are named, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", nargs="?", choices=sorted(TABLE))
    parser.add_argument("--only", nargs="*", help="names of trainings; left out: all")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.list or given.comparison is None:
        for name, comparison in TABLE.items():
            print(f"{name}: {comparison.what}")
            for training in comparison.trainings:
                print(f"  {training.name}: ganforge {training.command}")
        return
    comparison = TABLE[given.comparison]
    if given.table:
        print_table(comparison)
        return
    for seed in given.seeds:
        for training in comparison.trainings:
            if given.only is None or training.name in given.only:
                row = measure(training, seed, given.runs / given.comparison)
                keep(comparison, row)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
