"""Two hosts that lose each other name each other; `benchmarks/hosts.py` measures what follows."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from command import begin, draw_images
from launched import COMMAND, ended

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from hosts import ADDRESSES, INTERFACE, PORT, Network, network

PROGRAM = f"import ganforge.distributed as d; d.Pulse.__init__.__defaults__ = (4.0, False)\n{COMMAND}"
WORDS = "train gan --data images --run run --batch 8 --steps 100000 --checkpoint-every 10 --device cpu"


@pytest.fixture
def joined() -> Iterator[Network]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(network())
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces need Linux, root and ip: {error}")
        yield made


@pytest.mark.slow
def test_a_pulled_cable_is_noticed_on_both_sides(joined: Network, tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    processes = [
        begin(
            ["ip", "netns", "exec", joined.hosts[rank], sys.executable, "-c", PROGRAM, *WORDS.split()],
            tmp_path,
            RANK=str(rank),
            LOCAL_RANK="0",
            WORLD_SIZE="2",
            MASTER_ADDR=ADDRESSES[0],
            MASTER_PORT=str(PORT),
            GLOO_SOCKET_IFNAME=INTERFACE,
        )
        for rank in range(2)
    ]
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoints" / "000010").exists():
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < until
            time.sleep(0.1)
        joined.plug(1, "down")
        cut = time.monotonic()
    finally:
        done = ended(processes, timeout=30)
    assert time.monotonic() - cut < 20
    assert [code for code, _, _ in done] == [2, 2], done
    for other, (_, _, errors) in zip((1, 0), done, strict=True):
        assert f"process {other} of 2 has given no sign of life for 4 s while training" in errors
