"""Write a run of the weights of other people's code: it samples at once, and cannot be resumed."""

import os
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganforge.data.options import DataOptions
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError, printable
from ganforge.files.atomic import building
from ganforge.runs.build import build_system
from ganforge.runs.checkpoint import LEFT_OUT, save_checkpoint
from ganforge.runs.folder import Origin, Run, RunConfig
from ganforge.runs.imported import mimicry_sngan, pix2pix, tutorial_dcgan
from ganforge.runs.imported.weights import Foreign, ForeignWeights
from ganforge.runs.options import TrainOptions
from ganforge.system import networks
from ganforge.systems.discovery import find
from ganforge.version import __version__

Kind = Literal["tutorial-dcgan", "pix2pix", "mimicry-sngan"]
Pairs = Literal["side-by-side", "side-by-side:right"]
UNKNOWN = "unknown"
"""The name of data that nobody recorded."""


def import_weights(
    kind: Kind,
    file: Path,
    run: Path,
    *,
    dropout: bool = True,
    evaluation: bool = False,
    pairs: Pairs = "side-by-side",
    command: str = "",
) -> Run:
    """Make the new run folder `run` of the weights in `file`, a .pth or .safetensors of that `kind`.

    `dropout`, `evaluation` and `pairs` are for "pix2pix": see its `read_generator`. The folder appears
    complete or not at all. Raises UserError where `run` exists, and where `file` cannot be read or holds
    another network.
    """
    if os.path.lexists(run):
        raise UserError(f"{printable(str(run))} exists: remove it, or name another folder with --run")
    weights = ForeignWeights(file, kind)
    if kind == "pix2pix":
        foreign = pix2pix.read_generator(weights, dropout=dropout, evaluation=evaluation, pairs=pairs)
    elif not dropout or evaluation or pairs != "side-by-side":
        raise UserError("--no-dropout, --eval and --pairs are for pix2pix: leave them out")
    else:
        read = tutorial_dcgan.read_generator if kind == "tutorial-dcgan" else mimicry_sngan.read_generator
        foreign = read(weights)
    origin = Origin(kind=kind, file=printable(file.name), sha256=weights.sha256)
    return _write(foreign, origin, run, command)


def _write(foreign: Foreign, origin: Origin, path: Path, command: str) -> Run:
    config = _run_config(foreign, origin)
    tensors, left_out = _complete(foreign, config)
    with building(path) as temporary:
        run = Run.create(temporary, config)
        state = {"step": 0, LEFT_OUT: left_out}
        save_checkpoint(run.checkpoints, 0, {"system": tensors, "average": {}}, state, keep=1)
        run.append({"kind": "start", "step": 0, "command": command})
        run.sync_log()
    return Run(path, config)


def _complete(foreign: Foreign, config: RunConfig) -> tuple[dict[str, Tensor], list[str]]:
    """The weights with the tensors of their system that belong to no network, and the networks left out."""
    with torch.random.fork_rng(devices=[]):
        system = build_system(config)
    given = {name.partition(".")[0] for name in foreign.weights}
    left_out = [name for name in networks(system) if name not in given]
    own = {name: t for name, t in system.state_dict().items() if name.partition(".")[0] not in left_out}
    tensors = {name: t for name, t in own.items() if name.partition(".")[0] not in given} | foreign.weights
    differing = {name: t.shape for name, t in tensors.items()}.items() ^ {
        n: t.shape for n, t in own.items()
    }.items()
    assert not differing, differing
    return tensors, left_out


def _run_config(foreign: Foreign, origin: Origin) -> RunConfig:
    channels, height, width = foreign.shape
    colours = "grey" if channels == 1 else "color"
    sources = foreign.source_channels
    fields = find(foreign.system).Config.model_validate(foreign.config | {"ema_half_life": 0.0})
    return RunConfig(
        ganforge=__version__,
        system=foreign.system,
        data=DataOptions.model_validate(
            {"data": UNKNOWN, "size": height, "channels": colours} | foreign.data
        ),
        train=TrainOptions(precision="fp32"),
        config=fields.model_dump(mode="json"),
        spec=DataSpec(
            channels=channels,
            height=height,
            width=width,
            num_images=1,
            source_shape=None if sources is None else (sources, height, width),
        ),
        fingerprint="",
        suggested={},
        origin=origin,
    )
