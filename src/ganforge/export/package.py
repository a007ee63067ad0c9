"""A run as it ships with the package: averaged weights in float16, without the discriminator."""

from pathlib import Path

from torch import Tensor

from ganforge.runs.checkpoint import save_checkpoint
from ganforge.runs.folder import Run, RunConfig
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import LEFT_OUT, Trained, load
from ganforge.system import networks
from ganforge.text.encoders import FOLDER

TRAINED_AGAINST = ("discriminator",)
"""Networks that only training and scores of their own need."""


def write_shipped(trained: Trained, out: Path, name: str) -> None:
    """Write into `out` what `pretrained:NAME` is: the averaged weights in float16, and no discriminator.

    Its encoder of captions goes along. The config has names in the place of the paths of this machine.
    """
    with trained.using("ema"):
        state = {key: _half(tensor) for key, tensor in trained.system.state_dict().items()}
        left_out = [network for network in TRAINED_AGAINST if network in networks(trained.system)]
    kept = {key: t for key, t in state.items() if key.partition(".")[0] not in left_out}
    config = _without_paths(trained.run.config, name)
    out.mkdir(parents=True)
    Run(out, config).write_config(config)
    tensors = {"system": kept, "average": {}}
    save_checkpoint(
        out / "checkpoints", trained.step, tensors, {"step": trained.step, LEFT_OUT: left_out}, keep=1
    )
    if (trained.run.path / FOLDER / "config.json").is_file():
        write_shipped(load(trained.run.path / FOLDER), out / FOLDER, name)


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _without_paths(config: RunConfig, name: str) -> RunConfig:
    data = {"data": Path(config.data.data).name}
    if config.data.text_encoder is not None:
        data["text_encoder"] = PRETRAINED + name
    changed = {
        "data": config.data.model_copy(update=data),
        "config": config.config | {"ema_half_life": 0.0},  # the weights are the average
    }
    if config.start_from is not None:
        place = Path(config.start_from).name
        started = {own: text.replace(config.start_from, place) for own, text in config.start_networks.items()}
        changed |= {"start_from": place, "start_networks": started}
    return config.model_copy(update=changed)
