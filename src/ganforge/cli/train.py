"""`ganforge train`, whose arguments depend on the system and on the data."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from ganforge.cli import EXIT_MISTAKE, STARTED
from ganforge.cli.arguments import arguments_of, parse, parse_known, values_of
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.sources.catalogue import available as available_data
from ganforge.errors import UserError
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import available, find
from ganforge.training import loop
from ganforge.training.cost import estimate
from ganforge.training.plan import (
    Plan,
    default_fields,
    device_to_suggest_for,
    make_plan,
    on_disk,
    reasons,
    validated,
)


def _train_help() -> str:
    return (
        "usage: ganforge train SYSTEM --data DATA [options]\n\n"
        f"systems: {', '.join(available())}\n"
        f"data: {', '.join(available_data())}, a folder, a zip ...\n\n"
        "ganforge train SYSTEM --help lists the options of a system and their defaults;\n"
        "with --data they are the defaults for that data.\n"
    )


def train(arguments: Sequence[str]) -> int:
    """`ganforge train` with these arguments; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_train_help())
        return 0 if arguments else EXIT_MISTAKE
    run = train_run(arguments)
    if run is not None:
        print_finished(run)
    return 0


def train_run(arguments: Sequence[str]) -> Run | None:
    """The run that these arguments train; None after a dry run."""
    name, rest = arguments[0], list(arguments[1:])
    if name.startswith("-"):
        raise UserError(
            f"expected a system before {name}: ganforge train {available()[0]} {shlex.join(arguments)}"
        )
    kind, program = find(name), f"ganforge train {name}"
    dataset, disk, defaults = None, None, {}
    if any(word == "--data" or word.startswith("--data=") for word in rest):
        early = parse_known(early_arguments(), [w for w in rest if w not in ("-h", "--help")], program)
        dataset = open_dataset(validated(DataOptions, values_of(early.data)))
        disk = on_disk(name, dataset.options, early.run, early.start_from)
        defaults = default_fields(name, dataset.spec, device_to_suggest_for(early.device, disk), disk)
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    options = parse(train_arguments(name, defaults), rest, program, summary)
    assert dataset is not None
    assert disk is not None  # tyro has rejected arguments without --data
    train_options = validated(TrainOptions, values_of(options.train))
    plan = make_plan(name, dataset, train_options, values_of(options.system), disk)
    if options.dry_run:
        print_dry_run(plan)
        return None
    command = shlex.join(["ganforge", "train", *arguments])
    return loop.train(plan, command=command, started=STARTED)


def early_arguments() -> type:
    """Arguments that decide the defaults of all others: data, run folder, device and parent run."""
    device = TrainOptions.model_fields["device"]
    return make_dataclass(
        "EarlyArguments",
        [
            ("data", arguments_of(DataOptions, {})),
            ("run", Path | None, field(default=None)),
            ("device", device.annotation, field(default=device.default)),
            ("start_from", Annotated[str | None, tyro.conf.arg(name="from")], field(default=None)),
        ],
        frozen=True,
    )


def train_arguments(name: str, defaults: dict[str, Any]) -> type:
    """Arguments of `ganforge train NAME`, with these defaults of the system."""

    def option(kind: Any, default: Any, text: str, name: str | None = None) -> tuple[Any, Any]:
        return Annotated[kind, tyro.conf.arg(help=text, name=name)], field(default=default)

    return make_dataclass(
        "TrainArguments",
        [
            ("data", arguments_of(DataOptions, {})),
            ("run", *option(Path | None, None, "The run folder; default: runs/SYSTEM-DATA.")),
            (
                "start_from",
                *option(str | None, None, "Warm start from the weights of this run.", name="from"),
            ),
            ("dry_run", *option(bool, False, "Show the config and its measured cost; write nothing.")),
            ("train", *_optional(arguments_of(TrainOptions, {}))),
            ("system", *_optional(arguments_of(find(name).Config, defaults))),
        ],
        frozen=True,
    )


def _optional(kind: type) -> tuple[type, Any]:
    """Type and default of a group of arguments that all have defaults."""
    return kind, field(default=kind())


def print_dry_run(plan: Plan) -> None:
    """Print a run's config and its cost, measured over a few steps."""
    print(f"run folder: {plan.path}" + (" (exists: would resume)" if plan.run else ""))
    print(plan.config.model_dump_json(indent=1, exclude={"fingerprint"}))
    for name, text in reasons(plan).items():
        print(f"chosen for this data: {name} = {text}")
    cost = estimate(plan.config, plan.dataset)
    steps = int(plan.config.config["steps"])
    minutes = steps * cost.seconds_per_step / 60
    for name, count in cost.parameters.items():
        print(f"{name}: {count:,} parameters")
    print(f"{cost.flops_per_image / 1e6:,.1f} MFLOP per image and step, on {cost.device} in {cost.precision}")
    print(
        f"measured over a few steps: {cost.images_per_second:,.0f} images/s, "
        f"{cost.seconds_per_step * 1e3:.1f} ms per step, so {steps} steps take about {minutes:.1f} minutes; "
        f"peak memory about {cost.peak_memory_bytes / 1e6:,.0f} MB"
    )
    print("nothing was written")


def print_finished(run: Run) -> None:
    """Print where a run's results are, and what to type next."""
    grids = (run.path / "samples").glob("[0-9]*.png")
    newest = max(grids, key=lambda path: int(path.stem), default=None)
    print(f"run folder    {run.path}")
    if newest is not None:
        print(f"sample grid   {newest}")
    print(f"report        {run.path / 'report.html'}")
    # In a virtual environment that is not activated, as after `make demo`, only the whole path can be typed.
    started_as = Path(sys.argv[0])
    program = (
        str(started_as) if started_as.name == "ganforge" and shutil.which("ganforge") is None else "ganforge"
    )
    print("\nnext:")
    print(f"  {program} evaluate {shlex.quote(str(run.path))}")
    if newest is not None:
        print(f"  {program} sample {shlex.quote(str(run.path))} --count 16 --seed 7 --out samples.png")
    print(f"  {program} train {run.config.system} --help")
