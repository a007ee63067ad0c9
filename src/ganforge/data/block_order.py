"""An order of images that is random, and yet reads a few blocks of them at a time."""

import numpy as np
from numpy.typing import NDArray

MOST_LANES = 64
WINDOW_BLOCKS = 4


def draw_blocks(
    random: np.random.Generator, starts: NDArray[np.int64], batch_size: int, position: int
) -> NDArray[np.int64]:
    """A permutation int64 `[count]` of images, `starts` of whose blocks end with their count.

    The blocks are permuted and dealt to lanes, at most 64; in each lane windows of four blocks are shuffled,
    and a batch takes as many images from each. A lane fills the same rows of every batch, so that a process
    which has some rows of each batch reads the blocks of their lanes only. `position` is the number of images
    that came before: batches run across the ends of epochs.
    """
    count = int(starts[-1])
    lengths = np.diff(starts)
    chosen = random.permutation(len(lengths))
    # The images of the chosen blocks, one block after the other.
    ends = np.cumsum(lengths[chosen])
    sequence = np.arange(count) + np.repeat(starts[chosen] - (ends - lengths[chosen]), lengths[chosen])
    lanes = next(lanes for lanes in range(min(MOST_LANES, batch_size), 0, -1) if batch_size % lanes == 0)
    lane_of = (position + np.arange(count)) % batch_size * lanes // batch_size
    window = WINDOW_BLOCKS * -(-count // len(lengths))
    places = np.argsort(lane_of, kind="stable")  # lane by lane, each in the order of its rows
    sizes = np.bincount(lane_of, minlength=lanes)
    lane = np.repeat(np.arange(lanes), sizes)
    within = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Windows of one lane end in the middle of another's, so that new blocks do not come all at once.
    windows = (within + lane * window // lanes) // window
    order = np.empty(count, np.int64)
    order[places] = sequence[np.lexsort((random.random(count), windows, lane))]
    return order
