"""Every view of the studio, for tests that hold for all of them, and runs for the views to show."""

from pathlib import Path
from typing import Any

import ganforge

MODELS = ("digits-dcgan", "digits-infogan", "gan-cls-emoji", "pix2pix-edges2emoji", "srgan-photos")
VIEWS = {
    "home": "",
    "play": "#/play",
    "runs": "#/runs",
    "run": "#/run/first",
    "new": "#/new",
    "new-dcgan": "#/new?system=dcgan&data=mnist",
    "compare": "#/compare?runs=first,second",
    "create": "#/create",
    **{f"create-{name}": f"#/create/pretrained:{name}" for name in MODELS},
    "learn": "#/learn",
    "learn-gan": "#/learn/gan",
    "learn-sngan": "#/learn/sngan",
    "nothing": "#/nothing",
}


def small_runs(folder: Path) -> Path:
    """Runs `first` and `second` of a few steps on 2-D points, and `digits`."""
    points: dict[str, Any] = {"generator_hidden": [8], "discriminator_hidden": [8], "batch": 8}
    for seed, name in enumerate(("first", "second")):
        ganforge.train(
            "gan", "ring", run=folder / name, steps=20, log_every=2, sample_every=5, seed=seed,
            quiet=True, device="cpu", **points,
        )  # fmt: skip
    ganforge.train(
        "dcgan", "mnist", run=folder / "digits", steps=2, width=4, batch=4, quiet=True, device="cpu"
    )
    return folder


def open_view(page: Any, address: str, seconds: float = 1.0) -> None:
    """Open a view, and wait until it has shown itself; streams never become idle, so for a moment."""
    page.goto(address)
    page.wait_for_selector("main h1")
    page.wait_for_timeout(1_000 * seconds)
