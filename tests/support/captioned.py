"""Images with captions, and the options of a small text encoder for them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (230, 30, 30), "green": (20, 200, 60), "blue": (30, 60, 220), "black": (0, 0, 0)}
SHAPES = ("bar", "column", "dot", "frame")
QUICK = ("--size", 8, "--batch", 8, "--width", 4, "--embedding-size", 16, "--character-widths", 8, 8, 8)


def draw_captioned(folder: Path, per_kind: int = 3) -> Path:
    """Images of coloured shapes with two captions each, and a test split."""
    rows = []
    for number in range(len(COLOURS) * len(SHAPES) * per_kind):
        kind = number % (len(COLOURS) * len(SHAPES))
        colour, shape = sorted(COLOURS)[kind % 4], SHAPES[kind // 4]
        pixels = np.full((8, 8, 3), 255, np.uint8)
        area = {"bar": np.s_[3:5, :], "column": np.s_[:, 3:5], "dot": np.s_[2:6, 2:6], "frame": np.s_[:, ::7]}
        pixels[area[shape]] = COLOURS[colour]
        name = f"{number:03d}.png"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
        split = "test" if number >= len(COLOURS) * len(SHAPES) * (per_kind - 1) else "train"
        texts = [f"a {colour} {shape}", f"{shape} number {number} in {colour}"]
        rows.append({"file_name": name, "texts": texts, "label": shape, "split": split})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder
