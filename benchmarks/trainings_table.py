"""Which trainings are compared with which: the commands behind the tables of `docs/systems/`."""

from typing import NamedTuple


class Training(NamedTuple):
    """One command, its name in the results, and the options with which it is judged."""

    name: str
    command: str
    evaluate: str = ""
    singular_values: bool = False


class Comparison(NamedTuple):
    """Trainings that belong in one table, and the file that keeps their rows."""

    what: str
    file: str
    trainings: tuple[Training, ...]


TABLE: dict[str, Comparison] = {}
