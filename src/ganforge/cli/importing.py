"""`ganforge import`: runs of the weights of other people's code."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.runs.imported.write import Kind, Pairs, import_weights


@dataclass(frozen=True)
class Import:
    """Make a run of the weights of other people's code; nothing in their file is executed."""

    kind: tyro.conf.Positional[Annotated[Kind, tyro.conf.arg(help="The code that wrote the file.")]]
    file: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="Its weights of a generator, .pth or .safetensors.")]
    ]
    run: Annotated[Path, tyro.conf.arg(help="The new run folder.")]
    dropout: Annotated[
        bool,
        tyro.conf.arg(
            help="Of pix2pix: it was trained with --no_dropout; else dropout is its noise, as in its test.py."
        ),
    ] = True
    eval: Annotated[
        bool,
        tyro.conf.arg(help="Of pix2pix: running statistics and no dropout, as its test.py with --eval."),
    ] = False
    pairs: Annotated[
        Pairs,
        tyro.conf.arg(
            help="Of pix2pix: the half of each image that is the source, in data to evaluate it on."
        ),
    ] = "side-by-side"

    def __call__(self, command: str) -> int:
        """Write the run and say what it is; returns the exit code."""
        run = import_weights(
            self.kind,
            self.file,
            self.run,
            dropout=self.dropout,
            evaluation=self.eval,
            pairs=self.pairs,
            command=command,
        )
        channels, height, width = run.config.spec.shape
        place = shlex.quote(str(self.run))
        print(f"{self.run}: a generator of {run.config.system}, {width}x{height}, {channels} channels")
        print(f"no discriminator, so it cannot be resumed: train a new run with --from {place} --partial")
        translates = run.config.spec.source_shape is not None
        print(
            f"next: ganforge apply {place} IMAGES --out OUT"
            if translates
            else f"next: ganforge sample {place}"
        )
        return 0
