"""`ganforge studio`: watch, play, compare and create in the browser."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganforge.cli.arguments import check_token
from ganforge.errors import UserError


@dataclass(frozen=True)
class Studio:
    """Open the studio: runs, a playground, shipped models and lessons in the browser.

    It reads run folders and starts the same commands. Ctrl-C ends it; trainings that it started continue.
    """

    runs: Annotated[Path, tyro.conf.arg(help="The folder of the runs; made where it is missing.")] = Path(
        "runs"
    )
    host: Annotated[
        str, tyro.conf.arg(help="The address to bind: this machine alone; 0.0.0.0: the network too.")
    ] = "127.0.0.1"
    allow_host: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="A name by which browsers may call it, besides addresses and localhost; repeat."),
    ] = ()
    port: Annotated[int, tyro.conf.arg(help="The port; 0: a free one, which is printed.")] = 8800
    token: Annotated[
        str | None,
        tyro.conf.arg(help="What the address must say; default: GANFORGE_TOKEN, else one drawn and printed."),
    ] = None
    no_token: Annotated[bool, tyro.conf.arg(help="Let in whoever reaches the address.")] = False
    jobs: Annotated[int, tyro.conf.arg(help="Commands that may work at a time.")] = 2
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], tyro.conf.arg(help="Where models run.")] = "auto"
    open: Annotated[bool, tyro.conf.arg(help="Open it in the browser.")] = False

    def __call__(self, command: str) -> int:
        """Serve until a signal; returns the exit code."""
        token = self.token if self.token is not None else os.environ.get("GANFORGE_TOKEN")
        if self.no_token and self.token is not None:
            raise UserError("--token and --no-token: leave one of them out")
        check_token(token)
        try:
            from ganforge.studio.serve import serve
        except ModuleNotFoundError as error:
            raise UserError(
                f"`ganforge studio` needs {error.name}: type `pip install 'ganforge[studio]'`"
            ) from error
        serve(
            self.runs,
            self.host,
            self.port,
            token,
            self.no_token,
            self.allow_host,
            self.jobs,
            self.device,
            self.open,
        )
        return 0
