"""Videos, written frame by frame, with their provenance."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError
from ganforge.files.atomic import TEMPORARY, sync_folder

if TYPE_CHECKING:
    from PIL import Image

VIDEOS = (".mp4",)
QUALITY = "18"  # of H.264, 0 to 51; 18 is taken for visually lossless


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(
            ".mp4 needs the library av: type `pip install 'ganforge[video]'`, or write a .gif or .webp"
        ) from error
    return av


def write_video(path: Path, frames: "Iterable[Image.Image]", rate: int, about: Mapping[str, str]) -> None:
    """Write `frames` of one size as H.264 with `about` in the comment; one frame at a time is in memory.

    A side that is odd loses its last row or column, which the format does not hold. Raises UserError where
    the library is missing.
    """
    av = _library()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    try:
        with av.open(str(temporary), "w", format="mp4") as container:
            container.metadata["comment"] = json.dumps(dict(sorted(about.items())))
            stream = None
            for image in frames:
                plain = image.convert("RGB")
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate, options={"crf": QUALITY})
                    stream.width, stream.height = (side // 2 * 2 for side in plain.size)
                    stream.pix_fmt = "yuv420p"
                frame = av.VideoFrame.from_image(plain.crop((0, 0, stream.width, stream.height)))
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode())
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def read_comment(path: Path) -> str:
    """The comment of a video; empty where it cannot be read, or the library is missing."""
    try:
        av = _library()
        with av.open(str(path)) as container:
            return str(container.metadata.get("comment", ""))
    except (UserError, OSError, ValueError):
        return ""
