"""`ganforge train`, whose arguments depend on the system and on the data."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ganforge.cli import EXIT_MISTAKE, STARTED
from ganforge.cli.arguments import arguments_of, parse, parse_known, values_of
from ganforge.cli.seeds import measures_only, train_seeds, typed_seeds
from ganforge.cli.settings import Settings, take_settings
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import check_free
from ganforge.data.sources.catalogue import PREFIXES
from ganforge.data.sources.catalogue import available as available_data
from ganforge.distributed import rank_of_process, refuse_several_processes
from ganforge.errors import UserError, unknown_name
from ganforge.files.atomic import building, write_synced
from ganforge.files.code import TRUST, allow
from ganforge.reporting.units import duration, size
from ganforge.runs.build import own_code
from ganforge.runs.folder import Run
from ganforge.runs.options import TrainOptions
from ganforge.systems.discovery import available, find
from ganforge.training import loop
from ganforge.training.automatic import choose_system
from ganforge.training.cost import estimate, faster_option
from ganforge.training.memory import check_fits, is_shortage, shortage
from ganforge.training.minutes import plan_within
from ganforge.training.parallel import follow
from ganforge.training.plan import (
    Plan,
    as_stored,
    default_fields,
    default_path,
    device_to_suggest_for,
    on_disk,
    reasons,
    validated,
)
from ganforge.training.profile import profile_steps
from ganforge.training.resume import data_notes
from ganforge.training.signals import stop_signals
from ganforge.training.warm_start import load_start

WARM_START = "Warm start from the weights of this run."
NONE = Settings()


def _train_help() -> str:
    return (
        "usage: ganforge train DATA [options]\n"
        "       ganforge train SYSTEM --data DATA [options]\n\n"
        f"systems: {', '.join(available())}\n"
        f"data: {', '.join(available_data())}, a folder, a zip ...\n\n"
        "without a system the one that suits the data best is chosen; --minutes 10 trains what fits\n"
        "ganforge train SYSTEM --help lists the options of a system and their defaults;\n"
        "with --data they are the defaults for that data.\n"
    )


def train(arguments: Sequence[str]) -> int:
    """`ganforge train` with these arguments; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_train_help())
        return 0 if arguments else EXIT_MISTAKE
    help_only = bool({"-h", "--help"} & set(arguments))
    if rank_of_process():
        return 0 if help_only or measures_only(arguments) else follow_quietly()
    if not help_only and (typed := typed_seeds(arguments)) is not None:
        refuse_several_processes("train --seeds")
        return train_seeds(typed, typed.folder or _seeds_folder(typed.words), train_run)
    run = train_run(arguments)
    if run is not None:
        print_finished(run)
    return 0


def train_run(arguments: Sequence[str]) -> Run | None:
    """The run that these arguments train; None after a dry run."""
    name, rest = _system_typed(arguments)
    settings, rest = take_settings(rest)
    name = name or settings.system
    dataset, disk, defaults, notes = None, None, {}, tuple[str, ...]()
    if settings.data.get("data") or any(word == "--data" or word.startswith("--data=") for word in rest):
        without_help = [word for word in rest if word not in ("-h", "--help")]
        early = parse_known(early_arguments(settings), without_help, f"ganforge train {name or 'DATA'}")
        data_options = validated(DataOptions, values_of(early.data))
        if name is None:
            name, notes, dataset = choose_system(data_options, early.run, early.device)
        disk = on_disk(name, data_options, early.run, early.start_from)
        stored = as_stored(data_options, disk)
        dataset = dataset if dataset is not None and stored == data_options else open_dataset(stored)
        defaults = default_fields(name, dataset.spec, device_to_suggest_for(early.device, disk), disk)
    defaults |= settings.config
    if name is None:
        raise UserError(
            "expected data: ganforge train my_images, or with a system ganforge train dcgan --data my_images"
        )
    kind = find(name)
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    options = parse(train_arguments(name, defaults, settings), rest, f"ganforge train {name}", summary)
    assert dataset is not None
    assert disk is not None  # tyro has rejected arguments without --data
    train_options = validated(TrainOptions, values_of(options.train))
    fields = values_of(options.system)
    if train_options.minutes is not None:
        fields = _typed(fields, arguments_of(kind.Config, defaults)(), rest)
    plan = plan_within(name, dataset, train_options, fields, disk)
    plan = replace(plan, notes=(*notes, *plan.notes))
    if options.dry_run:
        print_dry_run(plan)
        return None
    if options.profile is not None:
        print_profile(plan, options.profile)
        return None
    command = shlex.join(["ganforge", "train", *arguments])
    return loop.train(plan, command=command, started=STARTED, open_report=options.open)


def follow_quietly() -> int:
    """Train what process 0 of torchrun trains, which prints and writes; returns the exit code."""
    with stop_signals():  # process 0 decides when all of them stop
        follow()
    return 0


def _seeds_folder(words: Sequence[str]) -> Path:
    """The folder for the runs of several seeds where none is named: runs/SYSTEM-DATA-seeds."""
    name, rest = _system_typed(words)
    settings, rest = take_settings(rest)
    name = name or settings.system
    early = parse_known(early_arguments(settings), rest, f"ganforge train {name or 'DATA'}")
    data = validated(DataOptions, values_of(early.data))
    path = default_path(name or choose_system(data, None, early.device).system, data)
    return path.with_name(f"{path.name}-seeds")


def _system_typed(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The system that the arguments begin with, and the rest; None where they begin with data or options."""
    first = arguments[0]
    allow([first])
    if first.startswith("-"):
        return None, list(arguments)
    if first in available() or (":" in first and not first.startswith(PREFIXES)):
        return first, list(arguments[1:])
    if first in available_data() or first.startswith(PREFIXES) or Path(first).exists():
        return None, ["--data", *arguments]
    raise unknown_name(
        "system or data",
        first,
        [*available(), *available_data()],
        "(`ganforge list systems` and `list data`)",
    )


def _typed(fields: dict[str, Any], defaults: Any, words: Sequence[str]) -> dict[str, Any]:
    """The fields of the system that the user gave, though it be their default."""
    given = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words}
    return {name: v for name, v in fields.items() if name in given or v != getattr(defaults, name)}


def early_arguments(settings: Settings = NONE) -> type:
    """Arguments that decide the defaults of all others: data, run folder, device and parent run."""
    device = TrainOptions.model_fields["device"]
    return make_dataclass(
        "EarlyArguments",
        [
            _data_arguments(settings),
            ("run", Path | None, field(default=settings.run)),
            ("device", device.annotation, field(default=settings.train.get("device", device.default))),
            (
                "start_from",
                Annotated[str | None, tyro.conf.arg(name="from")],
                field(default=settings.start_from),
            ),
        ],
        frozen=True,
    )


def _data_arguments(settings: Settings) -> Any:
    """The group of the data's arguments; only one with a name of data can be left out."""
    kind = arguments_of(DataOptions, settings.data)
    return ("data", *_optional(kind)) if settings.data.get("data") else ("data", kind)


def train_arguments(name: str, defaults: dict[str, Any], settings: Settings = NONE) -> type:
    """Arguments of `ganforge train NAME`, with these defaults of the system and others of `settings`."""

    def option(kind: Any, default: Any, text: str, name: str | None = None) -> tuple[Any, Any]:
        return Annotated[kind, tyro.conf.arg(help=text, name=name)], field(default=default)

    return make_dataclass(
        "TrainArguments",
        [
            _data_arguments(settings),
            ("run", *option(Path | None, settings.run, "The run folder; default: runs/SYSTEM-DATA.")),
            ("start_from", *option(str | None, settings.start_from, WARM_START, name="from")),
            (
                "seeds",
                *option(str | None, None, "Train once with each seed, such as 0,1,2 or 0-4: RUN/seed-N."),
            ),
            ("jobs", *option(int, 1, "With --seeds: child processes that train at the same time.")),
            ("config", *option(Path | None, None, "Options from a .json or .toml file, by name.")),
            ("like", *option(Path | None, None, "Options of this run, for those that are not typed.")),
            ("open", *option(bool, False, "Open the report in the browser; it follows the training.")),
            ("dry_run", *option(bool, False, "Show the config and its measured cost; write nothing.")),
            (
                "profile",
                *option(
                    Path | None,
                    None,
                    "Where the time of some steps goes, with a trace in this folder; train nothing.",
                ),
            ),
            ("train", *_optional(arguments_of(TrainOptions, settings.train))),
            ("system", *_optional(arguments_of(find(name).Config, defaults))),
        ],
        frozen=True,
    )


def _optional(kind: type) -> tuple[type, Any]:
    """Type and default of a group of arguments that all have defaults."""
    return kind, field(default=kind())


def print_dry_run(plan: Plan) -> None:
    """Print what a run would cost, measured over a few steps, then why and its whole config."""
    print(f"run folder: {plan.path}" + (" (exists: would resume)" if plan.run else ""), flush=True)
    check_fits(plan.config)
    start = None
    if plan.parent is not None:
        start = load_start(plan.config.system, plan.parent, str(plan.config.start_from))
    console = Console(stderr=True)
    print("measuring a few steps", file=sys.stderr)
    with console.status("building the networks") as status:
        try:
            cost = estimate(plan.config, plan.dataset, start, status.update)
            status.update("looking for a faster option")
            faster = faster_option(plan.config, plan.dataset)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            cost = None
    if cost is None:  # only here are the networks gone that did not fit
        raise shortage(plan.config, plan.dataset)
    if cost.started_from:
        print(cost.started_from)
    steps = int(plan.config.config["steps"])
    whole = duration(steps * cost.seconds_per_step)
    print(f"{steps:,} steps take about {whole} on this {cost.device.upper()}{faster}")
    print(
        f"{cost.images_per_second:,.0f} images/s, {duration(cost.seconds_per_step)} per step, "
        f"{cost.flops_per_image / 1e6:,.1f} MFLOP per image and step, {cost.precision}; "
        f"peak memory about {size(cost.peak_memory_bytes)}"
    )
    for name, count in cost.parameters.items():
        print(f"{name}: {count:,} parameters")
    for line in data_notes(plan.dataset):
        print(f"about the data: {line}")
    for line in plan.notes:
        print(f"chosen: {line}")
    for name, text in reasons(plan).items():
        print(f"chosen for this data: {name} = {text}")
    print(plan.config.model_dump_json(indent=1, exclude={"fingerprint", "places"}))
    print("nothing was written")


def print_profile(plan: Plan, folder: Path) -> None:
    """Print where the time of some steps goes, and write it and the trace into the new `folder`."""
    shown = check_free(folder)
    check_fits(plan.config)
    start = None
    if plan.parent is not None:
        start = load_start(plan.config.system, plan.parent, str(plan.config.start_from))
    print("profiling a few steps", file=sys.stderr)
    with building(folder) as place:
        lines = profile_steps(plan.config, plan.dataset, place, start).lines()
        write_synced(place / "summary.txt", "".join(f"{line}\n" for line in lines).encode())
    print("\n".join([*lines, "", f"{shown}/trace.json opens in https://ui.perfetto.dev or chrome://tracing"]))


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
    trust = f" {TRUST}" if own_code(run.config) else ""
    print(f"  {program} evaluate {shlex.quote(str(run.path))}{trust}")
    if newest is not None:
        print(f"  {program} sample {shlex.quote(str(run.path))} --count 16 --seed 7 --out samples.png{trust}")
    print(f"  {program} train {run.config.system} --help")
