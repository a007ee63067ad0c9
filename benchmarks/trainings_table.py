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


TABLE: dict[str, Comparison] = {
    "toys": Comparison(
        "2-D mixtures of Gaussians, five seeds: modes, share of high quality, reverse KL of 2,500 samples",
        "family_toys.json",
        tuple(
            Training(f"{data}-{name}", f"train {system} --data {data}")
            for data in ("ring", "grid")
            for name, system in (("gan", "gan"), ("gan-pack2", "gan --pack 2"), ("r3gan", "r3gan"))
        ),
    ),
}
