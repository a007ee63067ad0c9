"""Run folders with odd contents whose manifests are right, as somebody else could make them."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

Change = Callable[[Path], None]


def checkpoint_of(run: Path) -> Path:
    """The newest checkpoint of a run folder."""
    return max((run / "checkpoints").glob("[0-9]*"))


def seal(checkpoint: Path) -> None:
    """Write the manifest that fits what is in the folder."""
    manifest = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in checkpoint.iterdir()
        if path.name != "manifest.json" and path.is_file()
    }
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def state(**changes: Any) -> Change:
    """Change `state.json`; the value `...` removes a key."""

    def change(run: Path) -> None:
        file = checkpoint_of(run) / "state.json"
        values = json.loads(file.read_bytes()) | changes
        file.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))
        seal(checkpoint_of(run))

    return change


def group(**changes: Any) -> Change:
    """Change the settings of the generator's optimizer."""

    def change(run: Path) -> None:
        file = checkpoint_of(run) / "state.json"
        values = json.loads(file.read_bytes())
        first = values["param_groups"]["generator"][0]
        values["param_groups"]["generator"][0] = {
            name: value for name, value in (first | changes).items() if value is not ...
        }
        file.write_text(json.dumps(values))
        seal(checkpoint_of(run))

    return change


def tensors(stem: str, edit: Callable[[dict[str, Tensor]], Any]) -> Change:
    """Change the tensors of a file; `edit` changes them in place."""

    def change(run: Path) -> None:
        file = checkpoint_of(run) / f"{stem}.safetensors"
        named = {name: t.clone() for name, t in safetensors.torch.load(file.read_bytes()).items()}
        edit(named)
        file.write_bytes(safetensors.torch.save(named))
        seal(checkpoint_of(run))

    return change


def content(name: str, data: bytes | None) -> Change:
    """Replace a file of the checkpoint by `data`; None removes it."""

    def change(run: Path) -> None:
        file = checkpoint_of(run) / name
        file.unlink() if data is None else file.write_bytes(data)
        seal(checkpoint_of(run))

    return change


def header(stem: str, edit: Callable[[dict[str, Any]], Any]) -> Change:
    """Change the header of a file of tensors."""

    def change(run: Path) -> None:
        file = checkpoint_of(run) / f"{stem}.safetensors"
        data = file.read_bytes()
        size = int.from_bytes(data[:8], "little")
        values = json.loads(data[8 : 8 + size])
        edit(values)
        text = json.dumps(values).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
        seal(checkpoint_of(run))

    return change


def manifest(text: str) -> Change:
    """Replace the manifest."""

    def change(run: Path) -> None:
        (checkpoint_of(run) / "manifest.json").write_text(text)

    return change


def log(line: str) -> Change:
    """Add a line to the log, before the last."""

    def change(run: Path) -> None:
        file = run / "metrics.jsonl"
        *first, last = file.read_text().splitlines()
        file.write_text("\n".join([*first, line, last, ""]))

    return change


def file(name: str, text: str) -> Change:
    """Write a file of the run folder."""

    def change(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(text)

    return change


def config(**changes: Any) -> Change:
    """Change `config.json`; `config`, `spec`, `train` and `data` are changed within."""

    def change(run: Path) -> None:
        values = json.loads((run / "config.json").read_bytes())
        for name, value in changes.items():
            values[name] = values[name] | value if isinstance(value, dict) else value
        (run / "config.json").write_text(json.dumps(values))

    return change


def special(name: str, kind: str) -> Change:
    """Put a pipe, a link to a device, a link out or a folder in the place of a file."""

    def change(run: Path) -> None:
        path = (
            run / name if (run / name).parent != run / "CHECKPOINT" else checkpoint_of(run) / Path(name).name
        )
        path.parent.mkdir(exist_ok=True)
        if path.is_dir():
            path.rename(run.parent / "outside")
        else:
            path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "outside":
            (run.parent / "outside").mkdir(exist_ok=True)
            path.symlink_to(run.parent / "outside")
        else:
            path.mkdir()

    return change


_NESTED = "[" * 100_000
_NAN = float("nan")
_FIRST = "generator.0.exp_avg"


def _pop(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda named: named.pop(next(key for key in named if name in key))


LOGS = {
    "no step": '{"kind": "train"}',
    "text as step": '{"kind": "train", "step": "x"}',
    "null as step": '{"kind": "train", "step": null}',
    "list as step": '{"kind": "train", "step": [1]}',
    "huge step": '{"kind": "train", "step": 1e400}',
    "step of 400 digits": f'{{"kind": "train", "step": {10**400}}}',
    "negative step": '{"kind": "end", "step": -1}',
    "nested": _NESTED,
    "nested object": '{"kind": "note", "step": 0, "text": ' + "[" * 500 + "]" * 500 + "}",
    "classes": '{"kind": "samples", "step": 1, "classes": 5}',
    "other classes": '{"kind": "samples", "step": 1, "classes": {"a": 0}, "expected_classes": {"b": 1}}',
    "text as number": '{"kind": "train", "step": 1, "real_probability": "x", "fake_probability": []}',
    "norm": '{"kind": "train", "step": 1, "x_gradient_norm": null}',
    "huge norm": f'{{"kind": "train", "step": 1, "x_gradient_norm": {10**400}}}',
    "rollback": '{"kind": "diagnosis", "step": "x", "signal": "rollback"}',
    "seconds": '{"kind": "train", "step": 1, "seconds": "x"}',
    "no object": "[1, 2]",
    "bytes": "\x00\x01",
    "parameters": '{"kind": "start", "step": 0, "command": 7, "parameters": [1]}',
}

STATES: dict[str, Change] = {
    "step -1": state(step=-1),
    "step 1.5": state(step=1.5),
    "step true": state(step=True),
    "step 10^400": state(step=10**400),
    "no groups": state(param_groups=...),
    "groups null": state(param_groups=None),
    "groups list": state(param_groups=[1]),
    "groups texts": state(param_groups={"generator": ["x"], "discriminator": ["x"]}),
    "groups empty": state(param_groups={"generator": [], "discriminator": []}),
    "meter null": state(meter=None),
    "meter list": state(meter=[]),
    "meter count": state(meter={"count": 10**12, "sums": {}}),
    "meter sums": state(meter={"count": 1, "sums": {"x": "y"}}),
    "no meter": state(meter=...),
    "best": state(best=5),
    "best value": state(best={"metric": "fid", "value": None}),
    "left_out 5": state(left_out=5),
    "left_out methods": state(left_out=["sample", "draw_latents", "config"]),
    "left_out dunder": state(left_out=["__class__"]),
    "lr null": group(lr=None),
    "lr text": group(lr="fast"),
    "lr infinite": group(lr=float("inf")),
    "lr list": group(lr=[1]),
    "no lr": group(lr=...),
    "momentum": group(momentum=None),
    "maximize": group(maximize=True),
    "params": group(params=[7, 8]),
    "params text": group(params="ab"),
    "nested": content("state.json", _NESTED.encode()),
    "500 deep": content("state.json", b'{"step": 1, "best": ' + b"[" * 500 + b"]" * 500 + b"}"),
    "no state": content("state.json", None),
    "state list": content("state.json", b"[]"),
    "large": content("state.json", b'{"step": 1, "x": "' + b"x" * (9 << 20) + b'"}'),
    "random missing": content("random.safetensors", None),
    "random 3 bytes": content("random.safetensors", b"abc"),
    "random floats": tensors("random", lambda named: named.update(cpu=torch.zeros(5056))),
    "random short": tensors("random", lambda named: named.update(cpu=torch.zeros(7, dtype=torch.uint8))),
    "random noise": tensors(
        "random", lambda named: named.update(cpu=torch.full((5056,), 255, dtype=torch.uint8))
    ),
    "random empty": tensors("random", lambda named: named.clear()),
    "index 10^9": tensors(
        "optimizers", lambda named: named.update({f"generator.{10**9}.momentum_buffer": torch.zeros(2)})
    ),
    "index -1": tensors(
        "optimizers", lambda named: named.update({"generator.-1.momentum_buffer": torch.zeros(2)})
    ),
    "index x": tensors(
        "optimizers", lambda named: named.update({"generator.x.momentum_buffer": torch.zeros(2)})
    ),
    "moment shape": tensors(
        "optimizers", lambda named: named.update({"generator.0.momentum_buffer": torch.zeros(1, 2, 3)})
    ),
    "moment integer": tensors(
        "optimizers",
        lambda named: named.update({"generator.0.momentum_buffer": torch.zeros((), dtype=torch.int64)}),
    ),
    "moment name": tensors("optimizers", lambda named: named.update({"generator.0.x": torch.zeros(())})),
    "optimizers missing": content("optimizers.safetensors", None),
    "system missing": content("system.safetensors", None),
    "average missing": content("average.safetensors", None),
    "system short": tensors("system", _pop("weight")),
    "system scalar": tensors("system", lambda named: named.update({next(iter(named)): torch.zeros(())})),
    "average short": tensors("average", _pop("weight")),
    "F4": header("system", lambda h: next(v for k, v in h.items() if k != "__metadata__").update(dtype="F4")),
    "F64": header(
        "system", lambda h: next(v for k, v in h.items() if k != "__metadata__").update(dtype="F64")
    ),
    "shape -1": header(
        "system", lambda h: next(v for k, v in h.items() if k != "__metadata__").update(shape=[-1])
    ),
    "overlap": header(
        "system", lambda h: [v.update(data_offsets=[0, 4]) for k, v in h.items() if k != "__metadata__"]
    ),
    "manifest list": manifest("[1]"),
    "manifest nested": manifest(_NESTED),
    "manifest zero byte": manifest('{"a\\u0000": {"bytes": 1, "sha256": ""}}'),
    "manifest entry": manifest('{"system.safetensors": 5}'),
    "manifest up": manifest('{"..": {"bytes": 1, "sha256": ""}}'),
}

FILES: dict[str, Change] = {
    "evaluation nested": file("evaluation.json", _NESTED),
    "evaluation 500 deep": file(
        "evaluation.json", '[{"name": "fid", "protocol": ' + '{"a":' * 500 + "1" + "}" * 500 + "}]"
    ),
    "evaluation odd": file(
        "evaluation.json",
        '[{"name": 5, "value": [], "protocol": {"step": [1], "seed": {}, "generated": 1e999}}]',
    ),
    "evaluations odd": file(
        "evaluations/x.json",
        '{"date": 5, "scores": [5, {"name": "fid", "value": "x", "unit": {}, "plus_minus": "y"}]}',
    ),
    "evaluations nested": file("evaluations/x.json", _NESTED),
    "image": file("samples/000001.png", "no image"),
    "config steps": config(config={"steps": "many"}),
    "config steps 0": config(config={"steps": 0}),
    "config no steps": config(config={"steps": None}),
    "config steps huge": config(config={"steps": 10**400}),
    "config nested": file("config.json", _NESTED),
    "config 500 deep": file("config.json", '{"config": ' + "[" * 500 + "]" * 500 + "}"),
    "config list": file("config.json", "[]"),
    "spec negative": config(spec={"caption_length": -5, "embedding_size": -1}),
    "spec source": config(spec={"source_shape": [-1, 0, 10**30]}),
    "spec huge": config(spec={"height": 10**30}),
    "train": config(train={"keep": 0, "log_every": -1}),
    "places": config(places={"data": "\0"}),
    "data null byte": config(data={"data": "a\0b"}),
    "fingerprint": config(fingerprint=5),
    "start fields": config(start_fields=["nothing"], start_networks={"generator": "x"}),
    "suggested": config(suggested={"nothing": 1}),
}

SIZES: dict[str, Change] = {
    "latents 10^9": config(config={"latent_size": 10**9}),
    "latents 10^12": config(config={"latent_size": 10**12}),
    "latents 10^30": config(config={"latent_size": 10**30}),
    "hidden 10^9": config(config={"generator_hidden": [10**9]}),
    "hidden 10^5": config(config={"generator_hidden": [10**5], "discriminator_hidden": [10**5]}),
    "many layers": config(config={"generator_hidden": [1] * 200_000}),
    "average of nothing": config(config={"ema_half_life": 0}),
    "spec 2^20": config(spec={"height": 2**20, "width": 2**20, "values": "pixels"}),
    "spec 2^12": config(spec={"height": 2**12, "width": 2**12, "values": "pixels"}),
    "channels 10^9": config(spec={"channels": 10**9}),
}

SPECIALS: dict[str, Change] = {
    f"{name} {kind}": special(name, kind)
    for name, kind in [
        ("config.json", "pipe"),
        ("config.json", "zero"),
        ("config.json", "folder"),
        ("metrics.jsonl", "pipe"),
        ("metrics.jsonl", "zero"),
        ("metrics.jsonl", "folder"),
        ("metrics.jsonl", "loop"),
        ("report.html", "folder"),
        ("evaluation.json", "pipe"),
        ("evaluations/x.json", "pipe"),
        ("evaluations/x.json", "zero"),
        ("samples/000000.png", "pipe"),
        ("samples/000001.png", "zero"),
        ("samples", "outside"),
        ("checkpoints", "outside"),
        ("evaluations", "outside"),
        ("vectors", "outside"),
        ("style", "outside"),
        ("embeddings", "outside"),
        ("neighbours.png", "pipe"),
        ("CHECKPOINT/manifest.json", "pipe"),
        ("CHECKPOINT/manifest.json", "zero"),
        ("CHECKPOINT/state.json", "pipe"),
        ("CHECKPOINT/state.json", "folder"),
        ("CHECKPOINT/system.safetensors", "pipe"),
        ("CHECKPOINT/system.safetensors", "zero"),
        ("CHECKPOINT/system.safetensors", "outside"),
    ]
}
