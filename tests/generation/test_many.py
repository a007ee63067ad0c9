"""Very many samples: folders and archives, shared by processes, after a kill."""

import os
import signal
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from command import run
from launched import COMMAND, ended, launch, together
from PIL import Image

import ganforge
from ganforge.errors import UserError
from ganforge.generation import many
from ganforge.generation.many import write_many
from ganforge.runs.trained import Trained, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("many")
    data = place / "data"
    for name, grey in (("dark", 40), ("light", 200)):
        (data / name).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (4, 4), grey + index).save(data / name / f"{index}.png")
    for system in ("gan", "cgan"):
        ganforge.train(system, str(data), run=place / system, steps=1, batch=4, device="cpu", quiet=True)
    return place


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr(many, "IN_EACH", 500)
    return load(folder / "gan", device="cpu")


def pixels(out: Path) -> list[bytes]:
    return [np.asarray(Image.open(file)).tobytes() for file in sorted(out.rglob("*.png"))]


def test_they_are_the_samples_of_one_draw(trained: Trained, tmp_path: Path) -> None:
    lines = list(write_many(trained, tmp_path / "out", 1200, seed=3))
    assert [line.rpartition("/")[2] for line in lines] == [
        "000000: 500 images",
        "000001: 500 images",
        "000002: 200 images",
    ]
    names = [file.name for file in sorted((tmp_path / "out").rglob("*.png"))]
    assert names == [f"{index:09d}.png" for index in range(1200)]
    expected = ganforge.load(trained.run.path, device="cpu").sample(1200, seed=3)
    for image, bytes_ in zip(expected, pixels(tmp_path / "out"), strict=True):
        grey = ((image[0] + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        assert np.abs(np.frombuffer(bytes_, np.uint8).reshape(4, 4).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("tar", [False, True])
def test_what_is_missing_is_written_and_the_rest_left(trained: Trained, tmp_path: Path, tar: bool) -> None:
    list(write_many(trained, tmp_path / "whole", 1200, tar=tar))
    list(write_many(trained, tmp_path / "out", 1200, tar=tar))
    parts = sorted(path for path in (tmp_path / "out").iterdir() if path.name[0] == "0")
    kept = parts[0].stat().st_mtime_ns
    if tar:
        parts[1].unlink()
    else:
        parts[1].rename(tmp_path / "gone")
    assert len(list(write_many(trained, tmp_path / "out", 1200, tar=tar))) == 2
    assert parts[0].stat().st_mtime_ns == kept
    if tar:
        for each in parts:
            assert each.read_bytes() == (tmp_path / "whole" / each.name).read_bytes()
        with tarfile.open(parts[2]) as archive:
            assert len(archive.getnames()) == 200
    else:
        assert pixels(tmp_path / "out") == pixels(tmp_path / "whole")


def test_samples_of_another_draw_are_kept(trained: Trained, tmp_path: Path) -> None:
    list(write_many(trained, tmp_path / "out", 20, seed=1))
    with pytest.raises(UserError, match=r"holds samples of another draw \(seed differs"):
        list(write_many(trained, tmp_path / "out", 20, seed=2))
    (tmp_path / "out" / "samples.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="holds samples of another draw"):
        list(write_many(trained, tmp_path / "out", 20, seed=1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("words", encoding="utf-8")
    with pytest.raises(UserError, match="expected a new or empty folder"):
        list(write_many(trained, tmp_path / "mine", 20))


def test_another_process_may_be_claiming_the_folder(trained: Trained, tmp_path: Path) -> None:
    half = tmp_path / f"samples.json.tmp-{os.getppid()}"  # of a process that runs
    half.write_text("{", encoding="utf-8")
    assert len(list(write_many(trained, tmp_path, 20))) == 1
    assert half.exists()
    half.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000", "samples.json"]


def test_the_disk_has_every_file_before_its_folder_is_there(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, rename, calls, synced, seen = os.fsync, os.rename, [0], set(), []

    def counted(descriptor: int) -> None:
        calls[0] += 1
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(source: Path, target: Path) -> None:
        seen.append({path.stat().st_ino for path in (source, *source.iterdir())} - synced)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(os, "rename", checked)
    list(write_many(trained, tmp_path / "out", 600))
    assert seen == [set(), set()]
    assert calls[0] < 650  # once each


def test_processes_that_start_again_together_clear_up_together(tmp_path: Path) -> None:
    gone = 2**22 + 1  # more than Linux counts
    for place in ("000000", "000001"):
        (left := tmp_path / f"{place}.tmp-{gone}").mkdir()
        for index in range(2000):
            (left / f"{index}.png").touch()
    program = """
import sys, time
from pathlib import Path
from ganforge.files.atomic import remove_leftovers
Path(f"ready-{sys.argv[1]}").touch()
while len(list(Path().glob("ready-*"))) < 3:
    time.sleep(0.001)
remove_leftovers(Path())
"""
    processes = [launch(program, rank, processes=1, cwd=tmp_path)[0] for rank in range(3)]
    done = ended(processes)
    assert [code for code, _, _ in done] == [0, 0, 0], done
    assert not list(tmp_path.glob("0*"))


def test_points_are_no_images(tmp_path: Path) -> None:
    ganforge.train("gan", "ring", run=tmp_path / "run", steps=1, batch=8, device="cpu", quiet=True)
    with pytest.raises(UserError, match="2-D points are written to an image"):
        list(write_many(load(tmp_path / "run", device="cpu"), tmp_path / "out", 20))


def test_three_processes_write_each_once_though_one_is_killed(folder: Path, tmp_path: Path) -> None:
    words = ["sample", folder / "cgan", "--count", 3000, "--seed", 5, "--out"]
    fewer = f"import ganforge.generation.many as m; m.IN_EACH = 250\n{COMMAND}"
    (alone,) = ended(
        launch(
            fewer.replace("m.IN", "import ganforge.cli.sample as s; s.IN_EACH = m.IN"),
            *words,
            "alone",
            processes=1,
            cwd=tmp_path,
        )
    )
    assert alone[0] == 0, alone
    processes = launch(fewer, *words, "out", processes=3, cwd=tmp_path)
    until = time.monotonic() + 100
    while not list((tmp_path / "out").glob("0*")):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(processes[1].pid, signal.SIGKILL)
    assert [code for code, _, _ in ended(processes)] == [0, -signal.SIGKILL, 0]
    done = ended(launch(fewer, *words, "out", processes=2, cwd=tmp_path))  # another number of processes
    assert [code for code, _, _ in done] == [0, 0], done
    names = [file.name for file in (tmp_path / "out").rglob("*.png")]
    assert sorted(names) == [f"{index:09d}.png" for index in range(3000)]
    assert pixels(tmp_path / "out") == pixels(tmp_path / "alone")
    assert not list((tmp_path / "out").glob("*.tmp-*"))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--tar"], "use --count 100000 --out samples"),
        (["--tar", "--count", 5, "--out", "x.png"], "are for many samples in a folder"),
        (["--tar", "--count", 5, "--out", "x", "--truncation", 1], "exclude --code, --truncation"),
        (["--tar", "--count", 0, "--out", "x"], "--count 0: expected 1 or more"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    folder: Path, tmp_path: Path, more: list[object], why: str
) -> None:
    done = run("sample", folder / "gan", *more, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), why in done.stderr) == (2, 1, True), done.stderr
    assert not list(tmp_path.iterdir())


def test_systems_that_draw_more_than_latents_need_one_process(folder: Path, tmp_path: Path) -> None:
    ganforge.train(
        "pixelcnn", str(folder / "data"), run=tmp_path / "run", steps=1, batch=4, width=4, layers=1, levels=2,
        device="cpu", quiet=True,
    )  # fmt: skip
    done = together("sample", "run", "--count", 4, "--out", "out", cwd=tmp_path)
    assert done[0][0] == 2, done
    assert "pixelcnn draws each sample with" in done[0][2]
    assert run("sample", "run", "--count", 4, "--out", "one", "--tar", cwd=tmp_path).returncode == 0
