"""Which features to compare images of unknown data by: how well each extractor orders graded damage.

python benchmarks/extractors.py --photos photos.zip --out benchmarks/extractors.json

Real images are damaged in grades (noise, blur, shuffled blocks, another colour), modes are dropped, and a
short training is sampled at growing steps; the distance from other real images should grow, or shrink, with
each grade. For every extractor and damage: `order`, Spearman's rank correlation of KID with the grade, and
`separation`, by how many standard deviations of KID between real images the mildest grade stands out. No
extractor has seen photos, shapes or digits; the emoji classifier was trained on emoji.
"""

import argparse
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from record import record
from scipy.stats import spearmanr
from torch import Tensor

import ganforge
from ganforge.data.batch import as_images
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.features.cache import FeatureExtractor
from ganforge.evaluation.features.unknown import UnknownDataFeatures
from ganforge.evaluation.features.untrained import PixelFeatures, RandomConvolutions
from ganforge.evaluation.metrics.kernel import kernel_distance

POOL, REPEATS = 400, 8
GRADES = (0.0, 0.25, 0.5, 0.75, 1.0)
SETS = ("photos 32", "shapes 32", "digits 28")
STEPS = (10, 30, 90, 270)


def noise(images: Tensor, grade: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return images + 0.3 * grade * torch.randn(images.shape, generator=generator)


def blur(images: Tensor, grade: float) -> Tensor:
    if not grade:
        return images
    places = torch.arange(-6, 7).float()
    line = (-(places**2) / (2 * (2 * grade) ** 2)).exp()
    line /= line.sum()
    flat = F.pad(images.flatten(0, 1)[:, None], (6, 6, 6, 6), mode="reflect")
    flat = F.conv2d(F.conv2d(flat, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))
    return flat.view(images.shape)


def shuffle(images: Tensor, grade: float) -> Tensor:
    """That share of the 16 blocks of each image change their places."""
    side, generator = images.shape[2] // 4, torch.Generator().manual_seed(0)
    images = images[:, :, : 4 * side, : 4 * side].clone()
    blocks = images.unflatten(3, (4, side)).unflatten(2, (4, side)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    for image in blocks:
        chosen = torch.randperm(16, generator=generator)[: round(16 * grade)]
        image[chosen] = image[chosen.roll(1)].clone()
    blocks = blocks.unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5)
    return blocks.flatten(4, 5).flatten(2, 3)


def colour(images: Tensor, grade: float) -> Tensor:
    """Brighter, with less contrast, and of colour images the first channel most."""
    shift = torch.linspace(1.5, 0.5, images.shape[1]).view(-1, 1, 1)
    return images * (1 - 0.3 * grade) + 0.2 * grade * shift


DAMAGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "noise": noise,
    "blur": blur,
    "shuffled blocks": shuffle,
    "colour": colour,
}


def shapes(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Discs, boxes and triangles in six colours at random places, and which of the 18 kinds each is."""
    random, images, kinds = np.random.default_rng(0), [], []
    colours = ["crimson", "royalblue", "seagreen", "goldenrod", "indigo", "black"]
    for _ in range(count):
        kind, hue = random.integers(3), random.integers(len(colours))
        canvas = Image.new("RGB", (4 * side, 4 * side), "white")
        x, y, r = *random.integers(side, 3 * side, 2), random.integers(side // 2, side)
        box, draw = (x - r, y - r, x + r, y + r), ImageDraw.Draw(canvas)
        if kind == 0:
            draw.ellipse(box, fill=colours[hue])
        elif kind == 1:
            draw.rectangle(box, fill=colours[hue])
        else:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=colours[hue])
        small = canvas.resize((side, side), Image.Resampling.LANCZOS)
        images.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
        kinds.append(int(kind * len(colours) + hue))
    return as_images(torch.stack(images)), torch.tensor(kinds)


def photos(path: str, side: int) -> tuple[Tensor, Tensor]:
    """Random crops of half of each tile, at `side`, and the tile that each is from."""
    split = open_dataset(DataOptions.model_validate({"data": path, "size": 4 * side})).splits["train"]
    generator, images = torch.Generator().manual_seed(0), []
    tiles = torch.arange(POOL) % len(split)
    for tile in tiles:
        top, left = torch.randint(3 * side, (2,), generator=generator).tolist()
        images.append(split.read(tile[None])[:, :, top : top + side, left : left + side])
    return as_images(torch.cat(images)), tiles // 10


def digits() -> tuple[Tensor, Tensor]:
    """Training images of MNIST and their classes."""
    split = open_dataset(DataOptions(data="mnist")).splits["train"]
    assert split.labels is not None
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:POOL]
    return as_images(split.read(rows)), split.labels[rows]


def features(extractor: FeatureExtractor, images: Tensor) -> Tensor:
    return extractor.features(images.clamp(-1, 1)).double()


def order_and_separation(
    clean: Tensor, damaged: list[Tensor], generator: torch.Generator
) -> dict[str, float]:
    """Order and separation of features `damaged` by grade, of the same images, the first undamaged."""
    half = len(clean) // 2
    distances: list[list[float]] = []
    for _ in range(REPEATS):
        order = torch.randperm(len(clean), generator=generator)
        real, rest = order[:half], order[half:]
        distances.append([kernel_distance(clean[real], grade[rest], 1).mean for grade in damaged])
    return rate(torch.tensor(distances, dtype=torch.float64))


def rate(distances: Tensor) -> dict[str, float]:
    """`distances` `[repeats, grades]`."""
    grades = list(range(distances.shape[1]))
    order = [spearmanr(grades, row.tolist()).statistic for row in distances]
    floor = distances[:, 0]
    separation = (distances[:, 1].mean() - floor.mean()) / floor.std()
    return {"order": round(float(np.mean(order)), 3), "separation": round(float(separation), 1)}


def drop_modes(clean: Tensor, modes: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Ever fewer modes are left: all, 80, 60, 40 and 20 percent of them."""
    half, known = len(clean) // 2, modes.unique()
    distances: list[list[float]] = []
    for _ in range(REPEATS):
        order = torch.randperm(len(clean), generator=generator)
        real, rest = order[:half], order[half:]
        known = known[torch.randperm(len(known), generator=generator)]
        row = []
        for grade in GRADES:
            kept = known[: max(1, round(len(known) * (1 - 0.8 * grade)))]
            chosen = rest[torch.isin(modes[rest], kept)][: half // 8]
            row.append(kernel_distance(clean[real], clean[chosen], 20).mean)
        distances.append(row)
    return rate(torch.tensor(distances, dtype=torch.float64))


def samples_of_training(images: Tensor) -> list[Tensor]:
    """Samples of one short training on `images` at each of `STEPS`."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        for row, image in enumerate(((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image.squeeze()).save(data / f"{row:04}.png")
        options: dict[str, Any] = {"width": 16, "batch": 32, "quiet": True, "device": "cpu", "seed": 0}
        for steps in STEPS:
            options["size"] = 32
            trained = ganforge.train("dcgan", str(data), run=Path(folder) / "run", steps=steps, **options)
            found.append(trained.sample(POOL // 2, seed=0, weights="raw"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", required=True, help="a folder or zip of photographs")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="what to measure on")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sets: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "photos 32": lambda: photos(given.photos, 32),
        "shapes 32": lambda: shapes(POOL),
        "digits 28": digits,
    }
    rows = []
    for name in given.sets:
        images, modes = sets[name]()
        shape = tuple(images.shape[1:])
        extractors: dict[str, FeatureExtractor] = {
            "pixels": PixelFeatures(*shape),
            "random convolutions": RandomConvolutions(*shape),
        }
        extractors["emoji classifier"] = UnknownDataFeatures(*shape)
        trainings = samples_of_training(images) if name == "shapes 32" else []
        for label, extractor in extractors.items():
            generator = torch.Generator().manual_seed(1)
            clean = features(extractor, images)
            found: dict[str, Any] = {"data": name, "extractor": label}
            for damage, function in DAMAGES.items():
                grades = [clean] + [features(extractor, function(images, grade)) for grade in GRADES[1:]]
                found[damage] = order_and_separation(clean, grades, generator)
            found["dropped modes"] = drop_modes(clean, modes, generator)
            if trainings:
                fakes = [features(extractor, samples) for samples in reversed(trainings)]
                half = torch.randperm(len(clean), generator=generator)[: POOL // 2]
                values = torch.tensor([[kernel_distance(clean[half], fake, 1).mean for fake in fakes]])
                found["under-training"] = {"order": rate(torch.cat([values, values]))["order"]}
            rows.append(found)
            print(found, flush=True)
    command = [
        "python",
        "benchmarks/extractors.py",
        "--photos",
        Path(given.photos).name,
        "--sets",
        *given.sets,
    ]
    record({"command": shlex.join(command), "images": POOL, "rows": rows}, given.out)


if __name__ == "__main__":
    main()
