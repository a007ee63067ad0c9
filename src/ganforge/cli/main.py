"""The command line: one function for each verb."""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

import ganforge
from ganforge.cli.arguments import arguments_of, parse, parse_known, print_completion, values_of
from ganforge.cli.embed import EmbedArguments, run_embed
from ganforge.cli.sample import SampleArguments, run_sample
from ganforge.cli.tables import print_dry_run, print_finished, print_scores
from ganforge.cli.train import early_arguments, train_arguments
from ganforge.cli.uses import (
    EXIT_BAD_DATA,
    ApplyArguments,
    ClassifyArguments,
    CompareArguments,
    DrawArguments,
    EvaluateArguments,
    FeaturesArguments,
    OutliersArguments,
    ProbeArguments,
    PSNRArguments,
    RestyleArguments,
    run_apply,
    run_classify,
    run_compare,
    run_draw,
    run_features,
    run_outliers,
    run_probe,
    run_psnr,
    run_restyle,
)
from ganforge.data import check as data_check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import pack
from ganforge.data.sources.catalogue import available as available_data
from ganforge.errors import UserError, unknown_name
from ganforge.evaluation.evaluate import Score, evaluate, evaluate_images
from ganforge.recipes.catalogue import recipes
from ganforge.recipes.reproduce import ReproduceArguments, choose, print_reproduction, reproduction, words_of
from ganforge.runs.folder import Run, find_runs
from ganforge.runs.options import TrainOptions
from ganforge.runs.pretrained import PRETRAINED, packaged_runs
from ganforge.systems.discovery import available, find
from ganforge.training.loop import Stopped
from ganforge.training.plan import default_fields, default_path, device_to_suggest_for, make_plan, validated
from ganforge.training.train import carry_out

EXIT_MISTAKE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141

USAGE = """usage: ganforge VERB ...

  train SYSTEM --data DATA   train, or go on with a run: the same command resumes
  sample RUN                 draw samples to a PNG, a folder of PNGs or an .npz
  evaluate RUN               scores with their protocol, and the report remade
  compare RUN RUN ...        the stored scores of runs in one table, unlike protocols apart
  apply RUN IMAGES --out O translate or enlarge images of any size: a file, a folder, a zip
  psnr FOLDER RUN ...        how well images are enlarged again, beside bicubic resampling
  features RUN --out F.npz   what a run makes of images, for classifiers
  probe F.npz                a linear classifier on such features
  draw RUN KIND --out F.png  reconstructions, completions, a map of two latents
  restyle RUN PIC --text T   what a sentence says in the style of an image
  outliers RUN --data D      how well a run tells other data from its own
  classify RUN               classes by p(x given y), and what is of none
  reproduce NAME             a recipe again: the paper's numbers, the recorded ones and these
  data check PATH            what is in a data set and what would go wrong
  data pack PATH OUT.zip     resize a data set into one indexed zip
  embed RUN --data D         the captions of D as embeddings, written once
  list systems|data|runs|recipes
  demo                       train a DCGAN on MNIST for a few minutes and judge it
  completion bash|zsh|tcsh   print a completion script for your shell

  ganforge VERB --help       the options of a verb
  ganforge --version
"""

# A small DCGAN at five times the paper's rate: the most digits for a few minutes on two cores.
DEMO = shlex.split(
    "dcgan --data mnist --run runs/demo --width 32 --kernel-size 4 --batch 64"
    " --learning-rate 0.001 --steps 6000"
)


@dataclass(frozen=True)
class ListArguments:
    """Show what there is."""

    what: tyro.conf.Positional[Literal["systems", "data", "runs", "recipes"]]
    folder: Annotated[Path, tyro.conf.arg(help="Where the runs are.")] = Path("runs")


def _check_arguments() -> type:
    options = arguments_of(DataOptions, {}, positional=("data",))
    show = (bool, field(default=False))
    return make_dataclass("CheckArguments", [("options", options), ("json", *show)], frozen=True)


def _pack_arguments() -> type:
    options = arguments_of(DataOptions, {}, positional=("data",))
    out = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="The zip to write.")]]
    # `out` in a group of its own: tyro puts the positions of groups after those of plain fields.
    target = make_dataclass("TargetArguments", [("out", out)], frozen=True)
    return make_dataclass("PackArguments", [("options", options), ("target", target)], frozen=True)


def _train_help() -> str:
    return (
        "usage: ganforge train SYSTEM --data DATA [options]\n\n"
        f"systems: {', '.join(available())}\n"
        f"data: {', '.join(available_data())}, a folder, a zip ...\n\n"
        "ganforge train SYSTEM --help lists the options of a system and their defaults;\n"
        "with --data they are the defaults for that data.\n"
    )


def _train(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_train_help())
        return 0 if arguments else EXIT_MISTAKE
    run = _train_run(arguments)
    if run is not None:
        print_finished(run)
    return 0


def _train_run(arguments: Sequence[str]) -> Run | None:
    """Train what the arguments ask for; None after a dry run."""
    name, rest = arguments[0], list(arguments[1:])
    if name.startswith("-"):
        raise UserError(
            f"expected a system before {name}: ganforge train {available()[0]} {shlex.join(arguments)}"
        )
    kind, program = find(name), f"ganforge train {name}"
    dataset, defaults = None, {}
    if any(word == "--data" or word.startswith("--data=") for word in rest):
        asked = parse_known(early_arguments(), [w for w in rest if w not in ("-h", "--help")], program)
        dataset = open_dataset(validated(DataOptions, values_of(asked.data)))
        path = asked.run or default_path(name, dataset.options)
        device = device_to_suggest_for(asked.device, path)
        defaults = default_fields(name, dataset.spec, device, path, asked.start_from)
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    given = parse(train_arguments(name, defaults), rest, program, summary)
    assert dataset is not None  # tyro has refused arguments without --data
    options = validated(TrainOptions, values_of(given.train))
    plan = make_plan(name, dataset, options, values_of(given.system), given.run, given.start_from)
    if given.dry_run:
        print_dry_run(plan)
        return None
    command = shlex.join(["ganforge", "train", *arguments])
    return carry_out(plan, command=command, started=ganforge.STARTED)


def _evaluate(arguments: Sequence[str]) -> int:
    given = parse(
        EvaluateArguments, arguments, "ganforge evaluate", "Judge a run: every score with its protocol."
    )
    names = ("num_samples", "features", "features_weights", "seed", "weights", "checkpoint", "devices")
    choice = {name: getattr(given, name) for name in names}
    if given.samples is not None:
        if given.devices != 1:
            raise UserError(
                f"--samples draws nothing that {given.devices} devices could share: leave one out"
            )
        scores = evaluate_images(given.run, given.samples, **{name: choice[name] for name in names[:3]})
    else:
        scores = _evaluate_aloud(given.run, **choice)
    if not scores:  # of several processes the first one tells
        return 0
    if given.json:
        print(json.dumps([score.model_dump() for score in scores], indent=1))
    else:
        print_scores(scores, given.verbose)
    stored = given.samples is None and not str(given.run).startswith(PRETRAINED)
    if stored and not given.json:
        print(f"stored in {given.run / 'evaluation.json'}, shown in {given.run / 'report.html'}")
    return 0


def _evaluate_aloud(run: Path, **options: Any) -> list[Score]:
    console = Console(stderr=True)
    with console.status("judging") as status:
        return evaluate(run, say=lambda text: status.update(f"judging: {text}"), **options)


def _data(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "check":
        return _data_check(arguments[1:])
    if arguments and arguments[0] == "pack":
        given = parse(
            _pack_arguments(), arguments[1:], "ganforge data pack", "Resize a data set into one zip."
        )
        count = pack(validated(DataOptions, values_of(given.options)), given.target.out)
        print(f"{given.target.out}: {count} images")
        return 0
    raise UserError("expected ganforge data check PATH, or ganforge data pack PATH OUT.zip --size 64")


def _data_check(arguments: Sequence[str]) -> int:
    given = parse(_check_arguments(), arguments, "ganforge data check", "What is in a data set.")
    report = data_check.check(validated(DataOptions, values_of(given.options)))
    print(report.to_json() if given.json else "\n".join(report.lines()))
    return EXIT_BAD_DATA if report.problems else 0


def _list(arguments: Sequence[str]) -> int:
    given = parse(ListArguments, arguments, "ganforge list", "Show what there is.")
    table: Table
    if given.what == "systems":
        table = Table("system", "paper", "needs")
        for name in available():
            kind = find(name)
            table.add_row(
                name, (kind.__doc__ or "").strip().partition("\n")[0], ", ".join(sorted(kind.needs)) or "-"
            )
    elif given.what == "data":
        table = Table("data", "what")
        for name, text in available_data().items():
            table.add_row(name, text)
    elif given.what == "runs":
        table = Table("run", "system", "data", "steps")
        came_along = [Path(f"{PRETRAINED}{name}") for name in packaged_runs()]
        for path in [*find_runs(given.folder), *came_along]:
            try:
                run = Run.open(path)
            except UserError as error:  # the other runs are still worth showing
                table.add_row(str(path), f"cannot be read: {error}", "", "")
                continue
            steps = run.config.config["steps"]
            done = max((line["step"] for line in run.metrics() + run.metrics("end")), default=0)
            table.add_row(
                str(path),
                run.config.system,
                run.config.data.data,
                f"{steps if run.packaged else done}/{steps}",
            )
    else:
        table = Table("recipe", "what", "command", "minutes", "images/s", "MB", "score")
        for recipe in recipes():
            cost = f"{recipe.minutes:g}", f"{recipe.images_per_second:,.0f}", f"{recipe.memory_mb:,.0f}"
            table.add_row(recipe.name, recipe.what, recipe.command, *cost, recipe.score)
    Console().print(table)
    return 0


def _demo(arguments: Sequence[str]) -> int:
    if arguments:
        raise UserError(
            f"ganforge demo takes no arguments, got {shlex.join(arguments)}: "
            f"it is ganforge train {shlex.join(DEMO)}"
        )
    run = _train_run(DEMO)
    assert run is not None
    print_scores(_evaluate_aloud(run.path), verbose=False)
    print_finished(run)
    return 0


def _reproduce(arguments: Sequence[str]) -> int:
    given = parse(ReproduceArguments, arguments, "ganforge reproduce", "Make recipes again, to their tables.")
    chosen, left = choose(given.names, given.all, given.minutes)
    for name, why in left.items():
        print(f"left out: {name} ({why})", file=sys.stderr)
    for recipe in chosen:
        words = DEMO if recipe.command == "ganforge demo" else words_of(recipe, given.folder)
        run = _train_run([*words, "--run", str(given.folder / recipe.name)])
        assert run is not None
        print_reproduction(reproduction(recipe, run, _evaluate_aloud(run.path)))
    return 0


def _completion(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("bash", "zsh", "tcsh"):
        raise UserError("expected ganforge completion bash, zsh or tcsh")
    verbs = {
        "train": {name: train_arguments(name, {}) for name in available()},
        "sample": SampleArguments,
        "evaluate": EvaluateArguments,
        "data": {"check": _check_arguments(), "pack": _pack_arguments()},
        "compare": CompareArguments,
        "apply": ApplyArguments,
        "psnr": PSNRArguments,
        "features": FeaturesArguments,
        "probe": ProbeArguments,
        "outliers": OutliersArguments,
        "classify": ClassifyArguments,
        "draw": DrawArguments,
        "restyle": RestyleArguments,
        "embed": EmbedArguments,
        "reproduce": ReproduceArguments,
        "list": ListArguments,
    }
    print_completion(verbs, arguments[0])
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "sample": run_sample,
    "evaluate": _evaluate,
    "data": _data,
    "compare": run_compare,
    "apply": run_apply,
    "psnr": run_psnr,
    "features": run_features,
    "probe": run_probe,
    "outliers": run_outliers,
    "classify": run_classify,
    "draw": run_draw,
    "restyle": run_restyle,
    "embed": run_embed,
    "reproduce": _reproduce,
    "list": _list,
    "demo": _demo,
    "completion": _completion,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for a mistake, 1 for bad data, 130 or 143 when stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if words else EXIT_MISTAKE
    if words[0] == "--version":
        print(f"ganforge {ganforge.__version__}")
        return 0
    try:
        if words[0] not in VERBS:
            raise unknown_name("verb", words[0], VERBS, "(ganforge --help)")
        if words[0] in ("data", "demo", "completion") and words[1:2] in (["-h"], ["--help"]):
            print(USAGE, end="")
            return 0
        return VERBS[words[0]](words[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except Stopped as stopped:
        print(f"{stopped}: the same command goes on", file=sys.stderr)
        return stopped.exit_code
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (OSError, MemoryError, torch.OutOfMemoryError) as error:
        print(f"error: {str(error).splitlines()[0] if str(error) else 'out of memory'}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def program() -> int:
    """`main` as a process of its own: numbers below 1e-38 count as 0, for steps up to 4 times as fast.

    Threads inherit that from the one that starts them, so it comes first; a library must leave it alone.
    """
    torch.set_flush_denormal(True)
    return main()
