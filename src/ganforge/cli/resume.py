"""`ganforge resume`."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from ganforge.cli import STARTED
from ganforge.cli.arguments import MOVED, SYSTEM, values_of
from ganforge.cli.train import follow_quietly, print_finished
from ganforge.distributed import rank_of_process
from ganforge.runs.options import TrainOptions
from ganforge.training import loop
from ganforge.training.train import CHANGEABLE, open_to_resume


def _changes() -> type:
    """Arguments for what may change in a run; None leaves it as it is."""
    steps = (int | None, "Training steps, those that are done included; default: the run's own.")
    kinds: dict[str, tuple[Any, str | None]] = {"steps": steps}
    for name in CHANGEABLE[1:]:
        info = TrainOptions.model_fields[name]
        kinds[name] = (info.annotation | None, info.description)  # type: ignore[operator]
    return make_dataclass(
        "Changes",
        [
            (name, Annotated[kind, tyro.conf.arg(help=text)], field(default=None))
            for name, (kind, text) in kinds.items()
        ],
        frozen=True,
    )


Changes: Any = _changes()


@dataclass(frozen=True)
class Resume:
    """Continue a run exactly where it stopped; what is no option here cannot change."""

    unknown: ClassVar[str] = (
        "only the options of `ganforge resume --help` can change in a run: for others start a new one, with "
        "`ganforge train` and another --run"
    )

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    data: Annotated[str | None, MOVED] = None
    sources: Annotated[str | None, tyro.conf.arg(help="Where its --sources are now, if they have moved.")] = (
        None
    )
    system: Annotated[str | None, SYSTEM] = None
    changes: Changes = field(default_factory=Changes)

    def __call__(self, command: str) -> int:
        """Train to the end; returns the exit code."""
        if rank_of_process():
            return follow_quietly()
        changes = {name: value for name, value in values_of(self.changes).items() if value is not None}
        plan = open_to_resume(self.run, changes, data=self.data, sources=self.sources, system=self.system)
        print_finished(loop.train(plan, command=command, started=STARTED))
        return 0
