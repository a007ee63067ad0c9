"""Text encoders: a run of text_encoder, or a model of a library. Embeddings are written once.

A text encoder is a folder: a run, or `sentence.json` that names a model of sentence-transformers. Its
`embeddings/KEY.safetensors` are those of a data set's captions. A run that is trained on embeddings keeps its
encoder as `text_encoder/`, so that it accepts prompts wherever it is copied to.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, final

import torch
from torch import Tensor

from ganforge.data.captions import encode
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.files.reading import read_json
from ganforge.runs.hub import HUB
from ganforge.runs.pretrained import PRETRAINED, packaged
from ganforge.runs.trained import load, write_packed
from ganforge.system import generates_images

FOLDER = "text_encoder"
LIBRARY = "sentence:"
CHUNK = 256


class Encoder(Protocol):
    """A frozen text encoder; equal keys make equal embeddings."""

    key: str

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 `[n, size]`, each of length sqrt(size)."""

    def keep(self, folder: Path) -> None:
        """Write what `open_encoder` needs into `folder`."""


@final
class RunEncoder:
    """A run of text_encoder, or of another system that has `encode_captions`."""

    def __init__(self, path: Path) -> None:
        self._trained = load(path)
        spec = self._trained.run.config.spec
        if not spec.caption_length or generates_images(self._trained.system):
            raise UserError(
                f"--text-encoder {printable(str(path))}: that is a run of {self._trained.run.config.system}, "
                "expected one of text_encoder: `ganforge train text_encoder --data DATA` makes one"
            )
        self.path = path
        digest = hashlib.sha256(f"{spec.caption_alphabet} {spec.caption_length}".encode())
        tensors = self._trained.tensors()
        weights = tensors["system"] | {f"average {name}": t for name, t in tensors["average"].items()}
        for name, tensor in sorted(weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        self.key = digest.hexdigest()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder`."""
        spec = self._trained.run.config.spec
        codes = encode(texts, spec.caption_alphabet, spec.caption_length).long()
        return _to_length(torch.cat(list(self._trained.call("encode_captions", codes.split(CHUNK)))))

    def keep(self, folder: Path) -> None:
        """Write the run without what only its training needs."""
        write_packed(self._trained, folder)


@final
class LibraryEncoder:
    """A model of the library sentence-transformers; `network` stands in for it in tests.

    `recorded`: a file names the model, not the user, so that nothing is downloaded and no code of it runs.
    """

    def __init__(
        self, model: str, network: Callable[[list[str]], Any] | None = None, recorded: bool = False
    ) -> None:
        self.model = model
        self._recorded = recorded
        self.key = hashlib.sha256(f"{LIBRARY}{model}".encode()).hexdigest()
        self._network = network

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder`; raises UserError where the library or the model is missing."""
        if self._network is None:
            self._network = _load_library_model(self.model, self._recorded)
        return _to_length(torch.as_tensor(self._network(list(texts))))

    def keep(self, folder: Path) -> None:
        """Write the model's name."""
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "sentence.json", json.dumps({"model": self.model}).encode())


def _load_library_model(model: str, recorded: bool) -> Callable[[list[str]], Any]:
    if recorded:
        _refuse_code(model)
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise UserError(
            f"{LIBRARY}{printable(model)} needs the library sentence-transformers: type `pip install "
            "'ganforge[text]'`, or take a run of `ganforge train text_encoder`"
        ) from error
    try:
        network: Callable[[list[str]], Any] = SentenceTransformer(model, local_files_only=recorded).encode
    except Exception as error:  # the library passes on whatever the hub's client raises
        reason = printable(" ".join(str(error).split()))[:120]
        raise UserError(
            f"{LIBRARY}{printable(model)} could not be loaded ({type(error).__name__}: {reason}): expected "
            "a model that sentence-transformers knows, or its folder"
        ) from error
    return network


def _refuse_code(model: str) -> None:
    """Raise UserError where the folder `model` names modules that are not the library's own.

    The library imports them, also from the folder itself.
    """
    folder = Path(model).expanduser()
    if not folder.exists():
        return
    try:
        modules = read_json(folder / "modules.json")
        kinds = [str(module["type"]) for module in modules]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        kinds = [""]
    if not all(kind.startswith("sentence_transformers.") for kind in kinds):
        raise UserError(
            f"the run names the text encoder {printable(model)[:200]}, which brings code of its own: "
            "expected a model of sentence-transformers alone, or a run of `ganforge train text_encoder`"
        )


def _to_length(embeddings: Tensor) -> Tensor:
    """Each of length sqrt(size), so that whatever made them a number is about 1."""
    embeddings = embeddings.float()
    return torch.nn.functional.normalize(embeddings, dim=1) * math.sqrt(embeddings.shape[1])


def open_encoder(place: str) -> Encoder:
    """The encoder that --text-encoder names: `sentence:MODEL`, `pretrained:NAME`, or a folder.

    A run that was trained on embeddings stands for its own encoder. Raises UserError where there is none.
    """
    if place.startswith(LIBRARY):
        return LibraryEncoder(place.removeprefix(LIBRARY))
    if place.startswith(HUB):  # a run folder may say so, and nothing is downloaded for it
        raise UserError(f"--text-encoder {printable(place)}: expected a folder, download that one first")
    path = (
        packaged(place.removeprefix(PRETRAINED)) if place.startswith(PRETRAINED) else Path(place).expanduser()
    )
    for folder in (path, path / FOLDER):
        try:
            model = str(read_json(folder / "sentence.json")["model"])
            return LibraryEncoder(model, recorded=True)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    if (path / FOLDER / "config.json").is_file():
        path = path / FOLDER
    try:
        return RunEncoder(path)
    except UserError as error:
        said = str(error)
        raise UserError(said if said.startswith("--text-encoder") else f"--text-encoder {said}") from error
