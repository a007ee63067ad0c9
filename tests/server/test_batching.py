"""The thread that decodes what waits together: order, shapes, errors, and calls that are given up."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
import torch
from torch import Tensor

from ganforge.generation.explore.keys import Keys
from ganforge.server.batching import Call, Closed, Decoding, Worker

SECONDS = 10


class Recorder:
    """A decoder that doubles latents, and keeps how many came at a time; it waits for `go` first."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()

    def __call__(self, keys: Keys) -> Tensor:
        assert self.go.wait(SECONDS)
        self.sizes.append(len(keys.latents))
        if keys.latents.isnan().any():
            raise ValueError("not a number")
        return 2 * keys.latents


def decoding(value: float, count: int = 1, size: int = 3, labels: bool = False) -> Callable[[], Any]:
    keys = Keys(torch.full((count, size), value), None, torch.zeros(count).long() if labels else None)
    return lambda: Decoding(keys, lambda images: images.sum().item())


def submit(worker: Worker, *starts: Callable[[], Any]) -> list[Call[Any]]:
    """The calls; before them one, which is decoded alone, so that all of them wait meanwhile."""
    worker.submit(decoding(0.0, size=1), True)
    return [worker.submit(start, True) for start in starts]


def test_what_waits_is_decoded_together_each_with_its_own_result() -> None:
    decode = Recorder()
    worker = Worker(decode, 100)
    calls = submit(worker, *(decoding(float(value), count=2) for value in range(20)))
    decode.go.set()
    assert [call.future.result(SECONDS) for call in calls] == [2 * 2 * 3 * value for value in range(20)]
    assert decode.sizes[-1] >= 38, "at most the first two decoded what came first"


def test_no_more_images_than_allowed_but_for_a_single_call() -> None:
    decode = Recorder()
    worker = Worker(decode, 5)
    calls = submit(worker, *[decoding(1.0, count=2)] * 7, decoding(1.0, count=9))
    decode.go.set()
    assert [call.future.result(SECONDS) for call in calls] == [12.0] * 7 + [54.0]
    assert max(size for size in decode.sizes if size != 9) <= 5
    assert 9 in decode.sizes


def test_other_shapes_and_conditions_are_other_batches() -> None:
    decode = Recorder()
    worker = Worker(decode, 100)
    kinds = [decoding(1.0), decoding(1.0, size=4), decoding(1.0, labels=True), decoding(1.0)] * 500
    calls = submit(worker, *kinds)
    decode.go.set()
    assert [call.future.result(SECONDS) for call in calls] == [6.0, 8.0, 6.0, 6.0] * 500


def test_an_error_is_that_of_its_own_call_and_the_thread_lives_on() -> None:
    decode = Recorder()
    decode.go.set()
    worker = Worker(decode, 1)
    bad, good = worker.submit(decoding(float("nan")), True), worker.submit(decoding(1.0), True)
    raising = worker.submit(lambda: 1 // 0, True)
    with pytest.raises(ValueError, match="not a number"):
        bad.future.result(SECONDS)
    with pytest.raises(ZeroDivisionError):
        raising.future.result(SECONDS)
    assert good.future.result(SECONDS) == 6
    assert worker.submit(lambda: "done", False).future.result(SECONDS) == "done"


def test_an_error_of_what_becomes_of_images_leaves_the_others_of_its_batch() -> None:
    decode = Recorder()
    worker = Worker(decode, 100)
    broken = Decoding(Keys(torch.ones(1, 3)), lambda images: 1 // 0)
    first, second = submit(worker, lambda: broken, decoding(1.0))
    decode.go.set()
    assert second.future.result(SECONDS) == 6
    with pytest.raises(ZeroDivisionError):
        first.future.result(SECONDS)


def test_a_call_that_is_given_up_is_not_begun() -> None:
    decode, begun = Recorder(), list[int]()
    worker = Worker(decode, 100)
    (other,) = submit(worker, decoding(1.0))
    given_up = worker.submit(lambda: begun.append(1), False)
    worker.cancel(given_up)
    decode.go.set()
    assert other.future.result(SECONDS) == 6
    assert worker.submit(lambda: "done", False).future.result(SECONDS) == "done"
    with pytest.raises(CancelledError):
        given_up.future.result(SECONDS)
    assert not begun


def test_no_call_overtakes_another() -> None:
    """Work without latents would otherwise wait for as long as others come to decode."""
    decode, order = Recorder(), list[str]()
    worker = Worker(decode, 100)

    def noted(name: str, start: Callable[[], Any]) -> Callable[[], Any]:
        def begin() -> Any:
            order.append(name)
            return start()

        return begin

    (first,) = submit(worker, noted("first", decoding(1.0)))
    alone = worker.submit(noted("alone", lambda: "alone"), False)
    last = worker.submit(noted("last", decoding(1.0)), True)
    decode.go.set()
    results = [call.future.result(SECONDS) for call in (first, alone, last)]
    assert results == [6, "alone", 6]
    assert order == ["first", "alone", "last"]


def test_a_closed_worker_does_what_waits_and_ends() -> None:
    decode = Recorder()
    worker = Worker(decode, 100, name="to be closed")
    (thread,) = [each for each in threading.enumerate() if each.name == "to be closed"]
    (call,) = submit(worker, decoding(1.0))
    worker.close()
    decode.go.set()
    assert call.future.result(SECONDS) == 6
    thread.join(SECONDS)
    assert not thread.is_alive()
    with pytest.raises(Closed):
        worker.submit(decoding(1.0), True)
