"""A run to share on the Hugging Face hub: averaged weights, its options, and a model card."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch

from ganforge.errors import UserError, printable
from ganforge.export.card import Licences, model_card
from ganforge.export.encoder import write_encoder
from ganforge.export.folder import new_folder
from ganforge.export.package import weights_of
from ganforge.export.places import without_paths
from ganforge.export.samples import write_samples
from ganforge.files.atomic import write_synced
from ganforge.runs.checkpoint import LEFT_OUT
from ganforge.runs.folder import SHARED, Run
from ganforge.runs.hub import INSTALL, check_repository
from ganforge.runs.trained import Trained
from ganforge.text.encoders import FOLDER

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD, IMAGE = "README.md", "samples.png"


def write_hub(trained: Trained, out: Path, licences: Licences | None = None, repository: str = "") -> None:
    """Write the folder `out`: `config.json`, `model.safetensors`, `README.md` and, if it can, `samples.png`.

    The encoder of captions goes along. `ganforge.load` reads such a folder, and `hf:owner/name` where it was
    uploaded as `repository`. Raises UserError where `out` exists.
    """
    with new_folder(out) as folder:
        _write_weights(trained, folder)
        shown = write_samples(trained, folder / IMAGE)
        name = repository or out.resolve().name
        text = model_card(trained, name, IMAGE if shown else None, licences or Licences())
        write_synced(folder / CARD, text.encode())


def push(folder: Path, repository: str) -> str:
    """Upload the folder to the hub as `repository`, with the token of the environment; returns the address.

    Raises UserError without the package huggingface_hub or a token, and where the hub refuses.
    """
    api = check_push(repository)
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload by ganforge")
    except Exception as error:  # huggingface_hub passes on whatever the network library raises
        reason = printable(" ".join(str(error).split()))[:160]
        raise UserError(
            f"{folder} was written, but --push {repository} failed ({type(error).__name__}: {reason}): "
            f"`hf upload {repository} {folder}` uploads it"
        ) from error
    return str(address)


def check_push(repository: str) -> "HfApi":
    """The hub's client; raises UserError where nothing could be uploaded, before anything is written."""
    check_repository(repository)
    try:
        from huggingface_hub import HfApi, get_token
    except ModuleNotFoundError as error:
        raise UserError(f"--push needs the package huggingface_hub: {INSTALL}") from error
    if get_token() is None:
        raise UserError("--push needs a token that may write: set HF_TOKEN, or type `hf auth login`")
    return HfApi()


def _write_weights(trained: Trained, folder: Path) -> None:
    """`config.json` and `model.safetensors`, also of the encoder of captions."""
    kept, left_out = weights_of(trained)
    config = without_paths(trained.run.config, FOLDER)
    Run(folder, config).write_config(config)
    state = json.dumps({"step": trained.step, LEFT_OUT: left_out})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}
    content = safetensors.torch.save(tensors, {"format": "pt", "ganforge": state})
    write_synced(folder / SHARED, content)
    write_encoder(trained, folder, _write_weights)
