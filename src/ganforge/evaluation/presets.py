"""Protocols of published numbers: how many samples are scored, by which features, against which images."""

from collections.abc import Callable
from dataclasses import dataclass

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError, printable, unknown_name
from ganforge.evaluation.score import Evaluated, Protocol, Score
from ganforge.evaluation.scores.distribution import score_fid, score_kid
from ganforge.evaluation.scores.pixels import score_parzen, score_stacks


@dataclass(frozen=True)
class Preset:
    """One protocol; `data` and `shape` are those of the published numbers, or any where they are None.

    `features` as of `feature_extractor`, whose names say the resize too; samples are compared with all images
    of `split`, where that matters. `compares` says with which numbers.
    """

    num_samples: int
    features: str
    split: str
    scores: tuple[Callable[[Evaluated], list[Score]], ...]
    compares: str
    data: str | None = None
    shape: tuple[int, int, int] | None = None

    def check(self, name: str, dataset: Dataset) -> None:
        """Raise UserError where `dataset` is not what the published numbers are of."""
        spec, options = dataset.spec, dataset.options
        if spec.values != "pixels":
            raise UserError(f"--protocol {name} is for images, and {printable(options.data)} has 2-D points")
        if self.data is not None and self.data not in options.data.lower().replace("-", ""):
            raise UserError(
                f"--protocol {name} is of {self.data}, the run's data is {printable(options.data)}: leave "
                "it out, or use fid50k-full"
            )
        if self.shape not in (None, spec.shape) or options.binarise != "none":
            shapes = ["x".join(map(str, shape)) for shape in (self.shape or spec.shape, spec.shape)]
            kind = ", black and white" if options.binarise != "none" else ""
            raise UserError(
                f"--protocol {name} is of grey levels and images {shapes[0]}, the run's are {shapes[1]}{kind}"
            )
        if self.split not in dataset.splits:
            raise UserError(f"--protocol {name} needs the split {self.split}, which this data lacks")

    def protocol(self, name: str) -> Protocol:
        """What its scores say of it."""
        return {"published protocol": name, "compares with": self.compares}

    def score(self, evaluated: Evaluated) -> list[Score]:
        """Its scores of samples."""
        return [score for scorer in self.scores for score in scorer(evaluated)]


CIFAR10, MNIST = (3, 32, 32), (1, 28, 28)
PRESETS = {
    "cifar10-50k": Preset(
        50_000,
        "inception",
        "train",
        (score_fid, score_kid),
        "FID of 50,000 samples and all training images: WGAN-GP 22.29, SNGAN 16.77, cGAN-PD 10.84 (Lee and "
        "Town 2020, Mimicry), StyleGAN2 with ADA 2.42 by class (Karras et al. 2020)",
        "cifar10",
        CIFAR10,
    ),
    "cifar10-10k": Preset(
        10_000,
        "inception",
        "test",
        (score_fid, score_kid),
        "FID of 10,000 samples and the test images: StyleGAN2 11.07, with DiffAugment 9.89; BigGAN 9.59, "
        "with DiffAugment 8.70 by class (Zhao et al. 2020)",
        "cifar10",
        CIFAR10,
    ),
    "cifar10-10k-clean": Preset(
        10_000,
        "inception-clean",
        "test",
        (score_fid, score_kid),
        "clean-FID of 10,000 samples and the test images: StyleGAN2 12.96, with DiffAugment 10.85 (Parmar et "
        "al. 2022)",
        "cifar10",
        CIFAR10,
    ),
    "fid50k-full": Preset(
        50_000,
        "inception",
        "train",
        (score_fid,),
        "fid50k_full of StyleGAN2-ADA and StyleGAN3, of the same images at the same size",
    ),
    "mnist-parzen": Preset(
        10_000,
        "auto",
        "test",
        (score_parzen,),
        "nats on MNIST (Goodfellow et al. 2014, table 1): adversarial nets 225 ± 2, deep GSN 214 ± 1.1, DBN "
        "138 ± 2, stacked CAE 121 ± 1.6",
        "mnist",
        MNIST,
    ),
    "stacked-mnist-26k": Preset(
        26_000,
        "auto",
        "train",
        (score_stacks,),
        "modes of 1,000 and reverse KL (Srivastava et al. 2017, table 2): DCGAN 99 and 3.40, ALI 16 and "
        "5.40, unrolled GAN 48.7 and 4.32, VEEGAN 150 and 2.95; by another classifier",
        "stackedmnist",
    ),
}


def find_preset(name: str) -> Preset:
    """The protocol called `name`; raises UserError, with the closest names, where there is none."""
    if name not in PRESETS:
        raise unknown_name("protocol", name, PRESETS, "(docs/metrics.md)")
    return PRESETS[name]
