"""Verbs that make images from images: apply, restyle and draw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ganforge.cli.arguments import SYSTEM, WEIGHTS
from ganforge.cli.tables import print_skipped
from ganforge.errors import UserError, printable
from ganforge.generation.apply import DEFAULT_TILE, apply
from ganforge.generation.figures import Kind, draw_use
from ganforge.generation.restyle import DEFAULT_STEPS, restyle
from ganforge.reporting.grids import save_png
from ganforge.runs.data import open_like
from ganforge.runs.trained import Weights, load


@dataclass(frozen=True)
class Apply:
    """Translate or enlarge images of any size."""

    run: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="A run folder of pix2pix, srresnet or srgan.")]
    ]
    images: tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="An image, a folder or a .zip.")]]
    out: Annotated[Path, tyro.conf.arg(help="PATH.png for one image, else a folder.")]
    seed: Annotated[int, tyro.conf.arg(help="Seed of the noise, for systems with noise.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    tile: Annotated[
        int, tyro.conf.arg(help="Side of the tiles of large images; smaller tiles need less memory.")
    ] = DEFAULT_TILE
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the images; returns the exit code."""
        result = apply(
            load(self.run, system=self.system),
            self.images,
            self.out,
            command=command,
            seed=self.seed,
            weights=self.weights,
            tile=self.tile,
        )
        shown = (
            f"{len(result.written)} images in {self.out}"
            if len(result.written) > 1
            else str(result.written[0])
        )
        print(printable(shown))
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
    out: Annotated[Path, tyro.conf.arg(help="PATH.png: a grid; else a folder of PNGs.")] = Path(
        "restyled.png"
    )
    steps: Annotated[
        int | None,
        tyro.conf.arg(
            help=f"Training steps of the style encoder; default: the kept one's, else {DEFAULT_STEPS:,}."
        ),
    ] = None
    weights: Annotated[Weights, WEIGHTS] = "ema"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the images; returns the exit code."""
        if not self.images:
            raise UserError("no style image: name one or more images after the run")
        choice = self.images, self.text, self.out, self.steps, self.weights, command
        with Console(stderr=True).status("style encoder") as status:
            written = restyle(
                load(self.run, system=self.system),
                *choice,
                lambda text: status.update(f"style encoder: {text}"),
            )
        print(written)
        return 0


@dataclass(frozen=True)
class Draw:
    """Draw reconstructions, completions or a map of two latents."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    kind: tyro.conf.Positional[
        Annotated[Kind, tyro.conf.arg(help="Of held-out images, or a map (manifold) of two latents.")]
    ]
    out: Annotated[Path, tyro.conf.arg(help="The PNG to write.")]
    count: Annotated[int, tyro.conf.arg(help="Columns.")] = 10
    rows: Annotated[int | None, tyro.conf.arg(help="Rows that completions keep; default: half.")] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the images and of the completions.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the image; returns the exit code."""
        if self.count < 1 or self.out.suffix != ".png":
            raise UserError(f"--count {self.count} --out {self.out}: expected 1 or more, and a name in .png")
        trained = load(self.run, system=self.system)
        dataset = open_like(trained.run.config, None)
        choice = self.count, self.rows, self.seed, self.weights
        image = draw_use(trained, dataset, self.kind, *choice)
        about = {"command": command, "run": str(self.run)}
        save_png(image, self.out, about | {"seed": str(self.seed), "step": str(trained.step)})
        print(self.out)
        return 0
