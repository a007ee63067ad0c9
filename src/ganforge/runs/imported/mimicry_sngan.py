"""The generators of mimicry's SNGAN for 32, 48, 64 and 128 pixels: `netG_100000_steps.pth`."""

from itertools import count, pairwise

from torch import Tensor

from ganforge.errors import UserError
from ganforge.nn.networks.resnet import EPS, MOST_TIMES
from ganforge.runs.imported.weights import Foreign, ForeignWeights

FIRST = 2
"""The number of the first block: the dense layer is 1, the last norm comes after the blocks."""
THEIR_EPS = 1e-5
SHIFTED = "running_var"


def read_generator(weights: ForeignWeights) -> Foreign:
    """The generator as one of `sngan` that doubles maps bilinearly.

    Only that for 32 pixels has maps of one width. Its norms add 1e-5 to the variance, ours 2e-5: the running
    variances are shifted by the difference.
    """
    blocks = next(n for n in count() if f"block{FIRST + n}.c1.weight" not in weights)
    if blocks not in (3, 4, 5):
        name = f"block{FIRST + blocks}.c1.weight"
        raise UserError(f"{weights.what}: {blocks} blocks in it (no {name}), expected 3, 4 or 5")
    last = FIRST + blocks
    channels = weights.colours(f"c{last}.weight", 0, "nc", "ngf", 3, 3)
    width = weights.shape(f"c{last}.weight", channels, "ngf", 3, 3)[1]
    start, widening = _start(weights, blocks, width)
    times = [min(2**level, MOST_TIMES) if widening else 1 for level in reversed(range(blocks + 1))]
    widths = [width * each for each in times]

    own: dict[str, Tensor] = {}

    def layer(ours: str, theirs: str, *shape: int | str) -> None:
        own[f"generator.{ours}.weight"] = weights.take(f"{theirs}.weight", *shape)
        own[f"generator.{ours}.bias"] = weights.take(f"{theirs}.bias", shape[0])

    def norm(ours: str, theirs: str, features: int) -> None:
        parts = weights.batch_norm(theirs, features)
        parts[SHIFTED] = parts[SHIFTED] + (THEIR_EPS - EPS)
        own.update({f"generator.{ours}.{part}": tensor for part, tensor in parts.items()})

    layer("dense", "l1", start**2 * widths[0], "nz")
    for index, (before, after) in enumerate(pairwise(widths)):
        block, theirs = f"blocks.{index}", f"block{FIRST + index}"
        layer(f"{block}.convolution1", f"{theirs}.c1", after, before, 3, 3)
        layer(f"{block}.convolution2", f"{theirs}.c2", after, after, 3, 3)
        layer(f"{block}.shortcut", f"{theirs}.c_sc", after, before, 1, 1)
        norm(f"{block}.norm1", f"{theirs}.b1", before)
        norm(f"{block}.norm2", f"{theirs}.b2", after)
    norm("norm", f"b{last}", width)
    layer("output", f"c{last}", channels, width, 3, 3)
    weights.check_all_taken()
    side = start * 2**blocks
    config = {
        "width": width,
        "widening": widening,
        "upsampling": "bilinear",
        "smallest_maps": start,
        "latent_size": own["generator.dense.weight"].shape[1],
    }
    return Foreign("sngan", config, (channels, side, side), own)


def _start(weights: ForeignWeights, blocks: int, width: int) -> tuple[int, bool]:
    """The side of the smallest maps, 4 or 6, and whether coarser maps are wider; by the dense layer."""
    widest = width * min(2**blocks, MOST_TIMES)
    choices = {16 * width: (4, False), 36 * widest: (6, True)} if blocks == 3 else {16 * widest: (4, True)}
    expected = (" or ".join(map(str, choices)), "nz")
    rows, _ = weights.shape("l1.weight", *expected)
    if rows not in choices:
        raise weights.mismatch("l1.weight", *expected)
    return choices[rows]
