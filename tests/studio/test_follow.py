"""Many viewers of a run cost as much as one, and of a run that trains what is costly is read rarely."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from studios import studio
from views import small_runs

from ganforge.studio import follow
from ganforge.studio.follow import Followers
from ganforge.studio.runs import Readings


def test_viewers_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "SECONDS_BETWEEN_LOOKS", 0.1)
    looks = list[float]()

    def read(path: Path) -> dict[str, Any]:
        looks.append(time.monotonic())
        return {"name": path.name, "step": len(looks) // 3}

    followers = Followers(read)

    async def view() -> list[str]:
        events = list[str]()
        async for event in followers.follow(Path("runs/first")):
            events.append(event)
            if len(events) == 9:
                break
        return events

    async def view_all() -> list[list[str]]:
        return await asyncio.gather(*(view() for _ in range(200)))

    with ThreadPoolExecutor(1) as apart:  # the browser of other tests has a loop in this thread
        everything = apart.submit(lambda: asyncio.run(view_all())).result()
    assert len(looks) <= 20, "looks grow with the time, not with the viewers"
    for events in everything:
        data = [json.loads(event[6:]) for event in events if event.startswith("data: ")]
        assert events[0].startswith("data: ")
        assert [each["step"] for each in data] == sorted({each["step"] for each in data})
        assert ": still here\n\n" in events


def test_readings_are_made_once_for_those_who_wait() -> None:
    readings, calls = Readings(), list[int]()

    def read() -> int:
        calls.append(1)
        time.sleep(0.2)
        return len(calls)

    got = list[int]()
    threads = [
        threading.Thread(target=lambda: got.append(readings.get("row", Path("a"), (1,), read)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1] * 20


def test_patience() -> None:
    """What was costly is kept though files changed; not by those who are impatient, and not for ever."""
    readings, calls = Readings(), list[int]()

    def read() -> int:
        calls.append(1)
        time.sleep(0.05)
        return len(calls)

    def get(stamp: int, patient: bool) -> int:
        return int(readings.get("row", Path("a"), (stamp,), read, patient))

    assert [get(1, True), get(2, True), get(2, False), get(3, True)] == [1, 1, 2, 2]
    time.sleep(1.3)
    assert get(3, True) == 3
    readings.forget_others([])
    assert get(3, False) == 4


def memory(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


@pytest.mark.slow
def test_memory_of_viewers_is_flat(tmp_path: Path) -> None:
    """60 viewers who come and leave, three times; `benchmarks/studio.py` has 200 for a minute."""
    with studio(small_runs(tmp_path / "runs")) as started:

        def view() -> None:
            with started.client.stream("GET", "/api/runs/first/events") as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith("data: ")
                for _, _line in zip(range(5), lines, strict=False):
                    pass

        sizes = list[int]()
        for _ in range(3):
            threads = [threading.Thread(target=view) for _ in range(60)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            sizes.append(memory(started.process.pid))
        assert sizes[2] - sizes[0] < 8, sizes
