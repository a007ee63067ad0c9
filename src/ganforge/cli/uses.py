"""The verbs that use trained runs for something else than samples."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from torch import Tensor

from ganforge.cli.arguments import parse
from ganforge.cli.tables import print_comparison, print_fidelity, print_scores
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError, printable
from ganforge.evaluation.compare import lines_of, read_evaluated, write_csv, write_html
from ganforge.evaluation.downstream.classify import classify
from ganforge.evaluation.downstream.features import pixels, write_features
from ganforge.evaluation.downstream.outliers import outliers
from ganforge.evaluation.downstream.probe import probe
from ganforge.evaluation.psnr import score_folder
from ganforge.evaluation.score import Score
from ganforge.generation.apply import DEFAULT_TILE, apply
from ganforge.generation.figures import Kind, draw_use
from ganforge.generation.restyle import DEFAULT_STEPS, restyle
from ganforge.reporting.grids import save_png
from ganforge.runs.data import open_like
from ganforge.runs.trained import Weights, Which, load
from ganforge.training.plan import validated

EXIT_BAD_DATA = 1
_WEIGHTS = tyro.conf.arg(help="The averaged networks, or those being trained.")
CHECKPOINT = tyro.conf.arg(help="The newest checkpoint, or the best that `train --keep-best` kept.")


@dataclass(frozen=True)
class EvaluateArguments:
    """Judge a run: every score with its protocol."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    num_samples: Annotated[
        int | None, tyro.conf.arg(help="Samples to judge; left out: 10,000, and 26,000 of stacked-mnist.")
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the samples.")] = 0
    weights: Annotated[Weights, _WEIGHTS] = "ema"
    checkpoint: Annotated[Which, CHECKPOINT] = "newest"
    features: Annotated[
        str, tyro.conf.arg(help="auto (the data's judge), pixels, random, inception, inception-clean, "
                           "or package.module:callable.")
    ] = "auto"  # fmt: skip
    features_weights: Annotated[
        Path | None, tyro.conf.arg(help="The weights of Inception, .pth or .safetensors; left out: fetched.")
    ] = None
    samples: Annotated[
        str | None,
        tyro.conf.arg(help="Judge the images of this folder or .zip against the run's data instead."),
    ] = None
    devices: Annotated[
        int,
        tyro.conf.arg(help="Processes that share the sampling, started by torchrun, each on its own GPU."),
    ] = 1
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.")] = False
    verbose: Annotated[bool, tyro.conf.arg(help="Print all scores, each with its protocol.")] = False


@dataclass(frozen=True)
class CompareArguments:
    """Compare judged runs in one table."""

    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Run folders that `ganforge evaluate` has judged.")]
    ]
    csv: Annotated[Path | None, tyro.conf.arg(help="Write the table here as CSV too.")] = None
    html: Annotated[
        Path | None, tyro.conf.arg(help="Write a page here too, with samples of the runs side by side.")
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the page's samples, the same for every run.")] = 0


@dataclass(frozen=True)
class FeaturesArguments:
    """Write what a run makes of images, for classifiers."""

    run: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A run folder; or the word pixels, for the pixels themselves.")]
    ]
    out: Annotated[Path, tyro.conf.arg(help="The .npz to write.")]
    data: Annotated[str | None, tyro.conf.arg(help="Which data; left out: the run's own.")] = None
    count: Annotated[int | None, tyro.conf.arg(help="Images of each split; left out: all.")] = None
    weights: Annotated[Weights, _WEIGHTS] = "ema"


@dataclass(frozen=True)
class ProbeArguments:
    """Classify stored features with a linear support vector machine."""

    features: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="An .npz of `ganforge features`.")]]
    labels: Annotated[
        int | None, tyro.conf.arg(help="Training labels, as many of each class; left out: all.")
    ] = None
    draws: Annotated[int, tyro.conf.arg(help="How often they are drawn.")] = 10
    seed: Annotated[int, tyro.conf.arg(help="Seed of the draws.")] = 0
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of words.")] = False


@dataclass(frozen=True)
class OutliersArguments:
    """How well a run tells other data from its own."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    data: Annotated[str, tyro.conf.arg(help="The other data.")]
    count: Annotated[int, tyro.conf.arg(help="Images of each.")] = 1_000
    seed: Annotated[int, tyro.conf.arg(help="Seed of what a system draws to judge an image.")] = 0
    weights: Annotated[Weights, _WEIGHTS] = "ema"
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.")] = False


@dataclass(frozen=True)
class ClassifyArguments:
    """Classes by p(x given y), and rejection of what is unlikely under all."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    data: Annotated[str | None, tyro.conf.arg(help="Other data, to be rejected.")] = None
    count: Annotated[int, tyro.conf.arg(help="Images of each.")] = 1_000
    reject: Annotated[float, tyro.conf.arg(help="Percent of the training images that would be rejected.")] = (
        5.0
    )
    weights: Annotated[Weights, _WEIGHTS] = "ema"
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.")] = False


@dataclass(frozen=True)
class DrawArguments:
    """An image of what a run does with images."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    kind: tyro.conf.Positional[
        Annotated[Kind, tyro.conf.arg(help="Of held-out images, or a map of two latents.")]
    ]
    out: Annotated[Path, tyro.conf.arg(help="The PNG to write.")]
    count: Annotated[int, tyro.conf.arg(help="Columns.")] = 10
    rows: Annotated[int | None, tyro.conf.arg(help="Rows that completions keep; left out: half.")] = None
    seed: Annotated[int, tyro.conf.arg(help="Seed of the choice and of the completions.")] = 0
    weights: Annotated[Weights, _WEIGHTS] = "ema"


@dataclass(frozen=True)
class RestyleArguments:
    """What sentences say in the style of images."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder of gan_cls or stackgan.")]]
    images: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Images whose style is taken; resized to the run's.")]
    ]
    text: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="What the new images show; may be given again for another row."),
    ] = ()
    out: Annotated[Path, tyro.conf.arg(help="PATH.png: a grid; else a folder of PNGs.")] = Path(
        "restyled.png"
    )
    steps: Annotated[
        int | None,
        tyro.conf.arg(
            help=f"Steps of the style encoder; left out: those of the one kept, else {DEFAULT_STEPS:,}."
        ),
    ] = None
    weights: Annotated[Weights, _WEIGHTS] = "ema"


@dataclass(frozen=True)
class ApplyArguments:
    """Translate or enlarge images of any size."""

    run: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="A run folder of pix2pix, srresnet or srgan.")]
    ]
    images: tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="An image, a folder or a .zip.")]]
    out: Annotated[Path, tyro.conf.arg(help="PATH.png for one image, else a folder.")]
    seed: Annotated[int, tyro.conf.arg(help="Seed of the noise, where a system has some.")] = 0
    weights: Annotated[Weights, _WEIGHTS] = "ema"
    tile: Annotated[int, tyro.conf.arg(help="Side of the tiles of large images: less takes less memory.")] = (
        DEFAULT_TILE
    )


@dataclass(frozen=True)
class PSNRArguments:
    """How well images that were shrunk are enlarged: PSNR and SSIM on the luma."""

    images: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A folder or .zip of originals, such as Set5.")]
    ]
    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Runs to set beside bicubic; none: it alone.")]
    ] = ()
    scale: Annotated[
        int | None, tyro.conf.arg(help="How many times smaller; left out: that of the runs, else 4.")
    ] = None
    json: Annotated[bool, tyro.conf.arg(help="Print JSON instead of a table.")] = False


def run_apply(arguments: Sequence[str]) -> int:
    """`ganforge apply`."""
    given = parse(ApplyArguments, arguments, "ganforge apply", "Translate or enlarge images of any size.")
    options = {"seed": given.seed, "weights": given.weights, "tile": given.tile}
    command = shlex.join(["ganforge", "apply", *arguments])
    done = apply(given.run, given.images, given.out, command=command, **options)
    shown = f"{len(done.written)} images in {given.out}" if len(done.written) > 1 else str(done.written[0])
    print(printable(shown))
    return _skipped(done.skipped)


def run_restyle(arguments: Sequence[str]) -> int:
    """`ganforge restyle`."""
    given = parse(RestyleArguments, arguments, "ganforge restyle", "Draw sentences in the style of images.")
    if not given.images:
        raise UserError("no image to take the style of: name one after the run")
    command = shlex.join(["ganforge", "restyle", *arguments])
    choice = given.images, given.text, given.out, given.steps, given.weights, command
    with Console(stderr=True).status("style encoder") as status:
        said = restyle(load(given.run), *choice, lambda text: status.update(f"style encoder: {text}"))
    print(said)
    return 0


def run_psnr(arguments: Sequence[str]) -> int:
    """`ganforge psnr`."""
    given = parse(PSNRArguments, arguments, "ganforge psnr", "How well images are enlarged again.")
    rows, skipped = score_folder(given.images, [load(run) for run in given.runs], given.scale)
    if given.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    else:
        print_fidelity(rows)
    return _skipped(skipped)


def _skipped(skipped: dict[str, str]) -> int:
    """Name what was skipped; returns the exit code."""
    for name, why in skipped.items():
        print(f"skipped: {printable(name)} ({why})", file=sys.stderr)
    return EXIT_BAD_DATA if skipped else 0


def run_draw(arguments: Sequence[str]) -> int:
    """`ganforge draw`."""
    given = parse(DrawArguments, arguments, "ganforge draw", "Draw what a run does with images.")
    if given.count < 1 or given.out.suffix != ".png":
        raise UserError(f"--count {given.count} --out {given.out}: expected 1 or more, and a name in .png")
    trained = load(given.run)
    dataset = open_like(trained.run.config, None)
    choice = given.count, given.rows, given.seed, given.weights
    image = draw_use(trained, dataset, given.kind, *choice)
    about = {"command": shlex.join(["ganforge", "draw", *arguments]), "run": str(given.run)}
    save_png(image, given.out, about | {"seed": str(given.seed), "step": str(trained.step)})
    print(given.out)
    return 0


def run_compare(arguments: Sequence[str]) -> int:
    """`ganforge compare`."""
    given = parse(CompareArguments, arguments, "ganforge compare", "Compare judged runs in one table.")
    runs = read_evaluated(given.runs)
    lines = lines_of(runs)
    print_comparison(runs, lines)
    if given.csv is not None:
        write_csv(given.csv, runs, lines)
        print(f"stored in {given.csv}")
    if given.html is not None:
        write_html(given.html, runs, lines, given.seed)
        print(f"stored in {given.html}")
    return 0


def run_features(arguments: Sequence[str]) -> int:
    """`ganforge features`."""
    given = parse(FeaturesArguments, arguments, "ganforge features", "Write features of images.")
    if given.count is not None and given.count < 1:
        raise UserError(f"--count {given.count}: expected 1 or more")
    if given.run == "pixels":
        if given.data is None:
            raise UserError("features of pixels need data: add --data mnist")
        dataset = open_dataset(validated(DataOptions, {"data": given.data}))
        extract: Callable[[Tensor], Tensor] = pixels
    else:
        trained = load(given.run)
        dataset = open_like(trained.run.config, given.data)
        extract = partial(trained.features, weights=given.weights)
    for name, shape in write_features(extract, dataset, given.out, given.count).items():
        print(f"{name}: {shape[0]} images, {shape[1]} features")
    print(f"{given.out}: `ganforge probe {given.out} --labels 1000` classifies them")
    return 0


def run_probe(arguments: Sequence[str]) -> int:
    """`ganforge probe`."""
    given = parse(ProbeArguments, arguments, "ganforge probe", "Classify stored features.")
    if given.draws < 1:
        raise UserError(f"--draws {given.draws}: expected 1 or more")
    found = probe(given.features, given.labels, given.draws, given.seed)
    if given.json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        spread = f" +- {found.plus_minus:.2f}" if found.num_draws > 1 else ""
        print(f"error {found.error_percent:.2f}{spread} % of {found.num_test} test images")
        print(
            f"linear L2-SVM on {found.num_features} features, {found.num_labels} labels, {found.num_draws} "
            f"draws; C {found.penalty:g} by the validation error of {found.validation_error_percent:.2f} %"
        )
    return 0


def run_classify(arguments: Sequence[str]) -> int:
    """`ganforge classify`."""
    given = parse(ClassifyArguments, arguments, "ganforge classify", "Classify by p(x given y).")
    if given.count < 1:
        raise UserError(f"--count {given.count}: expected 1 or more")
    trained = load(given.run)
    config = trained.run.config
    other = None if given.data is None else open_like(config, given.data)
    scores = classify(trained, open_like(config, None), other, given.count, given.reject, given.weights)
    _print_or_dump(scores, given.json)
    return 0


def run_outliers(arguments: Sequence[str]) -> int:
    """`ganforge outliers`."""
    given = parse(OutliersArguments, arguments, "ganforge outliers", "Tell other data from a run's own.")
    if given.count < 1:
        raise UserError(f"--count {given.count}: expected 1 or more")
    trained = load(given.run)
    config = trained.run.config
    datasets = open_like(config, None), open_like(config, given.data)
    _print_or_dump(outliers(trained, *datasets, given.count, given.weights, given.seed), given.json)
    return 0


def _print_or_dump(scores: list[Score], as_json: bool) -> None:
    if as_json:
        print(json.dumps([score.model_dump() for score in scores], indent=1))
    else:
        print_scores(scores)
