"""MATLAB's bicubic `imresize`, pixel by pixel from its formula, to compare ours with."""

import math

import numpy as np


def kernel(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def reflected(index, length):
    while not 0 <= index < length:
        index = -index - 1 if index < 0 else 2 * length - 1 - index
    return index


def line_by_formula(line, new_length):
    """One row, in MATLAB's terms: x = 1 ... n, u = x / scale + (1 - 1 / scale) / 2, weights over |x| < 2."""
    scale = new_length / len(line)
    width = max(1.0, 1 / scale)
    made = []
    for x in range(1, new_length + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        near = range(math.floor(u - 2 * width) - 1, math.ceil(u + 2 * width) + 2)
        weights = [kernel((u - k) / width) for k in near]
        values = [line[reflected(k - 1, len(line))] for k in near]
        made.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return made


def by_formula(image, height, width):
    down = np.array([line_by_formula(column, height) for column in image.T]).T
    return np.array([line_by_formula(row, width) for row in down])
