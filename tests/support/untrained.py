"""Runs of small networks that were never trained, for every system, whose outputs vary nevertheless."""

from pathlib import Path

import torch
from test_system_contract import CAPTIONED, COLOUR_OF_GREY, EMBEDDED, SHRUNK, case_of
from torch import nn

from ganforge.data.options import DataOptions
from ganforge.runs.checkpoint import load_checkpoint, save_checkpoint
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.runs.trained import Trained
from ganforge.systems.discovery import find
from ganforge.version import __version__

DATA = {"sources": "pairs", "captions": "captions", "embeddings": "embeddings"}
"""What a system needs -> the data of the contract that have it; all others: colour."""
SPECS = (CAPTIONED, COLOUR_OF_GREY, EMBEDDED, SHRUNK)


def untrained(path: Path, name: str, data: str | None = None, **fields: object) -> Trained:
    """A run of the system in the new folder `path`, at step 1, on the CPU."""
    kind = find(name)
    chosen = data or next((DATA[need] for need in kind.needs & DATA.keys()), "colour")
    if name in ("srgan", "srresnet"):
        chosen = "shrunk"
    case = case_of(name, chosen)
    config = kind.Config(**(case.fields | {"steps": 1} | fields))
    run = Run.create(
        path,
        RunConfig(
            ganforge=__version__,
            system=name,
            data=DataOptions(data="images"),
            train=TrainOptions(),
            config=config.model_dump(mode="json"),
            spec=case.spec,
            fingerprint="0" * 64,
        ),
    )
    trained = Trained(run, None, device="cpu")
    network = trained.system
    enliven(network, trained)
    state = {"system": trained.raw.state_dict(), "average": trained._average.state()}
    stored = save_checkpoint(run.checkpoints, 1, state, {"step": 1}, keep=1)
    return Trained(run, load_checkpoint(stored), device="cpu")


def enliven(system: nn.Module, trained: Trained) -> None:
    """Larger weights, and the statistics of batch norms that go with them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in system.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter[0].numel() ** -0.5)
            elif parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in system.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
