"""Errors of the user: what is wrong, what was expected, what to type."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can correct; the command line prints one line and exits with 2."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str) -> UserError:
    """An error for a `name` that is not among the `known` ones, with the closest of those and a `hint`."""
    choices = sorted(known)
    closest = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    listed = f"did you mean {' or '.join(closest)}?" if closest else f"known: {', '.join(choices)}"
    return UserError(f"unknown {kind} {name!r}: {listed} {hint}")


def printable(name: str) -> str:
    """`name` in one line of printable characters, whatever line breaks or undecodable bytes it holds."""
    return name if name.isprintable() else ascii(name)[1:-1]
