"""The report page of a run: `report.html`, self-contained, written from the run folder alone."""

import json
import re
import shlex
from collections.abc import Iterable, Set
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from ganforge.errors import UserError
from ganforge.files.atomic import replace_file
from ganforge.reporting.charts import NUM_COLOURS, Points, curves_svg
from ganforge.reporting.grids import embed_png
from ganforge.reporting.log import Log, measures, number_of, read_log, series_of

SERIES_NAMES = {"real_probability": "D(real)", "fake_probability": "D(fake)"}

PROBABILITIES = (
    "D(real) and D(fake): the discriminator's mean probability of real for real and generated samples. "
    "At 1/2 it cannot distinguish them."
)
ABOUT_PAGE = (
    "This page was written from the run folder alone and loads nothing from elsewhere. In long charts the "
    "thin line is the logged values, the thick line a moving average; a dotted vertical line marks a resume."
)
MOST_FRAMES = 12
MOST_NOTES = 100
NEIGHBOURS = "Each sample with its nearest training image, framed, to its right."
NEWEST_SIDE, FRAME_SIDE = 1600, 640  # pixels: larger images are shrunk for the page


def write_report(run: Path) -> Path:
    """Write `report.html` into the run folder and return its path.

    Reads nothing outside the folder and needs only its `config.json`; every other part may be missing.
    Equal folders give equal bytes. Raises `UserError` where `run` is not a run folder.
    """
    run = Path(run)
    config = _read_config(run)
    log = read_log(run / "metrics.jsonl")
    evaluation = _read_evaluation(run / "evaluation.json", log)
    sections = [
        _heading(run, config, log),
        _newest(run, log),
        _diagnosis(log),
        _charts(log),
        _best(run),
        _progress(run, log),
        _section("Nearest training images", _image(run / "neighbours.png", NEWEST_SIDE, NEIGHBOURS, log)),
        _scores(evaluation),
        _cost(log),
        _settings(config),
        _commands(run, log),
        _origin(config, log),
    ]
    template = Template(resources.files("ganforge.reporting").joinpath("template.html").read_text("utf-8"))
    page = template.substitute(title=escape(_title(run, config)), body="\n".join(filter(None, sections)))
    path = run / "report.html"
    # A lone surrogate (an undecodable file name in a command) has no UTF-8.
    replace_file(path, page.encode("utf-8", "backslashreplace"))
    return path


def _read_config(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no config.json in {run}: is it a run folder, such as runs/NAME?") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds {type(config).__name__}, expected an object")
    return config


def _read_evaluation(path: Path, log: Log) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_bytes())
    except ValueError:
        log.remarks.append("evaluation.json could not be read.")
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>" if body else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(value: Any) -> str:
    """One setting as escaped text."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return (
            ", ".join(f"{escape(_words(str(key)))} {_value(item)}" for key, item in value.items()) or "none"
        )
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return escape(str(value)) or "none"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{minutes // 60} h {minutes % 60} min"


def _size(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and already escaped values; empty values are left out."""
    lines = [f"<tr><th>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows if value]
    return f'<div class="scroll"><table class="pairs">{"".join(lines)}</table></div>' if lines else ""


def _title(run: Path, config: dict[str, Any]) -> str:
    data = _dict(config.get("data")).get("data", "")
    return " · ".join(str(part) for part in (config.get("system"), data, run.resolve().name) if part)


def _heading(run: Path, config: dict[str, Any], log: Log) -> str:
    first, *rest = (escape(part) for part in _title(run, config).split(" · "))
    # Steps are a field of the system's own configuration.
    steps = number_of((_dict(config.get("train")) | _dict(config.get("config"))).get("steps"))
    done = log.newest("step") or 0
    if steps and done >= steps:
        state = f"Finished: {done:,.0f} steps"
    else:
        stopped = "Stopped" if log.lines and log.lines[-1]["kind"] == "end" else "Stopped or still running"
        state = f"{stopped}: {done:,.0f}" + (f" of {steps:,.0f} steps" if steps else " steps")
    facts = [state if log.lines else "Not started" + (f": 0 of {steps:,.0f} steps" if steps else "")]
    if (images := log.newest("images")) is not None:
        facts.append(f"{images:,.0f} images")
    if (seconds := log.seconds) is not None:
        facts.append(_duration(seconds))
    name = "".join(f" <span>· {part}</span>" for part in rest)
    return f'<header>\n<h1>{first}{name}</h1>\n<p class="quiet">{", ".join(facts)}.</p>\n</header>'


def _image(path: Path, longest_side: int, caption: str, log: Log) -> str:
    """A figure of the image; empty where there is none, with a remark where it cannot be read."""
    try:
        return embed_png(path, longest_side, caption) if path.exists() else ""
    except UserError as error:
        log.remarks.append(f"An image was left out: {error}.")
        return ""


def _grids(run: Path) -> list[tuple[int, Path]]:
    """The step and path of every sample grid, in order."""
    paths = (run / "samples").glob("*.png")
    return sorted((int(path.stem), path) for path in paths if re.fullmatch("[0-9]+", path.stem))


def _newest(run: Path, log: Log) -> str:
    figures = []
    if grids := _grids(run):
        step, path = grids[-1]
        figures.append(_image(path, NEWEST_SIDE, f"Samples at step {step:,}", log))
    figures.append(_image(run / "samples.png", NEWEST_SIDE, "Samples after training", log))
    body = "\n".join(filter(None, figures))
    return f'<section class="newest">\n{body}\n</section>' if body else ""


def _progress(run: Path, log: Log) -> str:
    grids = _grids(run)
    if len(grids) < 2:
        return ""
    count = min(len(grids), MOST_FRAMES)
    chosen = [grids[round(index * (len(grids) - 1) / (count - 1))] for index in range(count)]
    frames = "\n".join(_image(path, FRAME_SIDE, f"step {step:,}", log) for step, path in chosen)
    caption = '<p class="quiet">Samples of the same latents during training.</p>'
    return _section("Samples over time", f'{caption}\n<div class="frames">\n{frames}\n</div>')


def _diagnosis(log: Log) -> str:
    """Warnings of the training diagnosis, in the order of steps."""
    notes = [f"step {line['step']:,}: {escape(str(line.get('text')))}" for line in log.diagnosis]
    return _section("Training diagnosis", _listed(notes))


def _charts(log: Log) -> str:
    series = series_of(log)
    losses = {key: points for key, points in series.items() if key.endswith("_loss")}
    probabilities = {key: points for key, points in series.items() if key.endswith("_probability")}
    large = []
    if losses:
        large.append(_chart("Losses", {_words(key[: -len("_loss")]): losses[key] for key in losses}, log))
    if probabilities:
        named = {SERIES_NAMES.get(key, _words(key)): probabilities[key] for key in probabilities}
        large.append(_chart("Discriminator probabilities", named, log, fixed=(0.0, 1.0), rule=0.5))
    others = series.keys() - losses.keys() - probabilities.keys()
    groups: dict[str, dict[str, Points]] = {}
    for key in sorted(others):
        title, name = _chart_of(key, others)
        groups.setdefault(title, {})[name] = series[key]
    small = [_chart(title, curves, log) for title, curves in groups.items()]
    body = f'<div class="charts">{"".join(large)}</div>' if large else ""
    body += f'<p class="quiet"><small>{PROBABILITIES}</small></p>' if probabilities else ""
    more = f'<div class="small charts">{"".join(small)}</div>' if small else ""
    return _section("Training", body) + "\n" + _section("Other measurements", more)


def _best(run: Path) -> str:
    """The checkpoint with the best score, and the command that samples it."""
    blocks = []
    for file in sorted((run / "checkpoints" / "best").glob("[0-9]*/state.json")):
        try:
            state = _dict(json.loads(file.read_bytes()))
        except ValueError:  # damaged: `ganforge sample` says so
            continue
        value, step = number_of(state.get("value")), number_of(state.get("step"))
        if value is not None and step is not None:
            command = f"ganforge sample {shlex.quote(str(run))} --checkpoint best"
            metric, protocol = escape(_words(str(state.get("metric")))), escape(str(state.get("protocol")))
            blocks.append(
                f"<p>{metric} <b>{value:.4g}</b> at step {step:,.0f}: <code>{escape(command)}</code></p>"
                f'<p class="quiet">{protocol}</p>'
            )
    return _section("Best checkpoint", "".join(blocks[-1:]))


def _chart_of(key: str, keys: Set[str]) -> tuple[str, str]:
    """The chart of a metric and its name in the legend: samples and real images share one."""
    for kind in ("gradient_norm", "skipped_updates"):
        if key.endswith(f"_{kind}"):
            return _words(f"{kind.removesuffix('s')}s"), _words(key.removesuffix(f"_{kind}"))
    plain = key.removeprefix("real_")
    if {plain, f"real_{plain}"} <= keys:
        return _words(plain), "samples" if key == plain else "real images"
    return _words(key), key


def _chart(title: str, curves: dict[str, Points], log: Log, **axis: Any) -> str:
    """A figure: the curves over steps, with the newest value of each in the legend."""
    marks = [start["step"] for start in log.starts]
    svg, beyond = curves_svg(curves, f"{title} over steps", marks=marks, **axis)
    legend = []
    for index, (name, points) in enumerate(curves.items()):
        swatch = f'<i class="b{index % NUM_COLOURS}"></i>{escape(name)}' if len(curves) > 1 else "newest"
        legend.append(f"<span>{swatch} {points[-1][1]:.4g}</span>")
    if beyond:
        legend.append(f"<span>{beyond:,} points beyond the axis</span>")
    return f'<figure><b>{escape(title)}</b><div class="legend">{"".join(legend)}</div>{svg}</figure>'


def _note(line: dict[str, Any]) -> str:
    """A log line of another kind, as escaped text."""
    text = line.get("text")
    rest = {key: value for key, value in line.items() if key not in ("step", "text", "kind")}
    words = [] if line.get("kind") == "note" else [escape(_words(str(line.get("kind"))))]
    words += [escape(str(text))] if text is not None else []
    return ": ".join(words + ([_value(rest)] if rest else []))


def _scores(evaluation: list[dict[str, Any]]) -> str:
    rows = []
    for entry in evaluation:
        value, error = number_of(entry.get("value")), number_of(entry.get("plus_minus"))
        score = "not finite" if value is None else f"<b>{value:.4g}</b>"
        score += f" ± {error:.2g}" if error is not None else ""
        score += f" {escape(str(entry.get('unit') or ''))}"
        name, note = (escape(str(entry.get(key) or "")) for key in ("name", "note"))
        cells = (_words(name), score, _value(_dict(entry.get("protocol"))), note)
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "<tr><th>score</th><th>value</th><th>protocol</th><th>note</th></tr>"
    table = f'<div class="card scroll"><table class="scores">{head}{"".join(rows)}</table></div>'
    return _section("Scores", table) if rows else ""


def _cost(log: Log) -> str:
    start = log.starts[-1] if log.starts else {}
    rows: list[tuple[str, str]] = []
    measured = {
        "start-up": (number_of(start.get("startup_seconds")), _duration),
        "training time": (log.seconds, _duration),
        "images per second": (log.newest("images_per_second"), lambda rate: f"{rate:,.4g}"),
        "seconds per step": (log.newest("seconds_per_step"), lambda pace: f"{pace:.4g}"),
        "peak memory": (log.newest("peak_memory_bytes"), _size),
    }
    rows += [(name, show(value)) for name, (value, show) in measured.items() if value is not None]
    counts = [(_words(name), number_of(count)) for name, count in _dict(start.get("parameters")).items()]
    rows.append(("parameters", ", ".join(f"{escape(name)} {count:,.0f}" for name, count in counts if count)))
    shown = {"kind", "step", "session", "command", "startup_seconds", "parameters"}
    rows += [(_words(key), _value(value)) for key, value in start.items() if key not in shown]
    rows.append(("started", f"{len(log.starts)} times" if len(log.starts) > 1 else ""))
    table = _pairs(rows)
    return _section("Cost", f'<div class="card">{table}</div>' if table else "")


def _settings(config: dict[str, Any]) -> str:
    parts = [("System", "config"), ("Training", "train"), ("Data", "data"), ("Images", "spec")]
    cards = []
    for heading, key in parts:
        table = _pairs((_words(name), _value(value)) for name, value in _dict(config.get(key)).items())
        if table:
            cards.append(f'<div class="card"><h3>{heading}</h3>{table}</div>')
    return _section("Settings", f'<div class="columns">{"".join(cards)}</div>' if cards else "")


def _commands(run: Path, log: Log) -> str:
    commands = [("Sample", f"ganforge sample {shlex.quote(str(run))} --count 64 --seed 7 --out samples.png")]
    recorded = next((str(start["command"]) for start in reversed(log.starts) if start.get("command")), None)
    if recorded:
        commands.insert(0, ("Resume, or train longer with more steps: the same command", recorded))
    body = "".join(f"<h3>{name}</h3><pre><code>{escape(text)}</code></pre>" for name, text in commands)
    return _section("Commands", body)


def _origin(config: dict[str, Any], log: Log) -> str:
    version, torch_version = config.get("ganforge"), log.starts[-1].get("torch") if log.starts else None
    versions = [
        f"ganforge {version}" if version else "ganforge",
        f"torch {torch_version}" if torch_version else "",
    ]
    text = f"Trained with {escape(' and '.join(filter(None, versions)))}. {ABOUT_PAGE}"
    body = f"<p>{text}</p>"
    if fingerprint := config.get("fingerprint"):
        body += f'<p class="quiet">Fingerprint <code>{escape(str(fingerprint))}</code></p>'
    others = [line for line in log.others if not measures(line) and line.get("kind") != "diagnosis"]
    notes = [f"step {line['step']:,}: {_note(line)}" for line in others]
    notes += [escape(remark) for remark in log.remarks]
    return _section("Notes", _listed(notes)) + _section("About this page", body)


def _listed(notes: list[str]) -> str:
    """A list of already escaped notes; only the last of very many."""
    if len(notes) > MOST_NOTES:
        notes = [f"{len(notes) - MOST_NOTES:,} earlier ones are in metrics.jsonl.", *notes[-MOST_NOTES:]]
    return f"<ul>{''.join(f'<li>{note}</li>' for note in notes)}</ul>" if notes else ""
