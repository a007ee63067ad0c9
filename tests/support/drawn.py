"""Random images, encoded."""

import io

import numpy as np
from PIL import Image


def encode(array: np.ndarray, kind: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **settings)
    return buffer.getvalue()


def noise(number: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
