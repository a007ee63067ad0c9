"""The report of real run folders: whole, minimal, torn, hostile, large."""

import base64
import gzip
import hashlib
import io
import json
import math
import random
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.errors import UserError
from ganforge.files.images import save_image
from ganforge.reporting import grids
from ganforge.reporting.charts import MOST_POINTS
from ganforge.reporting.page import write_report

PACKAGE = Path(ganforge.__file__).parent
MNIST = PACKAGE / "data/sources/builtin/mnist/t10k-images-idx3-ubyte.gz"
VOID = {"meta", "img", "br", "line"}

CONFIG: dict[str, Any] = {
    "ganforge": "0.1.0",
    "system": "dcgan",
    "data": {"data": "mnist", "size": None, "flip": False},
    "train": {"seed": 7, "precision": "auto", "log_every": 50},
    "config": {"steps": 100_000, "batch": 128, "learning_rate": 2e-4, "network": "auto"},
    "spec": {"channels": 1, "height": 28, "width": 28, "num_images": 60000, "values": "pixels",
             "class_names": [str(digit) for digit in range(10)]},
    "fingerprint": "sha256:0b1a",
    "start_from": None,
}  # fmt: skip
START = {"kind": "start", "step": 0, "command": "ganforge train dcgan --data mnist --seed 7", "device": "cpu",
         "machine": "AMD EPYC, 2 cores", "threads": 2, "precision": "bf16", "startup_seconds": 3.125,
         "parameters": {"generator": 1234567, "discriminator": 765432}, "torch": "2.13.0"}  # fmt: skip
SCORES = [
    {"name": "fid", "value": 12.345, "unit": "", "plus_minus": None, "note": "",
     "protocol": {"features": "mnist", "generated": 10000, "reference": "mnist test, 10000", "seed": 0}},
    {"name": "kid", "value": 3.21, "unit": "x 10^-3", "plus_minus": 0.43, "note": "100 subsets",
     "protocol": {"features": "mnist classifier", "weights": "ema"}},
]  # fmt: skip
HEADINGS = ["Training", "Other measurements", "Samples over time", "Nearest training images", "Scores",
            "Cost", "Settings", "Commands", "Notes", "About this page"]  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: balanced tags, addresses, images, headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []  # type and content
        self.text = ""
        self.headings: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self.open and self.open[-1] != "style":
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    @property
    def charts(self) -> list[dict[str, Any]]:
        """The data of every chart."""
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]

    @property
    def programs(self) -> list[str]:
        """What a browser would run."""
        return [text for kind, text in self.scripts if kind != "application/json"]

    @property
    def images(self) -> list[Image.Image]:
        """Every embedded image, decoded."""
        parts = [address.removeprefix("data:image/png;base64,") for address in self.addresses]
        return [Image.open(io.BytesIO(base64.b64decode(part, validate=True))) for part in parts]


def train_lines(count: int, every: int = 50, first: int = 0, **more: float) -> list[dict[str, Any]]:
    """Plausible lines: losses that settle, with noise."""
    noise = random.Random(first)
    lines = []
    for index in range(1, count + 1):
        share = index / count
        lines.append({
            "kind": "train", "step": first + index * every, "images": (first + index * every) * 128,
            "seconds": index * every * 0.024, "images_per_second": 5300 + noise.gauss(0, 80),
            "seconds_per_step": 0.024, "peak_memory_bytes": 812_345_678,
            "discriminator_loss": 1.25 - 0.5 * share + noise.gauss(0, 0.12) + 4 * math.exp(-60 * share),
            "generator_loss": 0.8 + 1.1 * share + noise.gauss(0, 0.25) + 9 * math.exp(-90 * share),
            "real_probability": min(1, max(0, 0.5 + 0.18 * share + noise.gauss(0, 0.04))),
            "fake_probability": min(1, max(0, 0.5 - 0.2 * share + noise.gauss(0, 0.04))),
            "gradient_norm": 3 + math.exp(noise.gauss(0, 0.4)), **more,
        })  # fmt: skip
    return lines


def write_run(run: Path, config: dict[str, Any], lines: list[dict[str, Any]] | None) -> Path:
    """A run folder of a config and metrics lines."""
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(config))
    if lines is not None:
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def digits(count: int) -> torch.Tensor:
    """Real test digits in [-1, 1]."""
    with gzip.open(MNIST) as file:
        raw = np.frombuffer(file.read(16 + count * 784)[16:], np.uint8)
    return torch.tensor(raw.copy()).reshape(count, 1, 28, 28).float() / 127.5 - 1


def write_full(run: Path) -> Path:
    """A run with every part: 2000 lines, a resume, a note, 30 grids, neighbours, samples, scores."""
    lines = [START, *train_lines(1000), START | {"step": 50_000}, *train_lines(1000, first=50_000)]
    lines.append({"kind": "note", "step": 50_000, "text": "checkpoint 50500 did not verify"})
    lines.append({"kind": "end", "step": 100_000, "images": 12_800_000, "seconds": 1201.0,
                  "images_per_second": 5329.1, "peak_memory_bytes": 912_345_678})  # fmt: skip
    write_run(run, CONFIG, lines)
    real, noise = digits(96), torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for index in range(30):
        share = index / 29
        grid = grids.grid(real[:64] * share + noise * (1 - share))
        save_image(grid, run / f"samples/{index * 3400:06d}.png", {"step": str(index * 3400)})
    save_image(grids.neighbours_grid(real[:16], real[64:80]), run / "neighbours.png", {})
    save_image(grids.grid(real), run / "samples.png", {})
    (run / "evaluation.json").write_text(json.dumps(SCORES))
    return run


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full(tmp_path_factory.mktemp("runs") / "dcgan-mnist")


def read(path: Path) -> tuple[str, Page]:
    html = path.read_text("utf-8")
    return html, Page(html)


def test_a_whole_run_is_shown_in_order_in_time_and_twice_the_same(full: Path) -> None:
    begun = time.process_time()
    path = write_report(full)
    assert time.process_time() - begun < 3
    first = path.read_bytes()
    assert write_report(full).read_bytes() == first
    html, page = read(path)
    assert path == full / "report.html"
    assert page.headings == HEADINGS
    assert "Finished: 100,000 steps, 12,800,000 images, 40 min." in page.text
    assert len(page.images) == 2 + 12 + 1
    for words in (
        "12.35",
        "3.21",
        "± 0.43",
        "x 10^-3",
        "mnist test, 10000",
        "100 subsets",
        "generator 1,234,567",
        "912 MB",
        "5,329",
        "AMD EPYC",
        "bf16",
        "learning rate",
        "0.0002",
        START["command"],
        "2 times",
        "ganforge sample",
        "step 50,000: checkpoint 50500 did not verify",
        "sha256:0b1a",
        "D(real)",
    ):
        assert str(words) in page.text, words  # fmt: skip
    assert [chart["rule"] for chart in page.charts] == [None, 0.5, None]
    assert [chart["marks"] for chart in page.charts] == [[0, 50_000]] * 3  # the resume, in all three
    assert page.charts[1]["range"] == [0.0, 1.0]
    colours = dict(re.findall(r'data-colour="([a-z0-9]+)"><i></i>([^<]+?) <b>', html))
    assert colours == {"discriminator": "discriminator", "generator": "generator",
                       "real": "D(real)", "generated": "D(fake)"}  # fmt: skip


def test_the_newest_grid_comes_first_and_the_frames_span_the_run(full: Path) -> None:
    html, page = read(write_report(full))
    assert page.images[0].tobytes() == Image.open(full / f"samples/{29 * 3400:06d}.png").tobytes()
    steps = [
        int(step.replace(",", "")) for step in re.findall(r"<figcaption>step ([0-9,]+)</figcaption>", html)
    ]
    assert len(steps) == 12
    assert steps[0] == 0
    assert steps[-1] == 29 * 3400
    assert steps == sorted(set(steps))


def test_curves_are_thinned(full: Path) -> None:
    _, page = read(write_report(full))
    lines = [line["values"] for chart in page.charts for line in chart["lines"]]
    counts = [sum(value is not None for value in values) for values in lines]
    assert len(counts) == 2 * 5  # five metrics, as logged and averaged
    assert max(counts) <= MOST_POINTS


def test_nothing_is_fetched_from_elsewhere(full: Path) -> None:
    html, page = read(write_report(full))
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    loading = re.sub(r"/\*!? https://github.com/leeoniya/uPlot [^*]*\*/", "", html)  # its licence comment
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest|import\(", loading)
    assert "default-src 'none'" in html


def test_only_the_scripts_of_the_package_may_run(full: Path) -> None:
    """The head names them by their hashes; there is no way for a value to become one."""
    html, page = read(write_report(full))
    (policy,) = re.findall(r"script-src ([^\"]+)\"", html)
    digests = [hashlib.sha256(text.encode()).digest() for text in page.programs]
    assert policy == " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    assert len(page.programs) == 2
    vendored = PACKAGE / "reporting/vendor/uplot"
    assert page.programs[0] == (vendored / "uPlot.iife.min.js").read_text("utf-8")
    assert "MIT" in (vendored / "LICENSE").read_text("utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_scripts_are_valid(tmp_path: Path) -> None:
    script = tmp_path / "charts.js"
    script.write_text((PACKAGE / "reporting/charts.js").read_text("utf-8"))
    subprocess.run(["node", "--check", str(script)], check=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium here")
def test_a_browser_draws_the_charts(full: Path) -> None:
    path = write_report(full)
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*words, "--virtual-time-budget=3000", path.as_uri()], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.count("<canvas") == 3


def test_a_running_page_reloads_itself_and_a_finished_one_does_not(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, [START, *train_lines(3)])
    html, page = read(write_report(run, running=True))
    assert '<meta http-equiv="refresh" content="30">' in html
    assert "Running: 150 of 100,000 steps" in page.text
    html, page = read(write_report(run))
    assert 'http-equiv="refresh"' not in html
    assert "Running" not in page.text


def test_a_protocol_is_stated_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, None)
    network = "a classifier of mnist with 128 features, 99.66 % of the test images, SHA-256 0a5845bd430b"
    protocols = [{"seed": 0, "weights": "ema", "features": network, "generated": count} for count in range(9)]
    protocols += [{"seed": 0, "weights": "ema"}, {"weights": "ema"}]
    scores = [{"name": f"score {n}", "value": 1.0, "protocol": p} for n, p in enumerate(protocols)]
    (run / "evaluation.json").write_text(json.dumps(scores))
    _, page = read(write_report(run))
    assert page.text.count(network) == 1
    assert page.text.count("weights ema") == 1
    assert page.text.count("generated 3") == 1
    assert page.text.count("seed none") == 1


@pytest.mark.parametrize("lines", [None, [], [START]])
def test_a_run_that_has_not_begun_is_shown(tmp_path: Path, lines: list[dict[str, Any]] | None) -> None:
    _, page = read(write_report(write_run(tmp_path / "run", CONFIG, lines)))
    assert "Not started: 0 of 100,000 steps." in page.text
    assert "Settings" in page.headings
    assert not page.addresses
    assert not page.scripts


@pytest.mark.parametrize(
    "config", [{}, {"config": None, "train": [], "spec": 3, "data": "x", "system": None}]
)
def test_an_almost_empty_config_is_enough(tmp_path: Path, config: dict[str, Any]) -> None:
    _, page = read(write_report(write_run(tmp_path / "run", config, train_lines(1))))
    assert "run" in page.text
    assert "Stopped or still running: 50 steps" in page.text
    assert len(page.charts) == 3


def test_a_torn_last_line_is_expected_and_a_torn_middle_one_is_reported(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, [START, *train_lines(3)])
    metrics = run / "metrics.jsonl"
    whole = metrics.read_bytes()
    clean = write_report(run).read_bytes()
    metrics.write_bytes(whole + b'{"kind": "train", "step": 200, "gener\xff')
    assert write_report(run).read_bytes() == clean
    metrics.write_bytes(whole + b'{"kind": "tra\n[1, 2]\n' + json.dumps(train_lines(4)[-1]).encode() + b"\n")
    _, page = read(write_report(run))
    assert "2 unreadable lines" in page.text
    assert ": 200 of" in page.text


def test_steps_done_twice_count_once(tmp_path: Path) -> None:
    """A crash at step 500 and a resume from 250: what came after 250 is drawn as it was done again."""
    lines = [
        START,
        *train_lines(10, marker=1.0),
        START | {"step": 250},
        *train_lines(2, first=250, marker=2.0),
    ]
    _, page = read(write_report(write_run(tmp_path / "run", CONFIG, lines)))
    assert ": 350 of 100,000 steps, 44,800 images, 8.4 s." in page.text  # 250 and 100 steps of 0.024 s
    assert {tuple(chart["steps"]) for chart in page.charts} == {(50, 100, 150, 200, 250, 300, 350)}
    assert all(None not in line["values"] for chart in page.charts for line in chart["lines"])


def test_any_metric_finds_its_chart(tmp_path: Path) -> None:
    line = {"kind": "train", "step": 5, "reconstruction_loss": 1.0, "kl_loss": 2.0, "bits_per_dim": 3.5,
            "inpaint_probability": 0.25, "name": "x", "flag": True, "nothing": None}  # fmt: skip
    other = {"kind": "validation", "step": 5, "psnr_loss": 4.0, "accuracy": 0.5}
    html, page = read(
        write_report(write_run(tmp_path / "run", CONFIG, [line, other, {"kind": "odd", "step": 9}]))
    )
    titles = re.findall(r'<figure><div class="heading"><b>(.*?)</b>', html)
    assert titles == ["Losses", "Discriminator probabilities", "bits per dim", "validation accuracy"]
    assert sum(len(chart["lines"]) for chart in page.charts) == 6
    assert "validation psnr" in page.text
    assert "step 9: odd" in page.text


def test_values_that_are_no_numbers_are_left_out_and_reported(tmp_path: Path) -> None:
    lines = [*train_lines(3), *train_lines(1, first=150, generator_loss=math.nan, norm=10**400)]
    _, page = read(write_report(write_run(tmp_path / "run", CONFIG, lines)))
    assert "generator_loss was not a finite number from step 200" in page.text
    assert "Infinity" not in json.dumps(page.charts)
    assert "NaN" not in json.dumps(page.charts)


HOSTILE = "</title><script>alert(1)</script><img src=x onerror='alert(2)'>\"&$body ${title} \udcff"


def test_hostile_strings_are_text(tmp_path: Path) -> None:
    config = {
        **dict.fromkeys(("ganforge", "system", "fingerprint"), HOSTILE),
        "data": {"data": HOSTILE},
        "train": {HOSTILE: HOSTILE},
        "config": {"steps": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        "spec": {"class_names": [HOSTILE]},
    }
    start = dict.fromkeys(START, HOSTILE) | {"kind": "start", "step": 0, "parameters": {HOSTILE: 1}}
    train = {"kind": "train", "step": 1, HOSTILE + "_loss": 1.0, HOSTILE + "_probability": 0.5, HOSTILE: 2.0}
    more = [train | {"step": 2}, {"kind": HOSTILE, "step": 1, HOSTILE: 3}, {"kind": "note", "text": HOSTILE},
            {"kind": HOSTILE, HOSTILE: HOSTILE}, {"kind": [HOSTILE]}]  # fmt: skip
    run = write_run(tmp_path / "<b>&'", config, [start, train, *more])
    score = {"name": HOSTILE, "value": 1.0, "unit": HOSTILE, "note": HOSTILE, "protocol": {HOSTILE: HOSTILE}}
    (run / "evaluation.json").write_text(
        json.dumps([score, {"name": None, "value": "x", "protocol": 3}, HOSTILE])
    )
    html, page = read(write_report(run))
    assert "img" not in page.tags
    assert len(page.programs) == 2
    assert not any("alert(" in text for text in page.programs)
    assert html.count("<title>") == html.count("</title>") == 1
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "$body ${title}" in page.text


def test_broken_parts_are_left_out_and_reported(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, train_lines(2))
    save_image(grids.grid(digits(4)), run / "samples/000100.png", {})
    whole = (run / "samples/000100.png").read_bytes()
    (run / "samples/000200.png").write_bytes(whole[: len(whole) // 2])
    (run / "samples/latest.png").write_text("not a step")
    (run / "neighbours.png").write_bytes(b"")
    (run / "evaluation.json").write_text("[{")
    _, page = read(write_report(run))
    assert len(page.images) == 1  # among the frames
    for words in (
        "000200.png is not a readable PNG",
        "neighbours.png is not",
        "evaluation.json could not be read",
    ):
        assert words in page.text


def test_large_images_are_shrunk(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, None)
    for step in (1, 2):
        save_image(Image.new("RGB", (4000, 2000), "red"), run / f"samples/{step:06d}.png", {})
    _, page = read(write_report(run))
    assert [image.size for image in page.images] == [(1600, 800), (640, 320), (640, 320)]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        write_report(tmp_path / "none")
    for content, words in (("{", "not valid JSON"), ("[]", "expected an object")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=words):
            write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
