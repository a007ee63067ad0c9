"""The best, the typical and the worst of 100 captions, chosen by rule: what a run draws of them.

python benchmarks/captions_page.py runs/gan_cls-emoji --out page.png          writes page.json next to it

The captions are the first ones of every k-th training image, in the data's order. One image is drawn of
each, from the latents of the seed. The rule: captions are ordered by the distance, in the features of the
data's reference classifier, between the image drawn and the image that the caption is of; shown are the
nearest ones, those in the middle and the farthest. (A distance orders all captions; the classifier's
probability of the right class is near 1 or near 0 for most, and takes any fruit for an apple.) Next to it
stands the rank: which place the caption's own image has among the real ones of all captions, the one nearest
to the image drawn being the first.
"""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from record import record
from torch import Tensor

import ganforge
from ganforge.data.batch import as_images
from ganforge.data.captions import kept_captions
from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.errors import UserError, printable
from ganforge.evaluation.features.classifiers import classifier_of
from ganforge.evaluation.features.select import feature_extractor
from ganforge.files.images import save_image
from ganforge.files.provenance import check_replaceable
from ganforge.reporting import grids
from ganforge.runs.trained import Trained
from ganforge.text.embeddings import describe

CELL = 96  # pixels of an image's side on the page
LINES, CHARACTERS = 3, 28  # of a caption below its images
LINE = 15  # pixels
PARTS = ("best", "typical", "worst")


def distances_of(drawn: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each of the features `drawn` `[n, d]` to its `real` one, and its rank, from 1."""
    every = torch.cdist(drawn.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist")
    own = every.diagonal()
    return own, (every < own[:, None]).sum(1) + 1


def choose(distances: Tensor, shown: int) -> dict[str, list[int]]:
    """The numbers of the `shown` nearest, those around the middle and the farthest, farthest last."""
    order = distances.argsort(stable=True).tolist()
    middle = (len(order) - shown) // 2
    return {"best": order[:shown], "typical": order[middle : middle + shown], "worst": order[-shown:]}


def measure(
    trained: Trained, dataset: Dataset, count: int, seed: int
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The images drawn and the real ones, `[count, ...]` in [-1, 1], and what was found of each."""
    train = dataset.splits["train"]
    count = min(count, len(train))
    k = len(train) // count
    rows = torch.arange(count) * k
    kept = kept_captions("train", train.caption_lists)
    texts = [kept[row][0] for row in rows.tolist()]
    drawn = trained.sample(count, seed=seed, given=describe(trained, texts))
    real = as_images(train.read(rows))
    found = classifier_of(dataset)
    extractor = feature_extractor("auto", dataset)
    distances, ranks = distances_of(extractor.features(drawn), extractor.features(real))
    captions: list[dict[str, Any]] = [
        {"caption": text, "image": train.name(row), "distance": round(distance, 4), "rank": rank}
        for text, row, distance, rank in zip(
            texts, rows.tolist(), distances.tolist(), ranks.tolist(), strict=True
        )
    ]
    if found is not None and found.class_names == dataset.spec.class_names and train.labels is not None:
        chances = found.classify(drawn).softmax(1)[torch.arange(count), train.labels[rows]]
        for entry, label, chance in zip(captions, train.labels[rows].tolist(), chances.tolist(), strict=True):
            entry |= {"class": dataset.spec.class_names[label], "probability": round(chance, 4)}
    return drawn, real, {
        "rule": "distance in the extractor's features between the image drawn and the caption's own image",
        "features": extractor.description,
        "captions": f"the first of each of {count} of {len(train)} training images, every {k} in order",
        "seed": seed,
        "step": trained.step,
        "median_distance": round(float(distances.median()), 4),
        "median_rank": float(ranks.double().quantile(0.5)),
        "median_rank_by_chance": (count + 1) / 2,
        "own_image_nearest_percent": 100 * float((ranks == 1).double().mean()),
        "found": captions,
    }  # fmt: skip


def page(drawn: Tensor, real: Tensor, found: dict[str, Any], chosen: dict[str, list[int]]) -> Image.Image:
    """Three columns of pairs, drawn and real, each with its caption, distance and rank below."""
    scale = max(1, CELL // drawn.shape[2])
    entries = {
        part: [
            (grids.grid(torch.stack([drawn[i], real[i]]), 2, scale=scale), found["found"][i]) for i in rows
        ]
        for part, rows in chosen.items()
    }
    width, height = entries["best"][0][0].size
    below = (LINES + 1) * LINE + 3
    column = max(width, 200) + 24
    canvas = Image.new(
        "RGB", (column * len(PARTS), 2 * LINE + len(chosen["best"]) * (height + below)), "white"
    )
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for across, part in enumerate(PARTS):
        left = across * column + 12
        pen.text(
            (left, 6), f"{part} of {len(found['found'])}: drawn, real", "black", ImageFont.load_default(14)
        )
        for down, (pair, entry) in enumerate(entries[part]):
            top = 2 * LINE + down * (height + below)
            canvas.paste(pair, (left, top))
            lines = [*_wrapped(entry["caption"]), f"distance {entry['distance']:.3g}, rank {entry['rank']}"]
            for number, text in enumerate(lines):
                colour = "black" if number < len(lines) - 1 else "grey"
                pen.text((left, top + height + number * LINE), text, colour, font)
    return canvas


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(printable(text), CHARACTERS, max_lines=LINES, placeholder=" \u2026")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run of gan_cls or stackgan")
    parser.add_argument("--out", type=Path, required=True, help="the page, .png; .json is written next to it")
    parser.add_argument("--count", type=int, default=100, help="captions")
    parser.add_argument("--shown", type=int, default=6, help="captions in each of the three columns")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        check_replaceable(given.out)
        trained = ganforge.load(given.run)
        dataset = open_dataset(trained.run.config.data)
        if not dataset.spec.caption_alphabet:
            raise UserError(f"{dataset.options.data} has no captions: name a run of gan_cls or stackgan")
        if not 1 <= 3 * given.shown <= min(given.count, len(dataset.splits["train"])):
            raise UserError(
                f"--shown {given.shown}: expected 1 or more, three times as many as --count or fewer"
            )
        drawn, real, found = measure(trained, dataset, given.count, given.seed)
        chosen = choose(torch.tensor([entry["distance"] for entry in found["found"]]), given.shown)
        about = {
            "command": shlex.join(["python", "benchmarks/captions_page.py", *arguments]),
            "step": str(trained.step),
            "run": f"{trained.run.config.system} on {dataset.options.data}",
            "rule": found["rule"],
        }
        save_image(page(drawn, real, found, chosen), given.out, about)
        record(about | found | {"shown": chosen}, given.out.with_suffix(".json"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
