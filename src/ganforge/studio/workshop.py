"""What the parts of a studio share: the folder of the runs, and the commands that it started."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ganforge.errors import UserError, printable
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED, packaged_runs
from ganforge.server.guard import Refused
from ganforge.studio.jobs import Jobs

LINK_OUT = "a link out of the folder of the runs: put the run itself in its place"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass
class Workshop:
    """`runs`: the folder in which runs lie side by side; nothing outside it is opened or written."""

    runs: Path
    device: str = "auto"
    jobs: Jobs = field(default_factory=Jobs)

    def place_of(self, name: str) -> Path:
        """The folder of a run, which need not exist; raises UserError for a name that could be elsewhere."""
        if not NAME.fullmatch(name):
            raise UserError(
                f"{printable(name)[:80]!r} is no name of a run: expected letters, digits, dots and dashes, "
                "such as dcgan-mnist"
            )
        path = self.runs / name
        if leads_out(path, self.runs):
            raise UserError(f"{name} is {LINK_OUT}")
        return path

    def find(self, name: str) -> tuple[str, Path]:
        """What commands call the model `name`, and its folder: a run, else one that came with the package.

        `pretrained:NAME` is the latter in any case. Raises Refused where there is none, UserError as
        `place_of`.
        """
        shipped = packaged_runs()
        if name.startswith(PRETRAINED):
            if (path := shipped.get(name.removeprefix(PRETRAINED))) is None:
                raise Refused(404, f"no model {printable(name)[:80]!r} came with the package")
            return name, path
        path = self.place_of(name)
        if (path / "config.json").is_file():
            return str(path), path
        if name in shipped:
            return PRETRAINED + name, shipped[name]
        raise Refused(404, f"no model {name}: it may have been moved to the trash")

    def open(self, name: str) -> Run:
        """The run `name`, or one that came with the package: `pretrained:NAME`; raises Refused, UserError."""
        if name.startswith(PRETRAINED):
            if name.removeprefix(PRETRAINED) not in packaged_runs():
                raise Refused(404, f"no model {printable(name)[:80]!r} came with the package")
            return Run.open(Path(name))
        path = self.place_of(name)
        if not (path / "config.json").is_file():
            raise Refused(404, f"no run {name} in {self.runs}: it may have been moved to the trash")
        return Run.open(path)


def leads_out(path: Path, folder: Path) -> bool:
    """Whether `path` is a link to somewhere outside of `folder`."""
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())
