"""The real commands, from a first training to the last mistake."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import draw_images, environment, files_of, metrics_of, run
from PIL import Image

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import to_uint8
from ganforge.reporting.evaluations import read_evaluations
from ganforge.systems.r3gan import R3GAN

SMALL = ["--batch", "8", "--latent-size", "4", "--width", "4"]


def train_words(folder: str, *more: str, system: str = "dcgan", data: str = "images") -> list[str]:
    small = SMALL if system == "dcgan" else SMALL[:4]
    return ["train", system, "--data", data, "--run", folder, "--steps", "4", *small, *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and data that is wrong in several ways."""
    folder = tmp_path_factory.mktemp("cli")
    draw_images(folder / "images")
    draw_images(folder / "tiny", count=10, side=2)
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts/notes.txt").write_text("no image")
    draw_images(folder / "one bad", count=40)
    (folder / "one bad/010.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (folder / "a file").write_text("mine")
    (folder / "foreign").mkdir()
    (folder / "foreign/thesis.tex").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """A run of four steps, made by the real command."""
    done = run(*train_words("runs/a"), cwd=place)
    assert done.returncode == 0, done.stderr
    assert "runs/a/samples/000004.png" in done.stdout
    assert "ganforge sample runs/a" in done.stdout
    return place / "runs/a"


# --- the straight line --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_again_and_further_then_evaluate(place: Path, trained: Path) -> None:
    shutil.copytree(trained, place / "runs/b")
    folder = place / "runs/b"
    before = files_of(folder / "checkpoints")
    done = run(*train_words("runs/b"), cwd=place)
    assert done.returncode == 0
    assert "has its 4 steps done already" in done.stderr
    assert files_of(folder / "checkpoints") == before
    more = train_words("runs/b", "--steps", "6")
    done = run(*more, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "resuming runs/b at step 4" in done.stderr
    assert [line["step"] for line in metrics_of(folder)] == [4, 6]
    assert metrics_of(folder, "start")[-1]["command"] == shlex.join(["ganforge", *more])

    done = run("evaluate", "runs/b", "--num-samples", "16", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert scores == list(read_evaluations(folder)[0][0].scores)
    assert {"sampling_speed", "discriminator_on_held_out", "discriminator_on_generated"} <= {
        score["name"] for score in scores
    }
    assert all(score["protocol"]["step"] == 6 for score in scores)
    assert "Scores" in (folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_sample_in_every_form_equals_the_python_door(place: Path, trained: Path) -> None:
    expected = to_uint8(ganforge.load(trained, device="cpu").sample(5, seed=7)).permute(0, 2, 3, 1).numpy()
    words = ["sample", "runs/a", "--count", "5", "--seed", "7", "--out"]
    for out in ("some.npz", "deep/er/grid.png", "some images"):
        done = run(*words, out, cwd=place)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out}: 5 {'images' if out == 'some images' else 'samples'}\n"
        assert done.stderr == ""
    with np.load(place / "some.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["images"], expected)
        assert json.loads(str(archive["about"]))["seed"] == "7"
    images = sorted((place / "some images").iterdir())
    assert [path.name for path in images] == [f"{index:06d}.png" for index in range(5)]
    for path, pixels in zip(images, expected, strict=True):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), pixels)
    for index, path in enumerate([place / "deep/er/grid.png", *images]):
        with Image.open(path) as image:
            about = image.text  # type: ignore[attr-defined]
        assert about["command"] == shlex.join(
            ["ganforge", *words, "deep/er/grid.png" if not index else "some images"]
        )
        assert (about["seed"], about["run"], about["step"], about["weights"]) == ("7", "a", "4", "ema")


def test_the_same_seed_writes_the_same_bytes(
    place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = ["sample", "runs/a", "--count", "3", "--out", "again.png", "--seed"]
    contents = []
    for seed in ("1", "1", "2"):
        assert main([*words, seed]) == 0
        contents.append((place / "again.png").read_bytes())
    assert contents[0] == contents[1] != contents[2]
    assert main([*words, "1", "--weights", "raw"]) == 0
    assert (place / "again.png").read_bytes() != contents[0]


def test_the_python_door_trains_the_same_run(place: Path, trained: Path, tmp_path: Path) -> None:
    again = ganforge.train(
        "dcgan", str(place / "images"), run=tmp_path / "a", quiet=True,
        steps=4, batch=8, latent_size=4, width=4, device="cpu",
    )  # fmt: skip
    assert torch.equal(again.sample(3, seed=1), ganforge.load(trained, device="cpu").sample(3, seed=1))
    assert files_of(tmp_path / "a/checkpoints") == files_of(trained / "checkpoints")


def test_evaluate_prints_a_table(
    place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(["evaluate", "runs/a", "--num-samples", "8"]) == 0
    said = capfd.readouterr().out
    assert "sampling_speed" in said
    assert "stored in runs/a/evaluations/step-000004_ema_8-samples_seed-0" in said


def test_dry_run_writes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = files_of(place)
    assert main(train_words("runs/dry", "--dry-run")) == 0
    said = capfd.readouterr().out
    assert "nothing was written" in said
    assert "images/s" in said
    assert "generator: " in said
    assert files_of(place) == before
    assert not (place / "runs/dry").exists()


def test_an_unreadable_image_is_counted_and_named_and_training_goes_on(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = train_words(str(tmp_path / "r"), data=str(place / "one bad"))
    assert main(words) == 0
    captured = capfd.readouterr()
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert config["spec"]["num_images"] == 39
    said = captured.out + captured.err + (tmp_path / "r/metrics.jsonl").read_text()
    assert "010.png" in said, "the image that was skipped is named nowhere"
    assert "1 images cannot be read and are skipped: 010.png" in said


# --- mistakes -----------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[list[str], str]] = {
    "unknown verb": (["trian"], "unknown verb 'trian': did you mean train"),
    "unknown system": (
        train_words("r", system="dcgn")[:6],
        "unknown system or data 'dcgn': did you mean dcgan",
    ),
    "neither system nor data": (["train", "--steps", "4"], "expected data: ganforge train my_images"),
    "unknown data": (train_words("r", data="emojy"), "unknown data set 'emojy': did you mean emoji"),
    "missing path": (train_words("r", data="./nowhere"), "does not exist"),
    "missing --data": (["train", "dcgan", "--steps", "4"], "--data"),
    "negative width": (train_words("r", "--width", "-4"), "--width: input should be greater than 0, got -4"),
    "no number": (train_words("r", "--width", "wide"), "width"),
    "unknown option": (train_words("r", "--widht", "8"), "--width"),
    "unknown choice": (train_words("r", "--precision", "fp8"), "fp8"),
    "half a pair": (train_words("r", "--seed"), "--seed"),
    "huge seed": (train_words("r", "--seed", str(2**64)), "--seed"),
    "negative seed": (train_words("r", "--seed", "-1"), "--seed: input should be greater than or equal to 0"),
    "batch of one": (train_words("r", "--batch", "1"), "--batch: input should be greater than or equal to 2"),
    "no steps": (train_words("r", "--steps", "0"), "--steps: input should be greater than 0, got 0"),
    "rate no number": (train_words("r", "--learning-rate", "nan"), "--learning-rate"),
    "another config": (train_words("runs/a", "--width", "8"), "--width is 4 there and 8 here"),
    "another data": (train_words("runs/a", data="one bad"), "runs/a was trained on other data"),
    "another system": (train_words("runs/a", system="gan"), "system is dcgan there and gan here"),
    "steps below": (
        train_words("runs/a", "--steps", "3"),
        "has 4 steps done, 3 were requested: give --steps 4",
    ),
    "file as run": (train_words("a file"), "a file"),
    "below a file": (train_words("a file/r"), "cannot make the run folder a file/r"),
    "unwritable": (train_words("/proc/r"), "cannot make the run folder /proc/r"),
    "foreign folder": (train_words("foreign"), "not a run folder and not empty (thesis.tex)"),
    "empty folder": (train_words("r", data="empty"), "holds no images"),
    "no images": (train_words("r", data="texts"), "holds no images"),
    "a text as data": (train_words("r", data="a file"), "is a single file"),
    "2x2 images": (train_words("r", data="tiny"), "dcgan halves images down to 3 to 9 pixels"),
    "bad data, stop": (
        train_words("r", "--unreadable", "stop", data="one bad"),
        "1 of 40 images cannot be read",
    ),
    "points with size": (train_words("r", "--size", "8", data="ring", system="gan"), "2-D points"),
    "maxout points": (
        train_words("r", "--network", "maxout", data="ring", system="gan"),
        "use --network mlp",
    ),
    "from nowhere": (train_words("r", "--from", "nowhere"), "--from nowhere"),
    "from no run": (train_words("r", "--from", "empty"), "--from empty"),
    "sample of nothing": (["sample", "empty"], "empty is not a run folder (no config.json)"),
    "sample of none": (["sample", "nowhere"], "nowhere is not a run folder"),
    "sample without run": (["sample"], "A run folder"),
    "odd suffix": (
        ["sample", "runs/a", "--out", "x.bmp"],
        "--out x.bmp: expected a name ending in .png, .jpg, .jpeg, .webp, .gif or .npz",
    ),
    "no samples": (["sample", "runs/a", "--count", "0", "--out", "x"], "--count 0: expected 1 or more"),
    "fewer samples": (["sample", "runs/a", "--count", "-3", "--out", "x.npz"], "--count -3"),
    "huge sample seed": (["sample", "runs/a", "--seed", str(2**70), "--out", "x.png"], f"seed is {2**70}"),
    "out below a file": (["sample", "runs/a", "--out", "a file/x.png"], "--out a file/x.png"),
    "evaluate nothing": (["evaluate", "empty"], "empty is not a run folder"),
    "one sample": (["evaluate", "runs/a", "--num-samples", "1"], "--num-samples 1: expected 2 or more"),
    "list what": (["list", "sistems"], "sistems"),
    "data what": (["data"], "ganforge data check, ganforge data pack, ganforge data embed"),
    "pack over": (["data", "pack", "images", "a file"], "exists already"),
    "completion of": (["completion", "fish"], "fish"),
    "demo of": (["demo", "--steps", "3"], "--steps"),
}


def assert_one_line(said: str, shown: str) -> None:
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert shown in line
    assert "Traceback" not in said


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_is_one_line_and_leaves_nothing(
    place: Path,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    words, shown = MISTAKES[mistake]
    monkeypatch.chdir(place)
    before, folders = files_of(place), sorted(place.rglob("*"))
    assert main(words) == 2
    captured = capfd.readouterr()
    assert_one_line(captured.err, shown)
    assert captured.out == ""
    assert files_of(place) == before
    assert sorted(place.rglob("*")) == folders


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(train_words("r", "--device", "cuda")) == 2
    assert_one_line(capfd.readouterr().err, "--device cuda: torch finds no GPU here")
    assert not (place / "r").exists()


def test_an_infinite_rate_is_a_mistake(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(train_words(str(tmp_path / "r"), "--learning-rate", "inf")) == 2
    assert_one_line(capfd.readouterr().err, "--learning-rate: input should be a finite number, got inf")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    (tmp_path / "closed").mkdir(mode=0o555)
    assert main(train_words(str(tmp_path / "closed/r"))) == 2
    assert_one_line(capfd.readouterr().err, "Permission denied")
    assert main(train_words(str(tmp_path / "closed"))) == 2
    assert_one_line(capfd.readouterr().err, "Permission denied")


def test_a_mistake_in_the_real_command(place: Path, trained: Path) -> None:
    done = run(*train_words("runs/a", "--width", "8"), cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "--width is 4 there and 8 here")


@pytest.mark.slow
def test_a_full_disk_in_the_real_command(place: Path) -> None:
    """A run whose files may not grow: one line; with room again, the same command resumes to its end."""
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)\n"
        "from ganforge.cli.main import main\n"
        "sys.exit(main())\n"
    )
    words = train_words("full", "--checkpoint-every", "1", "--log-every", "1", "--kernel-size", "5")
    # Below a checkpoint's optimizers, below a sample image, below config.json, below the report.
    limits = {
        "9500": "no room for",
        "6000": "cannot write full/",
        "600": "cannot write full",
        "30000": "cannot write full",
    }
    untraced = environment(COVERAGE_PROCESS_CONFIG=None)  # coverage could not write its file either
    for limit, shown in limits.items():
        done = subprocess.run(
            [sys.executable, "-c", limited, limit, *words],
            cwd=place, env=untraced, capture_output=True, encoding="utf-8", timeout=100,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert_one_line(done.stderr.splitlines()[-1], shown)
    done = run(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in metrics_of(place / "full")] == [1, 2, 3, 4]


def test_a_dry_run_counts_second_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two penalties that differentiate a network twice, which torch's own counter refuses."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "r3gan", "--data", "ring", "--width", "8", "--dry-run"]) == 0
    assert "MFLOP per image and step" in capfd.readouterr().out


def test_a_run_with_suggested_lists_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no tuples, and defaults of options must not be lists."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gan", "--data", "ring", "--steps", "1", "--run", "r"]) == 0
    assert isinstance(json.loads(Path("r/config.json").read_text())["suggested"]["generator_hidden"], list)
    assert main(["train", "gan", "--data", "ring", "--steps", "2", "--run", "r"]) == 0


def test_suggestions_are_for_the_device_where_a_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run that started on a GPU keeps its sizes elsewhere; a dry run shows them."""
    monkeypatch.chdir(tmp_path)
    sizes = {"cpu": 8, "cuda": 8}
    monkeypatch.setattr(R3GAN, "suggest", lambda data, device: {"batch": (sizes[device], "a device")})
    ring = [
        "train",
        "r3gan",
        "--data",
        "ring",
        "--network",
        "mlp",
        "--width",
        "8",
        "--steps",
        "2",
        "--run",
        "r",
    ]
    assert main(ring) == 0
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert config["suggested_for"] == "cpu"
    assert config["suggested"]["batch"] == 8
    sizes["cpu"] = 16  # another version suggests something else: what was suggested at the start stays
    for record in ({}, {"suggested": None}, {"suggested_for": "cuda"}):
        (tmp_path / "r/config.json").write_text(json.dumps(config | record))
        assert main([*ring, "--dry-run"]) == 0, record
    assert main([*ring, "--batch", "16", "--dry-run"]) == 2
    assert "--batch is 8 there and 16 here" in capfd.readouterr().err
    assert main([*ring, "--dry-run"]) == 0
    assert "batch = 8: a device" in capfd.readouterr().out


def test_a_program_counts_tiny_numbers_as_zero_in_every_thread(tmp_path: Path) -> None:
    """After `program` has run a verb that needs torch; what the verb says is a mistake here."""
    words = (
        "import sys; from ganforge.cli.main import program; sys.argv = ['ganforge', 'sample', 'nowhere']; "
    )
    words += "assert program() == 2; import torch; torch.set_num_threads(2); "
    words += "print(bool((torch.full((4_000_000,), 1e-38) * 0.05 == 0).all()))"
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "True\n"
