"""Images in a terminal: as such where it can show them, else in half blocks of two pixels each."""

import base64
import io
import os
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

_MOST_COLUMNS = 64
_CHUNK = 4096  # characters of base64 in one escape sequence of kitty's protocol


def graphics() -> Literal["kitty", "iterm", "blocks"]:
    """How this terminal shows images, by its environment; within tmux or screen only by blocks."""
    get = os.environ.get
    if get("TMUX") or get("TERM", "").startswith(("screen", "tmux")):
        return "blocks"
    if get("KITTY_WINDOW_ID") or get("TERM") == "xterm-kitty" or get("TERM_PROGRAM") == "ghostty":
        return "kitty"
    if get("TERM_PROGRAM") in ("iTerm.app", "WezTerm") or get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "blocks"


def print_image(console: Console, file: Path) -> None:
    """Print the image in `file`; nothing where it cannot be read."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # half-written
        return
    columns = min(_MOST_COLUMNS, console.width)
    # A half block is as wide as high: two pixels above each other fill one character.
    rows = max(1, round(columns * image.height / image.width / 2))
    kind = graphics()
    if kind == "blocks":
        console.print(half_blocks(image, columns, rows))
        return
    bytes_ = io.BytesIO()
    image.save(bytes_, "PNG")
    text = base64.b64encode(bytes_.getvalue()).decode()
    sys.stdout.write(_kitty(text, columns) if kind == "kitty" else _iterm(text, columns))
    sys.stdout.write("\n")
    sys.stdout.flush()


def half_blocks(image: Image.Image, columns: int, rows: int) -> Text:
    """`rows` lines of `columns` characters, each with two pixels of the shrunk image."""
    small = image.resize((columns, 2 * rows), Image.Resampling.BOX)
    text = Text(no_wrap=True)
    for row in range(rows):
        for column in range(columns):
            upper, lower = (small.getpixel((column, 2 * row + half)) for half in (0, 1))
            assert isinstance(upper, tuple)
            assert isinstance(lower, tuple)
            text.append("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
        text.append("\n" if row < rows - 1 else "")
    return text


def _kitty(text: str, columns: int) -> str:
    """The graphics protocol of kitty: PNG (f=100), sent and shown (a=T), in chunks."""
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    parts = []
    for index, chunk in enumerate(chunks):
        first = f"f=100,a=T,c={columns},q=2," if not index else ""
        parts.append(f"\033_G{first}m={int(index < len(chunks) - 1)};{chunk}\033\\")
    return "".join(parts)


def _iterm(text: str, columns: int) -> str:
    return f"\033]1337;File=inline=1;width={columns};preserveAspectRatio=1:{text}\a"
