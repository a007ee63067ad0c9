"""Durations and sizes as people say them."""

from pathlib import Path

YEAR = 365 * 86_400.0


def duration(seconds: float) -> str:
    """`seconds` in the two largest units that matter: 45 s, 12 min, 3 h 20 min, 5 days 4 h, 3 years."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    if seconds < 594:
        return f"{seconds / 60:.1f} min".replace(".0 ", " ")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 2880:
        return _two(minutes // 60, "h", minutes % 60, "min")
    hours = round(seconds / 3600)
    if seconds < 2 * YEAR:
        return _two(hours // 24, "days", hours % 24 if hours < 240 else 0, "h")
    return f"{seconds / YEAR:,.0f} years"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large} {unit}" + (f" {small} {small_unit}" if small else "")


def folder_size(folder: Path) -> str:
    """The bytes of all files in `folder`, as `size` has them."""
    return size(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def size(num_bytes: float) -> str:
    """`num_bytes` in kB, MB or GB of powers of ten."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:.2f} GB"
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f} kB"
