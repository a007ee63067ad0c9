"""`ganforge explore`: paths, arithmetic, traversals, directions, projections and neighbours of latents."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import tyro
from PIL import Image

from ganforge.cli.arguments import JSON, MOVED, TRUNCATION
from ganforge.cli.figures import Figure
from ganforge.cli.tables import print_skipped
from ganforge.data.batch import as_images
from ganforge.errors import UserError
from ganforge.evaluation.features.select import smooth_features
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.files.atomic import replace_file
from ganforge.files.provenance import check_replaceable
from ganforge.files.video import VIDEOS
from ganforge.generation.explore import arithmetic, directions, paths, projection, traversal
from ganforge.generation.explore.figures import own_images
from ganforge.generation.explore.keys import Keys, keys_of_seeds
from ganforge.generation.explore.vectors import check_place, save_vector
from ganforge.generation.output import IMAGES, encode_arrays, hash_latents, provenance
from ganforge.generation.sample import parse_labels
from ganforge.generation.seeds import parse_seeds
from ganforge.reporting import grids
from ganforge.runs.trained import Trained
from ganforge.text.embeddings import data_of

SEEDS = tyro.conf.arg(help="Seeds of the samples, such as 1,2,3 or 1-5: each as `sample --count 1 --seed N`.")
SAVE = tyro.conf.arg(help="Keep the direction under this name in the run, or in a file NAME.safetensors.")


@dataclass(frozen=True)
class _Exploration(Figure):
    """What all explorations have in common."""

    labels: Annotated[
        str | None, tyro.conf.arg(help="A class, or one for each seed in turn, by number or name.")
    ] = None
    text: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="A prompt, for gan_cls and stackgan; repeat the option for more."),
    ] = ()
    out: Path = Path("exploration.png")

    def load(self) -> Trained:
        """As of any figure; raises UserError for a run of points too."""
        trained = super().load()
        if trained.run.config.spec.values == "points":
            raise UserError(f"{self.run} is of 2-D points: expected a run of images")
        return trained

    def about(self, trained: Trained, command: str, latents: torch.Tensor) -> dict[str, str]:
        """Where an image of `latents`, or around them, comes from."""
        return provenance(trained, self.weights, command) | {"latents": hash_latents(latents)}

    def draw(self, trained: Trained, image: Image.Image, command: str, latents: torch.Tensor) -> str:
        """Write an image of `latents`; returns a line's beginning for the user."""
        return self.write(image, self.about(trained, command, latents))


@dataclass(frozen=True)
class _Drawn(_Exploration):
    """An exploration of latents that are drawn."""

    truncation: Annotated[float | None, TRUNCATION] = None

    def about(self, trained: Trained, command: str, latents: torch.Tensor) -> dict[str, str]:
        """As of any exploration, with the truncation."""
        cut = {} if self.truncation is None else {"truncation": f"{self.truncation:g}"}
        return super().about(trained, command, latents) | cut


@dataclass(frozen=True)
class _OfSeeds(_Drawn):
    """An exploration of the latents of `seeds`."""

    seeds: Annotated[str, SEEDS] = "0-3"

    def keys(self, trained: Trained) -> Keys:
        """The latents and conditions of the seeds."""
        labels = None if self.labels is None else parse_labels(self.labels)
        chosen = parse_seeds(self.seeds)
        return keys_of_seeds(trained, chosen, labels, self.text, self.weights, self.truncation)

    def about(self, trained: Trained, command: str, latents: torch.Tensor) -> dict[str, str]:
        """As of any exploration, with the seeds."""
        return super().about(trained, command, latents) | {"seeds": self.seeds}


@dataclass(frozen=True)
class Interpolate(_OfSeeds):
    """From sample to sample: a strip (.png), or an animation back and forth (.gif, .webp, .mp4)."""

    images: Annotated[
        tuple[Path, ...],
        tyro.conf.arg(help="Your own images to go between instead of seeds, projected first."),
    ] = ()
    frames: Annotated[int | None, tyro.conf.arg(help="Images in all; default: 12 for each step.")] = None
    rate: Annotated[int, tyro.conf.arg(help="Frames a second of an animation.")] = 24
    linear: Annotated[bool, tyro.conf.arg(help="Along lines, where Gaussian latents go along arcs.")] = False
    out: Path = Path("interpolation.png")

    endings: ClassVar[tuple[str, ...]] = (*IMAGES, *VIDEOS)

    def __call__(self, command: str) -> int:
        """Write the path; returns the exit code."""
        return self.write_path(command, closed=False)

    def write_path(self, command: str, closed: bool) -> int:
        """Write an interpolation or a closed walk; returns the exit code."""
        trained, skipped = self.load(), dict[str, str]()
        keys = self.keys(trained)
        if self.images:
            found = _read(trained, [str(path) for path in self.images], skipped)
            keys = projection.project(trained, found, keys, weights=self.weights).keys
        count = len(keys.latents) - (0 if closed else 1)
        frames = 12 * count + (0 if closed else 1) if self.frames is None else self.frames
        about = self.about(trained, command, keys.latents)
        if self.images:
            del about["seeds"]
        options = {"closed": closed, "rate": self.rate, "weights": self.weights, "linear": self.linear}
        print(paths.write_path(trained, self.out, keys, frames, about, overwrite=self.overwrite, **options))  # type: ignore[arg-type]
        for place in self.images:
            _say_resized(trained, place)
        return print_skipped(skipped)


@dataclass(frozen=True)
class Walk(Interpolate):
    """A closed loop through samples, without a seam: .gif, .webp or .mp4, or its frames as .png."""

    out: Path = Path("walk.gif")

    def __call__(self, command: str) -> int:
        """Write the walk; returns the exit code."""
        return self.write_path(command, closed=True)


@dataclass(frozen=True)
class Arithmetic(_Drawn):
    """Sums of mean latents: "1,2,3 - 4,5,6 + 7,8,9"; the result in the centre of eight noisy neighbours."""

    expression: tyro.conf.Positional[
        Annotated[
            str, tyro.conf.arg(help='Seeds with commas and names of vectors, with + and -: "7 + 1.5*smile".')
        ]
    ] = ""
    noise: Annotated[float, tyro.conf.arg(help="Noise of the neighbours, +-.")] = arithmetic.NOISE
    save: Annotated[str | None, SAVE] = None
    out: Path = Path("arithmetic.png")

    def __call__(self, command: str) -> int:
        """Write the figure; returns the exit code."""
        trained, terms = self.load(), arithmetic.parse_expression(self.expression)
        labels = None if self.labels is None else parse_labels(self.labels)
        if (labels is not None and len(labels) != 1) or len(self.text) > 1:
            raise UserError("arithmetic takes one label and one prompt: leave the others out")
        if self.save is not None:
            check_place(trained, self.save, self.overwrite)
        image = arithmetic.draw_arithmetic(
            trained,
            terms,
            label=None if labels is None else labels[0],
            text=self.text[0] if self.text else None,
            noise=self.noise,
            weights=self.weights,
            truncation=self.truncation,
        )
        total, _ = arithmetic.evaluate_expression(trained, terms, self.weights, self.truncation)
        print(self.draw(trained, image, command, total))
        if self.save is not None:
            expression = {"expression": self.expression}
            print(save_vector(trained, self.save, total[0], expression, self.weights, self.overwrite))
        return 0


@dataclass(frozen=True)
class Traverse(_OfSeeds):
    """One code, class or number of the latent at a time, in a labelled grid."""

    of: Annotated[
        Literal["auto", "codes", "classes", "latents"],
        tyro.conf.arg(help="auto: codes, else classes, else the numbers of the latent that change most."),
    ] = "auto"
    dimensions: Annotated[tuple[int, ...], tyro.conf.arg(help="Numbers of the latent, from 0.")] = ()
    columns: Annotated[int, tyro.conf.arg(help="Steps of a row.")] = traversal.COLUMNS
    out: Path = Path("traversal.png")

    def __call__(self, command: str) -> int:
        """Write the grid; returns the exit code."""
        trained = self.load()
        if self.columns < 2:
            raise UserError(f"--columns {self.columns}: expected 2 or more")
        what = "latents" if self.dimensions and self.of == "auto" else self.of
        keys = self.keys(trained)
        image, said = traversal.draw_traversal(
            trained, keys, what, self.dimensions, self.columns, self.weights
        )
        print(f"{self.draw(trained, image, command, keys.latents)}: {said}")
        return 0


@dataclass(frozen=True)
class Directions(_OfSeeds):
    """Directions that change most, found without labels; each a row, the strongest first."""

    method: Annotated[
        directions.Method, tyro.conf.arg(help="sefa: of the first layer's weights; pca: of its activations.")
    ] = "sefa"
    count: Annotated[int, tyro.conf.arg(help="How many.")] = 8
    reach: Annotated[float, tyro.conf.arg(help="Each row goes from minus this to this.")] = 3.0
    save: Annotated[str | None, SAVE] = None
    out: Path = Path("directions.png")

    def __call__(self, command: str) -> int:
        """Write the strips, and each direction as NAME-0, NAME-1 ...; returns the exit code."""
        trained = self.load()
        bases = self.keys(trained)
        found = directions.find_directions(trained, bases, self.count, self.method, self.weights)
        kept = [] if self.save is None else _numbered(self.save, len(found))
        for name in kept:
            check_place(trained, name, self.overwrite)
        steps = [float(step) for step in torch.linspace(-self.reach, self.reach, 7)]
        names = [f"{index}: {100 * each.share:.1f} %" for index, each in enumerate(found)]
        image = directions.draw_strips(
            trained, bases, [each.values for each in found], names, steps, self.weights
        )
        print(self.draw(trained, image, command, bases.latents))
        for name, each in zip(kept, found, strict=False):
            about = {"method": self.method, "share": f"{each.share:.6f}"}
            print(save_vector(trained, name, each.values, about, self.weights, self.overwrite))
        return 0


def _numbered(name: str, count: int) -> list[str]:
    """NAME-0, NAME-1 ..., or files of these names."""
    ending = ".safetensors" if name.endswith(".safetensors") else ""
    return [f"{name.removesuffix(ending)}-{index}{ending}" for index in range(count)]


@dataclass(frozen=True)
class Project(_Exploration):
    """The latents of your own images: image, reconstruction, nearest of many samples; and an .npz of them."""

    images: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(help="Images, folders or .zip files.")]
    ] = ()
    steps: Annotated[int, tyro.conf.arg(help="Steps of the optimisation; 0: the start alone.")] = 200
    restarts: Annotated[int, tyro.conf.arg(help="Starts that are optimised; the best one counts.")] = 3
    candidates: Annotated[int, tyro.conf.arg(help="Samples to find the nearest of.")] = 1_000
    pixels_only: Annotated[
        bool, tyro.conf.arg(help="Compare pixels alone, without the reference classifier's features.")
    ] = False
    flip_through: Annotated[
        Path | None,
        tyro.conf.arg(help="Also write the path through their latents: a strip (.png), or an animation."),
    ] = None
    json: Annotated[bool, JSON] = False
    out: Path = Path("projection.png")

    def __call__(self, command: str) -> int:
        """Write the figure, and the latents next to it in an .npz; returns the exit code."""
        if self.candidates < 1:
            raise UserError(f"--candidates {self.candidates}: expected 1 or more")
        if not self.images:
            raise UserError("no image: name one or more after the run, such as photo.png")
        numbers = self.out.with_suffix(".npz")
        check_replaceable(numbers, self.overwrite)
        if self.flip_through is not None and len(self.images) == 1 and Path(self.images[0]).is_file():
            raise UserError("--flip-through goes between images: name two or more")
        trained, skipped = self.load(), dict[str, str]()
        labels = None if self.labels is None else parse_labels(self.labels)
        if (labels is not None and len(labels) != 1) or len(self.text) > 1:
            raise UserError("project takes one label and one prompt: leave the others out")
        images = _read(trained, self.images, skipped)
        like = keys_of_seeds(trained, [0], labels, self.text, self.weights)
        config = trained.run.config
        features = None if self.pixels_only else smooth_features(config.data.data, config.spec.channels)
        found = projection.project(
            trained,
            images,
            like,
            steps=self.steps,
            restarts=self.restarts,
            features=features,
            weights=self.weights,
        )
        given = like.rows(torch.zeros(self.candidates, dtype=torch.long)).given()
        samples = torch.cat(list(trained.draw(self.candidates, weights=self.weights, given=given)))
        indices, distances = nearest(images.flatten(1), [samples.flatten(1)])
        together = torch.stack([images, found.images, samples[indices]], 1).flatten(0, 1)
        written = self.draw(trained, grids.grid(together, 3), command, found.keys.latents)
        about = self.about(trained, command, found.keys.latents)
        replace_file(numbers, encode_arrays(about, latents=found.keys.latents.numpy()))
        written = f"{written}\n{numbers}: latents"
        if self.flip_through is not None:
            path = paths.write_path(
                trained,
                self.flip_through,
                found.keys,
                12 * (len(images) - 1) + 1,
                about,
                weights=self.weights,
                overwrite=self.overwrite,
            )
            written = f"{written}\n{path}"
        print(written, file=sys.stderr if self.json else sys.stdout)
        others = distances.square() / images[0].numel()
        errors = zip(found.errors.tolist(), others.tolist(), strict=True)
        rows = [
            {"image": number, "error": error, "of_nearest": other}
            for number, (error, other) in enumerate(errors)
        ]
        line = "image {image}: mean squared error {error:.4f}, of the nearest sample {of_nearest:.4f}"
        _print_rows(rows, line, self.json)
        for place in self.images:
            _say_resized(trained, Path(place))
        return print_skipped(skipped)


@dataclass(frozen=True)
class Neighbours(_OfSeeds):
    """Each sample next to the training image that is nearest in pixels: a copy would show."""

    data: Annotated[str | None, MOVED] = None
    json: Annotated[bool, JSON] = False
    out: Path = Path("neighbours.png")

    def __call__(self, command: str) -> int:
        """Write the pairs and print the distances; returns the exit code."""
        trained = self.load()
        keys, seeds = self.keys(trained), parse_seeds(self.seeds)
        samples = trained.decode(keys.latents, keys.given(), self.weights)
        train = data_of(trained.run, self.data).splits["train"]
        chunks = torch.arange(len(train)).split(1_000)
        parts = (as_images(train.read(rows)).flatten(1) for rows in chunks)
        indices, distances = nearest(samples.flatten(1), parts)
        image = grids.neighbours_grid(samples, as_images(train.read(indices)))
        written = self.draw(trained, image, command, keys.latents)
        print(written, file=sys.stderr if self.json else sys.stdout)
        seeds = seeds * len(samples) if len(seeds) == 1 else seeds  # with a label or prompt each
        found = zip(seeds, indices.tolist(), distances.tolist(), strict=True)
        rows = [{"seed": seed, "index": index, "distance": distance} for seed, index, distance in found]
        _print_rows(rows, "seed {seed}: training image {index}, distance {distance:.3f}", self.json)
        return 0


def _print_rows(rows: list[dict[str, Any]], line: str, as_json: bool) -> None:
    print(json.dumps(rows, indent=1) if as_json else "\n".join(line.format(**row) for row in rows))


def _read(trained: Trained, places: Sequence[str], skipped: dict[str, str]) -> torch.Tensor:
    """The images at `places` in the run's shape, in [-1, 1]; those left out are added to `skipped`."""
    parts = []
    for place in places:
        images, left_out = own_images(trained, place, option="image")
        parts.append(images)
        skipped |= left_out
    return torch.cat(parts)


def _say_resized(trained: Trained, place: Path) -> None:
    """Say it where an image has another size than those of training."""
    spec = trained.run.config.spec
    try:
        with Image.open(place) as image:
            width, height = image.size
    except OSError:  # a folder or an archive, or what is refused when it is read
        return
    if (height, width) != (spec.height, spec.width):
        how = "cropped" if trained.run.config.data.fit == "crop" else "fitted"
        line = f"{place}: {width}x{height}, resized and {how} to the {spec.width}x{spec.height} of training"
        print(line, file=sys.stderr)
