"""`ganforge explore reconstructions`, `completions` and `manifold`: figures of single images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro
from PIL import Image

from ganforge.cli.arguments import CHECKPOINT, MOVED, OVERWRITE, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_skipped
from ganforge.errors import UserError
from ganforge.files.images import save_image
from ganforge.files.provenance import check_replaceable
from ganforge.generation.explore import figures
from ganforge.generation.output import IMAGES, listed, provenance
from ganforge.runs.trained import Trained, Weights, load
from ganforge.text.embeddings import data_of


@dataclass(frozen=True)
class Figure:
    """What all figures and explorations of a run have in common."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    weights: Annotated[Weights, WEIGHTS] = "ema"
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    overwrite: Annotated[bool, OVERWRITE] = False
    system: Annotated[str | None, SYSTEM] = None
    out: Path = Path("figure.png")

    endings: ClassVar[tuple[str, ...]] = IMAGES

    def load(self) -> Trained:
        """The run; raises UserError for an `out` that is not free.

        Projections and paths take minutes, which must not be lost for a name.
        """
        if self.out.suffix.lower() not in self.endings:
            raise UserError(f"--out {self.out}: expected a name ending in {listed(self.endings)}")
        check_replaceable(self.out, self.overwrite)
        return load(self.run, checkpoint=self.checkpoint, system=self.system)

    def write(self, image: Image.Image, about: dict[str, str]) -> str:
        """Write the image, and `about` in it; returns a line's beginning for the user."""
        replaced = check_replaceable(self.out, self.overwrite)
        save_image(image, self.out, about)
        return f"{self.out}{replaced}"


@dataclass(frozen=True)
class _Columns(Figure):
    """A figure of `count` columns."""

    count: Annotated[int, tyro.conf.arg(help="Columns.")] = 10

    def load(self) -> Trained:
        """As of any figure; raises UserError for a `count` that draws nothing."""
        if self.count < 1:
            raise UserError(f"--count {self.count}: expected 1 or more")
        return super().load()

    def draw(self, trained: Trained, image: Image.Image, command: str, seed: int | None = None) -> None:
        """Write the figure, and say so."""
        print(self.write(image, provenance(trained, self.weights, command, seed)))


@dataclass(frozen=True)
class Reconstructions(_Columns):
    """Held-out images or your own, and below each what vae and autoencoder make of it."""

    images: Annotated[
        str | None,
        tyro.conf.arg(help="An image, folder or .zip to reconstruct; default: held-out images of the data."),
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Chooses the held-out images.")] = 0
    data: Annotated[str | None, MOVED] = None
    out: Path = Path("reconstructions.png")

    def __call__(self, command: str) -> int:
        """Write the figure; returns the exit code, 1 where images were skipped."""
        trained, skipped = self.load(), dict[str, str]()
        if self.images is not None:
            images, skipped = figures.own_images(trained, self.images, self.count)
        else:
            images = figures.held_out_images(data_of(trained.run, self.data), self.count, self.seed).images
        self.draw(trained, figures.draw_reconstructions(trained, images, self.weights), command, self.seed)
        return print_skipped(skipped)


@dataclass(frozen=True)
class Completions(_Columns):
    """Held-out images, their upper rows, and four completions of these by pixelcnn or pixelrnn."""

    rows: Annotated[int | None, tyro.conf.arg(help="Rows that are kept; default: half.")] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the images and of the completions.")] = 0
    data: Annotated[str | None, MOVED] = None
    out: Path = Path("completions.png")

    def __call__(self, command: str) -> int:
        """Write the figure; returns the exit code."""
        trained = self.load()
        batch = figures.held_out_images(data_of(trained.run, self.data), self.count, self.seed)
        image = figures.draw_completions(trained, batch, self.rows, self.seed, self.weights)
        self.draw(trained, image, command, self.seed)
        return 0


@dataclass(frozen=True)
class Manifold(_Columns):
    """A map of two latents (--latent-size 2): a grid of equal probability."""

    out: Path = Path("manifold.png")

    def __call__(self, command: str) -> int:
        """Write the map; returns the exit code."""
        trained = self.load()
        self.draw(trained, figures.draw_manifold(trained, self.count, self.weights), command)
        return 0
