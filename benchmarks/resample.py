"""The filter that halves and doubles maps in `r3gan`, in float32 and bf16: why it is always in float32.

python benchmarks/resample.py --out benchmarks/resample.json
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import record
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

BATCH, WIDTH, SIDE, REPEATS = 32, 64, 16, 20


def milliseconds(call: Callable[[], object]) -> float:
    """The fastest of REPEATS calls."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return round(1000 * min(times), 2)


def measure(up: bool, dtype: torch.dtype) -> dict[str, float]:
    """Both passes of one filter."""
    side = SIDE if up else 2 * SIDE
    maps = torch.randn(BATCH, WIDTH, side, side, dtype=dtype).to(memory_format=torch.channels_last)
    maps.requires_grad_()
    weight = torch.randn(WIDTH, 1, 4, 4, dtype=dtype)

    def forward() -> Tensor:
        return (conv_transpose2d if up else conv2d)(maps, weight, stride=2, padding=1, groups=WIDTH)

    out = forward()
    slope = torch.randn_like(out)
    return {
        "forward_ms": milliseconds(forward),
        "backward_ms": milliseconds(lambda: torch.autograd.grad(out, maps, slope, retain_graph=True)),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    result = {
        "command": "python benchmarks/resample.py",
        "what": f"{BATCH} x {WIDTH} maps between {SIDE}x{SIDE} and {2 * SIDE}x{2 * SIDE}, one thread, the "
        f"fastest of {REPEATS}",
        "passes": {
            f"{'up' if up else 'down'}, {name}": measure(up, dtype)
            for up in (True, False)
            for name, dtype in dtypes.items()
        },
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
