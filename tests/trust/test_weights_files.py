"""Files of weights from anywhere: read as tensors or refused in a line, with little time and memory."""

import resource
import sys
import time
from pathlib import Path

import pytest
import torch
import weights

from ganforge.errors import UserError
from ganforge.files.pth import read_tensors

MOST_SECONDS = 2.0  # of CPU: others may use the machine too
MOST_KB = 500_000

WATCH: list[str] = []
ON: list[bool] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if ON and event in (
        "os.system",
        "subprocess.Popen",
        "socket.connect",
        "webbrowser.open",
        "os.mkdir",
    ):
        WATCH.append(f"{event} {arguments}")


sys.addaudithook(_hook)


def attempt(file: Path, data: bytes) -> bool:
    """Whether `data` is read; fails where it is neither read nor refused in a line, or takes too much."""
    file.write_bytes(data)
    begun, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WATCH.clear()
    ON.append(True)
    try:
        tensors = read_tensors(file)
    except UserError as error:
        if "\n" in str(error) or len(str(error)) > 600:
            raise AssertionError(f"no line: {error}") from error
        return False
    finally:
        ON.clear()
        assert WATCH == []
        assert time.process_time() - begun < MOST_SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MOST_KB
    return all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@pytest.mark.parametrize("name", weights.by_hand())
def test_what_is_made_by_hand_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert not attempt(tmp_path / "w.pth", weights.by_hand()[name])
    assert not (tmp_path / "executed").exists()


def fuzz(folder: Path, count: int, seed: int) -> int:
    """How many of `count` files made by chance were read all the same."""
    return sum(attempt(folder / "w.pth", data) for data in weights.by_chance(count, seed))


def test_what_is_made_by_chance_is_read_or_refused(tmp_path: Path) -> None:
    for zipped in (True, False):
        assert attempt(tmp_path / "w.pth", weights.good(zipped))
    assert attempt(tmp_path / "w.pth", weights.archive(weights.one_tensor((2, 2), (2, 1))))
    assert 0 < fuzz(tmp_path, 600, 0) < 400
