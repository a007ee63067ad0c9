"""Verbs that make images from images: apply and restyle."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ganforge.cli.arguments import CHECKPOINT, MOVED, OVERWRITE, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_skipped
from ganforge.errors import UserError, printable
from ganforge.generation.apply import DEFAULT_TILE, apply
from ganforge.generation.restyle import DEFAULT_STEPS, restyle
from ganforge.generation.sources import Lines, Size
from ganforge.runs.trained import Weights, load


@dataclass(frozen=True)
class Apply:
    """Translate or enlarge images of any size."""

    run: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="A run folder of pix2pix, srresnet or srgan.")]
    ]
    images: tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="An image, a folder or a .zip.")]]
    out: Annotated[
        Path, tyro.conf.arg(help="PATH.png (or .jpg, .webp, .gif) for one image, else a folder of PNGs.")
    ]
    seed: Annotated[int, tyro.conf.arg(help="Seed of the noise, for systems with noise.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    tile: Annotated[
        int, tyro.conf.arg(help="Side of the tiles of large images; smaller tiles need less memory.")
    ] = DEFAULT_TILE
    size: Annotated[
        Size,
        tyro.conf.arg(help="Translate images resized to fit those of training, or at their own size."),
    ] = "training"
    lines: Annotated[
        Lines,
        tyro.conf.arg(
            help="For runs on derived edges: thin the lines of drawings as in training, find the edges of "
            "any image, or keep images as they are."
        ),
    ] = "thin"
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    overwrite: Annotated[bool, OVERWRITE] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the images; returns the exit code."""
        result = apply(
            load(self.run, checkpoint=self.checkpoint, system=self.system),
            self.images,
            self.out,
            command=command,
            seed=self.seed,
            weights=self.weights,
            tile=self.tile,
            size=self.size,
            lines=self.lines,
            overwrite=self.overwrite,
        )
        shown = (
            f"{len(result.written)} images in {self.out}"
            if len(result.written) > 1
            else str(result.written[0])
        )
        print(printable(shown) + (f", replaced {result.replaced} earlier" if result.replaced else ""))
        for note in result.notes:
            print(note, file=sys.stderr)
        return print_skipped(result.skipped)


@dataclass(frozen=True)
class Restyle:
    """Draw prompts in the style of images."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder of gan_cls or stackgan.")]]
    images: tyro.conf.Positional[
        Annotated[
            tuple[Path, ...], tyro.conf.arg(help="Images that give the style; resized to the run's size.")
        ]
    ]
    text: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="The prompt of a row; repeat the option for more rows."),
    ] = ()
    out: Annotated[
        Path, tyro.conf.arg(help="PATH.png (or .jpg, .webp, .gif): a grid; else a folder of PNGs.")
    ] = Path("restyled.png")
    steps: Annotated[
        int | None,
        tyro.conf.arg(
            help=f"Training steps of the style encoder; default: the kept one's, else {DEFAULT_STEPS:,}."
        ),
    ] = None
    weights: Annotated[Weights, WEIGHTS] = "ema"
    data: Annotated[str | None, MOVED] = None
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    overwrite: Annotated[bool, OVERWRITE] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the images; returns the exit code."""
        if not self.images:
            raise UserError("no style image: name one or more images after the run")
        choice = self.images, self.text, self.out, self.steps, self.weights, command
        with Console(stderr=True).status("style encoder") as status:
            written = restyle(
                load(self.run, checkpoint=self.checkpoint, system=self.system),
                *choice,
                lambda text: status.update(f"style encoder: {text}"),
                self.overwrite,
                self.data,
            )
        print(written)
        return 0
