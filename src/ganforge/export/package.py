"""A run as it ships with the package: averaged weights in float16, without the discriminator."""

import json
from pathlib import Path

from torch import Tensor

from ganforge.export.encoder import write_encoder
from ganforge.export.folder import new_folder
from ganforge.export.places import without_paths
from ganforge.export.samples import write_samples
from ganforge.export.scores import scores_of
from ganforge.files.atomic import write_synced
from ganforge.reporting.evaluations import FOLDER as EVALUATIONS
from ganforge.runs.checkpoint import LEFT_OUT, save_checkpoint
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED, SAMPLES
from ganforge.runs.trained import Trained

TRAINED_AGAINST = ("discriminator",)
"""Networks that only training and scores of their own need."""


def write_shipped(trained: Trained, out: Path, name: str) -> None:
    """Write into `out` what `pretrained:NAME` is: the averaged weights in float16, and no discriminator.

    Its encoder of captions goes along, and so do the evaluation of these weights and an image of samples.
    All have names in the place of the paths of this machine.
    """
    with new_folder(out) as folder:
        _write(trained, folder, name)
        write_samples(trained, folder / SAMPLES)
        if (evaluation := scores_of(trained)) is not None:
            (folder / EVALUATIONS).mkdir()
            content = {"date": evaluation.date, "scores": evaluation.scores}
            path = folder / EVALUATIONS / evaluation.path.name
            write_synced(path, (json.dumps(content, indent=1) + "\n").encode())


def _write(trained: Trained, out: Path, name: str) -> None:
    kept, left_out = weights_of(trained)
    kept = {key: _half(tensor) for key, tensor in kept.items()}
    config = without_paths(trained.run.config, PRETRAINED + name)
    Run(out, config).write_config(config)
    tensors = {"system": kept, "average": {}}
    save_checkpoint(
        out / "checkpoints", trained.step, tensors, {"step": trained.step, LEFT_OUT: left_out}, keep=1
    )
    write_encoder(trained, out, lambda encoder, folder: _write(encoder, folder, name))


def weights_of(trained: Trained) -> tuple[dict[str, Tensor], list[str]]:
    """The averaged weights without those of a discriminator, and the networks that are left out."""
    left_out = [network for network in TRAINED_AGAINST if hasattr(trained.system, network)]
    state = trained.system.state_dict()
    return {key: t for key, t in state.items() if key.partition(".")[0] not in left_out}, left_out


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor
