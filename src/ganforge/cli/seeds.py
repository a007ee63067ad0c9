"""`ganforge train --seeds`: one training with several seeds, in runs next to each other in one folder."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganforge.cli import EXIT_BAD_DATA, EXIT_MISTAKE
from ganforge.cli.children import Child, check_jobs, last_line, run_children
from ganforge.errors import UserError, printable
from ganforge.generation.seeds import parse_seeds
from ganforge.runs.folder import Run
from ganforge.training.divergence import Diverged

_OWN = ("--seeds", "--jobs", "--run")


@dataclass(frozen=True)
class SeedsTyped:
    """A command of several seeds: its seeds, processes and folder, and the words that are left."""

    seeds: tuple[int, ...]
    jobs: int
    folder: Path | None
    words: tuple[str, ...]

    def of_seed(self, seed: int, folder: Path) -> list[str]:
        """The words of the run of one seed."""
        return [*self.words, "--seed", str(seed), "--run", str(folder / f"seed-{seed}")]


def typed_seeds(arguments: Sequence[str]) -> SeedsTyped | None:
    """What `arguments` say of several seeds; None without --seeds.

    Raises UserError for seeds that repeat or are no numbers, and for options that do not go with them.
    """
    if not any(word.partition("=")[0] == "--seeds" for word in arguments):
        return None
    values, words = dict[str, str](), list[str]()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _OWN:
            values[name] = value if equals else next(rest, "")
            if not values[name]:
                raise UserError(f"{name}: expected a value")
        elif name in ("--seed", "--minutes"):
            why = "the seeds are those of --seeds" if name == "--seed" else "give --steps, the same for all"
            raise UserError(f"{name} does not go with --seeds: leave it out, {why}")
        else:
            words.append(word)
    seeds = parse_seeds(values["--seeds"], distinct=True)
    jobs = values.get("--jobs", "1")
    if not jobs.isdecimal():
        raise UserError(f"--jobs {printable(jobs)!r}: expected a number from 1")
    check_jobs(int(jobs))
    run = values.get("--run")
    return SeedsTyped(tuple(seeds), int(jobs), None if run is None else Path(run), tuple(words))


def measures_only(words: Sequence[str]) -> bool:
    """Whether a command measures a training, and does not train."""
    return any(word.partition("=")[0] in ("--dry-run", "--profile") for word in words)


def train_seeds(typed: SeedsTyped, folder: Path, train_run: Callable[[Sequence[str]], Run | None]) -> int:
    """Train each seed in FOLDER/seed-N, one after the other or in child processes; returns the exit code.

    A seed whose training diverges does not stop the others. `train_run` trains the run of some words.
    """
    if measures_only(typed.words):
        train_run(typed.of_seed(typed.seeds[0], folder))
        print(f"that is seed {typed.seeds[0]}, of {len(typed.seeds)}: each would have a run in {folder}")
        return 0
    if typed.jobs == 1:
        failed = _one_after_the_other(typed, folder, train_run)
    else:
        children = [
            Child(f"seed {seed}", ["train", *typed.of_seed(seed, folder)], folder / f"seed-{seed}.log")
            for seed in typed.seeds
        ]
        codes, number = run_children(children, typed.jobs)
        if number:
            print("stopped, everything is saved: the same command resumes", file=sys.stderr)
            return 128 + number
        failed = {child.name: last_line(child) for child in children if codes[child.name]}
        if set(codes.values()) == {EXIT_MISTAKE}:  # what is wrong with one is wrong with all
            print(next(iter(failed.values())), file=sys.stderr)
            return EXIT_MISTAKE
    for name, text in failed.items():
        print(f"{name}: {text}", file=sys.stderr)
    _print_next(typed, folder, failed)
    return EXIT_BAD_DATA if failed else 0


def _one_after_the_other(
    typed: SeedsTyped, folder: Path, train_run: Callable[[Sequence[str]], Run | None]
) -> dict[str, str]:
    """Train each seed here; the seeds that diverged, and how."""
    failed = {}
    for number, seed in enumerate(typed.seeds, start=1):
        print(f"seed {seed} ({number} of {len(typed.seeds)}): {folder / f'seed-{seed}'}", flush=True)
        try:
            train_run(typed.of_seed(seed, folder))
        except Diverged as error:
            failed[f"seed {seed}"] = str(error)
    return failed


def _print_next(typed: SeedsTyped, folder: Path, failed: dict[str, str]) -> None:
    """Where the runs are, and what to type next."""
    done = [seed for seed in typed.seeds if f"seed {seed}" not in failed]
    print(f"run folders   {folder}/seed-*: {len(done)} of {len(typed.seeds)} seeds done\n\nnext:")
    for seed in done:
        print(f"  ganforge evaluate {shlex.quote(str(folder / f'seed-{seed}'))}")
    print(f"  ganforge compare {shlex.quote(str(folder))} OTHER")
