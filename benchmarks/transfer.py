"""What a warm start saves: FID over the images seen, of fresh runs and of runs that begin with --from.

python benchmarks/transfer.py emoji        a DCGAN of 32x32 emoji, then 64x64 with and without it
python benchmarks/transfer.py classes      an AC-GAN of ten digits, then of three of them with and without it

Both begin the second run with the same options and seed; FID is that of samples of the averaged weights
against the training images of the second run, in the features of the data's reference classifier. Writes
benchmarks/transfer.json, a row for each comparison.
"""

import datetime
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

import ganforge
from ganforge.data.batch import as_images
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.runs.checkpoint import committed
from ganforge.runs.device import describe_machine

FILE = Path(__file__).with_name("transfer.json")
NUM_SAMPLES = 2_048
DIGITS = (2, 5, 7)
PER_DIGIT = 1_000

# The first run; the second, a warm start or a fresh one; the classifier that measures.
COMPARISONS: dict[str, dict[str, Any]] = {
    "emoji": {
        "system": "dcgan",
        "first": {"data": "emoji", "size": 32, "width": 16, "batch": 32, "steps": 1_100},
        "second": {"data": "emoji", "size": 64, "width": 8, "batch": 32, "steps": 600},
        "every": 100,
        "classifier": "emoji",
    },
    "classes": {
        "system": "acgan",
        "first": {"data": "mnist", "width": 16, "discriminator_width": 4, "batch": 50, "steps": 600},
        "second": {"data": "digits", "width": 16, "discriminator_width": 4, "batch": 50, "steps": 300},
        "every": 50,
        "classifier": "mnist",
    },
}


def write_digits(folder: Path) -> None:
    """A folder with `PER_DIGIT` training images of each of `DIGITS`."""
    split = open_dataset(DataOptions(data="mnist")).splits["train"]
    assert split.labels is not None
    for digit in DIGITS:
        (folder / str(digit)).mkdir(parents=True)
        rows = (split.labels == digit).nonzero().flatten()[:PER_DIGIT]
        for row, image in zip(rows.tolist(), split.read(rows), strict=True):
            Image.fromarray(image[0].numpy()).save(folder / str(digit) / f"{row:05d}.png")


def curve(run: Path, classifier: str, real: Moments) -> dict[int, float]:
    """FID by images seen, of every checkpoint of `run`."""
    extractor, values = load_classifier(classifier), {}
    for path in reversed(committed(run / "checkpoints")):
        trained = ganforge.load(run, checkpoint=int(path.name))
        images = trained.step * trained.system.images_per_step()
        features = [extractor.features(part) for part in trained.draw(NUM_SAMPLES, seed=1)]
        values[images] = round(frechet_distance(real, Moments.of(torch.cat(features))), 3)
    return values


def reached(fid: float, fresh: dict[int, float], warm: dict[int, float]) -> dict[str, float | None]:
    """A FID of the fresh run, its images there, and the first images of the warm run that are as good."""
    return {
        "fid": fid,
        "images_fresh": next(images for images, value in fresh.items() if value == fid),
        "images_warm": next((images for images, value in warm.items() if value <= fid), None),
    }


def compare(name: str, runs: Path) -> dict[str, Any]:
    """The curves of the fresh and of the warm run, and the images that the warm one needs."""
    plan = COMPARISONS[name]
    options = {"quiet": True, "sample_every": 10**6, "log_every": 10**6, "device": "cpu", "precision": "fp32"}
    places = {"digits": str(runs / "digits")}
    if name == "classes" and not (runs / "digits").exists():
        write_digits(runs / "digits")
    first, second = ({**plan[part], **options} for part in ("first", "second"))
    second |= {
        "data": places.get(second["data"], second["data"]),
        "checkpoint_every": plan["every"],
        "keep": 999,
    }
    ganforge.train(plan["system"], run=runs / f"{name}-first", **first)
    ganforge.train(plan["system"], run=runs / f"{name}-fresh", **second)
    ganforge.train(
        plan["system"], run=runs / f"{name}-warm", start_from=str(runs / f"{name}-first"), **second
    )

    data = {key: value for key, value in second.items() if key in ("data", "size")}
    train = open_dataset(DataOptions.model_validate(data)).splits["train"]
    extractor = load_classifier(plan["classifier"])
    rows = torch.arange(len(train)).split(250)
    real = Moments.of(torch.cat([extractor.features(as_images(train.read(part))) for part in rows]))
    fresh = curve(runs / f"{name}-fresh", plan["classifier"], real)
    warm = curve(runs / f"{name}-warm", plan["classifier"], real)
    last, best = list(fresh.values())[-1], min(fresh.values())
    notes = [json.loads(line) for line in (runs / f"{name}-warm" / "metrics.jsonl").read_text().splitlines()]
    return {
        "name": name,
        "system": plan["system"],
        "first": plan["first"],
        "second": plan["second"],
        "taken": next(line["text"].split(": ", 1)[1] for line in notes if line["kind"] == "note"),
        "fid_fresh": fresh,
        "fid_warm": warm,
        "last_of_fresh": reached(last, fresh, warm),
        "best_of_fresh": reached(best, fresh, warm),
        "num_samples": NUM_SAMPLES,
        "machine": describe_machine(torch.device("cpu")),
        "threads": int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Measure the comparisons that are named, and keep their rows."""
    for name in sys.argv[1:] or COMPARISONS:
        with TemporaryDirectory() as folder:
            runs = Path(os.environ.get("RUNS", folder))
            row = compare(name, runs)
        rows = json.loads(FILE.read_text(encoding="utf-8"))["rows"] if FILE.exists() else []
        rows = [old for old in rows if old["name"] != name] + [row]
        whole = {"what": "FID by images seen, of fresh runs and of runs begun with --from", "rows": rows}
        FILE.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(row))


if __name__ == "__main__":
    main()
