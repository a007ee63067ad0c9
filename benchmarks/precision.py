"""Matrix products in fp32 and bf16: why `--precision auto` measures instead of reading flags.

python benchmarks/precision.py --out benchmarks/precision.json
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from record import record

from ganforge.runs.device import choose_precision


def gigaflops(dtype: torch.dtype, size: int, repeats: int) -> float:
    """The median rate of products of two `size` x `size` matrices, in 10^9 operations a second."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        begun = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(seconds[2:]) / 1e9


def main() -> None:
    """Measure in turn, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rates: dict[str, dict[str, float]] = {}
    for size in (512, 1024, 2048):
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            rates.setdefault(str(size), {})[name] = round(gigaflops(dtype, size, 20))
    result = {
        "command": "python benchmarks/precision.py",
        "what": "torch.mm of square matrices, GFLOP/s, median of 20",
        "gigaflops": rates,
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "precision_auto_is": choose_precision("auto", torch.device("cpu")),
    }
    record(result, given.out)


if __name__ == "__main__":
    main()
