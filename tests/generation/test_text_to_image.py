"""Uses of text-to-image runs: style transfer, the page of the best and worst captions."""

import importlib
import json
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from captioned import draw_captioned
from command import draw_images, run
from PIL import Image
from torch import Tensor, nn

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import Batch, DataSpec
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.generation.restyle import style_encoder, train_style
from ganforge.system import LatentSystem, SystemConfig, Update
from ganforge.text.embeddings import describe
from ganforge.text.encoders import RunEncoder, open_encoder

SPEC = DataSpec(channels=3, height=8, width=8, num_images=40)
LATENT_SIZE, EMBEDDING_SIZE = 4, 5
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@final
class Linear(LatentSystem):
    """Pixels are affine in latents, of which the last never counts, and in captions."""

    Config = SystemConfig

    def __init__(self) -> None:
        super().__init__()
        self.config, self.data = SystemConfig(), SPEC
        generator = torch.Generator().manual_seed(0)
        self.of_latents = nn.Parameter(torch.randn(LATENT_SIZE, 192, generator=generator) / 4)
        self.of_texts = nn.Parameter(torch.randn(EMBEDDING_SIZE, 192, generator=generator) / 4)
        with torch.no_grad():
            self.of_latents[-1] = 0

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}

    def draw_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(count, LATENT_SIZE, generator=generator)

    def decode(
        self, latents: Tensor, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        assert given is not None
        assert given.embeddings is not None
        return (latents @ self.of_latents + given.embeddings @ self.of_texts).view(-1, 3, 8, 8)


def test_it_finds_the_latents_that_show_and_no_others() -> None:
    system, texts = Linear(), torch.randn(20, EMBEDDING_SIZE, generator=torch.Generator().manual_seed(1))
    before = [parameter.clone() for parameter in system.parameters()]
    network, share = train_style(system, texts, 100)
    latents = torch.randn(500, LATENT_SIZE, generator=torch.Generator().manual_seed(2))
    given = Batch(torch.empty(500, 0, 0, 0), embeddings=texts[torch.arange(500) % 20])
    with torch.no_grad():
        found = network(system.decode(latents, given))
    recovered = 1 - (latents - found).square().mean(0) / latents.square().mean(0)
    assert recovered[:3].min() > 0.6
    assert -0.2 < recovered[3] < 0.1  # guessing 0, its mean, is the best that can be done
    assert share == pytest.approx(float(recovered.mean()), abs=0.1)
    assert all(torch.equal(old, new) for old, new in zip(before, system.parameters(), strict=True))
    again = train_style(system, texts, 3)[0], train_style(system, texts, 3)[0]
    assert all(torch.equal(a, b) for a, b in zip(*(n.state_dict().values() for n in again), strict=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    draw_captioned(folder / "shapes")
    Image.fromarray(np.full((21, 34, 3), 200, np.uint8)).save(folder / "wide.png")
    Image.new("L", (8, 8), 90).save(folder / "grey.png")
    (folder / "broken.png").write_bytes(b"no image")
    small: dict[str, Any] = {"size": 8, "quiet": True, "steps": 2, "batch": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sizes = {"width": 4, "embedding_size": 8, "character_widths": (8, 8, 8)}
        ganforge.train("text_encoder", "shapes", run="encoder", **sizes, **small)
        widths = {"width": 4, "discriminator_width": 4}
        ganforge.train("gan_cls", "shapes", run="gan", text_encoder="encoder", **widths, **small)
    return folder


def test_the_command_trains_once_and_draws_rows(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("restyle", "gan", "wide.png", "grey.png", "--text", "a red dot", "--text", "\u7ea2 \U0001f600")
    done = run(*words, "--steps", 3, "--out", "rows.png", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "4 images; S explains" in done.stdout
    kept = place / "gan" / "style" / "000002-ema.safetensors"
    first = kept.read_bytes()
    monkeypatch.chdir(place)
    assert main([*words, "--out", "each"]) == 0  # of any number of steps: the one kept
    assert done.stdout.partition("; ")[2] == capsys.readouterr().out.partition("; ")[2]
    assert kept.read_bytes() == first
    abouts = [read_provenance(place / "each" / f"{number:06d}.png") for number in range(4)]
    assert [about["source"] for about in abouts] == ["wide.png", "grey.png"] * 2
    assert abouts[0]["text"] == "a red dot"
    trained = ganforge.load(place / "gan")
    others = [kept.with_name(name) for name in ("000001-ema.safetensors", "mine.safetensors")]
    for other in others:
        other.write_bytes(b"kept")
    style_encoder(trained, steps=4)
    assert [other.exists() for other in others] == [False, True], "only its own of earlier steps go"
    second = kept.read_bytes()
    assert second != first
    kept.write_bytes(second[: len(second) // 2])
    style_encoder(trained, steps=4)  # a damaged one is made again
    assert kept.read_bytes() == second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gan", "wide.png"), "--text is empty"),
        (("gan", "wide.png", "--text", " "), "--text is empty"),
        (("gan", "--text", "a"), "name one or more images after the run"),
        (("gan", "broken.png", "--text", "a"), "broken.png cannot be read"),
        (("gan", "none.png", "--text", "a"), "none.png cannot be read (missing)"),
        (("gan", "wide.png", "--text", "a", "--steps", 0), "--steps 0: expected 1 or more"),
        (("gan", "wide.png", "--text", "a", "--out", "a.tif"), "expected a name ending in .png, .jpg"),
        (("gan", "wide.png", "--text", "a", "--out", "shapes"), "which is not a sample"),
        (("encoder", "wide.png", "--text", "a"), "text_encoder uses no captions: use a run of gan_cls"),
    ],
)
def test_mistakes_are_one_line(
    place: Path,
    words: tuple[object, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, for a program's start takes longer than they do."""
    monkeypatch.chdir(place)
    assert main(["restyle", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("system", ["gan_cls", "stackgan"])
def test_images_without_captions_are_refused(
    place: Path, system: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    draw_images(place / "plain", 4)
    words = ["train", system, "--data", "plain", "--size", "8", "--text-encoder", "encoder", "--run", "new"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{system} needs embeddings" in said
    assert ".txt" in said
    assert said.count("\n") == 1
    assert not (place / "new").exists()


def test_an_encoder_of_another_run_or_alphabet(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = ganforge.load(place / "gan")
    encoder = open_encoder(str(place / "gan"))
    assert isinstance(encoder, RunEncoder)
    texts = ["\u7ea2\u8272\u7684\u70b9", "\U0001f600", "\u0451\u043b\u043a\u0430", "x" * 10_000]
    assert not set("".join(texts[:3])) & set(trained.run.config.spec.caption_alphabet)
    found = describe(trained, texts).embeddings
    assert found is not None
    assert found.shape == (4, 8)
    assert found.isfinite().all()

    class Other:
        def encode(self, texts: list[str]) -> Tensor:
            return torch.zeros(len(texts), 6)

    monkeypatch.setattr("ganforge.text.embeddings.open_encoder", lambda _: Other())
    with pytest.raises(UserError, match="makes 6 numbers of a text, this run was trained on 8: put its own"):
        describe(trained, ["a red dot"])


# The page of captions


def test_images_drawn_right_are_nearest_and_the_choice_is_by_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("captions_page")
    real = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    distances, ranks = script.distances_of(real, real)
    assert distances.tolist() == [0] * 9
    assert ranks.tolist() == [1] * 9
    drawn = real.clone()
    drawn[3] = real[5]  # one that is another's image
    distances, ranks = script.distances_of(drawn, real)
    assert float(distances[3]) == pytest.approx(float((real[5] - real[3]).norm()), rel=1e-6)
    assert ranks[3] > 1
    order = torch.tensor([5.0, 1, 9, 3, 7, 2, 8, 4, 6])
    chosen = script.choose(order, 3)
    assert chosen == {"best": [1, 5, 3], "typical": [7, 0, 8], "worst": [4, 6, 2]}
    assert script.choose(torch.zeros(9), 3)["best"] == [0, 1, 2]  # equal ones in the data's order


def test_the_page(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("captions_page")
    assert script.main(["gan", "--out", "page.png", "--count", "16", "--shown", "2"]) == 0
    found = json.loads((place / "page.json").read_text("utf-8"))
    lines = (place / "shapes" / "metadata.jsonl").read_text("utf-8").splitlines()
    texts = [text for line in lines for text in json.loads(line)["texts"]]
    assert len(found["found"]) == 16
    assert {entry["caption"] for entry in found["found"]} <= set(texts)
    ordered = [entry["distance"] for entry in found["found"]]
    assert [ordered[number] for number in found["shown"]["best"]] == sorted(ordered)[:2]
    assert [ordered[number] for number in found["shown"]["worst"]] == sorted(ordered)[-2:]
    assert read_provenance(place / "page.png")["rule"] == found["rule"]
    capsys.readouterr()
    for words in (["gan", "--shown", "6", "--count", "16"], ["encoder"], ["shapes"]):
        assert script.main([*words, "--out", "no.png"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not (place / "no.png").exists()
