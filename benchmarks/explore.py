"""Figures of `ganforge explore`, each a part of benchmarks/explore.json.

python benchmarks/explore.py projection RUN --count 100     own images against the nearest of 10,000 samples
python benchmarks/explore.py arithmetic RUN --trials 100    "thick 3 - thin 3 + thin 7" of a run on MNIST
python benchmarks/explore.py faces RUN --figure F.png       "dark - light + light people" of a run on emoji
python benchmarks/explore.py noise RUN                      what varies within a class of cgan
python benchmarks/explore.py video RUN                      peak memory of 60 and of 3,600 frames
python benchmarks/explore.py truncation RUN                 scores of 2,500 samples at several truncations

`--out benchmarks/explore.json` keeps the other parts that are there.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from record import record
from torch import Tensor

import ganforge
from ganforge.data.batch import as_images
from ganforge.data.dataset import held_out
from ganforge.evaluation.features.classifiers import load_classifier
from ganforge.evaluation.features.select import smooth_features
from ganforge.evaluation.metrics.neighbours import nearest
from ganforge.generation.explore.arithmetic import draw_arithmetic, parse_expression
from ganforge.generation.explore.keys import keys_of_seeds, latent_system
from ganforge.generation.explore.projection import project
from ganforge.runs.identity import original_command
from ganforge.runs.trained import Trained
from ganforge.text.embeddings import data_of

NUM_SAMPLES = 10_000
POOL, EXEMPLARS = 1_000, 3
VIDEOS = (60, 3_600)
FACES, GAP = 4_000, 24
NUM_ALIKE = 200
PEOPLE, SURE, TAILS, MIDDLE, WHITE = "people & body", 0.9, 0.1, slice(3, 5), 0.85
TRUNCATIONS, NUM_TRUNCATED = (None, 2.0, 1.5, 1.0, 0.7), 2_500
TRUNCATION_SCORES = ("fid_to_training", "precision", "recall")
WATCHED = "import resource, sys; from ganforge.cli.main import main; code = main(sys.argv[1:]); " \
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"  # fmt: skip


def projection(trained: Trained, count: int) -> dict[str, Any]:
    """Held-out images, evenly spaced: the error of their reconstruction, and of the nearest sample."""
    config = trained.run.config
    split = held_out(data_of(trained.run))[1]
    rows = torch.linspace(0, len(split) - 1, count).long()
    images = as_images(split.read(rows))
    samples = torch.cat(list(trained.draw(NUM_SAMPLES, seed=1)))
    _, distances = nearest(images.flatten(1), [samples.flatten(1)])
    others = distances.square() / images[0].numel()
    begun = time.process_time()
    features = smooth_features(config.data.data, config.spec.channels)
    found = project(trained, images, keys_of_seeds(trained, [0]), features=features)
    return {
        "images": count,
        "better_than_nearest_sample": int((found.errors < others).sum()),
        "mean_squared_error": round(float(found.errors.mean()), 4),
        "of_nearest_sample": round(float(others.mean()), 4),
        "cpu_seconds_an_image": round((time.process_time() - begun) / count, 2),
    }


def stroke_widths(images: Tensor) -> Tensor:
    """Twice the area over the perimeter, in pixels, of what is brighter than the middle `[n]`."""
    lit = (images[:, 0] > 0).float()
    padded = torch.nn.functional.pad(lit, (1, 1, 1, 1))
    edges = padded.diff(dim=1).abs().sum((1, 2)) + padded.diff(dim=2).abs().sum((1, 2))
    return 2 * lit.sum((1, 2)) / edges.clamp(min=1)


def arithmetic(trained: Trained, trials: int) -> dict[str, Any]:
    """Mean latents of the three thickest and thinnest of each trial's own samples of a digit."""
    classifier = load_classifier("mnist")
    conditional = "labels" in trained.system.conditions
    sevens = thicker = both = 0
    gains = []
    for trial in range(trials):
        exemplars: dict[tuple[int, str], Tensor] = {}
        for digit in (3, 7):
            given = trained.conditions([digit], POOL) if conditional else None
            latents = trained.draw_latents(POOL, seed=2 * trial + (digit == 7))
            images = torch.Tensor(trained.decode(latents, given))
            shown = classifier.classify(images).argmax(1) == digit
            latents, widths = latents[shown], stroke_widths(images[shown])
            order = widths.argsort()
            exemplars[digit, "thin"] = latents[order[:EXEMPLARS]].mean(0, keepdim=True)
            exemplars[digit, "thick"] = latents[order[-EXEMPLARS:]].mean(0, keepdim=True)
        start = exemplars[7, "thin"]
        total = exemplars[3, "thick"] - exemplars[3, "thin"] + start
        given = trained.conditions([7], 2) if conditional else None
        made = torch.Tensor(trained.decode(torch.cat([start, total]), given))
        is_seven = int(classifier.classify(made)[1].argmax()) == 7
        before, after = stroke_widths(made).tolist()
        sevens, thicker = sevens + is_seven, thicker + (after > before)
        both += is_seven and after > before
        gains.append(after / before)
    return {
        "trials": trials,
        "seven_and_thicker": both,
        "sevens": sevens,
        "thicker": thicker,
        "median_stroke_width_ratio": round(float(torch.tensor(gains).median()), 3),
    }


def faces(trained: Trained, trials: int, figure: Path | None) -> dict[str, Any]:
    """Means of three dark, three light and three other light people, as in figure 7 of DCGAN.

    People are samples that the emoji classifier is sure of and whose middle is not white; dark and light are
    the tenths of them whose middle is so. `figure`: of the trials that succeed that of the surest result,
    then that of median change.
    """
    classifier = load_classifier("emoji")
    people = classifier.class_names.index(PEOPLE)

    def read(images: Tensor) -> tuple[Tensor, Tensor]:
        """The probability of people, and the brightness of the middle, from 0 to 1."""
        eighths = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 8)
        probabilities = classifier.classify(images).softmax(1)[:, people]
        return probabilities, (eighths[:, 0, MIDDLE, MIDDLE].mean((1, 2)) + 1) / 2

    latents = keys_of_seeds(trained, range(FACES)).latents
    sure, brightness = read(torch.Tensor(trained.decode(latents)))
    known = ((sure > SURE) & (brightness < WHITE)).nonzero().flatten()
    order = known[brightness[known].argsort()]
    count = int(TAILS * len(order))
    dark, light = order[:count], order[-count:]
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(trials):
        taken = dark[torch.randperm(count, generator=generator)[:EXEMPLARS]]
        others = light[torch.randperm(count, generator=generator)[: 2 * EXEMPLARS]]
        away, base = others[:EXEMPLARS], others[EXEMPLARS:]
        means = [latents[rows].mean(0, keepdim=True) for rows in (taken, away, base)]
        images = torch.Tensor(trained.decode(torch.cat([means[2], means[0] - means[1] + means[2]])))
        probabilities, (before, after) = read(images)
        words = [",".join(map(str, rows.tolist())) for rows in (taken, away, base)]
        found.append((float(probabilities[1]), float(before - after), "{} - {} + {}".format(*words)))
    gap = float(brightness[light].mean() - brightness[dark].mean())
    right = [trial for trial in found if trial[0] > 0.5 and trial[1] > 0]
    row = {
        "trials": trials,
        "people_and_darker": len(right),
        "people": sum(trial[0] > 0.5 for trial in found),
        "darker": sum(trial[1] > 0 for trial in found),
        "median_share_of_the_gap": round(statistics.median(trial[1] for trial in found) / gap, 2),
    }
    if figure is not None and right:
        best = max(right)
        typical = sorted(right, key=lambda trial: trial[1])[len(right) // 2]
        row |= {"best": best[2], "typical": typical[2]}
        drawn = [draw_arithmetic(trained, parse_expression(trial[2])) for trial in (best, typical)]
        width = sum(image.width for image in drawn) + GAP
        both = Image.new("RGB", (width, max(image.height for image in drawn)), "white")
        for image, left in zip(drawn, (0, drawn[0].width + GAP), strict=True):
            both.paste(image, (left, 0))
        both.save(figure)
    return row


def noise(trained: Trained) -> dict[str, Any]:
    """The mean standard deviation of a pixel of 200 samples of a 3, by parts of the latents of a cgan."""
    size, given = latent_system(trained).continuous_size, trained.conditions([3], NUM_ALIKE)
    latents = trained.draw_latents(NUM_ALIKE, seed=1)
    without_dropout, without_latents = latents.clone(), latents.clone()
    without_dropout[:, size:], without_latents[:, :size] = latents[:1, size:], latents[:1, :size]
    parts = {"both": latents, "latents": without_dropout, "dropout": without_latents}
    return {
        name: round(float(torch.Tensor(trained.decode(part, given)).std(0).mean()), 4)
        for name, part in parts.items()
    }


def video(place: Path, words: list[str]) -> dict[str, Any]:
    """Peak memory, in MB, of a walk of few and of many frames."""
    memory = {}
    with tempfile.TemporaryDirectory() as folder:
        for frames in VIDEOS:
            given = ["explore", "walk", str(place), "--frames", str(frames), *words,
                     "--out", f"{folder}/{frames}.mp4"]  # fmt: skip
            ended = subprocess.run(
                [sys.executable, "-c", WATCHED, *given], capture_output=True, text=True, check=True
            )
            memory[frames] = round(int(ended.stderr.splitlines()[-1]) / 1000)
    few, many = (memory[frames] for frames in VIDEOS)
    return {f"peak_mb_{frames}_frames": memory[frames] for frames in VIDEOS} | {"difference_mb": many - few}


def truncation(place: Path) -> dict[str, Any]:
    """FID, precision and recall, all to the training images, of the same latents at each truncation."""
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        for value in TRUNCATIONS:
            name = "none" if value is None else f"{value:g}"
            samples = f"{folder}/{name}"
            words = [] if value is None else ["--truncation", name]
            _ganforge("sample", str(place), "--count", str(NUM_TRUNCATED), "--out", samples, *words)
            found = json.loads(_ganforge("evaluate", str(place), "--samples", samples, "--json"))
            by_name = {score["name"]: score["value"] for score in found}
            scores[name] = {score: round(by_name[score], 3) for score in TRUNCATION_SCORES}
    return {"samples": NUM_TRUNCATED, "scores": scores}


def _ganforge(*words: str) -> str:
    command = [sys.executable, "-m", "ganforge", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Measure one part, print it and store it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("projection", "arithmetic", "faces", "noise", "video", "truncation"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--figure", type=Path, help="where faces draws its best and its typical sum")
    parser.add_argument("--text", action="append", default=[], help="prompts of a video")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    words = [word for text in given.text for word in ("--text", text)]
    if given.part == "video":
        row = video(given.run, words)
    else:
        trained = ganforge.load(given.run)
        if given.part == "truncation":
            row = truncation(given.run)
        elif given.part == "faces":
            row = faces(trained, given.trials, given.figure)
        elif given.part == "noise":
            row = noise(trained)
        elif given.part == "projection":
            row = projection(trained, given.count)
        else:
            row = arithmetic(trained, given.trials)
        row |= {"trained_by": original_command(trained.run), "step": trained.step}
    command = shlex.join(["python", "benchmarks/explore.py", *sys.argv[1:]])
    rows = json.loads(given.out.read_bytes())["rows"] if given.out and given.out.exists() else []
    rows = [other for other in rows if (other["part"], other["run"]) != (given.part, given.run.name)]
    rows.append({"part": given.part, "run": given.run.name, "command": command} | row)
    record({"rows": rows}, given.out)


if __name__ == "__main__":
    main()
