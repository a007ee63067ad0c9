"""The trained runs that come with the package."""

from pathlib import Path

from ganforge.errors import UserError

PRETRAINED = "pretrained:"
FOLDER = Path(__file__).parent
SAMPLES = "samples.webp"
"""In the folder of such a run: what it makes."""


def packaged_runs() -> dict[str, Path]:
    """The run folders that came with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob("*/config.json"))}


def packaged(name: str) -> Path:
    """The run folder `name` that came with the package; raises UserError with those there are."""
    found = packaged_runs()
    if name not in found:
        raise UserError(f"no pretrained run {name[:80]!r}: this version has {', '.join(found) or 'none'}")
    return found[name]
