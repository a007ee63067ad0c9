"""The folder that an export makes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganforge.errors import UserError, printable
from ganforge.files.atomic import building


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `out` in the end; raises UserError where that exists."""
    if os.path.lexists(out):
        raise UserError(f"{printable(str(out))} exists: remove it, or name another folder")
    with building(out.resolve()) as folder:
        yield folder
