"""How exact exported networks are: `python benchmarks/export.py --out benchmarks/export.json`.

Each system is trained for a few steps at the sizes that ganforge suggests for a CPU, or is a run of the
package. Stored are the largest differences from the run at batch 1 and 7, of values in [-1, 1] (of pixel by
pixel generation: of logits), in onnxruntime, in a program of torch.export that was saved and loaded, and
in the file of plain modules, which a process without ganforge loads. Those that cannot be exported have a
reason.
`--rows NAME ...` measures some rows again and keeps the others.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
import torch
from record import record

import ganforge
from ganforge.errors import UserError
from ganforge.export.onnx import OPSET, compare, to_half, write_onnx
from ganforge.export.program import BATCHES, Network, differences, network_of
from ganforge.export.torch_program import PROGRAM, write_torch
from ganforge.runs.trained import Trained, load

ENCODER = "pretrained:gan-cls-emoji"
SMALL = {"width": 32, "discriminator_width": 16, "batch": 16}
"""The paper's widths take minutes for twenty steps."""
TRAIN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "acgan": ("acgan", "mnist", {"size": 32}),
    "autoencoder": ("autoencoder", "mnist", {}),
    "cgan": ("cgan", "mnist", {}),
    "dcgan": ("dcgan", "mnist", {}),
    "fastgan": ("fastgan", "emoji", {}),
    "gan": ("gan", "mnist", {}),
    "gan, points": ("gan", "ring", {}),
    "infogan": ("infogan", "mnist", {}),
    "lsgan": ("lsgan", "mnist", {}),
    "pixelcnn": ("pixelcnn", "mnist", {}),
    "pixelrnn, 16x16, one layer": ("pixelrnn", "mnist", {"binarise": "static", "size": 16, "layers": 1}),
    "r3gan": ("r3gan", "emoji", {}),
    "r3gan --conditional": ("r3gan", "emoji", {"conditional": True}),
    "sngan": ("sngan", "emoji", SMALL),
    "sngan --conditional": ("sngan", "emoji", SMALL | {"conditional": True}),
    "srresnet": ("srresnet", "emoji", {"pairs": "downscale:4"}),
    "stackgan": ("stackgan", "emoji", {"size": 16, "text_encoder": ENCODER}),
    "text_encoder": ("text_encoder", "emoji", {"size": 16}),
    "vae": ("vae", "mnist", {}),
    "wgan": ("wgan", "mnist", {}),
    "wgan_gp": ("wgan_gp", "mnist", {}),
}
"""Row -> system, data and options."""
PACKAGED = {"gan_cls": "gan-cls-emoji", "pix2pix": "pix2pix-edges2emoji", "srgan": "srgan-photos"}
STEPS = 20


def alone(network: Network, folder: Path, place: Path) -> dict[int, float]:
    """The differences of generator.py in a process that cannot import ganforge."""
    inputs = {
        f"{batch} {index}": part
        for batch in BATCHES
        for index, part in enumerate(network.example(batch, batch))
    }
    safetensors.torch.save_file(inputs, place / "inputs.safetensors")
    code = (
        "import sys\nsys.modules['ganforge'] = None\n"
        "folder, place, count, *batches = sys.argv[1:]\nsys.path.insert(0, folder)\n"
        "import safetensors.torch, torch, generator\nnetwork = generator.load()\n"
        "inputs = safetensors.torch.load_file(place + '/inputs.safetensors')\nmade = {}\n"
        "with torch.no_grad():\n    for batch in batches:\n"
        "        parts = [inputs[f'{batch} {index}'] for index in range(int(count))]\n"
        "        made[batch] = network(*parts).contiguous()\n"
        "safetensors.torch.save_file(made, place + '/made.safetensors')\n"
    )
    words = [folder, place, len(network.inputs), *BATCHES]
    subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True)
    made = safetensors.torch.load_file(place / "made.safetensors")
    found = {}
    for batch in BATCHES:
        expected = network.eager(network.example(batch, batch))
        found[batch] = float((expected.double() - made[str(batch)].double()).abs().max())
    return found


def measured(export: Callable[[], dict[int, float]]) -> dict[str, Any]:
    """The differences by batch and the seconds of an export, or why there is none."""
    begun = time.monotonic()
    try:
        found = export()
    except UserError as error:
        return {"reason": str(error)}
    return {"differences": found, "seconds": round(time.monotonic() - begun, 1)}


def measure(trained: Trained, place: Path) -> dict[str, Any]:
    """All exports of one run."""
    row: dict[str, Any] = {"system": trained.run.config.system, "step": trained.step}
    row["onnx"] = measured(lambda: write_onnx(trained, place / "onnx"))
    if "reason" in row["onnx"]:
        return row
    network = network_of(trained)
    row["inputs"] = list(network.inputs)
    row["onnx"]["bytes"] = (place / "onnx" / "model.onnx").stat().st_size
    with torch.no_grad():
        row["spread"] = float(network.eager(network.example(7, 7)).std())
    content = (place / "onnx" / "model.onnx").read_bytes()
    row["fp16"] = measured(lambda: compare(network, to_half(content)))

    def program() -> dict[int, float]:
        write_torch(trained, place / "torch")
        call = torch.export.load(place / "torch" / PROGRAM).module()
        return differences(network, lambda inputs: call(*inputs))

    row["program"] = measured(program)
    row["module"] = measured(lambda: alone(network, place / "torch", place))
    return row


def run_of(name: str, place: Path) -> Trained:
    """The run of one row."""
    if name in PACKAGED:
        return load(f"pretrained:{PACKAGED[name]}", device="cpu")
    system, data, options = TRAIN[name]
    ganforge.train(system, data, run=place / "run", steps=STEPS, quiet=True, device="cpu", **options)
    return load(place / "run", device="cpu")


def table(rows: dict[str, Any]) -> str:
    """The rows as a table of the documentation: the larger difference of both batches, each apart."""
    heads = ["system", "inputs", "ONNX, 1 / 7", "float16, 1 / 7", "program, 1 / 7", "module, 1 / 7"]
    lines = [heads, ["---"] * len(heads)]
    refused = []
    for name, row in sorted(rows.items()):
        if "reason" in row["onnx"]:
            refused.append(f"- `{name}`: {row['onnx']['reason']}")
            continue
        cells = [f"`{name}`", ", ".join(row["inputs"])]
        for kind in ("onnx", "fp16", "program", "module"):
            found = row[kind].get("differences")
            cells.append(" / ".join(f"{value:.1g}" for value in found.values()) if found else "refused")
        lines.append(cells)
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\nNot exported:\n\n" + "\n".join(refused)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", nargs="+", help="measure these rows only")
    parser.add_argument("--table", action="store_true", help="print the stored table of docs/export.md")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.out and options.out.exists():
        rows = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
    if options.table:
        print(table(rows))
        return
    names = sorted([*TRAIN, *PACKAGED])
    for name in options.rows or names:
        with TemporaryDirectory() as folder:
            rows[name] = measure(run_of(name, Path(folder)), Path(folder))
        print(name, json.dumps(rows[name]), flush=True)
        result = {
            "command": "python benchmarks/export.py --out benchmarks/export.json",
            "steps": STEPS,
            "opset": OPSET,
            "rows": {row: rows[row] for row in sorted(rows)},
        }
        record(result, options.out)


if __name__ == "__main__":
    main()
