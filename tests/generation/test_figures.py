"""What systems make of single images: grids of them, and numbers that say how unlike the data they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import Batch, as_images, to_float, to_uint8
from ganforge.evaluation.downstream.outliers import outlier_scores
from ganforge.files.provenance import read_provenance
from ganforge.generation.explore.figures import (
    draw_completions,
    draw_manifold,
    draw_reconstructions,
    held_out_images,
    own_images,
)
from ganforge.nn.likelihoods import gaussian_kl
from ganforge.runs.trained import load
from ganforge.systems.autoencoder import Autoencoder
from ganforge.systems.pixelcnn import PixelCNN
from ganforge.systems.vae import VAE
from ganforge.text.embeddings import data_of


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A step of systems that encode, or go pixel by pixel."""
    folder = tmp_path_factory.mktemp("rivals")
    few = {"steps": 1, "batch": 4, "quiet": True, "device": "cpu"}
    ganforge.train("vae", "mnist", run=folder / "vae", latent_size=2, hidden=(8,), **few)
    ganforge.train("autoencoder", "mnist", run=folder / "autoencoder", hidden=(8,), **few)
    pixel = {"run": folder / "pixelcnn", "binarise": "static", "width": 4, "layers": 1}
    ganforge.train("pixelcnn", "mnist", **pixel, **few)
    ganforge.train("dcgan", "mnist", run=folder / "dcgan", width=4, **few)
    return {name: folder / name for name in ("vae", "autoencoder", "pixelcnn", "dcgan")}


@pytest.mark.parametrize(
    ("name", "kind", "cells"),
    [
        ("vae", "reconstructions", (3, 2)),
        ("vae", "manifold", (3, 3)),
        ("autoencoder", "reconstructions", (3, 2)),
        ("pixelcnn", "completions", (3, 6)),
    ],
)
def test_drawn(name: str, kind: str, cells: tuple[int, int], rivals: dict[str, Path], tmp_path: Path) -> None:
    for out in ("a.png", "b.png"):
        words = [str(rivals[name]), "--count", "3", "--out", str(tmp_path / out)]
        words += [] if kind == "manifold" else ["--seed", "2"]
        assert main(["explore", kind, *words]) == 0
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as same:
        assert one.tobytes() == same.tobytes()
        assert (one.width // 56, one.height // 56) == cells
        assert f"explore {kind} {rivals[name]}" in one.info["command"]
        assert one.info["model"]


def cell(drawn: Image.Image, row: int, column: int, gap: int = 2) -> Tensor:
    """One 28x28 image of a grid at twice the size, uint8."""
    top, left = row * (56 + gap), column * (56 + gap)
    return torch.from_numpy(np.array(drawn)[top : top + 56 : 2, left : left + 56 : 2])


def test_a_map_has_the_first_latent_across_and_the_second_upwards(rivals: dict[str, Path]) -> None:
    trained = load(rivals["vae"])
    drawn = draw_manifold(trained, 3)
    edge = 2.3263  # above which lies a hundredth of a standard Gaussian
    corners = {(0, 0): (-edge, edge), (0, 2): (edge, edge), (2, 0): (-edge, -edge), (2, 2): (edge, -edge)}
    wanted = to_uint8(trained.decode(torch.tensor(list(corners.values()))))[:, 0].double()
    found = torch.stack([cell(drawn, *place, gap=0) for place in corners]).double()
    distances = torch.cdist(found.flatten(1), wanted.flatten(1))
    assert distances.diagonal().max() < 1
    assert (distances + 100 * torch.eye(4)).min() > 5


def test_grids_have_the_images_above_what_is_made_of_them(rivals: dict[str, Path]) -> None:
    vae, pixelcnn = load(rivals["vae"]), load(rivals["pixelcnn"])
    drawn = draw_reconstructions(vae, held_out_images(data_of(vae.run), 2).images)
    shown = torch.stack([cell(drawn, 0, column) for column in range(2)])[:, None]
    assert (shown == 255).float().mean() < 0.5  # digits
    again = to_uint8(*vae.call("reconstruct", [to_float(shown)]))[:, 0].int()
    assert int((torch.stack([cell(drawn, 1, column) for column in range(2)]) - again).abs().max()) <= 1

    drawn = draw_completions(pixelcnn, held_out_images(data_of(pixelcnn.run), 1), rows=20)
    lines = [cell(drawn, row, 0) for row in range(6)]
    assert all(torch.equal(line[:20], lines[0][:20]) for line in lines)
    assert not lines[1][20:].any()
    assert len({line[20:].numpy().tobytes() for line in lines[2:]}) == 4


def test_completions_keep_what_was_given(rivals: dict[str, Path]) -> None:
    trained = load(rivals["pixelcnn"])
    test = data_of(trained.run).splits["test"]
    batch = Batch(as_images(test.read(torch.arange(2))))
    part = (batch.images, 20, batch)
    one, other = (next(trained.call("complete", [part], seed=seed)) for seed in (0, 1))
    assert torch.equal(one[:, :, :20], batch.images[:, :, :20])
    assert torch.equal(one, next(trained.call("complete", [part], seed=0)))
    assert not torch.equal(one, other)


def test_what_is_less_like_the_data_scores_higher(rivals: dict[str, Path]) -> None:
    """Each number is the loss that it is named after, not its opposite."""
    digits = Batch(as_images(data_of(load(rivals["vae"]).run).splits["test"].read(torch.arange(4))))
    vae, autoencoder, pixelcnn = (
        load(rivals[name]).system.eval() for name in ("vae", "autoencoder", "pixelcnn")
    )
    assert isinstance(vae, VAE)
    assert isinstance(autoencoder, Autoencoder)
    assert isinstance(pixelcnn, PixelCNN)
    with torch.no_grad():
        torch.manual_seed(0)
        scores = vae.outlier_scores(digits)
        mean, log_variance = vae.encoder(digits.images)
        torch.manual_seed(0)
        measured = vae.measure(digits)
        assert float(scores["elbo"].mean()) == pytest.approx(-float(measured["elbo_nats"]), rel=1e-5)
        kl = gaussian_kl(mean, log_variance)
        torch.testing.assert_close(scores["elbo"] - scores["reconstruction"], kl, rtol=1e-4, atol=1e-3)

        (errors,) = autoencoder.outlier_scores(digits).values()
        squares = (autoencoder.reconstruct(digits.images) - digits.images).square().flatten(1)
        assert torch.equal(errors.argsort(), squares.sum(1).argsort())

        black_and_white = Batch(digits.images.sign())
        measured = pixelcnn.measure(black_and_white)
        (nats,) = pixelcnn.outlier_scores(black_and_white).values()
        assert float(nats.mean()) == pytest.approx(float(measured["nll_nats"]), rel=1e-5)
        assert float(nats.mean()) > 0

    dcgan = load(rivals["dcgan"])
    (doubts,) = outlier_scores(dcgan, [digits], 0, "ema").values()
    assert torch.equal(doubts, -next(dcgan.call("discriminate", [digits.images])))


def test_rivals_score_single_images(rivals: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    expected = {
        "vae": {"auroc_elbo", "auroc_reconstruction"},
        "autoencoder": {"auroc_reconstruction"},
        "pixelcnn": {"auroc_likelihood"},
    }
    for name, scores in expected.items():
        assert (
            main(["analyze", "outliers", str(rivals[name]), "--data", "emoji", "--count", "20", "--json"])
            == 0
        )
        assert {score["name"] for score in json.loads(capfd.readouterr().out)} == scores
    out = rivals["vae"] / "f.npz"
    assert main(["analyze", "features", str(rivals["vae"]), "--count", "20", "--out", str(out)]) == 0
    assert "20 images, 2 features" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("vae", ["completions"], "use a run of pixelcnn or pixelrnn"),
        ("pixelcnn", ["reconstructions"], "use a run of autoencoder or vae"),
        ("pixelcnn", ["completions", "--rows", "28"], "expected 1 to 27"),
        ("autoencoder", ["manifold"], "train one with --latent-size 2"),
        ("vae", ["manifold", "--count", "0"], "expected 1 or more"),
    ],
)
def test_what_cannot_be_drawn(
    name: str, words: list[str], said: str, rivals: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    kind, *options = words
    given = [kind, str(rivals[name]), *options, "--out", str(rivals[name] / "x.png")]
    assert main(["explore", *given]) == 2
    assert said in capfd.readouterr().err
    assert not (rivals[name] / "x.png").exists()


def test_reconstructions_of_own_images(
    rivals: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any size and kind, brought to the run's shape; a run that was trained needs no data for it."""
    digits = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)
    (tmp_path / "own").mkdir()
    for index, pixels in enumerate(digits):
        Image.fromarray(pixels).save(tmp_path / "own" / f"{index}.jpg")
    for name in ("vae", "autoencoder"):
        words = ["explore", "reconstructions", str(rivals[name]), "--images"]
        assert main([*words, str(tmp_path / "own"), "--out", str(tmp_path / "a.png")]) == 0
        assert main([*words, str(tmp_path / "own/0.jpg"), "--out", str(tmp_path / "b.jpg")]) == 0
        with Image.open(tmp_path / "a.png") as grid, Image.open(tmp_path / "b.jpg") as one:
            assert (grid.width // 56, grid.height // 56) == (3, 2)
            assert (one.width // 56, one.height // 56) == (1, 2)
        assert read_provenance(tmp_path / "b.jpg")["command"].startswith("ganforge explore")
        images, _ = own_images(load(rivals[name]), str(tmp_path / "own"), 2)
        image = draw_reconstructions(load(rivals[name]), images)
        shown = torch.stack([cell(image, 0, column) for column in range(2)])[:, None]
        again = to_uint8(*load(rivals[name]).call("reconstruct", [to_float(shown)]))[:, 0].int()
        below = torch.stack([cell(image, 1, column) for column in range(2)]).int()
        assert (again - below).abs().max() <= 1
    (tmp_path / "own" / "bad.png").write_bytes(b"no image")
    words = ["explore", "reconstructions", str(rivals["vae"]), "--images", str(tmp_path / "own")]
    assert main([*words, "--out", str(tmp_path / "a.png")]) == 1
    assert "skipped: bad.png" in capsys.readouterr().err


def test_mistakes_with_own_images_are_one_line(
    rivals: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    mistakes = {
        "dcgan gives no reconstructions: use a run of": ("dcgan", "x.png", "a.png"),
        "--images none.png does not exist": ("vae", "none.png", "a.png"),
        "empty holds no image": ("vae", str(tmp_path / "empty"), "a.png"),
        "expected a name ending in .png, .jpg, .jpeg, .webp or .gif": ("vae", "x.png", "a.tif"),
    }
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    for message, (name, images, out) in mistakes.items():
        place = str(tmp_path / images) if images == "x.png" else images
        words = ["--images", place, "--out", str(tmp_path / out)]
        assert main(["explore", "reconstructions", str(rivals[name]), *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.glob("a.*"))
