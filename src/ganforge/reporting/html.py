"""Pages of HTML from the templates of this folder: self-contained, every value escaped."""

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ganforge.files.atomic import replace_file

_SCRIPTS = ("vendor/uplot/uPlot.iife.min.js", "charts.js")
_STYLES = ("vendor/uplot/uPlot.min.css", "style.css")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write `template` filled with `values` to `path`; equal values give equal bytes.

    The page runs no script but those of this package, which a hash in its head names.
    """
    environment = Environment(
        loader=PackageLoader("ganforge.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = _json
    environment.filters["words"] = words
    scripts = [_read(name) for name in _SCRIPTS]
    page = environment.get_template(template).render(
        styles=[Markup(_read(name)) for name in _STYLES],
        scripts=[Markup(text) for text in scripts],
        script_hashes=Markup(" ".join(f"'sha256-{_digest(text)}'" for text in scripts)),
        **values,
    )
    # A lone surrogate (an undecodable file name in a command) has no UTF-8.
    replace_file(path, page.encode("utf-8", "backslashreplace"))


def words(key: str) -> str:
    """A name of code as words."""
    return key.replace("_", " ")


def _read(name: str) -> str:
    return resources.files("ganforge.reporting").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: Any) -> Markup:
    """JSON within an element `script`, which nothing in it can end."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
