"""The verb for captions: embed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import parse
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.text.embeddings import write_embeddings
from ganforge.training.plan import validated


@dataclass(frozen=True)
class EmbedArguments:
    """Write the embeddings of a data set's captions once, for all runs that train on them."""

    encoder: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A run of text_encoder, sentence:MODEL, or pretrained:NAME.")]
    ]
    data: Annotated[str, tyro.conf.arg(help="A data set with captions: a name, a folder or a .zip.")]
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            help="A folder for encoder and embeddings, later a --text-encoder; left out: the run's own."
        ),
    ] = None


def run_embed(arguments: Sequence[str]) -> int:
    """`ganforge embed`."""
    given = parse(EmbedArguments, arguments, "ganforge embed", "Write the embeddings of captions.")
    # The captions are the same at any size: small images are opened faster.
    dataset = open_dataset(validated(DataOptions, {"data": given.data, "size": 8}))
    file, count = write_embeddings(given.encoder, dataset, given.out)
    print(f"{file}: {count} captions")
    return 0
