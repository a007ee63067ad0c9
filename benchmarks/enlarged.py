"""Whether stage 2 of StackGAN is worth it: samples of smaller runs, enlarged, against the same real images.

python benchmarks/enlarged.py runs/sketch --size 64 --out benchmarks/enlarged_sketch.json

Samples of the run, conditioned on captions of training images as in `ganforge evaluate`, are enlarged by
bicubic resampling to --size and scored as `ganforge evaluate` scores a run of that size.
"""

import argparse
import shlex
from pathlib import Path

import torch
from record import record

import ganforge
from ganforge.data.batch import to_uint8
from ganforge.data.bicubic import resize
from ganforge.data.open import open_dataset
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.score import Evaluated
from ganforge.evaluation.scores.captions import caption_conditions
from ganforge.evaluation.scores.distribution import score_distribution
from ganforge.evaluation.scores.labels import mean_of_classes, predictions
from ganforge.text.embeddings import data_of

CHUNK = 250


def main() -> None:
    """Draw, enlarge, score, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run of stackgan or gan_cls on emoji")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--num-samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    trained = ganforge.load(given.run)
    own = data_of(trained.run)
    conditions, captions = caption_conditions(own, given.num_samples, given.seed)
    large = open_dataset(own.options.model_copy(update={"size": given.size, "text_encoder": None}))
    classifier = classifier_of(large)
    assert classifier is not None
    assert conditions.labels is not None
    parts = trained.draw(given.num_samples, seed=given.seed, given=conditions)
    samples = torch.cat([to_uint8(resize(part, given.size, given.size)) for part in parts])
    evaluated = Evaluated(
        large,
        samples,
        {"seed": given.seed, "step": trained.step, "weights": "ema"},
        captions,
        conditions=conditions,
        extractor=classifier,
    )
    scores = score_distribution(evaluated)
    predicted, protocol = predictions(classifier, samples), evaluated.sample_protocol
    accuracy = mean_of_classes("category_accuracy", predicted, conditions.labels, classifier, protocol)
    scores.append(accuracy)
    record(
        {
            "command": shlex.join(
                ["python", "benchmarks/enlarged.py", f"runs/{given.run.name}", "--size", str(given.size)]
            ),
            "training": f"{trained.run.config.system}, {own.spec.width} pixels, {trained.step} steps",
            "samples": given.num_samples,
            "scores": {score.name: round(score.value, 4) for score in scores},
        },
        given.out,
    )


if __name__ == "__main__":
    main()
