"""The recipes that compare methods with their papers and with each other: train, evaluate, keep the numbers.

python benchmarks/trainings.py toys --seeds 0 1 2 3 4        writes benchmarks/family_toys.json
python benchmarks/trainings.py methods --seeds 0 1 2          and runs/methods/table.md: mean ± std
python benchmarks/trainings.py toys --table                  prints the stored rows as the docs have them
python benchmarks/trainings.py --list

Every row is one run: its command, seed, minutes, images/s, peak memory and scores. Rows are kept as they
come, so that a long comparison can be made in parts; a row measured again replaces the old one. Run folders
stay under --runs, NAME/seed-0 ...: the same command resumes, and a finished run is only evaluated. In a
command {runs} is the comparison's folder and {seed} the seed, for trainings that start from another one.
With --busy the scores are kept, and no minutes, images/s and samples/s: other work shared the cores.
After the last one `ganforge compare` writes table.md, table.tex and table.csv next to the runs.
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


PROGRAM = (sys.executable, "-m", "ganforge")
QUIET = ("--sample-every", "1000000", "--checkpoint-every", "2000", "--log-every", "200", "--keep", "1")


def replaced(words: list[str], option: str, value: int | None) -> list[str]:
    """`words` with another value of `option`; as they are without one."""
    if value is None:
        return words
    places = [place for place, word in enumerate(words) if word == option]
    rest = [word for place, word in enumerate(words) if not {place, place - 1} & set(places)]
    return [*rest, option, str(value)]


def train(training: Training, seeds: list[int], runs: Path, jobs: int, steps: int | None) -> None:
    """Train all seeds to the end, or resume them: RUNS/NAME/seed-0 ..., `jobs` at a time."""
    if "{seed}" not in training.command:
        words = replaced(shlex.split(training.command), "--steps", steps)
        listed = ",".join(map(str, seeds))
        several = ["--seeds", listed, "--jobs", str(jobs), "--run", str(runs / training.name)]
        subprocess.run([*PROGRAM, *words, *QUIET, *several], check=True)
        return
    for seed in seeds:  # what it starts from is another run for each
        command = training.command.replace("{seed}", str(seed)).replace("{runs}", str(runs))
        words = replaced(shlex.split(command), "--steps", steps)
        own = ["--seed", str(seed), "--run", str(runs / training.name / f"seed-{seed}")]
        subprocess.run([*PROGRAM, *words, *QUIET, *own], check=True)


def measure(training: Training, seed: int, runs: Path, num_samples: int | None) -> dict[str, Any]:
    """Evaluate a run that is trained, and say what it cost and reached."""
    run = runs / training.name / f"seed-{seed}"
    words = training.command.replace("{seed}", str(seed))
    # As anyone would type it, wherever --runs is here.
    command = ["ganforge", *shlex.split(words.replace("{runs}", f"runs/{runs.name}")), "--seed", str(seed)]
    options = replaced(shlex.split(training.evaluate), "--num-samples", num_samples)
    evaluated = subprocess.run(
        [*PROGRAM, "evaluate", str(run), *options, "--json"], check=True, capture_output=True, text=True
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
        "precision": json.loads((run / "config.json").read_text(encoding="utf-8"))["train"]["precision"],
        "threads": int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """`row` without what depends on other work of the machine."""
    kept = {name: value for name, value in row.items() if name not in ("minutes", "images_per_second")}
    kept["scores"] = {name: value for name, value in row["scores"].items() if name != "sampling_speed"}
    return kept | {"busy": True}


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
        cost = [
            f"{row[name]:g}" if name in row else "-" for name in ("minutes", "images_per_second", "memory_mb")
        ]
        print("| " + " | ".join([row["name"], str(row["seed"]), *values, *cost]) + " |")


def main() -> None:
    """Measure the trainings that are named, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", nargs="?", choices=sorted(TABLE))
    parser.add_argument("--only", nargs="*", help="names of trainings; left out: all")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="seeds that train at the same time")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--steps", type=int, help="instead of those of the table, to try a command out")
    parser.add_argument("--num-samples", type=int, help="likewise, of the evaluation")
    parser.add_argument("--busy", action="store_true", help="other work shares the cores: keep no times")
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
    runs = given.runs / given.comparison
    for training in comparison.trainings:
        if given.only is None or training.name in given.only:
            train(training, given.seeds, runs, given.jobs, given.steps)
            for seed in given.seeds:
                row = measure(training, seed, runs, given.num_samples)
                if given.busy:
                    row = without_times(row)
                keep(comparison, row)
                print(json.dumps(row), flush=True)
    write_tables(runs)


def write_tables(runs: Path) -> None:
    """The table of all runs that there are, mean and standard deviation over seeds; one run makes none."""
    if len(list(runs.glob("*/*/config.json"))) < 2:
        return
    tables = [word for end in ("md", "tex", "csv") for word in (OPTIONS[end], str(runs / f"table.{end}"))]
    subprocess.run([*PROGRAM, "compare", str(runs / "*"), *tables], check=True)


OPTIONS = {"md": "--markdown", "tex": "--latex", "csv": "--csv"}


if __name__ == "__main__":
    main()
