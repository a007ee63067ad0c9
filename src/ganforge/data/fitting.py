"""`--fit auto`: crop the centre of images, unless that would cut off what they show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganforge.data.decode import Header, Unreadable, Whole
from ganforge.data.split import in_threads

Item = TypeVar("Item")

NUM_MEASURED = 256
"""Images that are looked at, evenly spaced."""
TOLERANCE = 24  # of 255 levels: a plain background after JPEG
PLAIN_SHARE = 0.4  # of the border that is background where an image is cut out of a plain one
CUT_SHARE = 0.01  # of the content of an image that a crop may lose
MUCH = 0.5  # of the area of an image without a background that a crop may lose
FEW_CUT = 0.05  # of the images


@dataclass(frozen=True)
class Fit:
    """A way of fitting, and why."""

    fit: Literal["crop", "pad"]
    why: str


def choose_fit(headers: Sequence[tuple[Item, Header]], aspect: float, decode: Callable[[Item], Whole]) -> Fit:
    """How images with these `headers` come to `aspect` (width / height): padded where a crop cuts content.

    Content is what is not transparent and not the plain background; an image without either is all content,
    of which a crop may take half. Only images of another aspect are decoded, at most 256.
    """
    unlike = [item for item, header in headers if header.width != round(header.height * aspect)]
    if not unlike:
        return Fit("crop", "")
    step = max(1, -(-len(unlike) // NUM_MEASURED))
    some = unlike[::step]

    def is_cut(item: Item) -> bool | None:
        try:
            return loses_content(decode(item), aspect)
        except Unreadable:
            return None

    verdicts = [cut for cut in in_threads(is_cut, some) if cut is not None]
    share = sum(verdicts) / max(1, len(verdicts)) * len(unlike) / len(headers)
    number = round(share * len(headers))
    if share > FEW_CUT:
        return Fit("pad", f"a crop would cut off content of about {number:,} of {len(headers):,} images")
    lost = f"content of about {number:,} of {len(headers):,} images" if number else "no content"
    return Fit("crop", f"a crop cuts off {lost}")


def loses_content(image: Whole, aspect: float) -> bool:
    """Whether the largest centre crop of `aspect` loses content of `image`."""
    height, width = image.colours.shape[1:]
    across, down = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - across) // 2, (height - down) // 2
    content = content_of(image)
    if content is None:
        return 1 - across * down / (width * height) > MUCH
    kept = content[top : top + down, left : left + across].sum()
    return bool(content.sum() - kept > CUT_SHARE * content.sum())


def content_of(image: Whole) -> NDArray[np.bool_] | None:
    """Which pixels `[height, width]` are content; None where there is no background to tell them from."""
    if image.alpha is not None and bool((image.alpha == 0).any()):
        seen: NDArray[np.bool_] = image.alpha > np.iinfo(image.alpha.dtype).max // 16
        return seen
    wide = image.colours.dtype == np.uint16
    colours = (image.colours >> 8 if wide else image.colours).astype(np.int16)
    corners = colours[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    plain = np.sort(corners, axis=1)[:, 1:3].mean(1)[:, None, None]  # the median of each channel
    differs: NDArray[np.bool_] = (np.abs(colours - plain) > TOLERANCE).any(0)
    border = np.concatenate([differs[0], differs[-1], differs[:, 0], differs[:, -1]])
    if differs[[0, 0, -1, -1], [0, -1, 0, -1]].sum() > 1 or 1 - border.mean() < PLAIN_SHARE:
        return None
    return differs
