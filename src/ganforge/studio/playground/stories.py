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


_NARROW = {"generator_hidden": [32, 32], "discriminator_hidden": [64, 64]}
_LINEAR: dict[str, list[int]] = {"generator_hidden": [], "discriminator_hidden": []}


def _panel(loss: str, **fields: Any) -> dict[str, Any]:
    return {"loss": loss, "fields": fields}


_FAST_D = {"discriminator_steps": 5, "discriminator_learning_rate": 0.01, "learning_rate": 2e-4}
_FASTER_D = _FAST_D | {"discriminator_learning_rate": 0.02}
_AROUND = {"learning_rate": 5e-3}

STORIES = (
    Story(
        "mode_collapse",
        "Mode collapse",
        "G learns four times as fast as D and runs, as one small cloud, to wherever D believes most. D "
        "follows, and the cloud moves on: hardly a mode is found.",
        ("Metz et al. 2016", "1611.02163"),
        "R3GAN compares each generated point with a real one, so that no cloud can win everywhere at once. "
        "Penalties on the slope of D keep the pushes small, and the points spread over the ring.",
        ("Huang et al. 2024", "2501.05441"),
        {
            "data": "ring",
            "panels": [
                _panel("non_saturating", learning_rate=2e-3, discriminator_learning_rate=5e-4, momentum=0.9),
                _panel("r3gan", learning_rate=2e-3),
            ],
        },
        300,
    ),
    Story(
        "vanishing_gradient",
        "Vanishing gradient",
        "D is updated five times a step and is soon sure: D(G(z)) is nearly 0, where log(1 - D) is flat. The "
        "gradient of G is a thousandth of what it needs, and its points do not move.",
        ("Goodfellow et al. 2014", "1406.2661"),
        "G maximises log D(G(z)) instead, the same game with a slope where D is sure. With the same D its "
        "points are at the ring in a hundred steps.",
        ("Goodfellow et al. 2014", "1406.2661"),
        {
            "data": "ring",
            "shared": _NARROW,
            "panels": [_panel("minimax", **_FASTER_D), _panel("non_saturating", **_FASTER_D)],
        },
        150,
    ),
    Story(
        "oscillation",
        "Oscillation",
        "Both networks are linear, so D sees only where the mean is: G runs past it, D turns round, and G "
        "comes back. With a momentum of 0.9 the mean circles the data for ever.",
        ("Mescheder et al. 2018", "1801.04406"),
        "Momentum lets a player run on after the other has turned. Without it the circles shrink, and the "
        "mean comes to rest on that of the data.",
        ("Gidel et al. 2018", "1807.04740"),
        {
            "data": "gaussian",
            "shared": _LINEAR,
            "panels": [
                _panel("non_saturating", **_AROUND, momentum=0.9),
                _panel("non_saturating", **_AROUND, momentum=0.0),
            ],
        },
        1000,
    ),
    Story(
        "strong_discriminator",
        "D too strong",
        "D makes five updates for one of G, at fifty times its rate, and tells every gap between the modes "
        "from the modes. All points stay on the mode that they met first: anywhere else D is sure.",
        ("Arjovsky and Bottou 2017", "1701.04862"),
        "Noise on whatever D sees, real or generated, makes the two overlap, so that D cannot be sure and "
        "points find the way to other modes. It fades as training goes on.",
        ("Sønderby et al. 2016", "1610.04490"),
        {
            "data": "grid",
            "shared": _NARROW,
            "panels": [
                _panel("non_saturating", **_FAST_D),
                _panel("non_saturating", **_FAST_D, instance_noise=2.0),
            ],
        },
        600,
    ),
)
