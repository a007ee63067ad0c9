"""Models on the Hugging Face hub (extra `hub`): the files of one are downloaded, and nothing else of it."""

import re
from pathlib import Path

from ganforge.errors import UserError, printable
from ganforge.files.download import cache_folder, refuse_offline
from ganforge.runs.folder import SHARED, Run

HUB = "hf:"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
DOWNLOADED = (
    "config.json",
    SHARED,
    "text_encoder/config.json",
    f"text_encoder/{SHARED}",
    "text_encoder/sentence.json",
)
"""Data, never code or pickles, whatever else a repository holds."""
INSTALL = "type `pip install 'ganforge[hub]'`"


def open_hub(name: str) -> Run:
    """The model `hf:owner/name`, downloaded into the cache; nothing is written into its folder afterwards."""
    run = Run.open(download_model(name))
    run.packaged = True
    return run


def download_model(name: str) -> Path:
    """The folder with the files of `hf:owner/name`, those that changed downloaded.

    Without a network it is that of an earlier download. Raises UserError for another name, without the
    package huggingface_hub, and where nothing can be downloaded.
    """
    repository = check_repository(name.removeprefix(HUB))
    refuse_offline(f"{HUB}{repository}")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ModuleNotFoundError as error:
        raise UserError(f"{HUB}{repository} needs the package huggingface_hub: {INSTALL}") from error
    folder = cache_folder() / "models" / repository
    disable_progress_bars()
    try:
        snapshot_download(repository, local_dir=folder, allow_patterns=list(DOWNLOADED))
    except Exception as error:  # huggingface_hub passes on whatever the network library raises
        reason = printable(" ".join(str(error).split()))[:160]
        raise UserError(
            f"{HUB}{repository} could not be downloaded ({type(error).__name__}: {reason}): without network, "
            "name a folder that `ganforge export hub` wrote"
        ) from error
    if not (folder / "config.json").is_file() or not (folder / SHARED).is_file():
        raise UserError(f"{HUB}{repository} has no config.json and {SHARED}: expected a model of ganforge")
    return folder


def check_repository(name: str) -> str:
    """`name`, where it is that of a repository; else raises UserError."""
    if not REPOSITORY.fullmatch(name) or ".." in name:
        raise UserError(f"{printable(name)[:100]!r} is no repository: expected owner/name")
    return name
