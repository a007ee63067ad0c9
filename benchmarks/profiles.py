"""Where the time of a training step goes, system by system, by the profiler of `ganforge train --profile`.

python benchmarks/profiles.py --out benchmarks/profiles.json       `--table` prints the stored shares
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import record_part
from speed import CASES, made

PHASES = {
    "forward, losses": "forward, losses",
    "backward": "backward",
    "penalty, its first backward": "penalty",
    "optimizer": "optimizer",
    "averaged weights": "averages",
    "waiting for data": "data",
    "metrics": "metrics",
    "Python, and the profiler itself": "Python",
}
SYSTEMS = (
    "gan", "dcgan", "cgan", "infogan", "lsgan", "sngan", "acgan", "wgan", "wgan_gp", "r3gan", "fastgan",
    "pix2pix", "pix2pix, width 16, batch 16", "srresnet", "srgan", "gan_cls", "stackgan", "text_encoder",
    "autoencoder", "vae", "pixelcnn", "pixelrnn",
)  # fmt: skip
STORED = Path(__file__).with_name("profiles.json")


def profile(words: str, places: dict[str, str], folder: Path) -> dict[str, Any]:
    """Shares of the step's phases in percent, and of its three longest operations."""
    command = ["train", *shlex.split(words.format_map(places))]
    if "--data" not in command:
        command += ["--data", "emoji", "--size", "32"]
    command += ["--profile", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "ganforge", *command], stdout=subprocess.PIPE, text=True, check=True
    )
    tables = [block.splitlines()[1:] for block in done.stdout.split("\n\n")[1:4]]
    phases, _, operations = ({row[:42].strip(): float(row.split()[-1]) for row in rows} for rows in tables)
    return {
        "command": f"ganforge train {words} --profile FOLDER",
        "step": done.stdout.splitlines()[0],
        "percent": {PHASES[name]: share for name, share in phases.items()},
        "operations": dict(list(operations.items())[:3]),
    }


def table(stored: dict[str, Any]) -> str:
    """A row of percentages for each system, in Markdown."""
    columns = list(PHASES.values())
    rows = [["system", *columns, "longest operation"], ["---"] * (len(columns) + 2)]
    for name in SYSTEMS:
        shares, (longest, share) = stored[name]["percent"], next(iter(stored[name]["operations"].items()))
        rows.append([name, *(f"{shares.get(each, 0):.0f}" for each in columns), f"`{longest}` {share:.0f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Profile, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", default=SYSTEMS, choices=SYSTEMS, metavar="NAME")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(STORED.read_text("utf-8"))))
        return
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, str] = {}
        for number, name in enumerate(given.only):
            words = CASES[name]
            places = made(words, Path(folder), places)
            record_part(name, profile(words, places, Path(folder) / f"profile-{number}"), given.out)


if __name__ == "__main__":
    main()
