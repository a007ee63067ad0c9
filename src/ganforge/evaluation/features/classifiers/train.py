"""Train a reference classifier.

`python -m ganforge.evaluation.features.classifiers.train --data mnist --out FILE`

Fits the training split only. The validation split, where there is one, chooses nothing (neither the epoch nor
a setting): the weights of the last epoch are the result, and the accuracies on validation and test are
reported as they are.
"""

import argparse
import hashlib
import json
import math
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ganforge.data.batch import to_float
from ganforge.data.open import open_dataset, source_fingerprint
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.evaluation.features.classifiers.classifier import Classifier, fold


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    shift_pixels: float = 2.0,
    rotation_degrees: float = 12.0,
    scale: float = 0.12,
) -> Tensor:
    """Every image moved, turned and scaled by its own random amount, uniform up to the given limits.

    Images `[n, channels, height, width]` in [-1, 1]; what comes in from outside repeats the border.
    """
    num_images, height = len(images), images.shape[2]

    def uniform(limit: float) -> Tensor:
        return (torch.rand(num_images, generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(rotation_degrees))
    zoom = 1 + uniform(scale)
    # grid_sample counts half the image as 1, so a pixel is 2 / height.
    across, down = uniform(shift_pixels * 2 / height), uniform(shift_pixels * 2 / height)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    maps = torch.stack([cosine, -sine, across, sine, cosine, down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def accuracy(network: Classifier, images: Any) -> dict[str, float]:
    """How `network` classifies `images` (a split of a data set), in percent.

    `accuracy` is the share that is right; `balanced_accuracy` the mean of that share over the classes, and
    `majority` what always naming the most frequent class would get right.
    """
    network.eval()
    with torch.no_grad():
        logits = [network(to_float(images.read(rows))) for rows in torch.arange(len(images)).split(1000)]
    right = (torch.cat(logits).argmax(1) == images.labels).double()
    counts = images.labels.bincount()
    shares = images.labels.bincount(weights=right)[counts > 0] / counts[counts > 0]
    return {
        "accuracy": 100 * right.mean().item(),
        "balanced_accuracy": 100 * shares.mean().item(),
        "majority": 100 * counts.max().item() / len(images),
    }


def fit(
    network: Classifier,
    images: Any,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    precision: str = "fp32",
) -> None:
    """Fit `network` in place to the labels of `images` (a split of a data set) by cross-entropy.

    AdamW under a one-cycle learning rate, random shifts, rotations and scales.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = len(images) // batch_size
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * steps, pct_start=0.2
    )
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        network.train()
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            batch = augment(to_float(images.read(rows)), generator).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), images.labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {seconds:.1f} s", flush=True)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train as `options` say, write the weights (fp16) and return the record that is written next to them."""
    data = DataOptions.model_validate({"data": options.data, "size": options.size})
    dataset = open_dataset(data)
    spec = dataset.spec
    if not spec.class_names or spec.height != spec.width:
        raise UserError(
            f"a reference classifier needs labelled square images, {options.data!r} has "
            f"{len(spec.class_names)} classes and {spec.height}x{spec.width} pixels: choose other --data"
        )
    architecture = {
        "channels": spec.channels,
        "size": spec.height,
        "num_classes": len(spec.class_names),
        "width": options.width,
        "feature_size": options.feature_size,
    }
    torch.manual_seed(options.seed)
    network = Classifier(**architecture)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    started = time.perf_counter()
    names = ("epochs", "batch_size", "learning_rate", "seed", "precision")
    recipe = {name: getattr(options, name) for name in names}
    fit(network, dataset.splits["train"], **recipe)
    seconds = time.perf_counter() - started
    weights = {name: value.half().contiguous() for name, value in fold(network.state_dict()).items()}
    save_file(weights, options.out)
    # The accuracies are those of the stored weights: folded and rounded to fp16.
    stored = Classifier(**architecture, folded=True)
    stored.load_state_dict({name: value.float() for name, value in weights.items()})
    # Only names of files: a folder says nothing about the classifier, but something about its trainer.
    name = Path(options.data).name if Path(options.data).exists() else options.data
    given = {**vars(options), "data": name, "out": Path(options.out).name}
    command = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in given.items()
        if value is not None
    )
    accuracies = {
        f"{split}_{kind}_percent": round(value, 4)
        for split in ("test", "validation")
        if split in dataset.splits
        for kind, value in accuracy(stored, dataset.splits[split]).items()
    }
    return {
        "data": name,
        "source_fingerprint": source_fingerprint(data),
        "class_names": list(spec.class_names),
        "architecture": architecture,
        **accuracies,
        "num_training_images": len(dataset.splits["train"]),
        **recipe,
        "seconds": round(seconds, 1),
        "command": f"python -m ganforge.evaluation.features.classifiers.train {command}",
        "date": datetime.now(UTC).date().isoformat(),
        "torch_version": torch.__version__,
        "weights_sha256": hashlib.sha256(Path(options.out).read_bytes()).hexdigest(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, train, and write the weights and, next to them, the record as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m ganforge.evaluation.features.classifiers.train", description=__doc__
    )
    parser.add_argument("--data", default="mnist", help="a labelled data set of square images")
    parser.add_argument("--size", type=int, help="side of the images; left out: their own")
    parser.add_argument("--out", default="mnist.safetensors", help="file for the weights")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=250, help="images per step")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="at the top of the cycle")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--feature-size", type=int, default=128, help="penultimate activations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the network")
    options = parser.parse_args(arguments)
    record = train(options)
    Path(options.out).with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
