"""One thread for each test process: two processes with two threads each wait for one another on two cores."""

import os
import signal
import uuid

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a test run in the background, and its processes
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLCONFIGDIR", "/tmp/ganforge-matplotlib")

import pytest
import torch

torch.set_num_threads(1)
torch.set_warn_always(True)  # torch says some warnings once per process, and warnings are errors here


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a cache of its own: none sees what another, or the user, has kept."""
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{uuid.uuid4().hex}"))
