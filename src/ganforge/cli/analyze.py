"""`ganforge analyze`: what a trained run knows, measured on images."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from torch import Tensor

from ganforge.cli.arguments import CHECKPOINT, JSON, MOVED, OVERWRITE, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_fidelity, print_or_dump, print_skipped
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.downstream.classify import classify
from ganforge.evaluation.downstream.features import features_of_run, pixels, write_features
from ganforge.evaluation.downstream.outliers import outliers
from ganforge.evaluation.downstream.probe import probe
from ganforge.evaluation.psnr import score_folder
from ganforge.runs.data import open_like
from ganforge.runs.trained import Weights, load
from ganforge.text.embeddings import data_of
from ganforge.training.plan import validated


@dataclass(frozen=True)
class Features:
    """Write a run's features of images, for classifiers."""

    run: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A run folder, or `pixels` for the pixels themselves.")]
    ]
    out: Annotated[Path, tyro.conf.arg(help="The .npz to write.")]
    data: Annotated[str | None, tyro.conf.arg(help="A data set; default: the run's own.")] = None
    count: Annotated[int | None, tyro.conf.arg(help="Images of each split; default: all.")] = None
    weights: Annotated[Weights, WEIGHTS] = "ema"
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    overwrite: Annotated[bool, OVERWRITE] = False
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the features; returns the exit code."""
        if self.count is not None and self.count < 1:
            raise UserError(f"--count {self.count}: expected 1 or more")
        about = {"command": command, "run": self.run, "step": "0"}
        if self.run == "pixels":
            if self.data is None:
                raise UserError("features of pixels need data: add --data mnist")
            dataset = open_dataset(validated(DataOptions, {"data": self.data}))
            extract: Callable[[Tensor], Tensor] = pixels
        else:
            trained = load(self.run, checkpoint=self.checkpoint, system=self.system)
            dataset = (
                open_like(trained.run.config, self.data) if self.data else data_of(trained.run, strict=False)
            )
            about |= {"run": trained.run.path.name, "step": str(trained.step)}
            extract = partial(features_of_run, trained, weights=self.weights)
        shapes = write_features(extract, dataset, self.out, self.count, about, self.overwrite)
        for name, shape in shapes.items():
            print(f"{name}: {shape[0]} images, {shape[1]} features")
        print(f"{self.out}: `ganforge analyze probe {self.out} --labels 1000` classifies them")
        return 0


@dataclass(frozen=True)
class Probe:
    """Classify stored features with a linear support vector machine."""

    features: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="An .npz of `ganforge analyze features`.")]
    ]
    labels: Annotated[
        int | None, tyro.conf.arg(help="Training labels, evenly over the classes; default: all.")
    ] = None
    draws: Annotated[int, tyro.conf.arg(help="Random draws of the labels.")] = 10
    seed: Annotated[int, tyro.conf.arg(help="Seed of the draws.")] = 0
    json: Annotated[bool, JSON] = False

    def __call__(self, command: str) -> int:
        """Print the error; returns the exit code."""
        if self.draws < 1:
            raise UserError(f"--draws {self.draws}: expected 1 or more")
        result = probe(self.features, self.labels, self.draws, self.seed)
        if self.json:
            print(json.dumps(dataclasses.asdict(result), indent=1))
        else:
            spread = f" +- {result.plus_minus:.2f}" if result.num_draws > 1 else ""
            print(f"error {result.error_percent:.2f}{spread} % of {result.num_test} test images")
            print(
                f"linear L2-SVM on {result.num_features} features, {result.num_labels} labels, "
                f"{result.num_draws} draws; C {result.penalty:g} by the validation error of "
                f"{result.validation_error_percent:.2f} %"
            )
        return 0


@dataclass(frozen=True)
class Outliers:
    """Measure how well a run detects images from other data."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    data: Annotated[str, tyro.conf.arg(help="The other data.")]
    own_data: Annotated[str | None, MOVED] = None
    count: Annotated[int, tyro.conf.arg(help="Images of each.")] = 1_000
    seed: Annotated[int, tyro.conf.arg(help="Seed of the noise in a system's outlier scores.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    json: Annotated[bool, JSON] = False
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Print the scores; returns the exit code."""
        if self.count < 1:
            raise UserError(f"--count {self.count}: expected 1 or more")
        trained = load(self.run, checkpoint=self.checkpoint, system=self.system)
        datasets = data_of(trained.run, self.own_data), open_like(trained.run.config, self.data)
        print_or_dump(outliers(trained, *datasets, self.count, self.weights, self.seed), self.json)
        return 0


@dataclass(frozen=True)
class Classify:
    """Classify by p(x given y), and reject images that are unlikely under every class."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    data: Annotated[str | None, tyro.conf.arg(help="Other data, whose rejection is measured.")] = None
    own_data: Annotated[str | None, MOVED] = None
    count: Annotated[int, tyro.conf.arg(help="Images of each.")] = 1_000
    reject: Annotated[float, tyro.conf.arg(help="Percent of the training images that are rejected.")] = 5.0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    json: Annotated[bool, JSON] = False
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Print the scores; returns the exit code."""
        if self.count < 1:
            raise UserError(f"--count {self.count}: expected 1 or more")
        trained = load(self.run, checkpoint=self.checkpoint, system=self.system)
        own = data_of(trained.run, self.own_data)
        other = None if self.data is None else open_like(trained.run.config, self.data)
        scores = classify(trained, own, other, self.count, self.reject, self.weights)
        print_or_dump(scores, self.json)
        return 0


@dataclass(frozen=True)
class PSNR:
    """PSNR and SSIM, on the luma, of images that were reduced and enlarged again."""

    images: tyro.conf.Positional[
        Annotated[str, tyro.conf.arg(help="A folder or .zip of originals, such as Set5.")]
    ]
    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Runs to compare with bicubic resampling.")]
    ] = ()
    scale: Annotated[
        int | None, tyro.conf.arg(help="Reduction factor; default: that of the runs, else 4.")
    ] = None
    json: Annotated[bool, JSON] = False
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Print the table; returns the exit code."""
        rows, skipped = score_folder(
            self.images,
            [load(run, checkpoint=self.checkpoint, system=self.system) for run in self.runs],
            self.scale,
        )
        if self.json:
            print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        else:
            print_fidelity(rows)
        return print_skipped(skipped)
