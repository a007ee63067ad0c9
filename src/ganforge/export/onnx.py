"""A run as an ONNX model, compared with the run in onnxruntime at once, and a script that draws."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.errors import UserError
from ganforge.export.folder import new_folder
from ganforge.export.program import (
    LIMIT,
    Network,
    check_equal,
    describe_inputs,
    describe_output,
    differences,
    network_of,
    quiet,
    to_program,
)
from ganforge.runs.trained import Trained

MODEL, SCRIPT = "model.onnx", "sample.py"
OPSET = 18
"""The default, and the lowest: what torch's exporter is written for."""
FP16_LIMIT = 0.02
"""The largest difference of a model in float16, of values in [-1, 1]: two and a half of 255 levels."""
LARGEST = 2**31 - 1
"""Bytes of an ONNX model in one file."""


def write_onnx(trained: Trained, out: Path, opset: int | None = None, fp16: bool = False) -> dict[int, float]:
    """Write the folder `out`: `model.onnx`, `sample.py` and a README; returns the differences by batch.

    A difference is the largest of all values between onnxruntime and the run. With `fp16` weights and sums
    are float16; inputs and images stay float32. Raises UserError where the package or the target is missing,
    the opset is not one that torch writes, or a difference is above 1e-4 (float16: 0.02).
    """
    _check_installed()
    network = network_of(trained)
    with new_folder(out) as folder:
        content = to_onnx(network, OPSET if opset is None else opset)
        if fp16:
            content = to_half(content)
        found = compare(network, content)
        check_equal(found, "the ONNX model", FP16_LIMIT if fp16 else LIMIT)
        (folder / MODEL).write_bytes(content)
        shutil.copyfile(Path(__file__).with_name("onnx_sample.py"), folder / SCRIPT)
        (folder / "README.md").write_text(_readme(network, found), encoding="utf-8")
    return found


def to_onnx(network: Network, opset: int) -> bytes:
    """The network as an ONNX model, whose metadata `ganforge` says what it takes and makes."""
    import onnx

    highest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= highest:
        raise UserError(f"--opset {opset}: expected {OPSET} to {highest}")
    program = to_program(network)
    axes = {0: "batch"} | ({2: "height", 3: "width"} if network.resizes else {})
    try:
        with quiet(), _silent_logs():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=list(network.inputs),
                output_names=["logits" if network.kind == "images" else "images"],
                dynamic_shapes=(axes, *({0: "batch"} for _ in network.inputs[1:])),
                verbose=False,
            )
        assert exported is not None
        model: Any = exported.model_proto
    except Exception as error:  # whatever the exporter meets
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{network.trained.run.config.system} cannot become an ONNX model: {first}"
        ) from error
    written = next(entry.version for entry in model.opset_import if entry.domain == "")
    if written != opset:
        raise UserError(
            f"--opset {opset}: torch {torch.__version__} could not write it, use --opset {written}"
        )
    entry = model.metadata_props.add()
    entry.key, entry.value = "ganforge", json.dumps(network.about())
    if model.ByteSize() > LARGEST:
        raise UserError("the model has more than 2 GB, which an ONNX file cannot hold: use `export torch`")
    content: bytes = model.SerializeToString()
    return content


def to_half(content: bytes) -> bytes:
    """The model with weights and sums in float16; inputs and images stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load_from_string(content), keep_io_types=True)
    half: bytes = model.SerializeToString()
    return half


def compare(network: Network, content: bytes) -> dict[int, float]:
    """The largest difference between onnxruntime and the run, by batch; raises UserError where it fails."""
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def call(inputs: tuple[Tensor, ...]) -> Tensor:
            named = {name: part.numpy() for name, part in zip(network.inputs, inputs, strict=True)}
            return torch.from_numpy(session.run(None, named)[0])

        return differences(network, call)
    except UserError:
        raise
    except Exception as error:  # onnxruntime has exceptions of its own for everything
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"onnxruntime cannot run the ONNX model: {first}") from error


def _check_installed() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: type `pip install 'ganforge[onnx]'`")


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Within this context the exporter's notes on packages that it could use are not shown."""
    threshold = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(threshold)


def _readme(network: Network, found: dict[int, float]) -> str:
    config = network.trained.run.config
    inputs = "\n".join(f"- `{name}`: {text}" for name, text in describe_inputs(network).items())
    largest = ", ".join(f"{value:.2g} at batch {batch}" for batch, value in found.items())
    return (
        f"# {config.system}, step {network.trained.step:,}, as an ONNX model\n\n"
        f"`model.onnx` takes\n\n{inputs}\n\nand gives {describe_output(network)}. The largest difference "
        f"from the run in onnxruntime: {largest}.\n\n"
        f"{_describe_script(network)}\n"
    )


def _describe_script(network: Network) -> str:
    """What to type, and what that needs."""
    if network.kind == "sources":
        return (
            "`python sample.py --sources IMAGE --out made.png` translates an image; it needs numpy, "
            "onnxruntime and Pillow. `--sources ARRAY.npy` takes arrays as above, and needs no Pillow."
        )
    out = "samples.npy" if network.trained.run.config.spec.values == "points" else "samples.png"
    more = ""
    if "labels" in network.inputs:
        more = " `--labels 0 1` takes turns of classes; without it they are drawn at random."
    if "embeddings" in network.inputs:
        more = " Without `--embeddings FILE.npy`, as above, they are of no caption."
    return (
        f"`python sample.py --count 16 --seed 0 --out {out}` draws samples; it needs numpy and onnxruntime "
        f"only.{more}"
    )
