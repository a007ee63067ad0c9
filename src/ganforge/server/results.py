"""What a request made, encoded as the client wants it: PNG, WebP, JSON or npz."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganforge.files.images import encode_image
from ganforge.generation.output import encode_arrays
from ganforge.server.requests import Form

TYPES: dict[Form, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "json": "application/json",
    "numbers": "application/json",
    "npz": "application/x-npz",
}
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Result:
    """The images of an answer, in the forms that formats need, each made when it is wanted.

    `arrays`: uint8 or uint16 `[count, height, width, channels]`, or float `[count, 2]` points. `draw` shows
    all as one image, `each` gives them one by one, and `frames`, if any, as an animation. `more` is said in
    JSON and kept in an npz.
    """

    arrays: Callable[[], NDArray[Any]]
    draw: Callable[[], Image.Image]
    each: Callable[[], Sequence[Image.Image]]
    more: Mapping[str, Any] = field(default_factory=dict)
    frames: Callable[[], Sequence[Image.Image]] | None = None
    milliseconds: int = 0
    background: str = "white"


def encode(result: Result, form: Form, about: dict[str, str]) -> bytes:
    """`result` in the format `form`, with its provenance `about`; raises UserError for one too large."""
    if form == "npz":
        # Without its type numpy makes floats of [1, 2**64 - 1].
        kinds = {"seeds": np.uint64}
        more = {name: np.array(value, kinds.get(name)) for name, value in result.more.items()}
        return encode_arrays(about, images=result.arrays(), **more)
    if form == "webp" and result.frames is not None:
        first, *others = result.frames()
        return encode_image(first, "WEBP", about, frames=others, milliseconds=result.milliseconds)
    if form in ("png", "webp"):
        image = result.draw()
        return encode_image(image, form.upper(), about, background=result.background)
    if form == "numbers":
        arrays = result.arrays()
        images: Any = arrays.tolist() if arrays.dtype.kind == "u" else _plain(arrays.tolist())
    else:
        images = [base64.b64encode(encode_image(each, "PNG", about)).decode() for each in result.each()]
    return json.dumps({"about": about, **_plain(dict(result.more)), "images": images}).encode()


def _plain(value: Any) -> Any:
    """`value` as JSON has it: a number that is none, such as NaN, is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def choose_form(accept: str) -> Form | None:
    """The format that an Accept header prefers; PNG where any will do, None where none will."""
    wanted = list[tuple[float, int, str]]()
    for place, part in enumerate(accept.split(",")[:32]):
        name, *options = (piece.strip().lower() for piece in part.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            share = float(quality)
        except ValueError:
            share = 0.0
        if name and share > 0:
            wanted.append((-share, place, name))
    for _, _, name in sorted(wanted):
        if name in ("*/*", "image/*"):
            return "png"
        if form := next((form for form, kind in TYPES.items() if kind == name), None):
            return form
    return None if wanted else "png"
