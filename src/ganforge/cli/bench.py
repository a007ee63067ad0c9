"""`ganforge bench`, whose options depend on the system as those of `ganforge train` do."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganforge.cli import EXIT_MISTAKE
from ganforge.cli.arguments import arguments_of, parse, parse_known, values_of
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError, unknown_name
from ganforge.files.atomic import write_synced
from ganforge.runs.device import choose_device, describe_machine
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import available, find
from ganforge.training.bench.contest import contest, table_of
from ganforge.training.bench.contestants import Case
from ganforge.training.plan import OnDisk, default_fields, device_to_suggest_for, validated

MACHINE = ("device", "precision", "compile", "seed")
DATA, SIZE = "emoji", "32"
LINE = 110  # characters, in a file
NOWHERE = OnDisk(Path("runs/bench"), None, None, None)
HELP = (
    "usage: ganforge bench SYSTEM ... [--data DATA] [options]\n\n"
    "times training, reading and sampling next to a plain loop around the same networks,\n"
    "in turns, and compares with the matrix products of this machine; trains nothing.\n\n"
    f"systems: {', '.join(available())}\n"
    f"data: the built-in {DATA} at {SIZE}x{SIZE} where none is named\n\n"
    "ganforge bench SYSTEM --help lists the options.\n"
)


def bench(arguments: Sequence[str]) -> int:
    """`ganforge bench` with these arguments; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else EXIT_MISTAKE
    names = _systems(arguments)
    rest = [*arguments[len(names) :]]
    if not any(word == "--data" or word.startswith("--data=") for word in rest):
        rest = ["--data", DATA, "--size", SIZE, *rest]
    cases = [_case(name, rest) for name in names]
    options = cases[0][1]
    if options.rounds < 1:
        raise UserError(f"--rounds {options.rounds}: expected 1 or more")
    if options.out is not None and not options.out.parent.is_dir():
        raise UserError(f"--out {options.out}: no folder {options.out.parent}: make it first")
    console = Console(stderr=True)
    results = []
    for case, _ in cases:
        print(f"timing {case.system}", file=sys.stderr)
        with console.status("opening the data") as status:
            results.append(contest(case, options.rounds, status.update))
    content = {
        "command": shlex.join(["ganforge", "bench", *arguments]),
        "machine": describe_machine(choose_device(options.train.device)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "results": [result.as_json() for result in results],
    }
    text = json.dumps(content, indent=1)
    if options.out is not None:
        write_synced(options.out, f"{text}\n".encode())
    if options.json:
        print(text)
    else:
        _print(table_of(results), content)
    return 0


def _systems(arguments: Sequence[str]) -> list[str]:
    """The systems that the arguments begin with; raises UserError for an unknown one, or none."""
    names = []
    for word in arguments:
        if word.startswith("-"):
            break
        if word not in available():
            raise unknown_name("system", word, available(), "(`ganforge list systems`)")
        names.append(word)
    if not names:
        raise UserError("expected a system: ganforge bench dcgan, or several: ganforge bench dcgan vae")
    return names


def _case(name: str, words: Sequence[str]) -> tuple[Case, Any]:
    """The case of the system `name` that these words describe, and all options."""
    without_help = [word for word in words if word not in ("-h", "--help")]
    early = parse_known(bench_arguments(name, {}), without_help, f"ganforge bench {name}")
    data = validated(DataOptions, values_of(early.data))
    device = device_to_suggest_for(early.train.device, NOWHERE)
    defaults = default_fields(name, open_dataset(data).spec, device, NOWHERE)
    options = parse(bench_arguments(name, defaults), words, f"ganforge bench {name}", "Time a system.")
    train = validated(TrainOptions, values_of(options.train))
    return Case(name, data, train, values_of(options.system)), options


def bench_arguments(name: str, defaults: dict[str, Any]) -> type:
    """Arguments of `ganforge bench NAME`, with these defaults of the system."""

    def option(kind: Any, default: Any, text: str) -> tuple[Any, Any]:
        return Annotated[kind, tyro.conf.arg(help=text)], field(default=default)

    fields = TrainOptions.model_fields
    machine = make_dataclass(
        "MachineArguments",
        [(each, *option(fields[each].annotation, fields[each].default, str(fields[each].description)))
         for each in MACHINE],
        frozen=True,
    )  # fmt: skip
    system = arguments_of(find(name).Config, defaults)
    return make_dataclass(
        "BenchArguments",
        [
            ("data", arguments_of(DataOptions, {})),
            ("rounds", *option(int, 5, "Turns of each loop that are timed.")),
            ("out", *option(Path | None, None, "Write the results to this .json too.")),
            ("json", *option(bool, False, "Print JSON instead of the table.")),
            ("train", machine, field(default=machine())),
            ("system", system, field(default=system())),
        ],
        frozen=True,
    )


def _print(rows: list[list[str]], content: dict[str, Any]) -> None:
    """The table, and what it was measured on."""
    table = Table(*rows[0], show_lines=True)
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    console = Console()
    console = console if console.is_terminal else Console(width=LINE)
    console.print(table)
    print("times: ganforge's rate over the plain loop's, the median of all rounds, the lowest and highest")
    print(f"{content['machine']}, {content['threads']} threads, torch {content['torch']}")
