"""What evaluating a run costs: CPU seconds, wall seconds and peak memory of `ganforge evaluate`.

python benchmarks/evaluation.py runs/dcgan-mnist --out benchmarks/evaluation.json

It is evaluated twice, each time in a process of its own: first with an empty cache of real features, then
with what the first left there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record


def measure(run: Path, cache: str, num_samples: int) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("ganforge")), "evaluate", str(run), "--json"]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [*command, "--num-samples", str(num_samples)],
        check=True,
        env=os.environ | {"GANFORGE_CACHE": cache},
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "user_seconds": round(after.ru_utime - before.ru_utime, 1),
        "system_seconds": round(after.ru_stime - before.ru_stime, 1),
        "wall_seconds": round(time.monotonic() - begun, 1),
        "peak_memory_mb": round(after.ru_maxrss / 1024),  # the largest child so far: the two are alike
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--num-samples", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        rows = {name: measure(given.run, cache, given.num_samples) for name in ("first", "again")}
    config = json.loads((given.run / "config.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {
        "command": f"python benchmarks/evaluation.py {given.run.name} --num-samples {given.num_samples}",
        "what": "all scores of ganforge evaluate: network, data and program start included",
        "run": f"{config['system']} on {config['data']['data']}",
        "cores_allowed": len(os.sched_getaffinity(0)),
    }
    record(found | rows, given.out)


if __name__ == "__main__":
    main()
