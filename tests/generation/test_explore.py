"""Exploring latents: laws of paths, sums, directions and projections, and the verbs on real runs."""

import shlex
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from command import run as run_command
from PIL import Image
from torch import Tensor

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.generation.explore.arithmetic import (
    evaluate_expression,
    neighbours_of,
    parse_expression,
    vector_of,
)
from ganforge.generation.explore.directions import find_directions
from ganforge.generation.explore.figures import draw_manifold
from ganforge.generation.explore.keys import Keys, between, keys_of_seeds, latent_system
from ganforge.generation.explore.paths import path_images, places_of
from ganforge.generation.explore.projection import project
from ganforge.generation.explore.traversal import draw_traversal
from ganforge.generation.explore.vectors import load_vector, save_vector
from ganforge.generation.output import to_arrays
from ganforge.generation.truncation import truncated
from ganforge.reporting import grids
from ganforge.runs.trained import Trained, load


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A step of systems with uniform and Gaussian latents, codes, classes, dropout noise and an encoder."""
    folder = tmp_path_factory.mktemp("explored")
    few = {"steps": 1, "batch": 4, "quiet": True, "device": "cpu"}
    systems = {
        # After one step at such a rate its samples differ, which those of first weights hardly do.
        "dcgan": {"width": 4, "latent_distribution": "gaussian", "learning_rate": 0.1},
        "uniform": {"width": 4, "latent_distribution": "uniform"},
        "infogan": {"width": 4, "dense_units": 8},
        "acgan": {"width": 4},
        "cgan": {"generator_units": (8, 8, 8), "discriminator_units": (8, 8, 8)},
        "vae": {"latent_size": 4, "hidden": (16,)},
        "autoencoder": {"latent_size": 4, "hidden": (16,)},
        "flat": {"width": 4, "latent_size": 2},
    }
    for name, options in systems.items():
        system = {"uniform": "dcgan", "flat": "acgan"}.get(name, name)
        ganforge.train(system, "mnist", run=folder / name, **few, **options)
    ganforge.train("gan", "ring", run=folder / "points", **few)
    ganforge.train("pixelcnn", "mnist", run=folder / "pixelcnn", binarise="static", width=4, layers=1, **few)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def dcgan(runs: dict[str, Path]) -> Trained:
    return load(runs["dcgan"])


# --- paths --------------------------------------------------------------------------------------------------


def test_great_circle_midpoints_keep_their_norm(dcgan: Trained) -> None:
    keys = keys_of_seeds(dcgan, range(20))
    middles = between(dcgan, keys, torch.arange(19) + 0.5).latents.norm(dim=1)
    ends = keys.latents.norm(dim=1)
    torch.testing.assert_close(middles, (ends[:-1] + ends[1:]) / 2, rtol=1e-5, atol=0)
    straight = ((keys.latents[:-1] + keys.latents[1:]) / 2).norm(dim=1)
    assert (straight < 0.8 * middles).all(), "along the line they would leave the shell"


def test_uniform_latents_go_along_the_line(runs: dict[str, Path]) -> None:
    trained = load(runs["uniform"])
    keys = keys_of_seeds(trained, [1, 2])
    middle = between(trained, keys, torch.tensor([0.5])).latents
    torch.testing.assert_close(middle[0], keys.latents.mean(0))


@pytest.mark.parametrize("name", ["dcgan", "uniform", "acgan", "vae", "infogan"])
def test_a_path_passes_through_the_samples_of_its_seeds(name: str, runs: dict[str, Path]) -> None:
    trained = load(runs[name])
    labels = [3] if name == "acgan" else None
    keys = keys_of_seeds(trained, [5, 6, 7], labels)
    frames = torch.cat(list(path_images(trained, keys, 5)))
    for frame, seed in zip(frames[::2], (5, 6, 7), strict=True):
        torch.testing.assert_close(frame, trained.sample(1, seed=seed, labels=labels)[0], rtol=0, atol=1e-5)


def test_a_closed_walk_ends_next_to_its_first_frame() -> None:
    places = places_of(3, 12, closed=True)
    assert places[0] == 0
    steps = places.diff()
    torch.testing.assert_close(steps, torch.full((11,), 0.25, dtype=torch.float64))
    assert float(places[-1] + 0.25) == 3  # the first key again


def test_dropout_noise_stays_and_a_class_changes_half_way(runs: dict[str, Path]) -> None:
    trained = load(runs["cgan"])
    keys = keys_of_seeds(trained, [1, 2], ["3", "7"])
    made = between(trained, keys, torch.tensor([0.0, 0.4, 0.6, 1.0]))
    size = trained.system.continuous_size
    assert isinstance(size, int)
    assert torch.equal(made.latents[:, size:], keys.latents[:1, size:].expand(4, -1))
    assert made.labels is not None
    assert made.labels.tolist() == [3, 3, 7, 7]


def test_prompts_share_the_latents_of_one_seed() -> None:
    trained = load("pretrained:gan-cls-emoji")
    keys = keys_of_seeds(trained, [4], texts=("red apple", "blue heart"))
    assert torch.equal(keys.latents[0], keys.latents[1])
    assert keys.embeddings is not None
    middle = between(trained, keys, torch.tensor([0.5])).embeddings
    assert middle is not None
    torch.testing.assert_close(middle[0], keys.embeddings.mean(0))


# --- truncation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dcgan", "uniform"])
def test_truncation_draws_again(name: str, runs: dict[str, Path]) -> None:
    trained = load(runs[name])
    whole, cut = truncated(trained, 50, 3), truncated(trained, 50, 3, truncation=0.5)
    assert cut.abs().max() <= 0.5 < whole.abs().max()
    assert torch.equal(cut[whole.abs() <= 0.5], whole[whole.abs() <= 0.5]), "the others stay"
    assert torch.equal(cut, truncated(trained, 50, 3, truncation=0.5))
    assert cut.std() > 0.2, "they are drawn, not clipped to one value"


def test_samples_are_truncated(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trained, words = load(runs["dcgan"]), ["sample", str(runs["dcgan"]), "--count", "3", "--seed", "5"]
    assert main([*words, "--truncation", "0.5", "--out", "a.npz"]) == 0
    expected = to_arrays(trained.decode(truncated(trained, 3, 5, truncation=0.5)))
    with np.load("a.npz") as found:
        assert np.array_equal(found["images"], expected)
    assert main([*words, "--out", "each"]) == 0
    assert main([*words, "--truncation", "0.5", "--out", "each"]) == 2, "another draw"
    assert main(["sample", str(runs["acgan"]), "--truncation", "1", "--labels", "3", "--out", "b.png"]) == 0
    assert main(["sample", str(runs["dcgan"]), "--truncation", "1", "--seeds", "3,4", "--out", "c.png"]) == 0
    capfd.readouterr()
    for name, said in (("pixelcnn", "has no latents"), ("infogan", "has codes in its latents")):
        assert main(["sample", str(runs[name]), "--truncation", "1", "--out", "d.png"]) == 2
        assert said in capfd.readouterr().err


# --- provenance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "acgan", "--labels", "3,4", "--truncation", "1", "--out", "a.png"],
        ["sample", "pixelcnn", "--count", "2", "--out", "a.png"],
        ["explore", "interpolate", "dcgan", "--frames", "3", "--out", "a.gif"],
        ["explore", "arithmetic", "vae", "1,2,3 - 4,5,6 + 7,8,9", "--out", "a.webp"],
    ],
    ids=" ".join,
)
def test_the_stored_command_makes_the_same_bytes(
    words: list[str], runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(runs.get(word, word)) for word in words]) == 0
    out = tmp_path / words[-1]
    about, made = read_provenance(out), out.read_bytes()
    assert about["model"] == load(about_run(words, runs)).hash_weights()[:16]
    assert ("latents" in about) == ("pixelcnn" not in words)
    out.unlink()
    assert main(shlex.split(about["command"])[1:]) == 0
    assert out.read_bytes() == made


def about_run(words: list[str], runs: dict[str, Path]) -> Path:
    return next(runs[word] for word in words if word in runs)


# --- arithmetic ---------------------------------------------------------------------------------------------


def test_expressions(dcgan: Trained) -> None:
    (seven,) = dcgan.draw_latents(1, 7)
    total, points = evaluate_expression(dcgan, parse_expression("1,2,3 - 1,2,3 + 7"))
    torch.testing.assert_close(total[0], seven)
    assert points == 1
    difference, points = evaluate_expression(dcgan, parse_expression("7 - 8"))
    assert points == 0
    torch.testing.assert_close(difference[0], seven - dcgan.draw_latents(1, 8)[0])
    mean, _ = evaluate_expression(dcgan, parse_expression("1-3"))
    torch.testing.assert_close(mean[0], keys_of_seeds(dcgan, [1, 2, 3]).latents.mean(0))
    save_vector(dcgan, "smile", difference[0], {})
    moved, points = evaluate_expression(dcgan, parse_expression(" 7+0.5*smile"))
    torch.testing.assert_close(moved[0], seven + 0.5 * difference[0])
    assert points == 1


def test_sums_leave_the_noise_of_dropout_alone(runs: dict[str, Path]) -> None:
    cgan = load(runs["cgan"])
    size = latent_system(cgan).continuous_size
    difference, _ = evaluate_expression(cgan, parse_expression("1,2 - 3,4"))
    assert difference[0, :size].all()
    assert not difference[0, size:].any()
    total, _ = evaluate_expression(cgan, parse_expression("5 - 1 + 2"))
    assert torch.equal(total[0, size:], cgan.draw_latents(1, 5)[0, size:])


@pytest.mark.parametrize("text", ["", "1 +", "1 2", "* 2", "1 ++ 2"])
def test_wrong_expressions(text: str) -> None:
    with pytest.raises(UserError, match="expected seeds with commas"):
        parse_expression(text)


def test_the_result_is_in_the_centre_of_its_neighbours(dcgan: Trained) -> None:
    like = keys_of_seeds(dcgan, [0])
    nine = neighbours_of(dcgan, like.latents, like).latents
    assert torch.equal(nine[4], like.latents[0])
    others = torch.cat([nine[:4], nine[5:]])
    assert 0.2 < (others - like.latents).abs().max() <= 0.25


def test_vectors_belong_to_their_model(dcgan: Trained, runs: dict[str, Path], tmp_path: Path) -> None:
    values = dcgan.draw_latents(1, 1)[0]
    file = tmp_path / "way.safetensors"
    save_vector(dcgan, str(file), values, {"expression": "1 - 2"})
    found = load_vector(dcgan, str(file))
    assert torch.equal(found.values, values)
    assert found.about["expression"] == "1 - 2"
    with pytest.raises(UserError, match="belongs to another model"):
        load_vector(load(runs["uniform"]), str(file))
    with pytest.raises(UserError, match="belongs to another model"):
        load_vector(dcgan, str(file), weights="raw")
    whole = file.read_bytes()
    for damaged in (whole[:-3], whole[:20], b"", b"\xff" * 40):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read as a vector"):
            load_vector(dcgan, str(file))
    with pytest.raises(UserError, match="no vector frown: this run has"):
        load_vector(dcgan, "frown")
    with pytest.raises(UserError, match="is no name of a vector"):
        load_vector(dcgan, "../up")
    shipped = load("pretrained:gan-cls-emoji")
    with pytest.raises(UserError, match=r"came with the package: give a file, --save way\.safetensors"):
        save_vector(shipped, "way", values, {})


# --- directions, traversals, projections --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sefa", "pca"])
def test_the_strongest_direction_is_found(method: str, dcgan: Trained) -> None:
    layer = next(m for m in dcgan.system.modules() if isinstance(m, torch.nn.Linear) and m.in_features == 100)
    with torch.no_grad():
        planted = torch.nn.functional.normalize(torch.arange(100.0) - 30, dim=0)
        layer.weight.add_(10 * torch.outer(torch.ones(layer.out_features), planted))
    strongest, second = find_directions(dcgan, keys_of_seeds(dcgan, [0]), 2, method)  # type: ignore[arg-type]
    # The regression of pca on 4,000 samples of 100 numbers errs by sqrt(100 / 4,000), a cosine of 0.988.
    assert abs(float(strongest.values @ planted)) > {"sefa": 0.99, "pca": 0.98}[method]
    assert strongest.share > 10 * second.share
    assert torch.equal(vector_of(dcgan, f"{method}-1"), second.values)


def test_pca_is_that_of_the_activations(dcgan: Trained) -> None:
    """By way of a small matrix it is faster; the decomposition of all activations gives the same."""
    layer = next(m for m in dcgan.system.modules() if isinstance(m, torch.nn.Linear) and m.in_features == 100)
    weight = layer.weight.detach().cpu().double()
    activations = dcgan.draw_latents(4_000).double() @ weight.T
    _, lengths, components = torch.linalg.svd(activations - activations.mean(0), full_matrices=False)
    found = find_directions(dcgan, keys_of_seeds(dcgan, [0]), 3, "pca")
    shares = lengths.square() / lengths.square().sum()
    assert [each.share for each in found] == pytest.approx(shares[:3].tolist(), rel=1e-6)
    moved = torch.nn.functional.normalize(weight @ found[0].values.double().flatten(), dim=0)
    assert abs(float(moved @ components[0])) > 0.9


def test_every_run_has_named_directions(dcgan: Trained) -> None:
    single = vector_of(dcgan, "z-7").flatten()
    assert single[7] == 1
    assert single.sum() == 1
    total, points = evaluate_expression(dcgan, parse_expression("7 + 1.5*sefa-0 - 0.5*z-7"))
    expected = (
        dcgan.draw_latents(1, seed=7) + 1.5 * vector_of(dcgan, "sefa-0") - 0.5 * vector_of(dcgan, "z-7")
    )
    assert torch.allclose(total, expected)
    assert points == 1
    saved = save_vector(dcgan, "z-7", torch.full((100,), 2.0).view(total.shape[1:]), {})
    assert float(vector_of(dcgan, "z-7").mean()) == 2, "a saved vector of the name comes first"
    saved.unlink()
    with pytest.raises(UserError, match="z-100: expected z-0 to z-99, the numbers of a latent"):
        vector_of(dcgan, "z-100")


def test_traversals(runs: dict[str, Path]) -> None:
    infogan = load(runs["infogan"])
    image, said = draw_traversal(infogan, keys_of_seeds(infogan, [0]))
    assert said == "a row for each code"
    assert image.height > 3 * 56  # a row of ten categories, two of codes
    acgan = load(runs["acgan"])
    image, said = draw_traversal(acgan, keys_of_seeds(acgan, [0, 1]))
    assert said == "a column for each class"
    assert image.width > 10 * 56
    vae = load(runs["vae"])
    image, said = draw_traversal(vae, keys_of_seeds(vae, [0]), columns=5)
    assert said == "a row for each of 4 numbers of the latent"
    for what, system in (("codes", "vae"), ("classes", "vae")):
        with pytest.raises(UserError, match=f"leave --of {what} out"):
            draw_traversal(load(runs[system]), keys_of_seeds(vae, [0]), what)
    with pytest.raises(UserError, match="expected numbers from 0 to 3"):
        draw_traversal(vae, keys_of_seeds(vae, [0]), "latents", [4])


@pytest.mark.parametrize("name", ["cgan", "uniform", "autoencoder", "vae"])
def test_traversals_stay_in_what_is_drawn(
    name: str, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, decoded = load(runs[name]), list[Tensor]()
    plain = trained.decode

    def decode(latents: Tensor, *more: Any) -> Tensor:
        decoded.append(latents)
        return plain(latents, *more)

    monkeypatch.setattr(trained, "decode", decode)
    draw_traversal(trained, keys_of_seeds(trained, [0]), "latents", [1], columns=3)
    drawn, values = trained.draw_latents(4_000)[:, 1], decoded[-1][:, 1]
    if name in ("cgan", "uniform"):
        torch.testing.assert_close(values[[0, 2]], torch.stack([drawn.min(), drawn.max()]), rtol=0, atol=0.01)
    else:
        torch.testing.assert_close(values[1], drawn.mean(), rtol=0, atol=float(drawn.std()) / 10)
        torch.testing.assert_close(values[2] - values[1], 3 * drawn.std(), rtol=0.1, atol=0)


def test_a_map_is_of_one_class(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    trained, labels = load(runs["flat"]), list[list[int]]()
    plain = trained.decode

    def decode(latents: Tensor, given: Batch, *more: Any) -> Tensor:
        labels.append(given.labels.tolist())
        return plain(latents, given, *more)

    monkeypatch.setattr(trained, "decode", decode)
    draw_manifold(trained, 3)
    assert labels == [[0] * 9]


@pytest.mark.parametrize("name", ["dcgan", "vae"])
def test_an_own_image_is_found_again(name: str, runs: dict[str, Path]) -> None:
    trained = load(runs[name])
    target = torch.Tensor(trained.sample(1, seed=987))
    like = keys_of_seeds(trained, [0])
    start = project(trained, target, like, steps=0, restarts=2)
    found = project(trained, target, like, steps=60, restarts=2)
    assert float(found.errors) < 0.7 * float(start.errors)
    torch.testing.assert_close(
        torch.Tensor(trained.decode(found.keys.latents, found.keys.given())), found.images, rtol=0, atol=1e-4
    )


def test_features_join_the_projection(dcgan: Trained) -> None:
    seen = list[Tensor]()

    def features(images: Tensor) -> Tensor:
        seen.append(images)
        return images.flatten(1)[:, :10]

    target = torch.Tensor(dcgan.sample(1, seed=3))
    project(dcgan, target, keys_of_seeds(dcgan, [0]), steps=2, restarts=1, features=features)
    assert len(seen) == 3  # the image's own, and one of each step
    assert seen[-1].requires_grad


# --- verbs --------------------------------------------------------------------------------------------------


def explore(*words: object) -> None:
    assert main(["explore", *map(str, words)]) == 0


def test_interpolations_are_written(runs: dict[str, Path], tmp_path: Path) -> None:
    explore(runs["dcgan"], "interpolate", "--seeds", "1-3", "--frames", 5, "--out", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.width == 5 * 58 - 2
        assert strip.info["seeds"] == "1-3"
    explore("interpolate", runs["dcgan"], "--seeds", "1,2", "--frames", 4, "--out", tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 6, "forth and back"  # type: ignore[attr-defined]
        assert animation.width >= 256
    explore("walk", runs["dcgan"], "--frames", 9, "--out", tmp_path / "w.webp")
    with Image.open(tmp_path / "w.webp") as animation:
        assert animation.n_frames == 9  # type: ignore[attr-defined]
    grids.grid(torch.zeros(1, 1, 28, 28)).save(tmp_path / "own.png")
    words = ["--images", tmp_path / "own.png", tmp_path / "own.png", "--frames", 2]
    explore("interpolate", runs["vae"], *words, "--out", tmp_path / "own-path.png")


def test_a_video_holds_every_frame(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "walk.mp4"
    explore("walk", runs["dcgan"], "--frames", 300, "--rate", 30, "--out", out)  # more than one chunk
    with av.open(str(out)) as video:
        (stream,) = video.streams.video
        assert sum(1 for _ in video.decode(stream)) == 300
        assert stream.average_rate == 30
    about = read_provenance(out)
    assert about["system"] == "dcgan"
    assert "explore walk" in about["command"]
    explore("walk", runs["dcgan"], "--frames", 2, "--out", out)  # its own earlier one
    (tmp_path / "holiday.mp4").write_bytes(b"not a video")
    words = ["explore", "walk", str(runs["dcgan"]), "--out", str(tmp_path / "holiday.mp4")]
    assert main(words) == 2
    assert (tmp_path / "holiday.mp4").read_bytes() == b"not a video"


def test_figures_are_written(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    explore("arithmetic", runs["dcgan"], "1,2,3 - 4,5,6 + 7,8,9")
    explore("arithmetic", runs["acgan"], "1 - 2", "--labels", "3", "--save", "thick", "--overwrite")
    explore("arithmetic", runs["acgan"], "3 + 2*thick", "--overwrite")
    explore("traverse", runs["vae"], "--dimensions", "0", "2", "--columns", "3")
    explore("directions", runs["dcgan"], "--count", "2", "--save", "way")
    assert (runs["dcgan"] / "vectors" / "way-1.safetensors").is_file()
    assert main(["info", str(runs["dcgan"])]) == 0
    assert "way-0, way-1" in capfd.readouterr().out
    explore("neighbours", runs["dcgan"], "--seeds", "1,2")
    explore("project", runs["vae"], "neighbours.png", "--steps", "2", "--candidates", "20")
    shown = capfd.readouterr().out
    assert "seed 2: training image " in shown
    assert "image 0: mean squared error " in shown
    for name in ("arithmetic", "traversal", "directions", "neighbours", "projection"):
        about = read_provenance(tmp_path / f"{name}.png")
        assert about["run"] in runs
        assert ("seeds" in about) == (name not in ("arithmetic", "projection"))
    with np.load(tmp_path / "projection.npz") as stored:
        assert stored["latents"].shape == (1, 4)
    explore("neighbours", runs["acgan"], "--seeds", "1", "--labels", "0,1", "--overwrite")
    assert capfd.readouterr().out.count("seed 1: ") == 2


def test_the_class_or_prompt_of_a_projection_is_that_of_its_samples(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grids.grid(torch.zeros(1, 3, 64, 64)).save("own.png")
    few = ["--steps", "1", "--restarts", "1", "--candidates", "3"]
    explore("project", "pretrained:gan-cls-emoji", "own.png", "--text", "cat", *few)
    labels, plain = list[list[int]](), Trained.draw

    def draw(*positional: Any, given: Batch, **named: Any) -> Any:
        labels.append(given.labels.tolist())
        return plain(*positional, given=given, **named)

    monkeypatch.setattr(Trained, "draw", draw)
    explore("project", runs["acgan"], "own.png", "--labels", "3", *few, "--overwrite")
    assert labels == [[3] * 3]


def test_a_file_that_is_no_vector_stays(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"precious")
    (tmp_path / "mine-0.safetensors").write_bytes(b"precious")
    for words in (["arithmetic", str(runs["dcgan"]), "1 - 2"], ["directions", str(runs["dcgan"])]):
        assert main(["explore", *words, "--save", str(mine)]) == 2
        assert "is no vector: name another file" in capfd.readouterr().err
        assert {file.read_bytes() for file in tmp_path.iterdir()} == {b"precious"}
    explore("arithmetic", runs["dcgan"], "1 - 2", "--save", mine, "--overwrite")
    explore("arithmetic", runs["dcgan"], "1 - 3", "--save", mine)


def test_images_left_out_are_named(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    for name in ("a", "b"):
        grids.grid(torch.zeros(1, 1, 28, 28)).save(tmp_path / "own" / f"{name}.png")
    (tmp_path / "own" / "bad.png").write_bytes(b"no image")
    assert main(["explore", "interpolate", str(runs["vae"]), "--images", "own", "--frames", "2"]) == 1
    assert "bad.png" in capfd.readouterr().err


@pytest.mark.parametrize(
    "verb", ["interpolate", "arithmetic", "traverse", "directions", "project", "neighbours"]
)
def test_a_name_that_is_taken_is_refused_before_the_work(
    verb: str, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.png"
    grids.grid(torch.zeros(1, 1, 28, 28)).save(photo)
    before, begun = photo.read_bytes(), []
    monkeypatch.setattr("ganforge.cli.figures.load", lambda *_, **__: begun.append(1))
    more = {"arithmetic": ["1"], "project": [str(photo)]}.get(verb, [])
    assert main(["explore", verb, str(runs["vae"]), *more, "--out", str(photo)]) == 2
    assert (photo.read_bytes(), begun) == (before, [])


MISTAKES = [
    ("dcgan", ["interpolate", "--seeds", "1"], "a path needs two keys or more"),
    ("dcgan", ["interpolate", "--frames", "1"], "expected 2 frames or more"),
    ("dcgan", ["interpolate", "--out", "x.avi"], "expected a name ending in"),
    ("dcgan", ["interpolate", "--truncation", "0"], "--truncation 0: expected 0.05 or more"),
    ("infogan", ["walk", "--truncation", "1"], "has codes in its latents"),
    ("dcgan", ["interpolate", "--labels", "3"], "takes no labels"),
    ("dcgan", ["interpolate", "--text", "cat"], "text"),
    ("points", ["interpolate"], "2-D points"),
    ("pixelcnn", ["interpolate"], "decodes no latents"),
    ("dcgan", ["arithmetic", "1 - nowhere"], "no vector nowhere"),
    ("acgan", ["arithmetic", "1", "--labels", "1,2"], "one label and one prompt"),
    ("dcgan", ["arithmetic", "1", "--out", "x.txt"], "expected a name ending in"),
    ("vae", ["directions", "--count", "5"], "--count 5: expected 1 to 4"),
    ("vae", ["traverse", "--columns", "1"], "--columns 1: expected 2 or more"),
    ("vae", ["project"], "no image"),
    ("vae", ["project", "SELF", "--candidates", "0"], "--candidates 0: expected 1 or more"),
    ("acgan", ["project", "SELF", "--labels", "1,2"], "one label and one prompt"),
    ("acgan", ["interpolate", "--seeds", "1,2", "--labels", "0,1,0"], "3 labels or prompts for 2 seeds"),
    ("dcgan", ["interpolate", "--out", "x.gif", "--rate", "60"], "a .gif has at most 50 frames a second"),
    ("vae", ["project", "nowhere.png"], "nowhere.png does not exist"),
    ("vae", ["project", "--steps", "-1", "SELF"], "expected 0 steps or more"),
]


@pytest.mark.parametrize(("name", "words", "message"), MISTAKES, ids=lambda value: str(value)[:30])
def test_mistakes_are_one_line(
    name: str,
    words: list[str],
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    grids.grid(torch.zeros(1, 1, 28, 28)).save(tmp_path / "own.png")
    words = ["own.png" if word == "SELF" else word for word in words]
    assert main(["explore", words[0], str(runs[name]), *words[1:]]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.png"]


def test_captions_are_asked_for() -> None:
    with pytest.raises(UserError, match='draws what a prompt says: add --text "a red apple"'):
        keys_of_seeds(load("pretrained:gan-cls-emoji"), [1])


def test_keys_without_conditions_give_none(dcgan: Trained) -> None:
    assert Keys(dcgan.draw_latents(1)).given() is None


def test_project_flips_through_and_says_what_it_resized(tmp_path: Path) -> None:
    for name, grey, size in (("a.png", 30, (28, 28)), ("b.png", 200, (90, 70))):
        Image.new("L", size, grey).save(tmp_path / name)
    words = ["explore", "project", "pretrained:digits-vae", "a.png", "b.png", "--steps", 0, "--candidates", 2]
    done = run_command(*words, "--flip-through", "path.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "b.png: 90x70, resized and cropped to the 28x28 of training\n"
    assert "path.png: an interpolation through 2 keys, 13 frames" in done.stdout
    assert (tmp_path / "path.png").is_file()
    alone = run_command(*words[:4], "--flip-through", "alone.png", cwd=tmp_path)
    assert (alone.returncode, "name two or more" in alone.stderr) == (2, True)


def test_lines_and_arcs_differ_between_gaussian_latents() -> None:
    trained = load("pretrained:digits-vae", device="cpu")
    keys = keys_of_seeds(trained, [0, 1])
    middle = torch.tensor([0.5], dtype=torch.float64)
    arc, line = (between(trained, keys, middle, linear=linear).latents for linear in (False, True))
    torch.testing.assert_close(line, keys.latents.mean(0, keepdim=True), atol=1e-6, rtol=0)
    assert float(arc.norm()) > 1.2 * float(line.norm())
