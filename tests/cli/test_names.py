"""The stored names are those of the modules, and completion scripts are made of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ganforge.cli.main import main
from ganforge.cli.names import current_names, read_names

TRY = """
source {script}
COMP_WORDS=({words} "")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
COMP_WORDS[COMP_CWORD]="{current}"
_ganforge
echo "${{COMPREPLY[*]}}"
"""


def test_stored_names_are_current() -> None:
    assert read_names() == current_names(), "write them again: python -m ganforge.cli.names"


def script_of(shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", shell]) == 0
    script = tmp_path / shell
    script.write_text(capfd.readouterr().out, "utf-8")
    return script


@pytest.mark.parametrize(
    ("words", "current", "expected"),
    [
        ("ganforge", "an", "analyze"),
        ("ganforge analyze", "", "features probe outliers classify psnr"),
        ("ganforge train", "dc", "dcgan"),
        ("ganforge train dcgan", "--wid", "--width"),
        ("ganforge train dcgan", "--keep-", "--keep-best"),
        ("ganforge train dcgan --precision", "", "auto fp32 bf16"),
        ("ganforge train dcgan --data", "mn", "mnist"),
        ("ganforge sample runs/a --weights", "r", "raw"),
        ("ganforge data check images", "--si", "--size"),
        ("ganforge list", "", "systems data runs pretrained recipes"),
        ("ganforge sample", "", ""),  # left to the shell: files
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, current: str, expected: str
) -> None:
    script = script_of("bash", tmp_path, capfd)
    text = TRY.format(script=script, words=words, current=current)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected.split()
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "arguments"), [("zsh", ["-f"]), ("tcsh", ["-f"])]
)  # such as shells read without the user's own settings
def test_other_shells_read_their_script(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], shell: str, arguments: list[str]
) -> None:
    script = script_of(shell, tmp_path, capfd)
    text = script.read_text("utf-8")
    assert "--keep-best" in text or "keep-best" in text
    assert "dcgan" in text
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run([shell, *arguments, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
