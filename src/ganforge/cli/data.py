"""`ganforge data`: check, pack and embed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ganforge.cli import EXIT_BAD_DATA
from ganforge.cli.arguments import JSON, arguments_of, values_of
from ganforge.data import check
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.data.pack import pack
from ganforge.data.pack_shards import pack_shards, parse_bytes
from ganforge.data.sources.shards import PREFIX
from ganforge.errors import UserError
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.saved_statistics import write_statistics
from ganforge.reporting.sheet import write_sheet
from ganforge.text.embeddings import write_embeddings
from ganforge.training.plan import validated

DataArguments: Any = arguments_of(DataOptions, {}, positional=("data",))


@dataclass(frozen=True)
class Check:
    """Report what a data set contains, and its problems."""

    options: DataArguments
    json: Annotated[bool, JSON] = False
    sheet: Annotated[
        Path | None,
        tyro.conf.arg(help="Write a contact sheet to this PNG: 64 images as training will see them."),
    ] = None

    def __call__(self, command: str) -> int:
        """Print the report; returns the exit code, 1 where the data have problems."""
        options = validated(DataOptions, values_of(self.options))
        report = check.check(options)
        print(report.to_json() if self.json else "\n".join(report.lines()))
        if report.problems:
            if self.sheet is not None:
                print("no sheet was written: solve the problems first", file=sys.stderr)
            return EXIT_BAD_DATA
        if self.sheet is not None:
            write_sheet(open_dataset(options), self.sheet)
            print(f"sheet       {self.sheet}", file=sys.stderr if self.json else sys.stdout)
        return 0


@dataclass(frozen=True)
class PackTarget:
    """The zip; a group of its own, since tyro puts positional arguments of groups last."""

    out: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="The zip to write; with --shards the new folder.")]
    ]


@dataclass(frozen=True)
class Pack:
    """Resize a data set into one indexed zip, or into tar shards."""

    options: DataArguments
    target: PackTarget
    shards: Annotated[
        str | None,
        tyro.conf.arg(
            help="Write tars of about this size into a folder, such as 256MB; train with --data wds:FOLDER."
        ),
    ] = None

    def __call__(self, command: str) -> int:
        """Write the zip or the shards; returns the exit code."""
        options, out = validated(DataOptions, values_of(self.options)), self.target.out
        if self.shards is None:
            print(f"{out}: {pack(options, out)} images")
            return 0
        count, shards = pack_shards(options, out, parse_bytes(self.shards))
        print(f"{out}: {count} images in {shards} shards; train with --data {PREFIX}{out}")
        return 0


@dataclass(frozen=True)
class StatisticsTarget:
    """The file; a group of its own, since tyro puts positional arguments of groups last."""

    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="The .npz to write.")]]


@dataclass(frozen=True)
class Statistics:
    """Write mu and sigma of the features of a data set's images, for FIDs here and with pytorch-fid."""

    options: DataArguments
    target: StatisticsTarget
    split: Annotated[str, tyro.conf.arg(help="train, validation or test.")] = "train"
    features: Annotated[
        str, tyro.conf.arg(help="inception, inception-clean, or another extractor of `ganforge evaluate`.")
    ] = "inception"
    features_weights: Annotated[
        Path | None, tyro.conf.arg(help="The weights of Inception; default: downloaded.")
    ] = None

    def __call__(self, command: str) -> int:
        """Write the file; returns the exit code."""
        dataset = open_dataset(validated(DataOptions, values_of(self.options)))
        if dataset.spec.values != "pixels":
            raise UserError(f"{dataset.options.data} has 2-D points: expected images")
        extractor = feature_extractor(self.features, dataset, self.features_weights)
        out = self.target.out
        with Console(stderr=True).status("features") as status:
            count = write_statistics(out, dataset, self.split, extractor, status.update)
        print(f"{out}: {count:,} images, {extractor.description}")
        return 0


@dataclass(frozen=True)
class Embed:
    """Write the embeddings of a data set's captions once, for all runs that train on them."""

    encoder: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A run of text_encoder, sentence:MODEL, or pretrained:NAME.")]
    ]
    data: Annotated[str, tyro.conf.arg(help="A data set with captions: a name, a folder or a .zip.")]
    out: Annotated[
        Path | None,
        tyro.conf.arg(help="A folder for encoder and embeddings, as for --text-encoder; default: the run's."),
    ] = None

    def __call__(self, command: str) -> int:
        """Write the embeddings; returns the exit code."""
        # The captions are the same at any size: small images are opened faster.
        dataset = open_dataset(validated(DataOptions, {"data": self.data, "size": 8}))
        file, count = write_embeddings(self.encoder, dataset, self.out)
        print(f"{file}: {count} captions")
        return 0
