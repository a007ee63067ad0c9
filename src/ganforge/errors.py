"""What a user can get wrong: errors that name what came, what was expected and what to type next."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that its message lets the user repair; the command line prints one line and exits with 2."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str) -> UserError:
    """An error for a `name` that is not among the `known` ones, with the closest of those and a `hint`."""
    choices = sorted(known)
    closest = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    listed = f"did you mean {' or '.join(closest)}?" if closest else f"known: {', '.join(choices)}"
    return UserError(f"unknown {kind} {name!r}: {listed} {hint}")


def printable(name: str) -> str:
    """`name` in one line of plain characters, also where it holds line breaks or bytes that are no UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]
