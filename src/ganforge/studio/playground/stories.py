"""Failures of GANs and their cures, each as two panels that show it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Story:
    """A failure in the first panel and its cure in the second, told in two sentences each, with papers."""

    name: str
    title: str
    failure: str
    failure_paper: tuple[str, str]
    cure: str
    cure_paper: tuple[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 1000

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "name": self.name,
            "title": self.title,
            "failure": {"text": self.failure, "paper": self.failure_paper[0], "arxiv": self.failure_paper[1]},
            "cure": {"text": self.cure, "paper": self.cure_paper[0], "arxiv": self.cure_paper[1]},
            "settings": self.settings,
            "steps": self.steps,
        }


STORIES: tuple[Story, ...] = ()
