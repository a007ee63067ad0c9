"""A run for torch alone: a program of `torch.export`, and the network as one file of plain modules."""

import importlib.util
import json
import textwrap
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ganforge.export.folder import new_folder
from ganforge.export.program import (
    Network,
    check_equal,
    describe_inputs,
    describe_output,
    differences,
    network_of,
    quiet,
    to_program,
)
from ganforge.export.source import check_independent, classes_of, definitions_of, expression_of, recorded
from ganforge.runs.build import on_meta
from ganforge.runs.trained import Trained
from ganforge.system import inference_network

PROGRAM, SOURCE, WEIGHTS = "model.pt2", "generator.py", "model.safetensors"
LOAD = '''
def load(weights: str | Path = Path(__file__).with_name("model.safetensors")) -> nn.Module:
    """The network with its weights, in evaluation mode."""
    network = {expression}
    network.load_state_dict(load_file(weights))
    return network.eval()
'''


def write_torch(trained: Trained, out: Path) -> dict[str, dict[int, float]]:
    """Write the folder `out`: `model.pt2`, `generator.py`, `model.safetensors` and a README.

    Returns the differences of both from the run by batch, under "program" and "module". Raises UserError
    where the target exists, torch cannot trace the network, or a difference is above 1e-4.
    """
    network = network_of(trained)
    text = module_text(network)
    with new_folder(out) as folder:
        program = to_program(network)
        run_program = program.module()
        found = {"program": differences(network, lambda inputs: run_program(*inputs))}
        check_equal(found["program"], "the program")
        with quiet():
            torch.export.save(program, folder / PROGRAM)
        (folder / SOURCE).write_text(text, encoding="utf-8")
        weights = {name: t.detach().contiguous() for name, t in network.module.state_dict().items()}
        safetensors.torch.save_file(weights, folder / WEIGHTS, {"ganforge": json.dumps(network.about())})
        module = _load_file(folder / SOURCE)
        found["module"] = differences(network, lambda inputs: _call(module, inputs))
        check_equal(found["module"], "the module")
        (folder / "README.md").write_text(_readme(network, found), encoding="utf-8")
    return found


def module_text(network: Network) -> str:
    """The network as one Python file; raises UserError where its code is not of `ganforge.nn`."""
    system, module = network.trained.raw, network.module
    classes = classes_of(module)
    with recorded(classes):
        rebuilt = inference_network(on_meta(type(system), system.config, system.data))
    definitions = definitions_of(sorted(classes, key=lambda kind: (kind.__module__, kind.__name__)))
    config = network.trained.run.config
    inputs = "; ".join(f"{name} {text}" for name, text in describe_inputs(network).items())
    about = textwrap.fill(
        f"It takes {inputs}, and gives {describe_output(network)}.".replace("`", ""),
        100,
        break_long_words=False,
    )
    text = (
        f'"""The generator of a {config.system} that ganforge trained, step {network.trained.step:,}.\n\n'
        f"{about}\n\nimport generator\nnetwork = generator.load()\n"
        '"""\n\nfrom pathlib import Path\n\nfrom safetensors.torch import load_file\n'
        f"{definitions}\n\n{LOAD.format(expression=expression_of(rebuilt))}"
    )
    check_independent(text)
    return text


def _load_file(path: Path) -> nn.Module:
    """The network of the file that was just written."""
    spec = importlib.util.spec_from_file_location("ganforge_exported_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def _call(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        result: Tensor = module(*inputs)
    return result


def _readme(network: Network, found: dict[str, dict[int, float]]) -> str:
    inputs = "\n".join(f"- `{name}`: {text}" for name, text in describe_inputs(network).items())
    names = ", ".join(network.inputs)
    largest = max(max(each.values()) for each in found.values())
    return (
        f"# {network.trained.run.config.system}, step {network.trained.step:,}, for torch alone\n\n"
        f"The network takes\n\n{inputs}\n\nand gives {describe_output(network)}.\n\n```python\n"
        f'program = torch.export.load("model.pt2").module()   # any batch\nimages = program({names})\n\n'
        "import generator                                     # generator.py, next to model.safetensors\n"
        f"images = generator.load()({names})\n```\n\n"
        f"Neither needs ganforge; their largest difference from the run is {largest:.2g}.\n"
    )
