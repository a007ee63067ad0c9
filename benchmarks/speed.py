"""Training, reading and sampling next to plain loops, with `ganforge bench`, and whole jobs.

python benchmarks/speed.py --out benchmarks/speed.json          all cases (--only NAME ... some of them)
python benchmarks/speed.py --check benchmarks/speed.json        `make bench-check`: three cases, compared

A case measured again replaces the old one. The check compares ratios, not seconds, with those stored for this
machine's model and precision, and fails where one is more than 15 % lower; on a machine of another model it
only prints.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from record import record_part

from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.runs.device import describe_machine

MOST_LOST, NUM_FILES = 0.15, 10_000
CHECKED = ("dcgan 64", "vae", "wgan_gp")
_TUTORIAL = "dcgan --data emoji --kernel-size 4 --width 64 --batch 64"
_ONE_STAGE = "--update one_stage --discriminator-norm group"
_PAIRS = "--data emoji --pairs edges"
_ENLARGE = "--data emoji --pairs downscale:4"
_BINARY = "--data mnist --binarise static"
CASES = {
    "dcgan 64": _TUTORIAL,
    "dcgan 64, fp32": f"{_TUTORIAL} --precision fp32",
    "dcgan 64, fp32, compiled": f"{_TUTORIAL} --precision fp32 --compile on",
    "dcgan 64, bf16, compiled": f"{_TUTORIAL} --precision bf16 --compile on",
    "dcgan 64, simultaneous": f"{_TUTORIAL} --update simultaneous",
    "dcgan 64, one stage": f"{_TUTORIAL} {_ONE_STAGE}",
    "dcgan 64, one stage, compiled": f"{_TUTORIAL} {_ONE_STAGE} --compile on",
    "dcgan": "dcgan",
    "dcgan, grey 32x32, from files": "dcgan --data {files} --size 32 --width 32 --batch 64",
    "gan": "gan --data mnist --batch 64",
    "gan, layers of a script": "gan --data mnist --batch 64 --network mlp "
    "--generator-hidden 128 256 512 1024 --discriminator-hidden 512 256 "
    "--activation leaky_relu --optimizer adam --latent-size 100",
    "cgan": "cgan --data mnist",
    "infogan": "infogan --data mnist",
    "lsgan": "lsgan",
    "sngan": "sngan --network convolutional --width 32 --discriminator-width 32 --batch 64",
    "acgan": "acgan",
    "wgan": "wgan",
    "wgan_gp": "wgan_gp",
    "wgan_gp, a quarter of the penalties": "wgan_gp --penalty-share 0.25",
    "r3gan": "r3gan",
    "r3gan, a quarter of the penalties": "r3gan --penalty-share 0.25",
    "fastgan": "fastgan --data emoji",
    "pix2pix": f"pix2pix {_PAIRS}",
    "pix2pix, the paper's sizes": f"pix2pix {_PAIRS} --width 64 --discriminator-width 64 --batch 1",
    "pix2pix, width 20, batch 4": f"pix2pix {_PAIRS} --width 20 --discriminator-width 16 --batch 4",
    "pix2pix, width 16, batch 16": f"pix2pix {_PAIRS} --width 16 --discriminator-width 16 --batch 16",
    "srresnet": f"srresnet {_ENLARGE} --width 32 --num-blocks 8",
    "srgan": f"srgan {_ENLARGE} --width 32 --num-blocks 8 --discriminator-width 32",
    "gan_cls": "gan_cls --text-encoder {encoder}",
    "stackgan": "stackgan --data emoji --text-encoder {encoder}",
    "text_encoder": "text_encoder",
    "autoencoder": "autoencoder --data mnist",
    "vae": "vae --data mnist",
    "pixelcnn": f"pixelcnn {_BINARY}",
    "pixelrnn": f"pixelrnn {_BINARY}",
}


def measure(words: str, rounds: int, places: dict[str, str]) -> dict[str, Any]:
    """The result of `ganforge bench` of these words, in a process of its own."""
    command = ["bench", *shlex.split(words.format_map(places)), "--rounds", str(rounds), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ganforge", *command], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {"command": f"ganforge bench {words} --rounds {rounds}"} | found["results"][0]


def made(words: str, folder: Path, places: dict[str, str]) -> dict[str, str]:
    """`places` with what `words` need besides data: a text encoder, a folder of files."""
    if "{encoder}" in words and "encoder" not in places:  # its weights do not matter for speed
        run = str(folder / "encoder")
        train = ["train", "text_encoder", "--data", "emoji", "--size", "32", "--steps", "2", "--run", run]
        subprocess.run([sys.executable, "-m", "ganforge", *train], stdout=subprocess.DEVNULL, check=True)
        return places | {"encoder": run}
    if "{files}" in words and "files" not in places:
        (folder / "digits").mkdir()
        digits = open_dataset(DataOptions(data="mnist")).splits["train"].read(torch.arange(NUM_FILES))
        for index, digit in enumerate(digits):
            Image.fromarray(digit[0].numpy()).save(folder / "digits" / f"{index:05d}.png")
        return places | {"files": str(folder / "digits")}
    return places


def check(path: Path, rounds: int) -> int:
    """Compare the ratios of CHECKED with the stored ones; returns the exit code."""
    stored = json.loads(path.read_text("utf-8"))
    machine, worst = describe_machine(torch.device("cpu")), 0.0
    for name in CHECKED:
        before, now = stored[name], measure(CASES[name], rounds, {})
        same = before["machine"] == machine and before["precision"] == now["precision"]
        ratios = before["training_ratio"]["median"], now["training_ratio"]["median"]
        lost = 1 - ratios[1] / ratios[0]
        if same:
            worst = max(worst, lost)
        note = "" if same else f" (stored on {before['machine']} in {before['precision']}: not compared)"
        print(f"{name}: {ratios[1]:.2f} times the plain loop, stored {ratios[0]:.2f}{note}", flush=True)
    if worst > MOST_LOST:
        print(f"a ratio is {100 * worst:.0f} % lower than the stored one, more than {100 * MOST_LOST:.0f} %")
        return 1
    return 0


def main() -> int:
    """Measure and store, or compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="NAME")
    parser.add_argument("--check", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.check is not None:
        return check(given.check, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, str] = {}
        for name in given.only:
            places = made(CASES[name], Path(folder), places)
            record_part(name, measure(CASES[name], given.rounds, places), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
