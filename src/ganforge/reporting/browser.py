"""Showing a page to the user."""

import os
import sys
import webbrowser
from pathlib import Path


def show(page: Path) -> str:
    """Open `page` in the browser; returns what was done, in words: without a display, where the page is."""
    place = page.resolve()
    has_display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_display:
        try:
            if webbrowser.open(place.as_uri()):
                return f"opened {place} in the browser"
        except webbrowser.Error:
            pass
    return f"there is no browser to open here: the report is {place}"
