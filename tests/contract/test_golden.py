"""Losses of 20 steps and how far they go: a change that means to change nothing leaves them as they are.

`python tests/contract/test_golden.py --write` stores new ones, on purpose, with a line in the changelog. They
are in float64: another CPU adds in another order, and 20 adversarial steps turn the last digit of float32
into 1e-2 of a loss. The stored figures have six digits and are compared to a relative 2e-5. Another version
of torch may draw other random numbers and add in another order: under it the traces are skipped.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch
from ganforge.data.captions import Texts
from ganforge.data.dataset import Dataset
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.distributed import Shard
from ganforge.runs.options import TrainOptions
from ganforge.system import networks
from ganforge.systems.discovery import find
from ganforge.training.plan import make_plan, on_disk
from ganforge.training.state import Training, build_training
from ganforge.training.update import OptimizerUpdate

FOLDER = Path(__file__).parent / "golden"
NUM_STEPS = 20
ALONE = Shard()
# What was suggested when these traces were made.
BEFORE = {"steps": 20_000, "learning_rate": 1e-3}
PAPER = {"kernel_size": 5, "learning_rate": 2e-4, "latent_distribution": "uniform", "odd_maps": "keep"}
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gan-mnist": ("gan", "mnist", {}),
    "gan-gaussian": ("gan", "gaussian", {}),
    "dcgan-mnist": ("dcgan", "mnist", {"width": 8, "batch": 32} | PAPER),
    "lsgan-mnist": ("lsgan", "mnist", {"width": 8, "batch": 32, "odd_maps": "keep"}),
    "wgan-mnist": ("wgan", "mnist", {"width": 8, "batch": 16, "odd_maps": "keep"}),
    "wgan_gp-mnist": ("wgan_gp", "mnist", {"width": 8, "batch": 16}),
    "wgan_gp-ring": ("wgan_gp", "ring", {}),
    "cgan-mnist": ("cgan", "mnist", {"batch": 32}),
    "acgan-mnist": ("acgan", "mnist", {"width": 8, "discriminator_width": 4, "batch": 16}),
    "sngan-mnist": (
        "sngan",
        "mnist",
        {"width": 8, "discriminator_width": 8, "batch": 4, "conditional": True},
    ),
    "sngan-cnn-mnist": (
        "sngan",
        "mnist",
        {
            "network": "convolutional",
            "width": 8,
            "discriminator_width": 8,
            "batch": 8,
            "loss": "non_saturating",
        },
    ),
    "infogan-mnist": ("infogan", "mnist", {"width": 8, "dense_units": 64, "batch": 32}),
    "r3gan-mnist": ("r3gan", "mnist", {"width": 16, "batch": 8}),
    "r3gan-grid": ("r3gan", "grid", {}),
    "fastgan-mnist": (
        "fastgan",
        "mnist",
        {"width": 4, "batch": 8, "learning_rate": 2e-4, "augment": "color,translation"},
    ),
    "autoencoder-mnist": ("autoencoder", "mnist", {"hidden": [64], "batch": 16}),
    "vae-mnist": ("vae", "mnist", {"hidden": [64], "batch": 16}),
    "vae-iwae-mnist": ("vae", "mnist", {"hidden": [64], "batch": 16, "objective": "iwae"}),
    "pixelcnn-mnist": (
        "pixelcnn",
        "mnist",
        {"levels": 4, "width": 4, "layers": 2, "batch": 4, "conditional": True, "kernel_size": 3} | BEFORE,
    ),
    "pixelcnn-original-mnist": (
        "pixelcnn",
        "mnist",
        {"levels": 2, "width": 4, "layers": 2, "batch": 4, "network": "original"} | BEFORE,
    ),
    "pixelrnn-mnist": ("pixelrnn", "mnist", {"levels": 2, "width": 4, "layers": 1, "batch": 4} | BEFORE),
    "pixelrnn-row-mnist": (
        "pixelrnn",
        "mnist",
        {"levels": 2, "width": 4, "layers": 1, "batch": 4, "network": "row"} | BEFORE,
    ),
    "pix2pix-mnist": (
        "pix2pix",
        "mnist edges",
        {"width": 8, "discriminator_width": 8, "batch": 4, "learning_rate": 2e-4},
    ),
    "srresnet-mnist": (
        "srresnet",
        "mnist downscale:2",
        {"width": 8, "num_blocks": 2, "crop_size": 16, "batch": 8},
    ),
    "srgan-mnist": (
        "srgan",
        "mnist downscale:4",
        {"width": 8, "num_blocks": 2, "discriminator_width": 8, "crop_size": 16, "batch": 8},
    ),
    "text_encoder-emoji": (
        "text_encoder",
        "emoji",
        {"width": 4, "batch": 8, "embedding_size": 16, "character_widths": [16, 16, 16]},
    ),
    "gan_cls-emoji": (
        "gan_cls",
        "emoji",
        {"width": 4, "discriminator_width": 4, "batch": 8, "interpolate": True},
    ),
    "stackgan-emoji": ("stackgan", "emoji", {"width": 4, "discriminator_width": 4, "batch": 8}),
}
"""Name -> system, data (then, of pairs, what sources are made by), config fields."""


@contextmanager
def double_precision() -> Iterator[None]:
    """What is drawn, and what systems compute in float32 for its precision, is float64."""
    single = Tensor.float
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.float = single  # type: ignore[method-assign]
        torch.set_default_dtype(torch.float32)


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def with_stand_in(dataset: Dataset) -> Dataset:
    """`dataset` with random numbers as the embeddings of its captions."""
    train = dataset.splits["train"]
    counts = torch.tensor([len(texts) for texts in train.captions or ()])
    values = torch.randn(int(counts.sum()), 16, generator=torch.Generator().manual_seed(0))
    told = train.with_texts(Texts(values, counts.cumsum(0) - counts, counts))
    spec = dataset.spec.model_copy(update={"embedding_size": 16})
    return replace(dataset, spec=spec, splits={**dataset.splits, "train": told})


def in_double(batch: Batch) -> Batch:
    tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}
    floating = {k: t.double() for k, t in tensors.items() if isinstance(t, Tensor) and t.is_floating_point()}
    return replace(batch, **floating)


def set_up(
    system: str, data: str, config: dict[str, Any], shard: Shard = ALONE
) -> tuple[Training, OptimizerUpdate, Iterator[Batch]]:
    """A training in float64 at its start, its updates and its batches; `shard` is this process of several.

    To be called, and trained, within `double_precision`.
    """
    name, _, pairs = data.partition(" ")
    dataset = open_dataset(DataOptions(data=name, pairs=pairs or "auto"))
    options = TrainOptions(seed=0, precision="fp32", device="cpu", compile="off")
    if "embeddings" in find(system).needs:
        dataset = with_stand_in(dataset)
    plan = make_plan(system, dataset, options, config, on_disk(system, dataset.options))
    dataset = plan.dataset
    training = build_training(plan.config, dataset)
    training.system.double()
    training.shard = shard
    size, part = training.system.images_per_step(), training.part
    rows = None if part is None else part.rows_of(size)
    stream = Loader(dataset.splits["train"], size, seed=0, values=dataset.spec.values, rows=rows)
    update = OptimizerUpdate(training.optimizers, "cpu", mean=None if part is None else shard.mean)
    training.system.train()
    return training, update, map(in_double, stream.iterate(0))


@double_precision()
def trace(
    system: str, data: str, config: dict[str, Any], shard: Shard = ALONE, steps: int = NUM_STEPS
) -> dict[str, list[float]]:
    """Every metric of every step, and how far each network has moved in the end from where it began.

    In float64 on one thread, otherwise as the engine's loop computes them; of several processes `shard` is
    this one. The distances show what the losses hide where a network begins undecided, as the paper's
    discriminator does.
    """
    training, update, batches = set_up(system, data, config, shard)
    begin = {name: weights_of(network) for name, network in networks(training.system).items()}
    found: dict[str, list[float]] = {}
    for _, batch in zip(range(steps), batches, strict=False):
        training.advance(batch, update)
        for name, value in training.latest.items():
            found.setdefault(name, []).append(six_digits(value))
    for name, network in networks(training.system).items():
        found[f"{name}_moved"] = [six_digits((weights_of(network) - begin[name]).norm())]
    return found


def six_digits(value: Tensor) -> float:
    return float(f"{float(value):.6g}")


def test_float64_is_of_the_traces_alone() -> None:
    before = torch.zeros(1).float().dtype, torch.zeros(1).dtype
    with double_precision():
        assert torch.zeros(1, dtype=torch.int64).float().dtype == torch.zeros(1).dtype == torch.float64
    assert (torch.zeros(1).float().dtype, torch.zeros(1).dtype) == before == (torch.float32, torch.float32)


@pytest.mark.parametrize("name", RUNS)
def test_trace(name: str) -> None:
    assert torch.get_num_threads() == 1
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    if torch.__version__ != golden["torch"]:
        pytest.skip(f"recorded with torch {golden['torch']}, this is {torch.__version__}")
    system, data, config = RUNS[name]
    assert golden["run"] == {"system": system, "data": data, "config": config}
    found = trace(system, data, config)
    assert found.keys() == golden["metrics"].keys()
    for metric, values in found.items():
        assert values == pytest.approx(golden["metrics"][metric], rel=2e-5), metric


def write() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name, (system, data, config) in RUNS.items():
        run = {"system": system, "data": data, "config": config}
        golden = {"run": run, "torch": torch.__version__, "metrics": trace(system, data, config)}
        text = (
            json.dumps(golden, indent=1).replace(",\n   ", ", ").replace("[\n   ", "[").replace("\n  ]", "]")
        )
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/contract/test_golden.py --write")
    write()
