"""Draw docs/gallery.md: what each run in the package makes, by a command that anyone can type.

    python tools/gallery.py

The samples are the first ones of seed 0, so nothing is chosen. `pretrained:pix2pix-edges2emoji` is given
held-out edges, which needs the emoji.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from ganforge.cli.names import read_names
from ganforge.reporting.evaluations import read_evaluations
from ganforge.runs.folder import Run
from ganforge.runs.pretrained import PRETRAINED, packaged_runs

ROOT = Path(__file__).resolve().parents[1]
PAGE, IMAGES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
HEAD = """# Gallery

What the runs in the package make: the first samples of seed 0, none of them chosen. Type a command to get the
same image; `ganforge info FILE` says where any of them is from, `ganforge list pretrained` lists the runs.
`python tools/gallery.py` makes this page.
"""
COUNT = 40
SHOWN = ("psnr_y", "l1", "fid", "fid_to_training", "class_accuracy", "code_error", "category_accuracy")
WORDS = {
    "gan-cls-emoji": [
        *("--text", "red apple", "--text", "a blue heart", "--text", "smiling face", "--text", "flag"),
        *("--text", "woman with dark skin", "--text", "yellow flower", "--text", "clock", "--count", "8"),
    ],
    "digits-infogan": ["--code", "0=0..9", "--code", "1=-2..2"],
    "pix2pix-edges2emoji": ["--data", "emoji", "--count", "12"],
}
"""What is typed after the name where it is more than a number of samples."""
WITHOUT_SAMPLES = {"srgan-photos": "Photographs of your own, four times as large: see [uses](uses.md)."}


def section(name: str, path: Path) -> str:
    """The part of the page about one run, whose image is drawn anew."""
    run = Run.open(Path(f"{PRETRAINED}{name}"))
    purpose = read_names().systems[run.config.system].purpose
    text = f"\n## {name}\n\n`{run.config.system}`, {run.config.data.data}: {purpose}."
    stored, _ = read_evaluations(path)
    if stored:
        scores = {score["name"]: score for score in stored[0].scores}
        best = [f"{key} {scores[key]['value']:.3g}" for key in SHOWN if key in scores]
        text += f" {', '.join(best)} ({stored[0].summary})."
    if name in WITHOUT_SAMPLES:
        return f"{text}\n\n{WITHOUT_SAMPLES[name]}\n"
    words = ["sample", f"{PRETRAINED}{name}", *WORDS.get(name, ["--count", str(COUNT)]), "--seed", "0"]
    out = IMAGES / f"{name}.webp"
    out.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "ganforge", *words, "--out", out.name], cwd=IMAGES, check=True)
    command = shlex.join(["ganforge", *words, "--out", out.name])
    return f"{text}\n\n```\n{command}\n```\n\n![Samples](images/gallery/{out.name})\n"


def main() -> None:
    """Draw all images and write the page."""
    IMAGES.mkdir(exist_ok=True)
    PAGE.write_text(HEAD + "".join(section(name, path) for name, path in packaged_runs().items()), "utf-8")


if __name__ == "__main__":
    main()
