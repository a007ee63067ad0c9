"""A run knows its data by what they hold, wherever they are, and finds them from any folder."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command import draw_images, files_of, metrics_of

import ganforge
from ganforge.cli.main import main
from ganforge.data.options import DataOptions
from ganforge.errors import UserError
from ganforge.runs.data import places_of
from ganforge.runs.folder import Run
from ganforge.runs.trained import load
from ganforge.text.embeddings import data_of

SMALL = ["--width", "4", "--latent-size", "4", "--batch", "6", "--device", "cpu", "--precision", "fp32"]


def train_words(data: str, *words: str) -> list[str]:
    return ["train", "dcgan", "--data", data, "--run", "runs/a", "--steps", "3", *SMALL, *words]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of images in two classes and a run of three steps that was trained with `--data pics`."""
    project = tmp_path_factory.mktemp("made") / "project"
    for name in ("cat", "dog"):
        draw_images(project / "pics" / name, count=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert main(train_words("pics")) == 0
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path))
    file = Path("runs/a/config.json")  # the copy is to forget where it was trained
    file.write_text(file.read_text().replace(str(trained), str(tmp_path / "project")))
    return tmp_path / "project"


def make_zip(project: Path) -> str:
    with zipfile.ZipFile(project / "packed.zip", "w") as archive:
        for name, content in files_of(project / "pics").items():
            archive.writestr(f"pics/{name}", content)
    shutil.rmtree(project / "pics")
    return "packed.zip"


def link(project: Path) -> str:
    (project / "link").symlink_to(project / "pics")
    return "link"


def upper_case(project: Path) -> str:
    for path in sorted((project / "pics").rglob("*.png")):
        path.rename(path.with_suffix(".PNG"))
    (project / "pics").rename(project / "Pics")
    return "Pics"


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "slash": lambda project: "pics/",
    "dot": lambda project: "./pics",
    "around": lambda project: "../project/pics",
    "absolute": lambda project: str(project / "pics"),
    "home": lambda project: "~/project/pics",
    "link": link,
    "zip": make_zip,
    "case": upper_case,
}


@pytest.mark.parametrize("spelling", list(SPELLINGS))
def test_any_way_to_the_same_data_resumes(project: Path, spelling: str) -> None:
    """The same command with the data spelt in another way, and what it leaves as it was."""
    data = SPELLINGS[spelling](project)
    before = Run.open(Path("runs/a")).config
    assert main(train_words(data, "--steps", "4")) == 0
    after = Run.open(Path("runs/a")).config
    assert load("runs/a").step == 4
    assert after.data == before.data
    assert after.fingerprint == before.fingerprint
    assert after.places["data"] == os.path.abspath(os.path.expanduser(data))


def test_a_run_is_found_and_finds_its_data_from_any_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "pics").mkdir(parents=True)  # of the same name, and not the data
    draw_images(tmp_path / "elsewhere" / "pics", count=3)
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = os.path.relpath(project / "runs" / "a")
    assert main(["resume", run, "--steps", "4"]) == 0
    assert main(["evaluate", run, "--num-samples", "10", "--features", "random"]) == 0
    (stored,) = (project / "runs" / "a" / "evaluations").glob("*.json")
    assert "pics train" in stored.read_text()


@pytest.mark.parametrize("recorded", ["now", "0.2"])
def test_a_project_that_moved_as_a_whole_still_works(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    config = json.loads(Path("runs/a/config.json").read_text())
    if recorded == "0.2":
        del config["places"], config["start_fields"]
    else:
        config["places"]["data"] = "/gone/project/pics"
    Path("runs/a/config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    assert data_of(Run.open(project / "runs/a")).fingerprint == config["fingerprint"]
    assert main(["resume", str(project / "runs/a"), "--steps", "4"]) == 0


def test_moved_data_are_named_once(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "pics").rename(project / "photos")
    for words in (["evaluate", "runs/a"], ["resume", "runs/a", "--steps", "5"]):
        assert main(words) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: the data of runs/a were last seen at ")
        assert line.endswith("name their place now with --data")
    assert (
        main(["evaluate", "runs/a", "--num-samples", "10", "--features", "random", "--data", "photos"]) == 0
    )
    assert Run.open(Path("runs/a")).config.places == {"data": str(project / "photos")}
    assert main(["resume", "runs/a", "--steps", "5"]) == 0
    assert load("runs/a").step == 5


def one_more(folder: Path) -> str:
    draw_images(folder / "more", count=1)
    shutil.move(folder / "more" / "000.png", folder / "pics" / "dog" / "999.png")
    return "20 training images then, 21 now"


def another_class(folder: Path) -> str:
    (folder / "pics" / "dog").rename(folder / "pics" / "Dog")
    return "2 classes then, 2 classes now (new: Dog; gone: dog)"


def other_pixels(folder: Path) -> str:
    shutil.copy(folder / "pics" / "dog" / "001.png", folder / "pics" / "dog" / "000.png")
    return "as many training images of the same size, but other pixels"


def other_sizes(folder: Path) -> str:
    shutil.rmtree(folder / "pics")
    for name in ("cat", "dog"):
        draw_images(folder / "pics" / name, count=10, side=16)
    return "8x8 color then, 16x16 color now"


def no_classes(folder: Path) -> str:
    shutil.rmtree(folder / "pics")
    draw_images(folder / "pics", count=20)
    return "2 classes then, no classes now"


@pytest.mark.parametrize("change", [one_more, another_class, other_pixels, other_sizes, no_classes])
@pytest.mark.parametrize(
    "words", [train_words("pics"), ["resume", "runs/a"], ["evaluate", "runs/a", "--data", "pics"]], ids="tre"
)
def test_what_changed_is_said_in_words(
    project: Path, capfd: pytest.CaptureFixture[str], change: Callable[[Path], str], words: list[str]
) -> None:
    before = files_of(project / "runs")
    shown = change(project)
    assert main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert shown in line
    assert "start a new run with --run NEW --from runs/a" in line
    assert Run.open(Path("runs/a")).config.fingerprint not in line
    assert files_of(project / "runs") == before


def test_a_refusal_names_the_original_command(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(train_words("pics", "--width", "8")) == 2
    (line,) = capfd.readouterr().err.splitlines()
    command = metrics_of(Path("runs/a"), "start")[0]["command"]
    assert f"`ganforge resume runs/a` continues that run, begun by `{command}`" in line
    assert "--width is 4 there and 8 here" in line


def test_sources_may_move_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to the data, and elsewhere, where their place is named."""
    monkeypatch.chdir(tmp_path)
    draw_images(Path("pairs/targets"), count=8, side=16)
    draw_images(Path("pairs/inputs"), count=8, side=16)
    small = {"width": 4, "discriminator_width": 4, "batch": 2, "size": 16, "device": "cpu", "patch": "16"}
    ganforge.train("pix2pix", "pairs/targets", sources="pairs/inputs", run="r", steps=1, quiet=True, **small)
    Path("pairs").rename("moved")
    assert ganforge.resume("r", data="moved/targets", steps=2, quiet=True).step == 2
    assert Run.open(Path("r")).config.places["sources"] == str(tmp_path / "moved/inputs")
    Path("moved/inputs").rename("others")
    with pytest.raises(UserError, match="--sources"):
        ganforge.resume("r", steps=3, quiet=True)
    assert ganforge.resume("r", sources="others", steps=3, quiet=True).step == 3
    assert main(["sample", "r", "--out", "s.png", "--count", "2", "--data", "moved/targets"]) == 0


def test_places_are_of_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "cifar10").mkdir()
    assert places_of(DataOptions(data="mnist", text_encoder="sentence:x"), "pretrained:y") == {}
    assert places_of(DataOptions(data="hf:owner/name")) == {}
    assert places_of(DataOptions(data="cifar10/"), "mnist") == {
        "data": str(tmp_path / "cifar10"),
        "start_from": str(tmp_path / "mnist"),
    }
