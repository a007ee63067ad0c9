"""One thread for each test process: two processes with two threads each wait for one another on two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MPLCONFIGDIR", "/tmp/ganforge-matplotlib")

import pytest
import torch

torch.set_num_threads(1)
torch.set_warn_always(True)  # torch says some warnings once per process, and warnings are errors here


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
