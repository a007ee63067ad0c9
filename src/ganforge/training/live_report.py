"""The report of a run while it trains."""

import time

from ganforge.reporting.browser import show
from ganforge.reporting.page import write_report
from ganforge.runs.folder import Run
from ganforge.training.progress import Display

MOST_OF_TIME = 0.05  # of a training's time: where previews follow faster, some are left out of the report


class LiveReport:
    """Writes the report again with a preview, unless that would take too much of the training's time."""

    def __init__(self, run: Run, open_it: bool) -> None:
        self._run, self._open = run, open_it
        self._due = 0.0

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
