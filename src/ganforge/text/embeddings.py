"""Embeddings of captions and prompts."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganforge.data.batch import Batch, conditions
from ganforge.data.captions import Texts, kept_captions, plain
from ganforge.data.dataset import Dataset, with_codes, with_splits
from ganforge.data.own import OwnData
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.files.reading import read_regular
from ganforge.runs.data import open_data
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED
from ganforge.runs.trained import Trained
from ganforge.text.encoders import FOLDER, Encoder, RunEncoder, open_encoder


def with_texts(dataset: Dataset, needs: frozenset[str], kept: Path | None = None) -> Dataset:
    """`dataset` with its captions as systems with these `needs` take them: codes, embeddings, or neither.

    `kept` is the encoder of a run that was begun; else it is the one that the data's options name. Raises
    UserError where an encoder is requested that these data or systems do not use, or that cannot be opened.
    """
    requested = dataset.options.text_encoder
    if "embeddings" in needs and dataset.spec.caption_alphabet:
        place = kept if kept is not None and kept.is_dir() else requested
        return dataset if place is None else embedded(dataset, str(place))
    if requested is not None and "embeddings" not in needs:
        raise UserError(
            f"--text-encoder {printable(requested)} is for systems that take text, such as gan_cls"
        )
    return with_codes(dataset) if "captions" in needs else dataset


def data_of(
    run: Run, data: str | OwnData | None = None, sources: str | None = None, *, strict: bool = True
) -> Dataset:
    """The data of a run, opened, with captions as its system takes them; the rest as of `open_data`."""

    def finish(dataset: Dataset) -> Dataset:
        if run.config.spec.embedding_size:
            return embedded(dataset, str(run.path))
        return with_codes(dataset) if run.config.spec.caption_alphabet else dataset

    return open_data(run, data, sources, finish=finish, strict=strict)


def embedded(dataset: Dataset, place: str) -> Dataset:
    """`dataset` with its captions as embeddings, read where they were written, else made now."""
    if not dataset.spec.caption_alphabet:
        raise UserError(f"{printable(dataset.options.data)} has no captions, or not of every training image")
    encoder = open_encoder(place)
    file = _file(encoder, dataset, place)
    found = _read(file, dataset) if file is not None else None
    parts = found if found is not None else make_embeddings(encoder, dataset)
    splits, average = {}, dataset.options.captions_per_image
    for name, images in dataset.splits.items():
        count = torch.tensor([len(texts) for texts in kept_captions(name, images.caption_lists)])
        splits[name] = images.with_texts(Texts(parts[name].float(), count.cumsum(0) - count, count, average))
    size = parts["train"].shape[1]
    captioned = with_splits(dataset, splits)
    return replace(captioned, spec=dataset.spec.model_copy(update={"embedding_size": size}))


def make_embeddings(encoder: Encoder, dataset: Dataset) -> dict[str, Tensor]:
    """Of every split the embeddings float16 `[captions, size]` of its captions, in order."""
    parts = {
        name: [plain(text) for texts in kept_captions(name, images.caption_lists) for text in texts]
        for name, images in dataset.splits.items()
    }
    # Each text once: in another batch the same one would come out a little different, and be a mismatch.
    number = {
        text: row for row, text in enumerate(dict.fromkeys(text for part in parts.values() for text in part))
    }
    found = encoder.encode(list(number)).half()
    return {name: found[torch.tensor([number[text] for text in part])] for name, part in parts.items()}


def write_embeddings(place: str, dataset: Dataset, out: Path | None = None) -> tuple[Path, int]:
    """Write the embeddings of a data set's captions into the encoder's folder, or keep both in `out`.

    Returns the file and the number of captions. Raises UserError where there are no captions.
    """
    if not dataset.spec.caption_alphabet:
        raise UserError(
            f"{printable(dataset.options.data)} has no captions to embed: expected one for each image, in "
            "a column `text` of metadata.jsonl, or in a .txt file of the same name"
        )
    encoder = open_encoder(place)
    if out is None and (place.startswith(PRETRAINED) or not isinstance(encoder, RunEncoder)):
        raise UserError(f"{printable(place)} has no folder of its own: say --out FOLDER")
    parts = make_embeddings(encoder, dataset)
    folder = encoder.path if out is None and isinstance(encoder, RunEncoder) else out
    assert folder is not None
    if out is not None:
        _refuse_other(out, encoder)
    return keep_encoder(encoder, dataset, folder, parts), sum(map(len, parts.values()))


def _refuse_other(out: Path, encoder: Encoder) -> None:
    """Raise UserError where `out` is a file, or a folder that holds anything but this encoder."""
    if out.is_dir() and not any(out.iterdir()):
        return
    try:
        own = not (out / FOLDER).exists()  # else a run with an encoder, and not this itself
        same = not out.exists() or (own and open_encoder(str(out)).key == encoder.key)
    except UserError:
        same = False
    if not same:
        raise UserError(f"--out {printable(str(out))} holds something else: name a new folder")


def keep_encoder(
    encoder: Encoder, dataset: Dataset, folder: Path, parts: dict[str, Tensor] | None = None
) -> Path:
    """Make `folder` an encoder with the embeddings of `dataset`; returns the file that holds these."""
    if parts is None:
        parts = {name: _values(images.texts).half() for name, images in dataset.splits.items()}
    try:
        if not isinstance(encoder, RunEncoder) or folder.resolve() != encoder.path.resolve():
            encoder.keep(folder)
        file = folder / "embeddings" / f"{_key(encoder, dataset)}.safetensors"
        file.parent.mkdir(exist_ok=True)
        replace_file(file, safetensors.torch.save(parts))
    except OSError as error:
        raise UserError(f"{printable(str(folder))}: {error.strerror or error}") from error
    return file


def describe(trained: Trained, texts: Sequence[str]) -> Batch:
    """The prompts `texts` as conditions of the system of `trained`, one for each sample.

    Raises UserError where it takes none, or one is empty.
    """
    if not texts or not all(map(plain, texts)):
        raise UserError('--text is empty: expected words, such as --text "a red apple"')
    return conditions(embeddings=embed_texts(trained, texts))


def embed_texts(trained: Trained, texts: Sequence[str]) -> Tensor:
    """The embeddings `[n, size]` of `texts` by the encoder that the run of `trained` keeps."""
    name = trained.run.config.system
    if "embeddings" not in trained.system.needs:
        raise UserError(f"{name} takes no text: leave --text out, or sample a run of gan_cls or stackgan")
    found = open_encoder(str(trained.run.path / FOLDER)).encode(texts)
    if found.shape[1] != trained.run.config.spec.embedding_size:
        raise UserError(
            f"the encoder in {trained.run.path / FOLDER} makes {found.shape[1]} numbers of a text, this run "
            f"was trained on {trained.run.config.spec.embedding_size}: put its own back"
        )
    return found


def _values(texts: Texts | None) -> Tensor:
    assert texts is not None
    return texts.values


def _key(encoder: Encoder, dataset: Dataset) -> str:
    digest = hashlib.sha256(encoder.key.encode())
    for name, images in sorted(dataset.splits.items()):
        digest.update(json.dumps([name, kept_captions(name, images.caption_lists)]).encode())
    return digest.hexdigest()[:16]


def _file(encoder: Encoder, dataset: Dataset, place: str) -> Path | None:
    path = Path(place).expanduser()
    names = [
        folder / "embeddings" / f"{_key(encoder, dataset)}.safetensors" for folder in (path, path / FOLDER)
    ]
    return next((name for name in names if name.is_file()), None)


def _read(file: Path, dataset: Dataset) -> dict[str, Tensor]:
    try:
        parts = safetensors.torch.load(read_regular(file))
        sizes = {parts[name].shape[1] for name in dataset.splits}
        for name, images in dataset.splits.items():
            count = sum(map(len, kept_captions(name, images.caption_lists)))
            if parts[name].ndim != 2 or len(parts[name]) != count or len(sizes) != 1 or 0 in sizes:
                raise ValueError(f"not the embeddings of {count} captions")
        return parts
    except (OSError, SafetensorError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = printable(" ".join(str(error).split()))[:100]
        raise UserError(
            f"{file} cannot be read ({reason}): remove it, and `ganforge data embed` writes it again"
        ) from error
