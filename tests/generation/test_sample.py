"""Sampling what was asked for: labels, codes, rows of a grid, and what becomes of earlier files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import draw_images, files_of
from PIL import Image
from torch import Tensor
from toy_systems import LATENT_SIZE

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import to_uint8
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.generation.sample import parse_code, parse_labels, write_samples
from ganforge.runs.conditions import MOST_PREVIEW_ROWS, preview_conditions
from ganforge.runs.sampling import CHUNK
from ganforge.runs.trained import Trained

SYSTEM = ("--system", "toy_systems:Labelled")
CLASSES = ("1", "2", "10", "cat", "dog")  # "1" is number 0, and "10" is no number of a class


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured 8x8 noise in five classes."""
    folder = tmp_path_factory.mktemp("data") / "classes"
    for name in CLASSES:
        draw_images(folder / name, count=4)
    return folder


def trained_on(system: str, data: Path | str, run: Path, **options: Any) -> Trained:
    return ganforge.train(
        system, str(data), run=run, steps=2, batch=4, quiet=True, device="cpu", precision="fp32", **options
    )


@pytest.fixture(scope="module")
def labelled(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_on("toy_systems:Labelled", data, tmp_path_factory.mktemp("runs") / "labelled")


@pytest.fixture(scope="module")
def coded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_on("toy_systems:Coded", data, tmp_path_factory.mktemp("runs") / "coded")


def label_of(images: Tensor) -> list[int]:
    return (images.flatten(1)[:, LATENT_SIZE] * 100).round().int().tolist()


def noise_of(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :LATENT_SIZE]


def gain_of(trained: Trained) -> float:
    return trained.system.get_submodule("generator").state_dict()["weight"].item()


def arrays(trained: Trained, out: Path, **options: Any) -> tuple[Tensor, dict[str, Any]]:
    """What an .npz holds, as the images that the system gave before rounding."""
    write_samples(trained, out, **options)
    with np.load(out, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    images = torch.from_numpy(found["images"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, found


# --- labels -------------------------------------------------------------------------------------------------


def test_labels_are_numbers_or_names(labelled: Trained) -> None:
    assert labelled.run.config.spec.class_names == ("1", "2", "10", "cat", "dog")
    images = labelled.sample(7, seed=3, labels=[3, "cat", "1", 1, "10", "0", np.int64(4)])
    assert label_of(images) == [3, 3, 0, 1, 2, 0, 4]
    assert label_of(labelled.sample(5, labels=["dog", 0])) == [4, 0, 4, 0, 4]
    # The labels decide the class and nothing else.
    same = labelled.sample(7, seed=3, labels=[0])
    assert torch.equal(noise_of(same), noise_of(images))


@pytest.mark.parametrize("label", [5, -1, "5", "-1", "mouse", "", "1.0", 1.0, None, "9" * 5_000])
def test_unknown_labels_are_one_line_with_the_classes(labelled: Trained, label: Any) -> None:
    with pytest.raises(UserError, match=r"expected 0 to 4, or of 1, 2, 10, cat, dog") as caught:
        labelled.sample(1, labels=[label])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_labels_that_cannot_be_used(labelled: Trained, coded: Trained) -> None:
    with pytest.raises(UserError, match="Coded takes no labels"):
        coded.sample(2, labels=[1])
    with pytest.raises(UserError, match="3 labels for 2 samples"):
        labelled.sample(2, labels=[1, 2, 3])
    with pytest.raises(UserError, match="no labels"):
        labelled.sample(2, labels=[])
    with pytest.raises(UserError, match="one of them"):
        labelled.sample(2, labels=[1], given=labelled.conditions([1], 2))


def test_labels_of_the_command(labelled: Trained, tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    images, found = arrays(labelled, out, labels=["3", "cat", "2"], seed=4)
    assert found["labels"].tolist() == [3, 3, 1]  # the class called "2" is number 1
    assert label_of(images) == [3, 3, 1]
    assert json.loads(str(found["about"]))["labels"] == "cat, cat, 2"
    assert torch.equal(to_uint8(labelled.sample(3, seed=4, labels=[3, 3, 1])), to_uint8(images))
    # With a count the labels take turns; without labels all classes do.
    assert arrays(labelled, out, labels=["dog", "1"], count=5)[1]["labels"].tolist() == [4, 0, 4, 0, 4]
    images, found = arrays(labelled, out, count=7)
    assert found["labels"].tolist() == label_of(images) == [0, 1, 2, 3, 4, 0, 1]
    assert len(arrays(labelled, out)[0]) == 64
    write_samples(labelled, tmp_path / "folder", labels=["cat", "1"])
    about = [read_provenance(path) for path in sorted((tmp_path / "folder").iterdir())]
    assert [text["label"] for text in about] == ["cat", "1"]


def cells(path: Path, columns: int, rows: int) -> Tensor:
    """The 8x8 images of a grid, enlarged six times with gaps of two pixels, as the system gave them."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert pixels.shape[1:] == (rows * 50 - 2, columns * 50 - 2)
    found = [
        pixels[:, 50 * row : 50 * row + 48 : 6, 50 * column : 50 * column + 48 : 6]
        for row in range(rows)
        for column in range(columns)
    ]
    return torch.stack(found)


def test_a_image_of_a_conditional_run_has_a_row_for_each_class(labelled: Trained, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    assert write_samples(labelled, out) == f"{out}: 40 samples"
    assert label_of(cells(out, columns=8, rows=5)) == [number for number in range(5) for _ in range(8)]
    # Labels that take turns are columns.
    write_samples(labelled, out, labels=["dog", "cat", "10"], count=6)
    assert label_of(cells(out, columns=3, rows=2)) == [4, 3, 2, 4, 3, 2]


def test_images_of_the_training_have_the_same_rows(labelled: Trained, coded: Trained) -> None:
    file = labelled.run.path / "samples/000002.png"
    images = cells(file, columns=8, rows=5)
    assert label_of(images) == [number for number in range(5) for _ in range(8)]
    assert len(cells(coded.run.path / "samples/000002.png", columns=8, rows=8)) == 64
    # The very samples that are drawn later with the run's seed.
    later = labelled.sample(40, seed=0, labels=label_of(images))
    torch.testing.assert_close(images, later, atol=1 / 255 + 1e-6, rtol=0)


def test_at_most_sixteen_rows(data: Path, labelled: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    many = labelled.system.data.model_copy(update={"class_names": tuple(map(str, range(40)))})
    monkeypatch.setattr(labelled.system, "data", many)
    given = preview_conditions(labelled.system)
    assert given is not None
    assert given.labels is not None
    assert given.labels.tolist() == [n for n in range(MOST_PREVIEW_ROWS) for _ in range(8)]


def test_points_have_no_rows(labelled: Trained, coded: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preview_conditions(coded.system) is None
    points = labelled.system.data.model_copy(update={"values": "points"})
    monkeypatch.setattr(labelled.system, "data", points)
    assert preview_conditions(labelled.system) is None


# --- codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0=4", (0, 4, None)),
        ("1=-1..1", (1, -1, 1)),
        ("12=0.5..1.5", (12, 0.5, 1.5)),
        (" 2 = -.5 .. +1e1 ", (2, -0.5, 10)),
        ("3=1..-1", (3, 1, -1)),
    ],
)
def test_codes_as_text(text: str, expected: tuple[int, float, float | None]) -> None:
    code = parse_code(text)
    assert (code.index, code.low, code.high) == expected


@pytest.mark.parametrize(
    "text", ["", "4", "0=", "=4", "0=a", "a=1", "-1=2", "0=1..", "0=..1", "0=1...2x", "0=1..2..3", "0=nan",
             "0=0..inf", "0=4=5", "0:4"],
)  # fmt: skip
def test_codes_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match=r"such as --code 0=4 or --code 1=-1\.\.1"):
        parse_code(text)


@pytest.mark.parametrize("text", ["", ",", "3,", "3,,7"])
def test_labels_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="such as --labels 3,3,7"):
        parse_labels(text)
    assert parse_labels("3, cat ,7") == ["3", "cat", "7"]


def test_a_fixed_code_changes_nothing_else(coded: Trained, tmp_path: Path) -> None:
    images, _ = arrays(coded, tmp_path / "a.npz", count=5, seed=3, codes=["0=4"])
    plain = coded.sample(5, seed=3)
    gain = float(plain.abs().max() / coded.draw_latents(5, 3).abs().max())
    expected = noise_of(plain)
    expected[:, 1] = 0.4 * gain
    torch.testing.assert_close(noise_of(images), expected, atol=1 / 127, rtol=0)


def test_one_range_is_rows_of_one_noise(coded: Trained, tmp_path: Path) -> None:
    codes = ["0=2", "1=-2..2"]
    images, _ = arrays(coded, tmp_path / "a.npz", seed=5, codes=codes, weights="raw")
    assert len(images) == 80
    table = noise_of(images).reshape(8, 10, LATENT_SIZE) / gain_of(coded)
    latents = coded.draw_latents(8, seed=5)
    close = {"atol": 1 / 120, "rtol": 0}
    torch.testing.assert_close(table[:, :, 0], latents[:, :1].expand(8, 10), **close)
    torch.testing.assert_close(table[:, :, 1], torch.full((8, 10), 0.2), **close)
    torch.testing.assert_close(table[:, :, 2], torch.linspace(-1, 1, 10).expand(8, 10), **close)
    out = tmp_path / "grid.png"
    assert write_samples(coded, out, seed=5, codes=codes, weights="raw") == f"{out}: 80 samples"
    torch.testing.assert_close(cells(out, columns=10, rows=8), images)


def test_two_ranges_go_down_and_across(coded: Trained, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    write_samples(coded, out, codes=["0=0..9", "1=2..-2"], weights="raw")
    table = noise_of(cells(out, columns=10, rows=10)).reshape(10, 10, LATENT_SIZE) / gain_of(coded)
    assert len(table[:, :, 0].unique()) == 1
    line = torch.linspace(0, 0.9, 10)
    close = {"atol": 1 / 120, "rtol": 0}
    torch.testing.assert_close(table[:, :, 1], line[:, None].expand(10, 10), **close)
    torch.testing.assert_close(table[:, :, 2], torch.linspace(1, -1, 10).expand(10, 10), **close)


@pytest.mark.parametrize(
    ("codes", "count", "expected"),
    [
        (["2=1"], None, "no code 2"),
        (["0=10"], None, "out of range"),
        (["1=-3..1"], None, "out of range"),
        (["0=1", "0=2"], None, "expected each code once"),
        (["1=-1..1"], 5, "--count does not go with a range"),
        (["0=1..2", "1=0..1", "2=0..1"], None, "3 ranges"),
    ],
)
def test_codes_that_cannot_be_used(
    coded: Trained, tmp_path: Path, codes: list[str], count: int | None, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        write_samples(coded, tmp_path / "a.png", count=count, codes=codes)
    assert not (tmp_path / "a.png").exists()


def test_systems_without_codes_or_latents(labelled: Trained, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no codes"):
        write_samples(labelled, tmp_path / "a.png", codes=["0=1"])
    trained = trained_on("toy_systems:Latentless", data, tmp_path / "run")
    for attempt in (lambda: trained.draw_latents(2), lambda: trained.decode(torch.zeros(2, 3))):
        with pytest.raises(UserError, match="decodes no latents"):
            attempt()


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_decoded_latents_are_the_samples(labelled: Trained, coded: Trained, weights: Any) -> None:
    count = CHUNK + 3
    drawn = coded.draw_latents(count, seed=8)
    assert drawn.shape == (count, LATENT_SIZE)
    assert torch.equal(coded.decode(drawn, weights=weights), coded.sample(count, seed=8, weights=weights))
    given = labelled.conditions([1, "dog"], count)
    decoded = labelled.decode(labelled.draw_latents(count, 8), given, weights)
    assert torch.equal(decoded, labelled.sample(count, seed=8, weights=weights, labels=[1, "dog"]))
    other = "raw" if weights == "ema" else "ema"
    assert not torch.equal(coded.decode(drawn, weights=other), coded.decode(drawn, weights=weights))


def test_latents_leave_the_random_numbers_alone(labelled: Trained) -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    labelled.decode(labelled.draw_latents(5))  # draws latents, then labels
    assert torch.equal(torch.randn(4), expected)


# --- the command line ---------------------------------------------------------------------------------------


def test_the_command(
    labelled: Trained, coded: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.npz")
    assert main(["sample", str(labelled.run.path), *SYSTEM, "--labels", "cat,0,dog", "--out", out]) == 0
    with np.load(out, allow_pickle=False) as archive:
        assert archive["labels"].tolist() == [3, 0, 4]
    words = [
        "sample",
        str(coded.run.path),
        "--system",
        "toy_systems:Coded",
        "--out",
        out,
        "--code",
        "0=3",
        "--code",
        "1=-1..1",
    ]
    assert main(words) == 0
    replaced = f"{out}: 80 samples, replaced the earlier one"
    assert capfd.readouterr().out.splitlines() == [f"{out}: 3 samples", replaced]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--labels", "3,mouse"], "no class 'mouse'"),
        (["--labels", ""], "such as --labels 3,3,7"),
        (["--labels", "1,2,3", "--count", "2"], "3 labels for 2 samples"),
        (["--code", "0:4"], "such as --code 0=4"),
        (["--code", "0=4"], "no codes"),
        (["--count", "0"], "--count 0"),
    ],
)
def test_mistakes_of_the_command(
    labelled: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["sample", str(labelled.run.path), *SYSTEM, "--out", str(tmp_path / "a.png"), *words]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert not (tmp_path / "a.png").exists()


# --- folders ------------------------------------------------------------------------------------------------


def test_samples_of_another_draw_stay_unless_they_are_to_be_replaced(coded: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    write_samples(coded, folder, count=7, command="ganforge sample a --count 7")
    (folder / ".DS_Store").write_text("the file manager's")
    before = files_of(folder)
    with pytest.raises(UserError, match=r"holds 7 samples of another draw \(ganforge sample a --count 7\)"):
        write_samples(coded, folder, count=3, command="ganforge sample a --count 3")
    with pytest.raises(UserError, match="another draw"):
        write_samples(coded, folder, count=7, seed=1, command="ganforge sample a --count 7")
    assert files_of(folder) == before
    said = write_samples(coded, folder, count=7, command="ganforge sample a --count 7")
    assert said.endswith("7 images, replaced 7 earlier ones")
    said = write_samples(coded, folder, count=3, seed=1, overwrite=True)
    assert said.endswith("3 images, replaced 7 earlier ones")
    again = tmp_path / "again"
    assert write_samples(coded, again, count=3, seed=1).endswith("3 images")
    assert files_of(folder) == files_of(again) | {".DS_Store": b"the file manager's"}


def test_cats_stay_where_dogs_are_drawn(labelled: Trained, tmp_path: Path) -> None:
    """From Python too, where no command tells the draws apart."""
    first, second, *_ = labelled.run.config.spec.class_names
    write_samples(labelled, tmp_path / "gen", count=6, labels=[first])
    before = files_of(tmp_path / "gen")
    with pytest.raises(UserError, match="holds 6 samples of another draw"):
        write_samples(labelled, tmp_path / "gen", count=4, labels=[second])
    assert files_of(tmp_path / "gen") == before


@pytest.mark.parametrize("name", ["photo.png", "numbers.npz"])
def test_a_file_of_the_users_is_replaced_only_when_asked(coded: Trained, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".png"):
        Image.new("RGB", (8, 8)).save(path)
    else:
        np.savez(path, images=np.zeros(3))
    before = path.read_bytes()
    with pytest.raises(UserError, match="was not made by ganforge"):
        write_samples(coded, path, count=2)
    assert path.read_bytes() == before
    assert write_samples(coded, path, count=2, overwrite=True).endswith("2 samples, replaced another file")
    assert write_samples(coded, path, count=2, seed=1).endswith("2 samples, replaced the earlier one")


@pytest.mark.parametrize("name", ["notes.txt", "000001.png", "7.png", "000002.png/inside"])
def test_what_is_not_ours_is_neither_overwritten_nor_removed(
    coded: Trained, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "samples"
    write_samples(coded, folder, count=1)
    target = folder / name
    target.parent.mkdir(exist_ok=True)
    if name == "000001.png":
        Image.new("RGB", (8, 8)).save(target)  # numbered like ours, as data sets are
    else:
        target.write_bytes(b"mine")
    before = files_of(folder)
    with pytest.raises(UserError, match="not a sample"):
        write_samples(coded, folder, count=2)
    assert files_of(folder) == before
    if not target.parent.name.endswith(".png"):  # a folder in the place of a sample
        write_samples(coded, folder, count=1, overwrite=True)
        assert files_of(folder)[name] == before[name]


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp", ".gif", ".PNG"])
def test_grids_in_other_formats(labelled: Trained, ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"a{ending}"
    write_samples(labelled, out, labels=["cat", "1"], seed=4, command="ganforge sample it")
    write_samples(labelled, tmp_path / "a.png", labels=["cat", "1"], seed=4, command="ganforge sample it")
    about = read_provenance(out)
    assert about == read_provenance(tmp_path / "a.png")
    assert about["labels"] == "cat, 1"
    assert about["seed"] == "4"
    with Image.open(out) as image, Image.open(tmp_path / "a.png") as exact:
        assert image.size == exact.size
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(exact.convert("RGB")))
        assert difference.mean() < 4


def test_a_folder_may_have_a_number_after_a_point(labelled: Trained, tmp_path: Path) -> None:
    write_samples(labelled, tmp_path / "v1.5", 2)
    assert len(list((tmp_path / "v1.5").glob("*.png"))) == 2


def test_an_unknown_ending_lists_the_known_ones(labelled: Trained, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.tif: expected a name ending in .png, .*.webp, .gif or .npz"):
        write_samples(labelled, tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())
