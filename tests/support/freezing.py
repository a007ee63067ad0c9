"""Processes that share work, for the tests of what happens when one of them stops."""

import os
import signal
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from ganforge.distributed import Pulse, Shard
from ganforge.errors import UserError


def freezing(rank: int, file: str, queue: Any) -> None:
    """One of two processes that gather twice, the second freezes in between; `queue` gets what they find."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    store = torch.distributed.distributed_c10d._get_default_store()
    shard = Shard(rank, 2, Pulse(rank, 2, store, silence=2.0))
    values = torch.zeros(2)
    values[rank] = 1 + rank
    shard.gather(values)
    queue.put((rank, values.tolist()))
    time.sleep(1)  # a thread sends what was put
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    begun = time.monotonic()
    try:
        shard.gather(values)
    except UserError as error:
        queue.put((str(error), time.monotonic() - begun))
    time.sleep(1)
    os._exit(0)
