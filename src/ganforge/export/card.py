"""The model card of a shared run: README.md with the metadata that the Hugging Face hub reads."""

import inspect
import json
from dataclasses import dataclass
from typing import Any

from ganforge.errors import printable
from ganforge.export.places import command_without_paths, name_of
from ganforge.export.scores import scores_of
from ganforge.reporting.evaluations import StoredEvaluation
from ganforge.reporting.log import number_of, read_log
from ganforge.runs.folder import LOG, Run
from ganforge.runs.identity import original_command
from ganforge.runs.trained import Trained
from ganforge.system import generates_images
from ganforge.version import __version__

NOT_STATED = "not stated"
SHOWN_CLASSES = 20
OF_THE_MACHINE = ("sampling_speed",)
"""Scores of the computer rather than of the run."""


@dataclass(frozen=True)
class Licences:
    """The licence of the weights, an identifier of the hub such as `apache-2.0`, and that of the data."""

    weights: str | None = None
    data: str | None = None


def model_card(trained: Trained, name: str, image: str | None, licences: Licences) -> str:
    """The card of `trained`, which is called `name`; `image` is a file of samples next to it."""
    run, config = trained.run, trained.run.config
    evaluation = scores_of(trained)
    paper = (inspect.getdoc(type(trained.system)) or "").partition("\n")[0]
    sections = [
        _metadata(trained, name, licences, evaluation),
        f"# {name.rpartition('/')[2]}\n\n`{config.system}`, trained with ganforge {config.ganforge}, step "
        f"{trained.step:,}. {paper}",
        f"![samples]({image})" if image else "",
        "## Use\n\n" + _use(trained, name),
        "## Data\n\n" + _data(trained, licences),
        "## Training\n\n" + _training(run, trained.step),
        "## Scores\n\n" + _scores(evaluation),
        "## Limits\n\n" + _limits(trained),
        f"Licence of the weights: {licences.weights or NOT_STATED}.\n",
    ]
    return "\n\n".join(filter(None, sections))


def _metadata(trained: Trained, name: str, licences: Licences, evaluation: StoredEvaluation | None) -> str:
    """Front matter in YAML, whose values are JSON."""
    config = trained.run.config
    task = _task(trained)
    values: dict[str, Any] = {
        "library_name": "ganforge",
        "tags": ["ganforge", config.system, "image-generation"],
        "pipeline_tag": task,
    }
    if licences.weights:
        values["license"] = licences.weights
    metrics = [
        {"type": str(score["name"]), "value": value, "name": str(score["name"])}
        for score in (evaluation.scores if evaluation else ())
        if score.get("name") not in (None, *OF_THE_MACHINE)
        and (value := number_of(score.get("value"))) is not None
    ]
    if metrics:
        data = printable(name_of(config.data.data))
        result = {
            "task": {"type": task},
            "dataset": {"name": data, "type": data},
            "metrics": metrics,
        }
        values["model-index"] = [{"name": name.rpartition("/")[2], "results": [result]}]
    lines = (f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in values.items())
    return "\n".join(["---", *lines, "---"])


def _task(trained: Trained) -> str:
    """The hub's name for what the system does."""
    needs = trained.system.needs
    if not generates_images(trained.system):
        return "feature-extraction"
    if "sources" in needs:
        return "image-to-image"
    return "text-to-image" if "embeddings" in needs else "unconditional-image-generation"


def _use(trained: Trained, name: str) -> str:
    place = f"hf:{name}" if "/" in name else name
    call = "run.sample(16, seed=0).pil()"
    if "sources" in trained.system.needs:
        call = 'ganforge.apply(run, "images", "out")'
    elif "embeddings" in trained.system.needs:
        call = f"# ganforge sample {place} --text 'a prompt'"
    elif not generates_images(trained.system):
        call = "# embeds captions: --text-encoder of ganforge train gan_cls"
    return (
        f'```python\nimport ganforge\n\nrun = ganforge.load("{place}")   # or the path of this folder\n'
        f"{call}\n```\n\n"
        "The folder holds data only: options in `config.json`, averaged weights in `model.safetensors`."
    )


def _data(trained: Trained, licences: Licences) -> str:
    config, spec = trained.run.config, trained.run.config.spec
    classes = ", ".join(printable(each) for each in spec.class_names[:SHOWN_CLASSES])
    more = ", ..." if len(spec.class_names) > SHOWN_CLASSES else ""
    shape = (
        "2-D points"
        if spec.values == "points"
        else f"{spec.width}x{spec.height}, {spec.channels} channel{'s' * (spec.channels > 1)}"
    )
    rows = [
        f"- data: {printable(name_of(config.data.data))}, {spec.num_images:,} training examples, {shape}",
        f"- licence of the data: {licences.data or NOT_STATED}",
        f"- classes: {classes}{more}" if classes else "",
        f"- SHA-256 of the data: `{config.fingerprint}`",
    ]
    return "\n".join(filter(None, rows))


def _training(run: Run, step: int) -> str:
    starts = run.metrics("start")
    log = read_log(run.path / LOG)
    rows = [f"- steps: {step:,}"]
    if command := original_command(run):
        rows.append(f"- command: `{command_without_paths(command, run.config)}`")
    beyond = any(line["step"] > step for line in log.lines)  # an earlier checkpoint than the newest
    if (seconds := log.seconds) and not beyond:
        rows.append(f"- minutes of training: {seconds / 60:.3g}")
    if starts and (machine := starts[-1].get("machine")):
        rows.append(f"- machine: {printable(str(machine))}, {starts[-1].get('precision', '')}")
    return "\n".join(rows)


def _scores(evaluation: StoredEvaluation | None) -> str:
    if evaluation is None:
        return "None: these weights were not evaluated (`ganforge evaluate`)."
    lines = [f"Of {evaluation.summary}.", "", "| score | value | protocol |", "|---|---|---|"]
    for score in evaluation.scores:
        if (value := number_of(score.get("value"))) is None:
            continue
        protocol = score.get("protocol")
        shown = (
            "; ".join(f"{key}: {each}" for key, each in protocol.items())
            if isinstance(protocol, dict)
            else ""
        )
        cells = (str(score.get("name")), f"{value:.4g} {score.get('unit', '')}".strip(), shown)
        lines.append("| " + " | ".join(printable(cell).replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def _limits(trained: Trained) -> str:
    spec = trained.run.config.spec
    limits = [f"- It knows nothing but its {spec.num_images:,} training examples, and has their biases."]
    if spec.values == "pixels" and generates_images(trained.system):
        limits.append(
            f"- Its images have {spec.width}x{spec.height} pixels; it was trained at no other size."
        )
    limits.append(
        "- Samples may resemble training examples closely: `ganforge explore neighbours` shows the nearest."
    )
    limits.append(f"- It loads with ganforge {__version__} or later; no claim is made about other uses.")
    return "\n".join(limits)
