"""Lessons: every system has its page, diagram, equations and places to try, in the browser too."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studios import Studio, studio

from ganforge.runs.pretrained import packaged_runs
from ganforge.studio.learn import FAMILIES, docs_folder, html_of
from ganforge.studio.learn_diagrams import DIAGRAMS, FLOW, UPDATE
from ganforge.studio.learn_equations import formula, typeset
from ganforge.studio.playground.losses import LOSSES
from ganforge.systems.discovery import available, find

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("runs")) as each:
        yield each


def test_every_system_has_a_lesson(started: Studio) -> None:
    assert sorted(name for _, names in FAMILIES.values() for name in names) == available()
    assert sorted(DIAGRAMS) == available()
    families = started.client.get("/api/learn").json()["families"]
    rows = [row for family in families for row in family["systems"]]
    assert {row["system"]: row["purpose"] for row in rows} == {n: find(n).purpose for n in available()}
    assert all(re.search(r"[A-Z].* \d{4}, \".+\"", row["paper"]) for row in rows), rows


@pytest.mark.parametrize("system", available())
def test_lesson(started: Studio, system: str) -> None:
    lesson = started.client.get(f"/api/learn/{system}").json()
    parts = {part["id"]: part["html"] for part in lesson["sections"]}
    assert {"purpose", "equations", "commands"} <= parts.keys()
    assert "<math>" in parts["equations"]
    html = lesson["lead"] + "".join(parts.values())
    assert "<script" not in html
    for target in re.findall(r'href="([^"]*)"', html):
        assert target.startswith("https://") or target == "#/learn" or target[8:] in available(), target
    for image in re.findall(r'src="([^"]*)"', html):
        assert started.client.get(image).headers["content-type"] == "image/png"
    played = [each["place"] for each in lesson["try"] if each["place"].startswith("#/play")]
    offered = {name: loss.system for name, loss in LOSSES.items()}
    if system in offered.values():
        ((_, names),) = [place.split("&loss=") for place in played]
        assert all(offered[name] == system for name in names.split(","))
    else:
        assert not played
    assert lesson["try"][-1]["place"].startswith(f"#/new?system={system}&data=")
    shown = {place for each in lesson["try"] if (place := each["place"]).startswith("#/create/")}
    assert all(place.removeprefix("#/create/pretrained:") in packaged_runs() for place in shown)


def test_each_packaged_model_is_tried_somewhere(started: Studio) -> None:
    places = {
        each["place"]
        for name in available()
        for each in started.client.get(f"/api/learn/{name}").json()["try"]
    }
    assert {f"#/create/pretrained:{name}" for name in packaged_runs()} <= places


@pytest.mark.parametrize("system", available())
def test_diagrams_hang_together(system: str) -> None:
    """Each box has an arrow, each loss updates a network or leads to one that does; places differ."""
    diagram = DIAGRAMS[system]()
    assert {key for a, b, _ in diagram.arrows for key in (a, b)} == set(diagram.boxes)
    assert len({(box.step, box.lane) for box in diagram.boxes.values()}) == len(diagram.boxes)
    for a, b, kind in diagram.arrows:
        if kind == FLOW:
            assert diagram.boxes[a].step <= diagram.boxes[b].step, f"{a} to {b} goes back"
        else:
            assert diagram.boxes[a].kind == "loss"
            assert diagram.boxes[b].kind in ("generator", "discriminator", "network")
    ends = {a for a, _, kind in diagram.arrows if kind == UPDATE}
    losses = {key for key, box in diagram.boxes.items() if box.kind == "loss"}
    assert all(key in ends or any(a == key and b in losses for a, b, _ in diagram.arrows) for key in losses)
    assert all(box.name in diagram.description() for box in diagram.boxes.values())


def test_equations_lose_nothing() -> None:
    """Letters and digits of every equation of the pages are in what is shown, but for signs and Greek."""
    names = {"α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "λ": "lambda"}
    names |= {
        "μ": "mu",
        "φ": "phi",
        "ψ": "psi",
        "σ": "sigma",
        "∑": "sum",
        "∏": "product",
        "√": "sqrt",
        "×": "x",
    }
    blocks = 0
    for page in (ROOT / "docs" / "systems").glob("*.md"):
        text = page.read_text("utf-8").partition("\n## Equations\n")[2].partition("\n## ")[0]
        for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            blocks += 1
            shown = re.sub(r"<mfrac><mn>(\d+)</mn>", r"\1/", typeset(block))
            shown = re.sub(r"<[^>]*>", "", shown)
            for sign, name in names.items():
                shown = shown.replace(sign, name)
            assert re.findall(r"[A-Za-z0-9]", shown) == re.findall(r"[A-Za-z0-9]", block), block
    assert blocks > 25


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s_real", "<msub><mi>s</mi><mrow><mtext>real</mtext></mrow></msub>"),
        ("B^2", "<msup><mi>B</mi><mrow><mn>2</mn></mrow></msup>"),
        ("1/2", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        ("-s", '<mo form="prefix">−</mo><mi>s</mi>'),
        ("a - s", "<mi>a</mi><mo>−</mo><mi>s</mi>"),
        ("a < b & c", "<mi>a</mi><mo>⟨</mo><mi>b</mi><mo>&amp;</mo><mi>c</mi>"),
    ],
)
def test_formula(text: str, expected: str) -> None:
    inner = formula(text).replace('<mspace width="0.22em"></mspace>', "")
    assert inner == expected


def test_markdown_is_harmless() -> None:
    html = html_of("<img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](../../etc.md) `<b>`", "Purpose")
    assert not re.search(r"<(?!/?(p|code)>)", html), html
    assert "href" not in html


def test_images_are_packaged() -> None:
    """What the wheel brings along is what the lessons embed."""
    target = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    included = target["wheel"]["force-include"]
    assert included.pop("docs/systems") == "ganforge/studio/lessons/systems"
    pages = "".join(page.read_text("utf-8") for page in (docs_folder() / "systems").glob("*.md"))
    embedded = set(re.findall(r"!\[[^\]]*\]\(\.\./(images/[^)]+)\)", pages))
    assert included == {f"docs/{name}": f"ganforge/studio/lessons/{name}" for name in embedded}


@pytest.mark.parametrize("name", ["nothing", "gan.md", "%2e%2e%2fgan", "images", "README"])
def test_other_lessons_are_404(started: Studio, name: str) -> None:
    assert started.client.get(f"/api/learn/{name}").status_code == 404
    for image in (f"images/{name}", "images/..%2fsystems%2fgan.md", "images/no.png"):
        assert started.client.get(f"/api/learn/{image}").status_code == 404


def test_a_lesson_in_the_browser(started: Studio, page: Any) -> None:
    page.goto(started.link("#/learn"))
    page.get_by_role("link", name="infogan").click()
    page.get_by_role("heading", name="infogan", level=1).wait_for()
    drawing = page.locator("figure.diagram svg")
    assert "Recogniser Q" in drawing.locator("text").all_text_contents()
    assert drawing.get_attribute("role") == "img"
    fill = "each => getComputedStyle(each).fill"
    assert drawing.locator("rect").first.evaluate(fill) == "rgb(255, 255, 255)", (
        "the styles of the view apply"
    )
    assert drawing.locator("title").text_content() == "How infogan is trained"
    assert "updates Generator G" in drawing.locator("desc").text_content()
    assert page.locator("math").count() >= 2
    assert page.get_by_role("link", name="Create with digits infogan").get_attribute("href") == (
        "#/create/pretrained:digits-infogan"
    )
    page.get_by_role("link", name="Troubleshooting").click()
    page.wait_for_selector("#part-troubleshooting h2:focus")
    assert page.url.endswith("#/learn/infogan?part=troubleshooting")
    commands = page.locator("#part-commands .command code").all_inner_texts()
    assert "ganforge train infogan --data mnist" in " ".join(commands)
    wide = drawing.get_attribute("viewBox")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_selector(f"figure.diagram svg:not([viewBox='{wide}'])")
    _, _, width, height = page.locator("figure.diagram svg").get_attribute("viewBox").split()
    assert float(height) > float(width)
