"""How often the predicted category is that of the caption, class by class: `category_accuracy` in detail.

python benchmarks/by_class.py runs/gan-cls runs/refined --out benchmarks/by_class.json

Samples are conditioned on captions of training images as in `ganforge evaluate`. `held_out_classes` is the
mean over the classes that held-out images have too: of emoji all but component, five training images.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

import torch
from record import record

import ganforge
from ganforge.data.batch import to_uint8
from ganforge.data.dataset import held_out
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.scores.labels import predictions
from ganforge.runs.conditions import captions_like
from ganforge.text.embeddings import data_of


def measure(place: Path, num_samples: int, seed: int) -> dict[str, Any]:
    """The shares of a run of gan_cls or stackgan, in percent."""
    trained = ganforge.load(place)
    dataset = data_of(trained.run)
    classifier, train = classifier_of(dataset), dataset.splits["train"]
    reference = held_out(dataset)[1].labels
    assert classifier is not None
    assert train.labels is not None
    assert reference is not None
    given, rows = captions_like(train, num_samples, seed)
    drawn = trained.draw(num_samples, seed=seed, weights="ema", given=given)
    predicted = predictions(classifier, to_uint8(torch.cat(list(drawn))))
    labels = train.labels[rows]
    counts = labels.bincount()
    shares = 100 * labels.bincount(weights=(predicted == labels).double()) / counts
    return {
        "run": place.name,
        "mean": round(float(shares.mean()), 1),
        "held_out_classes": round(float(shares[reference.unique()].mean()), 1),
        "classes": {
            name: {"percent": round(share, 1), "samples": count, "held_out_images": number}
            for name, share, count, number in zip(
                dataset.spec.class_names,
                shares.tolist(),
                counts.tolist(),
                reference.bincount(minlength=len(counts)).tolist(),
                strict=True,
            )
        },
    }


def main() -> None:
    """Evaluate the runs, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="runs of stackgan or gan_cls on emoji")
    parser.add_argument("--num-samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [measure(run, given.num_samples, given.seed) for run in given.runs]
    command = shlex.join(["python", "benchmarks/by_class.py", *map(str, given.runs)])
    record({"command": command, "samples": given.num_samples, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
