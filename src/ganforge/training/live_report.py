"""The report of a run while it trains, and its tracker."""

import time
from collections.abc import Callable
from pathlib import Path

from ganforge.reporting.browser import show
from ganforge.reporting.page import write_report
from ganforge.reporting.trackers import open_tracker
from ganforge.reporting.trackers.feed import Feed, identity_of
from ganforge.runs.folder import Run
from ganforge.training.progress import Display

MOST_OF_TIME = 0.05  # of a training's time: where previews follow faster, some are left out of the report


def feed_of(run: Run, log: str, since: int = -1, out: Path | None = None, suffix: str = "") -> Feed:
    """What gives the record of `run` to the tracker `log`; steps up to `since` are there already.

    With a `suffix` of its identity it is another run there than the one that training has made.
    """
    config = run.config.model_dump(mode="json", include={"system", "data", "train", "config"})
    shown = {"system": config["system"]}
    for group in ("data", "train", "config"):
        shown |= {f"{group}.{name}": value for name, value in config[group].items()}
    identity = identity_of(run.path) + suffix
    return Feed(run.path, lambda: open_tracker(log, run.path, identity, shown, out), since)


class LiveReport:
    """Writes the report again with a preview, unless that would take too much of the training's time."""

    def __init__(self, run: Run, open_it: bool, since: int = -1) -> None:
        self._run, self._open = run, open_it
        self._due = 0.0
        self._feed = None if run.config.train.log is None else feed_of(run, run.config.train.log, since)

    def follow(self, display: Display) -> None:
        """Give the tracker what is new; a failure is said once and never stops the training."""
        if self._feed is not None:
            self._try(self._feed.follow, display)

    def close(self, display: Display) -> None:
        """Give the tracker the rest."""
        if self._feed is not None:
            self._try(self._feed.close, display)
            self._feed = None

    def _try(self, call: Callable[[], None], display: Display) -> None:
        try:
            call()
        except Exception as error:  # whatever a library or the network raises: the training matters more
            first = (str(error).splitlines() or [type(error).__name__])[0]
            log = self._run.config.train.log
            display.say(
                f"the tracker {log} fails, training continues: {first}; later: ganforge export "
                f"{self._run.path} log --to {log}"
            )
            self._feed = None

    def refresh(self, display: Display) -> None:
        """Write the report; a failure is said once and never stops the training."""
        begun = time.monotonic()
        if begun < self._due:
            return
        try:
            path = write_report(self._run.path, running=True)
        except Exception as error:  # whatever it is: the training matters more
            display.say(f"the report cannot be written, training continues: {error}")
            self._due = float("inf")
            return
        took = time.monotonic() - begun
        self._due = begun + took / MOST_OF_TIME
        if self._open:
            self._open = False
            display.say(show(path))
