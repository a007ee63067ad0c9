"""A session: the panels of one viewer, trained in step by one thread while somebody watches."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch

from ganforge.errors import UserError
from ganforge.studio.playground.losses import LOSSES
from ganforge.studio.playground.measures import Measures
from ganforge.studio.playground.panel import Panel
from ganforge.studio.playground.points import drawn, preset, shown_points, window_of
from ganforge.studio.playground.settings import MOST_EVENTS, Event, Settings
from ganforge.studio.playground.update import Only
from ganforge.studio.playground.views import View, finite, pack_points

SILENT_SECONDS = 30.0
"""After so long without a viewer a session ends: a page that is reloaded opens another."""
FRAME_SECONDS, MORE_SECONDS, CATCH_UP_SECONDS = 0.03, 0.03, 0.2
"""Between frames: of one panel, more for each other one, and where a link is caught up with."""
MOST_FRAMES = 30.0
SLOW_SECONDS = 0.7
MOST_HISTORY = 400
Speed = Literal["slow", "single", "full"]
HISTORY = ("js", "kl", "found", "good", "gradient")


class Session:
    """Panels on one data set and seed. All methods may be called from any thread.

    Frames are made only as fast as a viewer takes them, and nothing is trained while nobody does.
    """

    def __init__(self, settings: Settings, on_end: Callable[[], None] = lambda: None) -> None:
        self.settings = settings.model_copy(deep=True, update={"events": []})
        dataset = preset(settings.data) if settings.drawn is None else drawn(settings.drawn)
        self.dataset = dataset
        real = shown_points(dataset)
        self.window = window_of(real)
        measures = Measures(dataset, self.window)
        self.are_modes = measures.are_modes
        self.panels = [
            Panel(each.loss, dataset, settings.seed, settings.shared, each.fields, settings.steps)
            for each in settings.panels
        ]
        self.views = [View(panel, measures, self.window) for panel in self.panels]
        self._real = pack_points(real, self.window)
        self.step = 0
        self._replayed = list(settings.events)
        self._done = list[Event]()
        self._history: list[dict[str, Any]] = []
        self._playing, self._until, self.speed = False, 0, "full"
        self._phase = ""
        self._last_frame: tuple[float, int] = (time.monotonic(), 0)
        self._slot: str | None = None
        self._due = True
        self._wake: Callable[[], None] | None = None
        self._left = time.monotonic()
        self._closed = False
        self._work = threading.Lock()
        self._waiting = 0
        self._changed = threading.Condition()
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
        self._thread.start()

    # What a viewer does.

    def play(self, until: int | None = None, speed: Speed | None = None) -> None:
        """Train, up to the step `until` where given."""
        with self._changed:
            self._playing = True
            self._until = self.settings.steps if until is None else min(until, self.settings.steps)
            if speed is not None:
                self.speed = speed
            self._changed.notify_all()

    def pause(self) -> None:
        """Train no more; returns when the step at work is done."""
        with self._changed:
            self._playing = False
            self._changed.notify_all()
        with self._alone():
            self._due = True

    def advance(self, only: Only | None = None, count: int = 1) -> None:
        """So many steps at once, of both networks or `only` one; raises UserError at the last step."""
        with self._alone():
            if self.step + count > self.settings.steps:
                raise UserError(f"all {self.settings.steps} steps are done: begin again with more")
            self._leave_link()
            if only is not None:
                self._remember(only, count)
            for _ in range(count):
                self._advance_all(only, watching=True)
            self._phase = only or ""
            self._due = True

    def set_fields(self, panel: int, fields: Mapping[str, Any]) -> None:
        """Change rates of one panel from the next step on; raises UserError."""
        with self._alone():
            if not 0 <= panel < len(self.panels):
                raise UserError(f"panel {panel + 1}: expected 1 to {len(self.panels)}")
            if len(self._done) >= MOST_EVENTS:
                raise UserError(f"{MOST_EVENTS} changes by hand: restart")
            self._leave_link()
            self.panels[panel].set_fields(fields)
            self._done.append(Event(at=self.step, panel=panel, fields=dict(fields)))
            self._due = True

    def state(self) -> dict[str, Any]:
        """The settings with all that was done by hand, the step, and a hash of all weights."""
        with self._alone():
            settings = self.settings.model_copy(update={"events": self._done})
            digest = hashlib.sha256("".join(panel.fingerprint() for panel in self.panels).encode())
            return {
                "settings": settings.model_dump(mode="json", exclude_defaults=True),
                "step": self.step,
                "fingerprint": digest.hexdigest()[:12],
            }

    def describe(self) -> dict[str, Any]:
        """What does not change while it trains."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "window": self.window,
            "real": self._real,
            "areModes": self.are_modes,
            "panels": [
                {
                    "loss": panel.loss,
                    "title": LOSSES[panel.loss].title,
                    "values": panel.system.config.model_dump(mode="json"),
                    "discriminator": panel.discriminator is not None,
                    "command": panel.command if self.settings.drawn is None else "",
                    "parameters": sum(p.numel() for p in panel.system.parameters()),
                }
                for panel in self.panels
            ],
        }

    @contextmanager
    def still(self) -> Iterator[None]:
        """Within this context nothing is trained."""
        with self._alone():
            yield

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._notify()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    @property
    def silent_seconds(self) -> float:
        """How long nobody has watched."""
        return 0.0 if self._wake is not None else time.monotonic() - self._left

    def join(self, seconds: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(seconds)

    # Frames, and who takes them.

    def attach(self, wake: Callable[[], None]) -> None:
        """From now on `wake` is called whenever a frame is ready; whoever was attached before gets none."""
        before = self._wake
        with self._changed:
            self._wake, self._slot, self._due = wake, None, True
            self._changed.notify_all()
        if before is not None:
            before()

    def detach(self, wake: Callable[[], None]) -> None:
        """Undo `attach`."""
        with self._changed:
            if self._wake is wake:
                self._wake, self._left = None, time.monotonic()

    def take(self, wake: Callable[[], None]) -> str | None:
        """The frame that is ready, for whoever is attached; None where there is none."""
        with self._changed:
            if self._wake is not wake:
                return None
            text, self._slot = self._slot, None
            self._changed.notify_all()
            return text

    def is_attached(self, wake: Callable[[], None]) -> bool:
        """Whether `wake` is still the one that is called."""
        return self._wake is wake and not self._closed

    def history(self) -> dict[str, Any]:
        """The measures so far, thinned: one list for each."""
        rows = list(self._history)
        return {
            "steps": [row["step"] for row in rows],
            "panels": [
                [{name: row["panels"][index].get(name) for name in HISTORY} | row["panels"][index]["losses"]
                 for row in rows]
                for index in range(len(self.panels))
            ],
        }  # fmt: skip

    # The thread.

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within this context the thread does nothing; others are let in before it."""
        with self._changed:
            self._waiting += 1
        self._work.acquire()
        try:
            yield
        finally:
            self._work.release()
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()

    @property
    def _moving(self) -> bool:
        return self._playing and self.step < self._until

    def _run(self) -> None:
        torch.set_num_threads(1)  # small matrices; the other cores are the browser's
        try:
            while self._wait():
                with self._work:
                    begun = time.monotonic()
                    self._train()
                    self._due = False
                    if not self._moving:
                        self._playing = False
                    self._offer(self._frame())
                if self._moving and self.speed != "slow":
                    time.sleep(max(0.0, begun + 1 / MOST_FRAMES - time.monotonic()))
        finally:
            self._closed = True
            self._on_end()
            self._notify()

    def _wait(self) -> bool:
        """Until there is something to do and somebody to show it to; False where the session ends."""
        with self._changed:
            while not self._closed:
                ready = self._wake is not None and self._slot is None and (self._due or self._moving)
                if ready and not self._waiting:
                    return True
                if self._wake is None and time.monotonic() - self._left > SILENT_SECONDS:
                    return False
                self._changed.wait(1.0)
            return False

    def _train(self) -> None:
        """The steps up to the next frame."""
        if not self._moving:
            return
        if self.speed == "slow" and len(self.panels) == 1:
            self._advance_slowly()
            return
        catching_up = self._until < self.settings.steps
        between = FRAME_SECONDS + MORE_SECONDS * (len(self.panels) - 1)
        end = time.monotonic() + max(between, CATCH_UP_SECONDS * catching_up) - self._seconds_per_frame
        last = self.speed != "full" and not catching_up
        while True:
            last = last or time.monotonic() + 2 * self._seconds_per_step > end
            last = last or self.step + 1 >= self._until
            self._advance_all(self._only_of_link(), watching=last)
            if last or not self._moving or self._closed:
                break
        if self.speed == "slow":
            self._linger()

    def _only_of_link(self) -> Only | None:
        """Which network the link steps alone here, after doing what it says was changed."""
        while self._replayed and self._replayed[0].at <= self.step:
            event = self._replayed[0]
            if event.fields is not None:
                if event.panel < len(self.panels):
                    self.panels[event.panel].set_fields(event.fields)
                self._done.append(self._replayed.pop(0))
                continue
            if self.step < event.at + event.count:
                if not self._done or self._done[-1] is not event:
                    self._done.append(event)
                return event.only
            self._replayed.pop(0)
        return None

    def _leave_link(self) -> None:
        """From here on it is another training than that of the link."""
        if self._replayed and self._done and self._done[-1] is self._replayed[0]:
            self._done[-1].count = max(1, self.step - self._done[-1].at)
        self._replayed.clear()

    _seconds_per_step = _seconds_per_frame = 0.0

    def _advance_all(self, only: Only | None, *, watching: bool) -> None:
        begun = time.monotonic()
        for panel in self.panels:
            panel.advance(only, watching=watching)
        self.step += 1
        self._seconds_per_step = time.monotonic() - begun

    def _advance_slowly(self) -> None:
        """One step, with a frame after the update of each network."""
        panel = self.panels[0]
        only = self._only_of_link()

        def show(name: str) -> None:
            role = "generator" if name == "generator" else "discriminator"
            if role == "generator":  # the frame after the step shows it
                return
            self._phase = role
            with panel.paused():
                self._offer(self._frame())
                self._linger(taken=True)

        panel.update.after = show
        try:
            self._advance_all(only, watching=True)
        finally:
            panel.update.after = None
        self._phase = only or "generator"
        self._linger()

    def _linger(self, *, taken: bool = False) -> None:
        """Wait a while, less where something else is wanted; `taken`: and until the frame is."""
        end = time.monotonic() + SLOW_SECONDS
        with self._changed:
            while not (self._closed or self._waiting or not self._playing):
                left = end - time.monotonic()
                if left <= 0 and not (taken and self._slot is not None and self._wake is not None):
                    return
                self._changed.wait(max(0.02, min(left, 0.1)))

    def _remember(self, only: Only, count: int) -> None:
        last = self._done[-1] if self._done else None
        if last is not None and last.only == only and last.at + last.count == self.step:
            last.count += count
            return
        if len(self._done) >= MOST_EVENTS:
            raise UserError(f"{MOST_EVENTS} changes by hand: restart")
        self._done.append(Event(at=self.step, only=only, count=count))

    def _frame(self) -> str:
        begun = time.monotonic()
        panels = [view.frame() for view in self.views]
        self._seconds_per_frame = time.monotonic() - begun
        row = {
            "step": self.step,
            "panels": [{name: each[name] for name in (*HISTORY, "losses")} for each in panels],
        }
        if not self._history or self._history[-1]["step"] < self.step:
            self._history.append(row)
            if len(self._history) > MOST_HISTORY:
                del self._history[1::2]
        return json.dumps(
            {
                "step": self.step,
                "playing": self._moving,
                "until": self._until if self._until < self.settings.steps else None,
                "phase": self._phase,
                "stepsPerSecond": finite(self._pace()),
                "panels": panels,
            },
            allow_nan=False,
        )

    def _pace(self) -> float:
        """Steps a second since the last frame."""
        now, (before, step) = time.monotonic(), self._last_frame
        self._last_frame = now, self.step
        return (self.step - step) / max(now - before, 1e-3)

    def _offer(self, text: str) -> None:
        with self._changed:
            self._slot = text
        self._notify()

    def _notify(self) -> None:
        wake = self._wake
        if wake is not None:
            wake()
