"""`ganforge serve`: runs over HTTP."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganforge.cli.arguments import check_token
from ganforge.errors import UserError


@dataclass(frozen=True)
class Serve:
    """Serve runs over HTTP: samples and whatever else each run can do, as PNG, WebP, JSON or npz.

    Ctrl-C or SIGTERM ends it with exit code 0, once what is in progress is answered.
    """

    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help="Run folders, or pretrained:NAME.")]
    ]
    host: Annotated[
        str, tyro.conf.arg(help="The address to bind: this machine alone; 0.0.0.0: the network too.")
    ] = "127.0.0.1"
    allow_host: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            help="A name by which clients may call it, besides addresses, localhost and --host; repeat the "
            "option for more."
        ),
    ] = ()
    port: Annotated[int, tyro.conf.arg(help="The port; 0: a free one, which is printed.")] = 8000
    token: Annotated[
        str | None,
        tyro.conf.arg(help="What clients must send; default: GANFORGE_TOKEN, else one drawn and printed."),
    ] = None
    no_token: Annotated[bool, tyro.conf.arg(help="Answer whoever reaches the address.")] = False
    queue: Annotated[
        int, tyro.conf.arg(help="Requests of a model that may wait or run; more get 429 and when to retry.")
    ] = 64
    max_batch: Annotated[int, tyro.conf.arg(help="Images that are decoded together; 1: no batching.")] = 64
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], tyro.conf.arg(help="Where models run.")] = "auto"

    def __call__(self, command: str) -> int:
        """Serve until a signal; returns the exit code."""
        token = self.token if self.token is not None else os.environ.get("GANFORGE_TOKEN")
        if not self.runs:
            raise UserError("no run: name one or more, such as `ganforge serve pretrained:gan-cls-emoji`")
        if self.no_token and self.token is not None:
            raise UserError("--token and --no-token: leave one of them out")
        check_token(token)
        try:
            from ganforge.server.serve import serve
        except ModuleNotFoundError as error:
            raise UserError(
                f"`ganforge serve` needs {error.name}: type `pip install 'ganforge[serve]'`"
            ) from error
        choice = self.queue, self.max_batch, self.device, self.no_token, self.allow_host
        serve(self.runs, self.host, self.port, token, *choice)
        return 0
