"""Processes that share work notice within seconds which of them has stopped."""

import multiprocessing
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from freezing import freezing

from ganforge import distributed
from ganforge.distributed import Pulse
from ganforge.errors import UserError


def test_a_silent_process_is_named_and_a_slow_one_is_waited_for() -> None:
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    first, second = (Pulse(rank, 2, store, silence=0.6) for rank in range(2))
    begun = time.monotonic()
    second.stop()
    with pytest.raises(
        UserError, match=r"process 1 of 2 has given no sign of life for 1 s while it rains"
    ) as no:
        first.wait("it rains")
    assert "\n" not in str(no.value)
    assert time.monotonic() - begun < 5
    third = Pulse(1, 2, store, silence=0.6)

    def late() -> None:
        time.sleep(1.5)
        third.wait("it rains")

    thread = threading.Thread(target=late)
    thread.start()
    first._waits = 0
    first.wait("it rains")
    thread.join()
    first.stop()
    third.stop()


def test_a_store_that_does_not_answer_ends_a_process_and_names_process_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    cut, mended = threading.Event(), threading.Event()

    class Remote:
        """A store over a connection that can be cut: calls then wait."""

        def add(self, name: str, amount: int) -> int:
            if cut.is_set():
                mended.wait()
            number: int = store.add(name, amount)
            return number

    given_up: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(Pulse, "_give_up", lambda _, rank: given_up.put(rank))
    process_0 = Pulse(0, 2, store, silence=0.6)
    process_1 = Pulse(1, 2, Remote(), silence=0.6, watches=True)
    with pytest.raises(queue.Empty):
        given_up.get(timeout=2)
    cut.set()
    assert given_up.get(timeout=10) == 0
    process_1.stop()  # although its thread waits
    mended.set()
    process_0.stop()


@pytest.mark.slow
def test_a_frozen_process_ends_the_work_with_its_name(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [
        context.Process(target=freezing, args=(rank, str(tmp_path / "store"), queue)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    try:
        said: dict[Any, Any] = {}
        while not any("sign of life" in str(key) for key in said):
            key, value = queue.get(timeout=60)
            said[key] = value
        assert said[0] == [1, 2]
        (text,) = (str(key) for key in said if "sign of life" in str(key))
        assert text.startswith("process 1 of 2 has given no sign of life for 2 s while samples are gathered")
        assert said[text] < 30
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    assert distributed.SILENCE < 30
