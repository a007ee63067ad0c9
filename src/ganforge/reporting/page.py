"""The report page of a run: `report.html`, self-contained, written from the run folder alone."""

import re
import shlex
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

from ganforge.errors import UserError
from ganforge.files.reading import read_json
from ganforge.reporting.charts import Points, chart_of, colours_of
from ganforge.reporting.evaluations import RULE, StoredEvaluation, read_evaluations
from ganforge.reporting.grids import Figure, embed_png
from ganforge.reporting.html import words, write_page
from ganforge.reporting.log import PROBABILITIES, Log, measures, number_of, read_log, series_of
from ganforge.reporting.protocols import state_once
from ganforge.reporting.units import duration, size

MOST_FRAMES = 12
MOST_NOTES = 100
NEIGHBOURS = "Each sample with its nearest training image, framed, to its right."
NEWEST_SIDE, FRAME_SIDE = 1600, 640  # pixels: larger images are shrunk for the page


def write_report(run: Path, *, running: bool = False) -> Path:
    """Write `report.html` into the run folder and return its path; of a `running` one it reloads itself.

    Reads nothing outside the folder and needs only its `config.json`; every other part may be missing.
    Equal folders give equal bytes. Raises `UserError` where `run` is not a run folder.
    """
    run = Path(run)
    config, log = _read_config(run), read_log(run / "metrics.jsonl")
    values = _described(run, config, log, running)
    images = _grids(run)
    values |= {
        "title": " · ".join(values["name"]),
        "running": running,
        "newest": _newest(run, images, log),
        "frames": _frames(images, log),
        "neighbours": _image(run / "neighbours.png", NEWEST_SIDE, NEIGHBOURS, log),
    }
    path = run / "report.html"
    write_page(path, "report.html", **values, notes=_notes(log))  # of everything that was left out
    return path


def detail_of(run: Path, *, running: bool = False) -> dict[str, Any]:
    """What the report of a run says, without its images; reads and raises as `write_report`."""
    config, log = _read_config(run), read_log(run / "metrics.jsonl")
    return _described(run, config, log, running) | {"notes": _notes(log)}


def _described(run: Path, config: dict[str, Any], log: Log, running: bool) -> dict[str, Any]:
    evaluations, unreadable = read_evaluations(run)
    log.remarks += [f"{path.relative_to(run)} could not be read." for path in unreadable]
    return {
        "name": _name(run, config),
        "facts": _facts(config, log, running),
        "diagnosis": _last(f"step {line['step']:,}: {line.get('text')}" for line in log.diagnosis),
        "charts": _charts(log),
        "best": _best(run),
        "evaluations": _evaluations(evaluations),
        "cost": _cost(log),
        "settings": _settings(config),
        "commands": _commands(run, config, log),
        "versions": _versions(config, log),
        "fingerprint": config.get("fingerprint"),
    }


def _read_config(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    try:
        config = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no config.json in {run}: is it a run folder, such as runs/NAME?") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds {type(config).__name__}, expected an object")
    return config


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """One setting as text."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{words(str(key))} {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return str(value) or "none"


def _name(run: Path, config: dict[str, Any]) -> list[str]:
    data = _dict(config.get("data")).get("data", "")
    return [str(part) for part in (config.get("system"), data, run.resolve().name) if part]


def _facts(config: dict[str, Any], log: Log, running: bool) -> list[str]:
    """The state of the run, images seen and time."""
    # Steps are a field of the system's own configuration.
    steps = number_of((_dict(config.get("train")) | _dict(config.get("config"))).get("steps"))
    done, of_steps = log.newest("step") or 0, f" of {steps:,.0f} steps" if steps else " steps"
    if origin := _dict(config.get("origin")):
        return [f"Imported from {_text(origin.get('file'))} ({_text(origin.get('kind'))})"]
    if not log.lines:
        return [f"{'Running' if running else 'Not started'}" + (f": 0{of_steps}" if steps else "")]
    if steps and done >= steps:
        state = f"Finished: {done:,.0f} steps"
    elif running:
        state = f"Running: {done:,.0f}{of_steps}"
    else:
        stopped = "Stopped" if log.lines[-1]["kind"] == "end" else "Stopped or still running"
        state = f"{stopped}: {done:,.0f}{of_steps}"
    facts = [state]
    if (images := log.newest("images")) is not None:
        facts.append(f"{images:,.0f} images")
    if (seconds := log.seconds) is not None:
        facts.append(duration(seconds))
    return facts


def _image(path: Path, longest_side: int, caption: str, log: Log) -> Figure | None:
    """The image in `path`; None where there is none, with a remark where it cannot be read."""
    try:
        return embed_png(path, longest_side, caption) if path.exists() else None
    except UserError as error:
        log.remarks.append(f"An image was left out: {error}.")
        return None


def _grids(run: Path) -> list[tuple[int, Path]]:
    """The step and path of every sample grid, in order."""
    paths = (run / "samples").glob("*.png")
    return sorted((int(path.stem), path) for path in paths if re.fullmatch("[0-9]+", path.stem))


def _newest(run: Path, grids: list[tuple[int, Path]], log: Log) -> list[Figure]:
    figures = [_image(path, NEWEST_SIDE, f"Samples at step {step:,}", log) for step, path in grids[-1:]]
    figures.append(_image(run / "samples.png", NEWEST_SIDE, "Samples after training", log))
    return [figure for figure in figures if figure]


def _frames(grids: list[tuple[int, Path]], log: Log) -> list[Figure]:
    if len(grids) < 2:
        return []
    count = min(len(grids), MOST_FRAMES)
    chosen = [grids[round(index * (len(grids) - 1) / (count - 1))] for index in range(count)]
    figures = [_image(path, FRAME_SIDE, f"step {step:,}", log) for step, path in chosen]
    return [figure for figure in figures if figure]


def _charts(log: Log) -> dict[str, Any] | None:
    """Losses and probabilities, which are large, and the charts of all other numbers; None without any."""
    series = series_of(log)
    losses = {words(key.removesuffix("_loss")): series[key] for key in series if key.endswith("_loss")}
    probabilities = {
        PROBABILITIES.get(key, words(key)): series[key] for key in series if key.endswith("_probability")
    }
    others = {key for key in series if not key.endswith(("_loss", "_probability"))}
    groups: dict[str, dict[str, Points]] = {}
    for key in sorted(others):
        title, name = _chart_name(key, others)
        groups.setdefault(title, {})[name] = series[key]
    every = [losses, probabilities, *groups.values()]
    # A curve that is alone in its chart is not named there, and needs no colour of its own.
    colours = colours_of(name for curves in every if len(curves) > 1 for name in curves)
    colours |= {name: colours.get(name, "c0") for curves in every for name in curves}
    marks = [start["step"] for start in log.starts]
    large = []
    if losses:
        large.append(chart_of("Losses", losses, colours, marks=marks))
    if probabilities:
        title = "Discriminator probabilities"
        large.append(chart_of(title, probabilities, colours, fixed=(0.0, 1.0), rule=0.5, marks=marks))
    small = [chart_of(title, curves, colours, marks=marks) for title, curves in groups.items()]
    return {"large": large, "small": small, "probabilities": bool(probabilities)} if series else None


def _chart_name(key: str, keys: Set[str]) -> tuple[str, str]:
    """The chart of a metric and its name in the legend: samples and real images share one."""
    for kind in ("gradient_norm", "skipped_updates"):
        if key.endswith(f"_{kind}"):
            return words(f"{kind.removesuffix('s')}s"), words(key.removesuffix(f"_{kind}"))
    plain = key.removeprefix("real_")
    if {plain, f"real_{plain}"} <= keys:
        return words(plain), "samples" if key == plain else "real images"
    return words(key), key


def _best(run: Path) -> dict[str, Any] | None:
    """The checkpoint with the best score, and the command that samples it."""
    best: dict[str, Any] | None = None
    for file in sorted((run / "checkpoints" / "best").glob("[0-9]*/state.json")):
        try:
            state = _dict(read_json(file))
        except (OSError, ValueError):  # damaged: `ganforge sample` says so
            continue
        value, step = number_of(state.get("value")), number_of(state.get("step"))
        if value is not None and step is not None:
            command = f"ganforge sample {shlex.quote(str(run))} --checkpoint best"
            best = {
                "metric": str(state.get("metric")),
                "protocol": str(state.get("protocol")),
                "value": value,
                "step": step,
                "command": command,
            }
    return best


def _score_table(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores with what is special to each; what most share, and long texts, are stated once below."""
    protocols = [
        {words(str(key)): _text(value) for key, value in _dict(entry.get("protocol")).items()}
        for entry in entries
    ]
    stated = state_once(protocols)
    rows = [
        {
            "name": str(entry.get("name") or ""),
            "value": number_of(entry.get("value")),
            "spread": number_of(entry.get("plus_minus")),
            "unit": str(entry.get("unit") or ""),
            "protocol": _joined(special),
            "note": str(entry.get("note") or ""),
        }
        for entry, special in zip(entries, stated.special, strict=True)
    ]
    return {"rows": rows, "shared": _joined(stated.shared), "notes": stated.notes}


def _joined(protocol: dict[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in protocol.items())


def _evaluations(evaluations: list[StoredEvaluation]) -> dict[str, Any] | None:
    """The most trustworthy evaluation, why it is, and the others."""
    if not evaluations:
        return None
    first, *others = evaluations
    return {
        "first": _score_table(first.scores),
        "chosen": f"Of {len(evaluations)} evaluations this one is chosen by {RULE}: {first.summary}."
        if others
        else "",
        "others": [
            (", ".join(filter(None, (other.summary, other.date[:10]))), _score_table(other.scores))
            for other in others
        ],
    }


def _cost(log: Log) -> list[tuple[str, str]]:
    start = log.starts[-1] if log.starts else {}
    measured = {
        "start-up": (number_of(start.get("startup_seconds")), duration),
        "training time": (log.seconds, duration),
        "images per second": (log.newest("images_per_second"), _rate),
        "time per step": (log.newest("seconds_per_step"), duration),
        "peak memory": (log.newest("peak_memory_bytes"), size),
    }
    rows = [(name, show(value)) for name, (value, show) in measured.items() if value is not None]
    counts = [(words(name), number_of(count)) for name, count in _dict(start.get("parameters")).items()]
    rows.append(("parameters", ", ".join(f"{name} {count:,.0f}" for name, count in counts if count)))
    shown = {"kind", "step", "session", "command", "startup_seconds", "parameters", "date"}
    rows += [(words(key), _text(value)) for key, value in start.items() if key not in shown]
    rows.append(("started", f"{len(log.starts)} times" if len(log.starts) > 1 else ""))
    return [(name, text) for name, text in rows if text]


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _settings(config: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    parts = [("System", "config"), ("Training", "train"), ("Data", "data"), ("Images", "spec")]
    cards = [
        (heading, [(words(str(name)), _text(value)) for name, value in _dict(config.get(key)).items()])
        for heading, key in parts
    ]
    return [(heading, rows) for heading, rows in cards if rows]


def _commands(run: Path, config: dict[str, Any], log: Log) -> list[tuple[str, str]]:
    commands = [("Sample", f"ganforge sample {shlex.quote(str(run))} --count 64 --seed 7 --out samples.png")]
    if not config.get("origin"):
        resume = f"ganforge resume {shlex.quote(str(run))}"
        commands.insert(0, ("Resume, or train longer with more --steps", resume))
    if recorded := next((str(start["command"]) for start in log.starts if start.get("command")), None):
        commands.append(("Begun by", recorded))
    return commands


def _versions(config: dict[str, Any], log: Log) -> str:
    version, torch_version = config.get("ganforge"), log.starts[-1].get("torch") if log.starts else None
    return (f"ganforge {version}" if version else "ganforge") + (
        f" and torch {torch_version}" if torch_version else ""
    )


def _notes(log: Log) -> list[str]:
    """Lines of the log that are no numbers, and what could not be read."""
    others = [line for line in log.others if not measures(line) and line.get("kind") != "diagnosis"]
    return _last([*(f"step {line['step']:,}: {_note(line)}" for line in others), *log.remarks])


def _note(line: dict[str, Any]) -> str:
    """A log line of another kind, as text."""
    text = line.get("text")
    rest = {key: value for key, value in line.items() if key not in ("step", "text", "kind")}
    parts = [] if line.get("kind") == "note" else [words(str(line.get("kind")))]
    parts += [str(text)] if text is not None else []
    return ": ".join(parts + ([_text(rest)] if rest else []))


def _last(notes: Iterable[str]) -> list[str]:
    """The notes; only the last of very many."""
    notes = list(notes)
    if len(notes) > MOST_NOTES:
        notes = [f"{len(notes) - MOST_NOTES:,} earlier ones are in metrics.jsonl.", *notes[-MOST_NOTES:]]
    return notes
