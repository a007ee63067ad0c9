"""Draws samples from the model.onnx in this folder: python sample.py --count 16 --seed 0 --out samples.png.

Needs numpy and onnxruntime only; images as sources need Pillow besides. In Python:

    model = Model("model.onnx")
    images = model.sample(16, seed=0)     # float32 [16, channels, height, width] in [-1, 1]
"""

import argparse
import json
import math
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]


class Model:
    """A generator of ganforge as an ONNX file; `about` says what it takes and makes."""

    def __init__(self, path: str | Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.about = json.loads(self.session.get_modelmeta().custom_metadata_map["ganforge"])

    def run(self, **inputs: Array) -> Array:
        """The network itself: images, or logits of one that generates pixel by pixel."""
        result: Array = self.session.run(None, inputs)[0]
        return result

    def latents(self, count: int, random: np.random.Generator) -> Array:
        """Latents float32 `[count, size]` as the training drew them."""
        parts = []
        for part in self.about["latents"]:
            shape = (count, part["size"])
            values = random.standard_normal(shape)
            if part["kind"] == "uniform":
                values = random.uniform(part["low"], part["high"], shape)
            elif part["kind"] == "sphere":
                values *= math.sqrt(shape[1]) / np.linalg.norm(values, axis=1, keepdims=True)
            elif part["kind"] == "category":
                values = np.eye(shape[1])[random.integers(shape[1], size=count)]
            elif part["kind"] == "correlated":
                values = np.array(part["mean"]) + values @ np.array(part["root"]).T
            parts.append(values)
        return np.concatenate(parts, axis=1).astype(np.float32)

    def sample(
        self,
        count: int,
        seed: int = 0,
        labels: Array | None = None,
        embeddings: Array | None = None,
        sources: Array | None = None,
    ) -> Array:
        """Images float32 `[count, channels, height, width]` in [-1, 1], by the seed.

        Missing labels int `[count]` are drawn at random, missing embeddings `[count, size]` too: those of no
        caption. A model that translates needs `sources` `[count, channels, height, width]` in [-1, 1].
        """
        self.check(count, seed, labels, embeddings, sources)
        random, inputs = np.random.default_rng(seed), {}
        names = self.about["inputs"]
        if "labels" in names:
            numbers = random.integers(len(self.about["classes"]), size=count)
            inputs["labels"] = np.resize(numbers if labels is None else labels, count).astype(np.int64)
        if "embeddings" in names:
            if embeddings is None:
                size = self.about["embedding_size"]
                drawn = random.standard_normal((count, size))
                embeddings = drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * math.sqrt(size)
            inputs["embeddings"] = np.resize(embeddings, (count, embeddings.shape[1])).astype(np.float32)
        if sources is not None:
            return self.run(sources=sources.astype(np.float32))
        if "latents" in names:
            return self.run(latents=self.latents(count, random), **inputs)
        return self.pixel_by_pixel(count, random, inputs)

    def check(
        self, count: int, seed: int, labels: Array | None, embeddings: Array | None, sources: Array | None
    ) -> None:
        """End the program, in one line, where the model cannot make that."""
        for name, given in (("labels", labels), ("embeddings", embeddings), ("sources", sources)):
            if given is not None and name not in self.about["inputs"]:
                raise SystemExit(f"--{name}: this model takes {', '.join(self.about['inputs'])} only")
        if count < 1:
            raise SystemExit(f"--count {count}: expected 1 or more")
        if seed < 0:
            raise SystemExit(f"--seed {seed}: expected 0 or more")
        classes = len(self.about["classes"])
        if labels is not None and not ((labels >= 0) & (labels < classes)).all():
            raise SystemExit(f"--labels: expected numbers from 0 to {classes - 1}")
        size = self.about.get("embedding_size")
        if embeddings is not None and not (len(embeddings) and embeddings.shape[1:] == (size,)):
            raise SystemExit(f"--embeddings: expected the shape [count, {size}], got {embeddings.shape}")
        if "sources" not in self.about["inputs"]:
            return
        if sources is None:
            raise SystemExit("this model translates images: add --sources IMAGE or ARRAY.npy")
        channels, height, width = self.about["source_shape"]
        sides = sources.shape[2:] if self.about["resizes"] else (height, width)
        if sources.ndim != 4 or not len(sources) or sources.shape[1:] != (channels, *sides):
            shape = (
                f"{channels}, height, width" if self.about["resizes"] else f"{channels}, {height}, {width}"
            )
            raise SystemExit(f"--sources: expected the shape [count, {shape}], got {sources.shape}")

    def pixel_by_pixel(self, count: int, random: np.random.Generator, inputs: dict[str, Array]) -> Array:
        """Images whose sub-pixels are drawn one after the other, each given those before it."""
        channels, height, width = self.about["shape"]
        images = np.full((count, channels, height, width), -1, np.float32)
        shades = np.arange(self.about["levels"], dtype=np.float32) * (2 / (self.about["levels"] - 1)) - 1
        for row in range(height):
            for column in range(width):
                for colour in range(channels):
                    logits = self.run(images=images, **inputs)[:, :, colour, row, column]
                    chosen = (logits + random.gumbel(size=logits.shape)).argmax(1)
                    images[:, colour, row, column] = shades[chosen]
        return images


def to_pixels(images: Array) -> Array:
    """Images in [-1, 1] as uint8 `[count, height, width, channels]`; colours are divided by alpha, if any."""
    unit = (np.clip(images, -1, 1) + 1) / 2
    if unit.shape[1] == 4:
        alpha = unit[:, 3:]
        unit = np.concatenate([np.minimum(unit[:, :3], alpha) / np.maximum(alpha, 1e-6), alpha], 1)
    pixels: Array = np.round(255 * unit).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def write_png(path: Path, images: Array) -> None:
    """Write a grid of `images` in [-1, 1] as a PNG."""
    pixels = to_pixels(images)
    count, height, width, channels = pixels.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    grid = np.zeros((rows, columns, height, width, channels), np.uint8)
    grid.reshape(-1, height, width, channels)[:count] = pixels
    lines = grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, -1)
    header = struct.pack(">IIBBBBB", columns * width, rows * height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def read_sources(path: Path, about: dict[str, Any]) -> Array:
    """Sources `[count, channels, height, width]` in [-1, 1] of an .npy file, or of an image by Pillow."""
    if path.suffix == ".npy":
        loaded: Array = np.load(path, allow_pickle=False)
        return loaded
    from PIL import Image

    channels, height, width = about["source_shape"]
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    if not about["resizes"]:
        image = image.resize((width, height))
    values = np.asarray(image, np.float32) / 127.5 - 1
    return values.reshape(1, image.height, image.width, -1).transpose(0, 3, 1, 2)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw samples from model.onnx.")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", type=int, nargs="+", help="class numbers, which take turns")
    parser.add_argument("--embeddings", type=Path, help="caption embeddings [count, size] in an .npy file")
    parser.add_argument("--sources", type=Path, help="an image, or an array [count, channels, ...] in .npy")
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help=".png, or .npy for the numbers")
    options = parser.parse_args()
    try:
        count = run(options)
    except ImportError as error:
        raise SystemExit(f"an image as --sources needs Pillow: pip install pillow ({error})") from error
    except (OSError, ValueError) as error:  # a file that is not there, or not what it should be
        raise SystemExit(str(error)) from error
    print(f"{count} samples, seed {options.seed}", file=sys.stderr)


def run(options: argparse.Namespace) -> int:
    """Write what `options` say; returns the number of samples."""
    model = Model(Path(__file__).with_name("model.onnx"))
    images = model.sample(
        options.count,
        options.seed,
        labels=None if options.labels is None else np.array(options.labels),
        embeddings=None if options.embeddings is None else np.load(options.embeddings, allow_pickle=False),
        sources=None if options.sources is None else read_sources(options.sources, model.about),
    )
    if options.out.suffix == ".npy" or model.about["values"] == "points":
        np.save(options.out.with_suffix(".npy"), images)
    else:
        write_png(options.out, images)
    return len(images)


if __name__ == "__main__":
    main()
