"""One thread for each model, which decodes what waits together: micro-batching."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ganforge.generation.explore.keys import Keys

T = TypeVar("T")


@dataclass(frozen=True)
class Decoding(Generic[T]):
    """Latents to decode, with those of other requests where these wait, and what becomes of the images."""

    keys: Keys
    finish: Callable[[Tensor], T]

    @property
    def shape(self) -> tuple[Any, ...]:
        """What two decodings must have in common to be one."""
        parts = (self.keys.latents, self.keys.embeddings, self.keys.labels)
        return tuple(None if part is None else (part.shape[1:], part.dtype) for part in parts)


@dataclass(eq=False)
class Call(Generic[T]):
    """A request in the queue: `start` does the work, or says what to decode where it may wait for others.

    `future` has the result, or the error that `start`, the decoding or `finish` raised.
    """

    start: Callable[[], Decoding[T] | T]
    decodes: bool
    future: Future[T] = field(default_factory=Future)


class Closed(Exception):  # noqa: N818 - a state, not a fault
    """The thread of a model takes no calls any more."""


class Worker:
    """Calls of one model, one after another or decoded together, in a thread that ends with `close`.

    `decode` takes keys whose latents are at most `most_images`, or those of a single call; it is called by
    this thread alone. `watch` gets the number of images and of calls of each decoding.
    """

    def __init__(
        self,
        decode: Callable[[Keys], Tensor],
        most_images: int,
        watch: Callable[[int, int], None] = lambda images, calls: None,
        name: str = "worker",
    ) -> None:
        self._decode, self._most_images, self._watch = decode, most_images, watch
        self._waiting = deque[Call[Any]]()
        self._changed = threading.Condition()
        self._closed = False
        self.working = False
        """Whether the thread is anywhere but at the empty queue."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, start: Callable[[], Decoding[T] | T], decodes: bool) -> Call[T]:
        """Put a call at the end of the queue; raises Closed where the thread has ended, or is about to."""
        call = Call(start, decodes)
        with self._changed:
            if self._closed:
                raise Closed
            self._waiting.append(call)
            self._changed.notify()
        return call

    def cancel(self, call: Call[Any]) -> None:
        """Take a call out of the queue; one that has begun is finished for nobody."""
        with self._changed:
            if call in self._waiting:
                self._waiting.remove(call)
        call.future.cancel()

    def close(self) -> None:
        """End the thread as soon as what waits is done; nothing may be submitted any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        held: _Begun | None = None
        while True:
            if held is None:
                if (call := self._next()) is None:
                    return
                held = self._begin(call)
            if held is not None:
                held = self._decode_together(held)

    def _begin(self, call: Call[Any] | None) -> "_Begun | None":
        """Start a call; what it has to decode, or None where it is done, or was cancelled."""
        if call is None or not call.future.set_running_or_notify_cancel():
            return None
        with _reported(call):
            begun = call.start()
            if isinstance(begun, Decoding):
                return call, begun
            call.future.set_result(begun)
        return None

    def _next(self) -> Call[Any] | None:
        """The first call of the queue, as soon as there is one; None where none will come."""
        with self._changed:
            self.working = False
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self.working = True
            return self._waiting.popleft()

    def _next_that_decodes(self) -> Call[Any] | None:
        """The first call, where it decodes; never a later one, for whose sake others would starve."""
        with self._changed:
            return self._waiting.popleft() if self._waiting and self._waiting[0].decodes else None

    def _decode_together(self, first: "_Begun") -> "_Begun | None":
        """Decode `first` and, in their order, what else of that shape waits; returns one begun and left."""
        batch, left = [first], None
        images = len(first[1].keys.latents)
        while images < self._most_images and (call := self._next_that_decodes()) is not None:
            if (begun := self._begin(call)) is None:
                continue
            size = len(begun[1].keys.latents)
            if begun[1].shape != first[1].shape or images + size > self._most_images:
                left = begun
                break
            batch.append(begun)
            images += size
        try:
            made = self._decode(_joined([decoding.keys for _, decoding in batch]))
        except BaseException as error:
            for call, _ in batch:
                call.future.set_exception(error)
            return left
        self._watch(images, len(batch))
        parts = made.split([len(decoding.keys.latents) for _, decoding in batch])
        for (call, decoding), part in zip(batch, parts, strict=True):
            with _reported(call):
                call.future.set_result(decoding.finish(part))
        return left


_Begun = tuple[Call[Any], Decoding[Any]]


@contextmanager
def _reported(call: Call[Any]) -> Iterator[None]:
    """Within this context what is raised is the result of the call."""
    try:
        yield
    except BaseException as error:  # the thread must outlive whatever a request does
        if not call.future.done():
            call.future.set_exception(error)


def _joined(keys: list[Keys]) -> Keys:
    if len(keys) == 1:
        return keys[0]

    def join(parts: list[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return torch.cat(present) if present else None

    latents = torch.cat([each.latents for each in keys])
    return Keys(latents, join([each.embeddings for each in keys]), join([each.labels for each in keys]))
