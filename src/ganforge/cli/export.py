"""`ganforge export`: runs for use elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import SYSTEM
from ganforge.errors import UserError
from ganforge.export.package import write_shipped
from ganforge.runs.trained import load


@dataclass(frozen=True)
class Package:
    """Write a run as it ships with the package: averaged weights in float16, without the discriminator."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="A run folder.")]]
    out: tyro.conf.Positional[
        Annotated[Path, tyro.conf.arg(help="The new folder; its name is NAME in pretrained:NAME.")]
    ]
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the folder and print its size; returns the exit code."""
        if self.out.exists():
            raise UserError(f"{self.out} exists: remove it, or name another folder")
        write_shipped(load(self.run, system=self.system), self.out, self.out.resolve().name)
        size = sum(file.stat().st_size for file in self.out.rglob("*") if file.is_file())
        print(f"{self.out}: {size / 1e6:.2f} MB")
        return 0
