"""A sweep of 20 short trials, unbroken and killed with SIGKILL at random times, compared.

python benchmarks/sweep.py --kills 12 --out benchmarks/sweep.json

`gan` on the 2-D ring, TPE with successive halving. Of all trials the options, the scores at every rung, the
states and the values must be equal, and so must the weights of every run.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import ganforge
from ganforge.runs.device import describe_machine
from ganforge.training.sweep import ERROR, open_study
from ganforge.training.sweep_spec import read_spec

SPEC = """
system = "gan"
data = "ring"
score = "frechet_distance"
trials = 20

[options]
steps = 60
latent_size = 4
evaluate_samples = 256
device = "cpu"
precision = "fp32"

[space]
learning_rate = {low = 0.001, high = 0.3, log = true}
generator_hidden = [[8], [16, 8]]
discriminator_hidden = [[6], [12]]
batch = {low = 4, high = 12}

[early_stopping]
first = 15
factor = 2
"""


def statistics_of(spec: Path, folder: Path) -> list[dict[str, Any]]:
    """All that a sweep found, without times."""
    return [
        {
            "state": trial.state.name,
            "params": trial.params,
            "scores": trial.intermediate_values,
            "value": trial.value,
            "error": trial.user_attrs.get(ERROR),
        }
        for trial in open_study(read_spec(spec), folder).trials
    ]


def digest(folder: Path) -> str:
    """The SHA-256 of the weights of all runs."""
    sums = hashlib.sha256()
    for path in sorted(folder.glob("trial-*/checkpoints/*/system.safetensors")):
        sums.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return sums.hexdigest()


def sweep(spec: Path, folder: Path, kills: int, draw: random.Random) -> int:
    """Run the command to its end, killed up to `kills` times; returns the kills that hit it at work."""
    command = [sys.executable, "-m", "ganforge", "sweep", str(spec), "--run", str(folder)]
    hit = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()  # it has done a trial: a kill while modules are imported tries nothing
        time.sleep(draw.uniform(0, 2))
        if process.poll() is None:
            process.kill()
            hit += 1
        process.communicate()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return hit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    spec = work / "spec.toml"
    spec.write_text(SPEC, encoding="utf-8")
    draw = random.Random(0)
    sweep(spec, work / "unbroken", 0, draw)
    hit = sweep(spec, work / "killed", given.kills, draw)
    whole, parts = (statistics_of(spec, work / name) for name in ("unbroken", "killed"))
    states = [trial["state"] for trial in whole]
    found = {
        "what": "a sweep of 20 trials, unbroken and killed with SIGKILL, compared",
        "command": f"python benchmarks/sweep.py --kills {given.kills}",
        "trials": len(whole),
        "finished": states.count("COMPLETE"),
        "stopped_early": states.count("PRUNED"),
        "kills": hit,
        "statistics_equal": whole == parts,
        "weights_equal": digest(work / "unbroken") == digest(work / "killed"),
        "best": min(trial["value"] for trial in whole if trial["value"] is not None),
        "ganforge": ganforge.__version__,
        "machine": describe_machine(torch.device("cpu")),
        "torch": torch.__version__,
    }
    shutil.rmtree(work)
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
