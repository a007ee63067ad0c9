"""Comparing evaluated runs: a line for each score, and never two protocols in one line."""

import glob
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ganforge.errors import UserError, printable
from ganforge.evaluation.score import Score
from ganforge.reporting.evaluations import StoredEvaluation, read_evaluations
from ganforge.runs.folder import Run, runs_in

FREE_TO_DIFFER = ("step", "sigma")
"""Parts of a protocol that are what a run did, or what its score found, and not how it was measured."""
RENAMED = {
    "label_agreement": "class_accuracy",
    "label_agreement_of_worst_class": "worst_class_accuracy",
    "category_agreement": "category_accuracy",
    "category_agreement_of_real": "category_accuracy_real",
    "category_agreement_of_new": "category_accuracy_held_out",
    "subcategory_agreement": "subcategory_accuracy",
    "subcategory_agreement_of_real": "subcategory_accuracy_real",
    "neighbour_agreement": "caption_neighbour_accuracy",
    "neighbour_agreement_of_new": "caption_neighbour_accuracy_held_out",
    "fid_of_real_data": "fid_floor",
    "matching_above_mismatched": "caption_ranking_accuracy",
    "matching_above_mismatched_of_new": "caption_ranking_accuracy_held_out",
    "new_picture_recall_at_10": "held_out_image_recall_at_10",
    "new_picture_recall_over_chance": "held_out_image_recall_over_chance",
    "nearest_neighbour_accuracy": "one_nn_accuracy",
    "classifier_accuracy": "c2st_accuracy",
}
"""Names of scores in runs of version 0.1, and their names now."""
NOT_EVALUATED = "not evaluated"


@dataclass(frozen=True)
class Compared:
    """An evaluation of a run: its name here, the step, the scores, and remarks on how they were read.

    Of a run that was not evaluated there are no scores, and a remark with the command that does it.
    """

    name: str
    run: Run
    step: str
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One score under one protocol: what the runs that were measured so scored, by their place.

    `differs` says what sets this protocol apart from others of the same score; empty where there is one.
    """

    name: str
    unit: str
    protocol: dict[str, Any]
    differs: str
    scores: dict[int, Score]


def run_folders(words: Sequence[str | Path]) -> list[Path]:
    """The run folders that `words` name: folders, folders of such as `train --seeds` makes, and patterns.

    A pattern such as "runs/*" takes the runs among what it matches, each once. Raises UserError where one
    matches no run.
    """
    folders: list[Path] = []
    for word in words:
        path = Path(word)
        if path.exists() or not glob.has_magic(str(path)):
            folders += runs_in(path) or [path]
            continue
        matches = [Path(match) for match in sorted(glob.glob(str(path)))]
        within = [run for match in matches if match.is_dir() for run in runs_in(match)]
        if not within:
            raise UserError(f"{printable(str(path))} matches no run folder: see `ganforge list runs`")
        folders += [run for run in within if run not in folders]
    return folders


def read_evaluated(words: Sequence[str | Path], evaluation: str = "", every: bool = False) -> list[Compared]:
    """The stored scores of the runs that `words` name (`run_folders`), in that order.

    Of the evaluations of each run the most trustworthy (`reporting.evaluations.RULE`) whose file name
    contains `evaluation`, such as "inception"; with `every` all of these, each as one to compare. Raises
    `UserError` for fewer than two to compare, for a run named twice, and where no run was evaluated.
    """
    paths = run_folders(words)
    if len(paths) < (1 if every else 2):
        raise UserError(
            f"{len(paths)} named: compare needs two or more run folders, scored by `ganforge evaluate`"
        )
    places = [path.resolve() for path in paths]
    twice = [str(path) for index, path in enumerate(paths) if places[index] in places[:index]]
    if twice:
        raise UserError(f"{twice[0]} is named twice: name each run folder once")
    compared = []
    for path, name in zip(paths, _names(paths, places), strict=True):
        compared += _read(path, name, evaluation, every)
    if not any(each.scores for each in compared):
        raise UserError(f"{paths[0]} has not been evaluated: first {_command(paths[0])}")
    if len(compared) < 2:
        raise UserError(f"{paths[0]} has one evaluation to compare: expected two or more")
    return compared


def _names(paths: Sequence[Path], places: Sequence[Path]) -> list[str]:
    """The name of each folder; with the folder above, or whole, where that is needed to tell them apart."""
    short = [place.name for place in places]
    longer = [f"{place.parent.name}/{place.name}" for place in places]
    return [
        short[place]
        if short.count(short[place]) == 1
        else longer[place]
        if longer.count(longer[place]) == 1
        else str(path)
        for place, path in enumerate(paths)
    ]


def _command(path: Path) -> str:
    return f"`ganforge evaluate {shlex.quote(str(path))}`"


def _read(path: Path, name: str, wanted: str, every: bool) -> list[Compared]:
    run = Run.open(path)
    stored, unreadable = read_evaluations(path)
    chosen = [evaluation for evaluation in stored if wanted in evaluation.path.name]
    if stored and not chosen:
        names = ", ".join(evaluation.path.name for evaluation in stored)
        raise UserError(f"--evaluation {printable(wanted)}: expected part of a name in {path}: {names}")
    if unreadable and not stored:
        raise UserError(f"{unreadable[0]} cannot be read: write it again with {_command(path)}")
    if not stored:
        return [Compared(name, run, NOT_EVALUATED, (), (f"{NOT_EVALUATED}: {_command(path)}",))]
    if every:
        return [_compared(run, f"{name}: {each.summary}", each) for each in chosen]
    first = _compared(run, name, chosen[0])
    notes = [f"{file.relative_to(path)} cannot be read" for file in unreadable]
    if len(stored) > 1:
        notes.append(f"1 of {len(stored)} evaluations ({chosen[0].summary}); all: --all-evaluations")
    return [replace(first, notes=(*first.notes, *notes))]


def _compared(run: Run, name: str, evaluation: StoredEvaluation) -> Compared:
    try:
        scores = tuple(Score.model_validate(_current(entry)) for entry in evaluation.scores)
    except ValidationError:
        again = f"write it again with {_command(run.path)}"
        raise UserError(f"{evaluation.path} cannot be read: {again}") from None
    steps = {str(score.protocol.get("step", "?")) for score in scores}
    return Compared(name, run, ", ".join(sorted(steps)), scores, _notes(evaluation.scores))


def _current(entry: dict[str, Any]) -> dict[str, Any]:
    """A stored score without fields of other versions, under the name that it has now."""
    known = {key: value for key, value in entry.items() if key in Score.model_fields}
    name = str(known.get("name"))
    return known | {"name": RENAMED.get(name, name)} if "name" in known else known


def _notes(entries: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What `_current` changed, in words."""
    notes = [
        f"{entry['name']} is called {RENAMED[entry['name']]} now"
        for entry in entries
        if entry["name"] in RENAMED
    ]
    if unknown := sorted({key for entry in entries for key in entry if key not in Score.model_fields}):
        notes.append(f"fields of another version are left out: {', '.join(map(printable, unknown))}")
    return tuple(notes)


def lines_of(runs: Sequence[Compared]) -> list[Line]:
    """All scores of `runs`, each kind of number in a line of its own.

    In one line are only scores of equal name, unit and protocol, of runs on the same data: all of the
    protocol counts but the step and Parzen's sigma, which belong to the run. Equal data have one name, that
    of the first run.
    """
    lines: dict[str, dict[str, Line]] = {}
    names: dict[str, str] = {}
    for place, compared in enumerate(runs):
        config = compared.run.config
        drawn = "" if config.data.binarise == "none" else f", binarise {config.data.binarise}"
        name = names.setdefault(config.fingerprint, config.data.data)
        data = {"trained on": f"{name}{drawn}, fingerprint {config.fingerprint[:12]}"}
        if config.origin is not None:
            data = {"trained on": "unknown data"}
        own = re.compile(rf"(?<!\S){re.escape(config.data.data)}(?=\s)")
        for score in compared.scores:
            rule = {
                key: own.sub(name.replace("\\", r"\\"), value) if isinstance(value, str) else value
                for key, value in score.protocol.items()
                if key not in FREE_TO_DIFFER
            }
            protocol = rule | data
            key = json.dumps([score.unit, protocol], sort_keys=True)
            line = lines.setdefault(score.name, {}).setdefault(
                key, Line(score.name, score.unit, protocol, "", {})
            )
            line.scores[place] = score
    return [line for same_name in lines.values() for line in distinguish(list(same_name.values()))]


def distinguish(lines: list[Line]) -> list[Line]:
    """The lines of one score, each with what its protocol does not share with all."""
    keys = sorted({key for line in lines for key in line.protocol})
    differing = [key for key in keys if len({str(line.protocol.get(key, "none")) for line in lines}) > 1]
    return [
        replace(line, differs="; ".join(f"{key}: {line.protocol.get(key, 'none')}" for key in differing))
        for line in lines
    ]


def cell_of(score: Score | None) -> str:
    """A score as text, without its unit; a dash where the run has none under this protocol."""
    if score is None:
        return "-"
    return f"{score.value:.4g}" + ("" if score.plus_minus is None else f" ± {score.plus_minus:.3g}")


def shared_note(lines: Sequence[Line]) -> str:
    """What the protocols of all lines have in common, in words."""
    first = lines[0].protocol if lines else {}
    shared = [key for key in first if all(line.protocol.get(key) == first[key] for line in lines)]
    return "; ".join(f"{key}: {first[key]}" for key in shared)
