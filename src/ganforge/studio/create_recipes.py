"""How a result of Create is made again: as a command where there is one, and as Python."""

import json
import shlex
from collections.abc import Sequence

from ganforge.studio.create_models import Loaded
from ganforge.studio.create_points import OWN, SEED, Path, Point, Points, Upload
from ganforge.system import LatentSystem

LOAD = 'import ganforge\n\ntrained = ganforge.load("{place}")\n'


def expression_of(point: Point) -> str:
    """Its terms as `ganforge explore arithmetic` has them: "7 + 1.5*sefa-0"."""
    text = ""
    for name, exact in point.terms.items():
        factor = round(exact, 4)
        size = "" if abs(factor) == 1 else f"{abs(factor):.4f}".rstrip("0").rstrip(".") + "*"
        sign = "-" if factor < 0 else "+"
        text += f" {sign} {size}{name}" if text else f"{'-' if factor < 0 else ''}{size}{name}"
    return text


def command_of_images(loaded: Loaded, points: Sequence[Point]) -> str:
    """A command that makes these images; empty where none does."""
    first, seeds = points[0], [_seed_of(point) for point in points]
    alike = len({_conditions_of(point) for point in points}) == 1
    options = _options_of(first)
    if not alike or any(OWN.fullmatch(name) for point in points for name in point.terms):
        return ""
    if all(seed is not None for seed in seeds):
        codes = [word for index, value in first.codes.items() for word in ("--code", f"{index}={value:g}")]
        several = ["--seeds", ",".join(map(str, seeds))]
        if len(points) == 1:
            several = ["--count", "1", "--seed", str(seeds[0])]
        elif first.texts:
            return ""
        return _joined("sample", loaded, *several, *options, *codes, "--out", "samples.png")
    if len(points) == 1 and not first.codes:
        return _joined(
            "explore arithmetic", loaded, expression_of(first), *options, "--out", "arithmetic.png"
        )
    return ""


def command_of_path(loaded: Loaded, path: Path) -> str:
    """A command that writes this path; empty where none does."""
    seeds = [_seed_of(point) for point in path.points]
    truncations = {point.truncation for point in path.points}
    if None in seeds or any(point.codes or point.share for point in path.points) or len(truncations) > 1:
        return ""
    labels, texts = [point.label for point in path.points], [point.texts[:1] for point in path.points]
    options = ["--seeds", ",".join(map(str, seeds))]
    if any(label is not None for label in labels):
        options += ["--labels", ",".join(str(0 if label is None else label) for label in labels)]
    options += [word for text in texts for word in (["--text", *text] if text else [])]
    if path.points[0].truncation is not None:
        options += ["--truncation", f"{path.points[0].truncation:g}"]
    verb, ending = "walk" if path.closed else "interpolate", "webp" if path.form == "raw" else path.form
    options += ["--frames", str(path.frames), "--rate", str(path.rate), "--out", f"{verb}.{ending}"]
    return _joined(f"explore {verb}", loaded, *options)


def command_of_upload(loaded: Loaded, upload: Upload) -> str:
    """A command that does to a file what was done to the upload; empty where none does."""
    name = upload.file or "image.png"
    if upload.kind == "apply":
        lines = [] if upload.lines == "thin" else ["--lines", upload.lines]
        own = (
            ["--size", "own"] if upload.size == "own" and not loaded.trained.run.config.spec.enlarges else []
        )
        seed = [] if upload.seed == 0 else ["--seed", str(upload.seed)]
        return _joined("apply", loaded, name, *own, *lines, *seed, "--out", "result.png")
    if upload.kind == "project":
        label = [] if upload.label is None else ["--labels", str(upload.label)]
        text = ["--text", upload.text] if upload.text else []
        return _joined("explore project", loaded, name, *label, *text, "--out", "projection.png")
    return ""


def python_of_images(loaded: Loaded, points: Points) -> str:
    """A program that makes these images."""
    save = 'for number, image in enumerate(images.pil()):\n    image.save(f"image-{number}.png")\n'
    return f"{_keys(loaded, points)}images = trained.decode(keys.latents, keys.given())\n{save}"


def python_of_path(loaded: Loaded, path: Path) -> str:
    """A program that writes this path."""
    out = "path.webp" if path.form == "raw" else f"path.{path.form}"
    return (
        f"{_keys(loaded, path)}explore.write_path(\n"
        f'    trained, Path("{out}"), keys, {path.frames}, {{}}, closed={path.closed}, rate={path.rate}\n)\n'
    ).replace("import torch\n", "from pathlib import Path\n\nimport torch\n", 1)


def python_of_upload(loaded: Loaded, upload: Upload) -> str:
    """A program that does to a file what was done to the upload."""
    name, start = json.dumps(upload.file or "image.png"), LOAD.format(place=loaded.place)
    if upload.kind == "apply":
        options = f"size={upload.size!r}, lines={upload.lines!r}, seed={upload.seed}"
        return f'{start}ganforge.apply(trained, {name}, "result.png", {options})\n'
    start = start.replace(
        "import ganforge\n",
        "import ganforge\nfrom ganforge import explore\n"
        "from ganforge.generation.explore.figures import own_images\n",
    )
    start += f"images, _ = own_images(trained, {name})\n"
    label = "None" if upload.label is None else f"[{upload.label!r}]"
    if upload.kind == "project":
        like = f"explore.keys_of_seeds(trained, [0], {label}, {[upload.text] if upload.text else []!r})"
        return (
            f"{start}found = explore.project(trained, images, {like})\n"
            'found.images[0:1].as_subclass(ganforge.Samples).pil()[0].save("reconstruction.png")\n'
        ).replace(".as_subclass(ganforge.Samples)", "")
    given = "None" if upload.label is None else f"trained.conditions({label} * {upload.count})"
    rows = "None" if upload.rows is None else str(upload.rows)
    return (
        f"{start}images = images.expand({upload.count}, -1, -1, -1)\n"
        f"part = (images, {rows}, {given})\n"
        f'completions = next(trained.call("complete", [part], seed={upload.seed}))\n'
    )


def _keys(loaded: Loaded, points: Points) -> str:
    """The part of a program that makes `keys`."""
    each = points.points
    used = {name for point in each for name in point.terms if OWN.fullmatch(name)}
    own = {name: text for name, text in points.own.items() if name in used}
    text = "import torch\n\nimport ganforge\nfrom ganforge import explore\n\n"
    if own:
        text = "import base64\n\n" + text
    text += f'trained = ganforge.load("{loaded.place}")\n'
    shape = tuple(loaded.trained.draw_latents(1).shape)
    if own:
        text += "own = {\n" + "".join(f'    "{name}": "{value}",\n' for name, value in own.items()) + "}\n"
        text += (
            "own = {\n    name: torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)"
            f".view({shape})\n    for name, text in own.items()\n}}\n"
        )
    rows = "".join(f'    ("{expression_of(point)}", {point.truncation}),\n' for point in each)
    vectors = ", vectors=own" if own else ""
    text += (
        f"points = [\n{rows}]\nlatents = torch.cat([\n"
        "    explore.evaluate_expression(\n"
        f"        trained, explore.parse_expression(terms), truncation=truncation{vectors}\n    )[0]\n"
        "    for terms, truncation in points\n])\n"
    )
    return text + _rest_of_keys(loaded, each, own)


def _rest_of_keys(loaded: Loaded, points: Sequence[Point], own: dict[str, str]) -> str:
    system, text = loaded.trained.system, ""
    size = system.continuous_size if isinstance(system, LatentSystem) else None
    for row, point in enumerate(points):
        first = next((name for name in point.terms if name in own), None)
        if first is not None and size is not None:
            text += f'latents[{row}, {size}:] = own["{first}"][0, {size}:]\n'
        for index, value in point.codes.items():
            one = f"latents[{row} : {row + 1}]"
            text += f"{one} = trained.set_code({one}, {index}, {value})\n"
    parts = ["latents"]
    if "labels" in system.conditions:
        labels = [0 if point.label is None else point.label for point in points]
        text += f"labels = trained.conditions({labels!r}).labels\n"
        parts.append("labels=labels")
    if "text" in loaded.model.can:
        prompts = [([point.texts[0], point.texts[-1]], point.share) for point in points]
        rows = "".join(f"    {prompt!r},\n" for prompt in prompts)
        text += (
            f"prompts = [\n{rows}]\nembeddings = torch.cat([\n"
            "    torch.lerp(*explore.keys_of_seeds(trained, [0], texts=ends).embeddings.split(1), share)\n"
            "    for ends, share in prompts\n])\n"
        )
        parts.append("embeddings=embeddings")
    return f"{text}keys = explore.Keys({', '.join(parts)})\n"


def _seed_of(point: Point) -> int | None:
    """The seed of a point that is no sum."""
    ((name, factor), *others) = point.terms.items()
    return int(name) if not others and factor == 1 and SEED.fullmatch(name) else None


def _conditions_of(point: Point) -> str:
    return point.model_dump_json(exclude={"terms"})


def _options_of(point: Point) -> list[str]:
    options = [] if point.label is None else ["--labels", str(point.label)]
    options += ["--text", point.texts[0]] if point.texts else []
    return options + ([] if point.truncation is None else ["--truncation", f"{point.truncation:g}"])


def _joined(verb: str, loaded: Loaded, *words: str) -> str:
    return shlex.join(["ganforge", *verb.split(), loaded.place, *words])
