"""A lesson for each system: its page of the documentation, a diagram, and where to try it."""

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from ganforge.errors import printable
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED, packaged_runs
from ganforge.server.guard import Refused
from ganforge.studio.learn_diagrams import DIAGRAMS
from ganforge.studio.learn_equations import typeset
from ganforge.studio.workshop import Workshop
from ganforge.systems.discovery import find

FAMILIES = {
    "Two networks against each other": (
        "A generator and a discriminator; the systems differ in the loss and in what keeps the game stable.",
        ("gan", "dcgan", "lsgan", "wgan", "wgan_gp", "sngan", "r3gan", "fastgan"),
    ),
    "Conditioned on a class": ("Labels say what to generate.", ("cgan", "acgan")),
    "Codes that mean something": ("Factors of variation, found without labels.", ("infogan",)),
    "From text": ("Captions as the condition.", ("text_encoder", "gan_cls", "stackgan")),
    "From image to image": ("An image as the condition.", ("pix2pix",)),
    "Super-resolution": ("A small image, enlarged.", ("srresnet", "srgan")),
    "Autoencoders": ("Compress, and decode; no adversary.", ("autoencoder", "vae")),
    "Pixel by pixel": ("Exact likelihoods; images can be completed.", ("pixelcnn", "pixelrnn")),
}
TRAINED_ON = {
    "gan_cls": "emoji", "pix2pix": "emoji", "srgan": "emoji", "srresnet": "emoji", "stackgan": "emoji",
    "text_encoder": "emoji",
}  # fmt: skip
"""Data that comes with the package and suits a system; for all others it is MNIST."""
IMAGE = re.compile(r"[a-z0-9_-]+\.png")


def docs_folder() -> Path:
    """Where `systems/` and `images/` are: next to this file in a wheel, in `docs/` of a checkout."""
    packaged = Path(__file__).with_name("lessons")
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs"


def learn_api(_: Workshop) -> APIRouter:
    """The endpoints below `/api/learn`."""
    api = APIRouter(prefix="/learn")

    @api.get("")
    def index() -> dict[str, Any]:
        """Every system by family, with its purpose and its paper."""
        families = [
            {"name": name, "about": about, "systems": [_row(system) for system in systems]}
            for name, (about, systems) in FAMILIES.items()
        ]
        return {"families": families}

    @api.get("/images/{name}")
    def image(name: str) -> FileResponse:
        """An image of a lesson."""
        path = docs_folder() / "images" / name
        if not IMAGE.fullmatch(name) or not path.is_file():
            raise Refused(404, f"no image {printable(name)[:80]!r}")
        return FileResponse(path, headers={"Cache-Control": "private, max-age=3600"})

    @api.get("/{system}")
    def lesson(system: str) -> dict[str, Any]:
        """The lesson of a system."""
        if system not in DIAGRAMS:
            raise Refused(404, f"no lesson about {printable(system)[:80]!r}: #/learn has all")
        diagram, places = DIAGRAMS[system]().as_json(), places_to_try(system)
        return _row(system) | _page(system) | {"diagram": diagram, "try": places}

    return api


@cache
def _row(system: str) -> dict[str, str]:
    kind = find(system)
    paper = (kind.__doc__ or "").strip().partition("\n")[0].partition("; code ")[0].rstrip(".")
    number = re.search(r"arXiv (\d{4}\.\d{5})", paper)
    link = f"https://arxiv.org/abs/{number[1]}" if number else ""
    return {"system": system, "purpose": kind.purpose, "paper": paper, "link": link}


@cache
def places_to_try(system: str) -> list[dict[str, str]]:
    """Labels and addresses of views: the playground, shipped models, and the form of a training."""
    places = list[dict[str, str]]()
    if "points" in find(system).accepts:
        places.append({"label": "Play with it in 2-D", "place": f"#/play?system={system}&data=ring"})
    for name in packaged_runs():
        if Run.open(Path(f"{PRETRAINED}{name}")).config.system == system:
            place = f"#/create/{PRETRAINED}{name}"
            places.append({"label": f"Create with {name.replace('-', ' ')}", "place": place})
    data = TRAINED_ON.get(system, "mnist")
    places.append({"label": f"Train it on {data}", "place": f"#/new?system={system}&data={data}"})
    return places


@cache
def _page(system: str) -> dict[str, Any]:
    """Title, introduction, and sections of HTML; raw HTML of the Markdown is shown as text."""
    text = (docs_folder() / "systems" / f"{system}.md").read_text(encoding="utf-8")
    title, _, rest = text.removeprefix("# ").partition("\n")
    lead, *parts = re.split(r"^## ", rest, flags=re.MULTILINE)
    sections = list[dict[str, str]]()
    for part in parts:
        heading, _, body = part.partition("\n")
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        html = html_of(body, heading)
        sections.append({"id": name, "heading": heading.replace("`", ""), "html": html})
    return {"title": title.partition(": ")[2], "lead": html_of(lead, ""), "sections": sections}


def html_of(text: str, heading: str) -> str:
    """HTML of a section: equations are set, tables and code scroll, links between pages join lessons."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule, function in (("fence", _fence), ("table_open", _table_open), ("table_close", _table_close)):
        reader.add_render_rule(rule, function)
    tokens = reader.parse(text)
    for token in tokens:
        token.meta["heading"] = heading
        _relink(token.children or [])
    return str(reader.renderer.render(tokens, reader.options, {}))


def _fence(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    token = tokens[place]
    if token.meta["heading"] == "Equations" and not token.info:
        return typeset(token.content)
    kind = "commands" if "ganforge " in token.content and not token.info.startswith("python") else "listing"
    return f'<pre class="{kind}" tabindex="0"><code>{escape(token.content)}</code></pre>\n'


def _table_open(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    heading = escape(tokens[place].meta["heading"].replace("`", ""))
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{heading}, a table"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _relink(parts: list[Token]) -> None:
    """Links to other systems become their lessons, links to the rest of the repository their text."""
    removed = list[bool]()
    for part in parts:
        if part.type == "image":
            _place_image(part)
        elif part.type == "link_open":
            target = str(part.attrs["href"])
            lesson = re.fullmatch(r"(\w+)\.md(#.*)?", target)
            if lesson and lesson[1] in DIAGRAMS | {"README": None}:
                part.attrs["href"] = "#/learn" + ("" if lesson[1] == "README" else f"/{lesson[1]}")
            elif target.startswith("https://"):
                part.attrs |= {"target": "_blank", "rel": "noopener noreferrer"}
            removed.append(not lesson and not target.startswith("https://"))
            part.hidden = removed[-1]
        elif part.type == "link_close":
            part.hidden = removed.pop()


def _place_image(part: Token) -> None:
    """Its address here, and its size, so that nothing moves when it arrives."""
    name = Path(str(part.attrs["src"])).name
    with Image.open(docs_folder() / "images" / name) as image:
        width, height = image.size
    part.attrs |= {"src": f"/api/learn/images/{name}", "width": width, "height": height, "loading": "lazy"}
