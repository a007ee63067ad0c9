"""Runs that differ in the seed only, as one group: mean, spread and count of its scores."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.evaluation.compare import Compared, Line, cell_of
from ganforge.evaluation.statistics import Summary, clear_best, order, p_value
from ganforge.runs.folder import RunConfig
from ganforge.runs.options import FREE_TO_CHANGE, LOCATIONS

_SEED_AT_END = re.compile(r"([-_/.]?seeds?)?[-_/.]?[0-9]*$")


@dataclass(frozen=True)
class Group:
    """Runs by their places among those compared: one, or several that differ in the seed only."""

    name: str
    places: tuple[int, ...]


def group_runs(runs: Sequence[Compared]) -> list[Group]:
    """The groups of `runs`, in the order of their first runs; a seed that repeats begins another group."""
    grouped: list[tuple[str, list[int]]] = []
    for place, compared in enumerate(runs):
        key, seed = _key(compared.run.config), compared.run.config.train.seed
        for other, places in grouped:
            if other == key and seed not in {runs[each].run.config.train.seed for each in places}:
                places.append(place)
                break
        else:
            grouped.append((key, [place]))
    names = [_name([runs[place].name for place in places]) for _, places in grouped]
    return [
        Group(name if names.count(name) == 1 else runs[places[0]].name, tuple(places))
        for name, (_, places) in zip(names, grouped, strict=True)
    ]


def _key(config: RunConfig) -> str:
    """All that makes a run what it is, but its seed."""
    return json.dumps([config.fingerprint, config.origin and config.origin.sha256, settings_of(config)])


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The options that decide what a run learns, by group and name, without its seed and places of files."""
    values = config.model_dump(mode="json")
    settings: dict[str, Any] = {"system": config.system}
    for group in ("config", "data", "train"):
        for name, value in sorted(values[group].items()):
            free = f"{group}.{name}" in FREE_TO_CHANGE and name != "steps"
            if not free and f"{group}.{name}" not in LOCATIONS and name != "seed":
                settings[f"{group}.{name}"] = value
    # Parts trained by the same seed, such as runs/encoder/seed-0 of runs/gan/seed-0, are one part.
    seed = re.compile(rf"(?<![0-9]){config.train.seed}(?![0-9])")
    for name, place in (("from", config.start_from), ("text_encoder", config.data.text_encoder)):
        settings[name] = None if place is None else seed.sub("SEED", place)
    return settings


def _name(names: Sequence[str]) -> str:
    """What the names of runs share, without the seed at the end: a-seed-0 and a-seed-1 are a."""
    if len(names) == 1:
        return names[0]
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in same)
    return _SEED_AT_END.sub("", shared) or names[0]


def differences(runs: Sequence[Compared], groups: Sequence[Group]) -> dict[str, list[str]]:
    """Option -> its value in each group, where these differ; of different systems the options all have."""
    configs = [runs[group.places[0]].run.config for group in groups]
    settings = [settings_of(config) for config in configs]
    for config, values in zip(configs, settings, strict=True):
        values["data.data"] = f"{config.data.data} ({config.fingerprint[:12]})"
    same_data = len({config.fingerprint for config in configs}) == 1
    shown: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for values in settings for name in values):
        if not all(name in values for values in settings) or (name == "data.data" and same_data):
            continue
        texts = [_text(values[name]) for values in settings]
        if len(set(texts)) > 1:
            shown[name.rpartition(".")[2]] = texts
    return shown


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def summary_of(line: Line, group: Group) -> Summary | None:
    """The values of a group in a line; None where none of its runs has the score under this protocol."""
    values = tuple(line.scores[place].value for place in group.places if place in line.scores)
    return Summary(values) if values else None


def summaries_of(line: Line, groups: Sequence[Group]) -> list[Summary | None]:
    """The values of each group in a line."""
    return [summary_of(line, group) for group in groups]


def best_group(line: Line, groups: Sequence[Group]) -> int | None:
    """The place of the group that is best by more than the spread; None where there is none."""
    return clear_best(line.name, summaries_of(line, groups))


def line_p_value(line: Line, groups: Sequence[Group]) -> float | None:
    """The p-value of the best group against the next; of two groups also where neither can be best."""
    summaries = summaries_of(line, groups)
    present = [place for place, summary in enumerate(summaries) if summary is not None]
    places = order(line.name, summaries) or (present if len(present) == 2 else [])
    if len(places) < 2:
        return None
    first, second = summaries[places[0]], summaries[places[1]]
    assert first is not None
    assert second is not None
    return p_value(first, second)


def group_cell(line: Line, group: Group) -> str:
    """A group in a line as text: mean ± standard deviation over seeds; of one run what it scored.

    Where some of its runs have no such score, the count of those that have it follows.
    """
    summary = summary_of(line, group)
    if summary is None or len(group.places) == 1:
        return cell_of(line.scores.get(group.places[0]))
    spread = "" if summary.deviation is None else f" ± {summary.deviation:.2g}"
    fewer = "" if summary.count == len(group.places) else f" (n={summary.count})"
    return f"{summary.mean:.4g}{spread}{fewer}"


def steps_of(runs: Sequence[Compared], group: Group) -> str:
    """The steps at which the runs of a group were evaluated."""
    return ", ".join(dict.fromkeys(runs[place].step for place in group.places))


def seeds_of(runs: Sequence[Compared], group: Group) -> list[int]:
    """The training seeds of a group."""
    return [runs[place].run.config.train.seed for place in group.places]


SEEDS_NOTE = "± of several seeds: their standard deviation; of one run: how exactly the score was measured"
BOLD_NOTE = "bold: best by more than the larger standard deviation of the two that are compared"
P_NOTE = (
    "p: the share of all divisions of the values into two groups that differ at least as much; of the best "
    "group against the next; not corrected for the number of scores"
)
