"""The long attack on runs, checkpoints and files: `python benchmarks/trust.py --out benchmarks/trust.json`.

Each part tries `--share` of what a release is held to, and counts what went as promised. What went otherwise
is printed and stored. `make soak` runs it after the tests of minutes. Needs Linux.
"""

import argparse
import datetime
import errno
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from record import record

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support")]

import forged  # noqa: E402
import weights  # noqa: E402
from captioned import draw_captioned  # noqa: E402
from command import draw_images, files_of, metrics_of  # noqa: E402
from PIL import Image  # noqa: E402

import ganforge  # noqa: E402
from ganforge.cli.main import main, program  # noqa: E402
from ganforge.errors import UserError  # noqa: E402
from ganforge.files.pth import read_tensors  # noqa: E402
from ganforge.runs.checkpoint import load_newest  # noqa: E402
from ganforge.runs.folder import Run  # noqa: E402

GAN = ["--width", "4", "--latent-size", "4"]
PAIR = [*GAN, "--discriminator-width", "4"]
DENSE = ["--latent-size", "4", "--generator-hidden", "8", "--discriminator-hidden", "6"]
AUTO = ["--levels", "2", "--width", "4", "--layers", "1"]
DATA = ["--data", "../../data"]
PAIRS = [*DATA, "--width", "4"]
DOUBLE = [*PAIRS, "--pairs", "downscale:2", "--num-blocks", "1", "--crop-size", "8"]
TEXT = [*PAIRS, "--discriminator-width", "4", "--latent-size", "4", "--text-encoder", "../../text_encoder"]
GREY = [*DATA, "--channels", "grey", "--size", "8", *AUTO]
SYSTEMS: dict[str, list[str]] = {
    "gan": ["gan", "--data", "ring", *DENSE],
    "gan, augmented": ["gan", *DATA, "--size", "8", *DENSE, "--augment", "ada"],
    "dcgan": ["dcgan", *DATA, *GAN],
    "dcgan, ada and noise": ["dcgan", *DATA, *GAN, "--augment", "ada", "--instance-noise", "0.1"],
    "dcgan, flip and skip": ["dcgan", *DATA, *GAN, "--flip", "--on-nan", "skip"],
    "dcgan, best kept": ["dcgan", *DATA, *GAN, "--evaluate-every", "3", "--evaluate-samples", "16",
                         "--keep-best", "kid"],
    "lsgan": ["lsgan", *DATA, *GAN],
    "wgan": ["wgan", *DATA, *GAN],
    "wgan_gp": ["wgan_gp", *DATA, *GAN],
    "cgan": ["cgan", *DATA, "--learning-rate", "0.001"],
    "acgan": ["acgan", *DATA, *PAIR],
    "sngan": ["sngan", *PAIRS, "--discriminator-width", "4"],
    "infogan": ["infogan", *PAIRS, "--dense-units", "8"],
    "r3gan": ["r3gan", *DATA, "--width", "16"],
    "fastgan": ["fastgan", *DATA, "--size", "32", "--width", "4"],
    "autoencoder": ["autoencoder", *DATA, "--hidden", "8"],
    "vae": ["vae", *DATA, "--hidden", "8"],
    "vae, iwae": ["vae", *DATA, "--hidden", "8", "--objective", "iwae"],
    "pixelcnn": ["pixelcnn", *GREY],
    "pixelrnn": ["pixelrnn", *GREY],
    "pix2pix": ["pix2pix", *PAIRS, "--pairs", "edges", "--discriminator-width", "4"],
    "srresnet": ["srresnet", *DOUBLE],
    "srgan": ["srgan", *DOUBLE, "--discriminator-width", "4", "--content", "mse", "--from", "../../srresnet"],
    "text_encoder": ["text_encoder", *PAIRS, "--embedding-size", "8"],
    "gan_cls": ["gan_cls", *TEXT, "--text-size", "4"],
    "stackgan": ["stackgan", *TEXT],
    "dcgan, from": ["dcgan", *DATA, *GAN, "--from", "../../dcgan"],
}  # fmt: skip
"""Every system, and every option with a state of its own; in a folder two below that of the data."""
OFTEN = ["--steps", "12", "--checkpoint-every", "4", "--sample-every", "6", "--log-every", "3",
         "--batch", "4", "--device", "cpu", "--precision", "fp32", "--run", "r"]  # fmt: skip
PARENTS = ("text_encoder", "srresnet", "dcgan")


class Count:
    """How many attempts of a part went as promised, and the first that did not."""

    def __init__(self) -> None:
        self.tried, self.good, self.failures = 0, 0, list[str]()
        self.begun = time.monotonic()

    def add(self, good: bool, what: str) -> None:
        """Count an attempt, which `what` describes."""
        self.tried += 1
        self.good += good
        if not good and len(self.failures) < 5:
            self.failures.append(what[-600:])
            print(f"FAILED {what[-600:]}", file=sys.stderr, flush=True)

    def result(self, **more: Any) -> dict[str, Any]:
        """What is stored of the part."""
        minutes = round((time.monotonic() - self.begun) / 60, 1)
        date = datetime.date.today().isoformat()
        counts = {"tried": self.tried, "good": self.good, "failures": self.failures}
        return counts | more | {"minutes": minutes, "date": date}


def words_of(name: str) -> list[str]:
    words = ["train", *SYSTEMS[name], *OFTEN]
    if "../../data" in words and "--size" not in words:
        words += ["--size", "16"]
    return words


def forked(folder: Path, words: list[str], before: Callable[[], None] = lambda: None) -> int:
    """The process of a command, a child in its own group and in `folder`; the file `said` has its output."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        said = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["ganforge", *words]
        before()
        code = program()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def said(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")[-500:] if (folder / "said").exists() else ""


def contents(run: Path) -> dict[str, Any]:
    """All that a run is, without times, and without what stops and starts leave in the log and the report."""
    files = {name: data for name, data in files_of(run).items() if not name.startswith("report.html")}
    del files["metrics.jsonl"]
    recorded = {kind: metrics_of(run, kind) for kind in ("train", "samples", "note", "evaluation")}
    return {**files, **recorded, "end": metrics_of(run, "end")[-1:]}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def place() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="trust-"))
    draw_captioned(folder / "data", per_kind=2)
    for name in PARENTS:
        assert ended(forked(folder / "parents" / name, words_of(name))) == 0, said(folder / "parents" / name)
        (folder / name).symlink_to(folder / "parents" / name / "r")
    return folder


def kills(folder: Path, count: int) -> dict[str, Any]:
    """`kill -9` at random moments; the same command ends with the same bytes."""
    counted, chance, whole = Count(), random.Random(0), {}
    for name in SYSTEMS:
        own = folder / "kills" / f"{name}-whole"
        begun = time.monotonic()
        if ended(forked(own, words_of(name))) != 0:
            raise RuntimeError(f"{name}: {said(own)}")
        whole[name] = (contents(own / "r"), time.monotonic() - begun)
    attempt = late = 0
    while counted.tried < count:
        name = list(SYSTEMS)[attempt % len(SYSTEMS)]
        attempt += 1
        expected, seconds = whole[name]
        own = folder / "kills" / f"{name}-{attempt}"
        process = forked(own, words_of(name))
        time.sleep(chance.uniform(0, 0.95 * seconds))
        os.killpg(process, signal.SIGKILL)
        if ended(process) != -signal.SIGKILL:
            late += 1  # it was done before
            continue
        code = ended(forked(own, words_of(name)))
        changed = differences(contents(own / "r"), expected) if code == 0 else ["exit code"]
        counted.add(not changed, f"{name}: {changed}: {said(own)}")
        shutil.rmtree(own)
    return counted.result(configurations=len(SYSTEMS), too_late=late)


def preemption(folder: Path, count: int) -> dict[str, Any]:
    """SIGTERM, SIGINT and SIGUSR1 at random moments: the end in 5 s, its code, one requeue, equal bytes."""
    counted, chance, slowest, late = Count(), random.Random(1), 0.0, 0
    program_folder = folder / "bin"
    program_folder.mkdir()
    (program_folder / "scontrol").write_text('#!/bin/sh\necho "$@" >> queue\n')
    (program_folder / "scontrol").chmod(0o755)
    os.environ["PATH"] = f"{program_folder}:{os.environ['PATH']}"
    names, whole = ("gan", "dcgan", "vae", "gan_cls"), {}
    os.environ["SLURM_JOB_ID"] = "17"
    for name in names:
        own, begun = folder / "signals" / f"{name}-whole", time.monotonic()
        assert ended(forked(own, words_of(name))) == 0
        whole[name] = (contents(own / "r"), time.monotonic() - begun)
    attempt = 0
    while counted.tried < count:
        name, number = names[attempt % 4], (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)[attempt % 3]
        attempt += 1
        own = folder / "signals" / f"{name}-{attempt}"
        process = forked(own, words_of(name))
        time.sleep(chance.uniform(0.02, 0.9 * whole[name][1]))
        sent = time.monotonic()
        os.kill(process, number)
        code = ended(process)
        took = time.monotonic() - sent
        if code == 0:
            late += 1
            continue
        slowest = max(slowest, took)
        queued = (own / "queue").read_text().count("\n") if (own / "queue").exists() else 0
        good = code in (128 + number, -number) and took < 5 and queued == (number == signal.SIGUSR1)
        good = good and "Traceback" not in said(own)
        again = ended(forked(own, words_of(name)))
        changed = []
        if again == 0:
            changed = [each for each in differences(contents(own / "r"), whole[name][0]) if each != "end"]
        counted.add(
            good and again == 0 and not changed,
            f"{name} {number} {code} {took:.1f} s {queued} {changed}: {said(own)}",
        )
        shutil.rmtree(own)
    del os.environ["SLURM_JOB_ID"]
    return counted.result(slowest_seconds=round(slowest, 2), too_late=late)


def damage(folder: Path, count: int) -> dict[str, Any]:
    """A flipped bit, a cut or a missing file in the newest checkpoint: found, and the one before is used."""
    counted, chance, own = Count(), random.Random(2), folder / "damage" / "whole"
    assert ended(forked(own, words_of("dcgan"))) == 0
    run = Run.open(own / "r")
    newest = forged.checkpoint_of(run.path)
    good = {path.name: path.read_bytes() for path in newest.iterdir()}
    for number in range(count):
        name = chance.choice(sorted(good))
        data, kind = bytearray(good[name]), number % 4
        if kind < 2:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del data[chance.randrange(len(data)) :]
        (newest / name).write_bytes(data)
        if kind == 3:
            (newest / name).unlink()
        said_: list[str] = []
        found = load_newest(run.checkpoints, said_)
        right = (
            found is not None
            and found.path != newest
            and len(said_) == 1
            and (name in said_[0] or name == "manifest.json")
        )
        counted.add(right, f"{name} {kind}: {said_}")
        (newest / name).write_bytes(good[name])
    return counted.result()


@contextmanager
def failing(operation: str, after: int, code: int) -> Iterator[None]:
    """The disk fails from the `after`-th operation on."""
    plain, calls = getattr(os, operation), [0]

    def broken(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(code, os.strerror(code))
        return plain(*arguments, **named)

    setattr(os, operation, broken)
    try:
        yield
    finally:
        setattr(os, operation, plain)


def disk(folder: Path, count: int) -> dict[str, Any]:
    """Full disk, quota, read-only, EIO and a limit of file sizes: one line, the same command resumes."""
    counted, chance = Count(), random.Random(3)
    own = folder / "disk" / "whole"
    assert ended(forked(own, words_of("dcgan"))) == 0
    whole = contents(own / "r")
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
    for number in range(count):
        own = folder / "disk" / str(number)

        def before(number: int = number) -> None:
            if number % 5 == 4:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (chance.choice((3_000, 20_000, 60_000)),) * 2)
            else:
                failing(
                    chance.choice(("fsync", "replace", "rename")), number % 12, codes[number % 4]
                ).__enter__()

        code = ended(forked(own, words_of("dcgan"), before))
        text = said(own)
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        again = ended(forked(own, words_of("dcgan")))
        changed = differences(contents(own / "r"), whole) if again == 0 else ["exit code"]
        one_line = (code == 2 and len(errors) == 1) or code == 0
        counted.add(one_line and "Traceback" not in text and not changed, f"{code} {changed}: {text}")
        shutil.rmtree(own)
    return counted.result()


FORBIDDEN = (
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "webbrowser.open",
)
SEEN: list[str] = []
WATCHED: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not WATCHED:
        return
    if event in FORBIDDEN:
        SEEN.append(f"{event} {arguments}"[:200])
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        path = os.path.abspath(str(arguments[0]))
        if not path.startswith((WATCHED[-1], "/dev/")):
            SEEN.append(f"write {path}")


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Within this context connections, processes and writes outside of `folder` are noted."""
    WATCHED.append(str(folder.resolve()))
    SEEN.clear()
    try:
        yield
    finally:
        WATCHED.pop()


def hostile_weights(folder: Path, count: int) -> dict[str, Any]:
    """Files of weights: read or refused in a line, nothing run, at most 2 s and 500 MB."""
    counted, file = Count(), folder / "weights" / "w.pth"
    file.parent.mkdir()
    made = [*weights.by_hand().values(), *weights.by_chance(count, 4)][:count]
    slowest, begun_kb, read = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for number, data in enumerate(made):
        file.write_bytes(data)
        begun, good, why = time.monotonic(), True, ""
        with watched(file.parent):
            try:
                read_tensors(file)
                read += 1
            except UserError as error:
                good = "\n" not in str(error)
            except BaseException as error:
                good, why = False, repr(error)
        took = time.monotonic() - begun
        slowest = max(slowest, took)
        counted.add(good and not SEEN and took < 2, f"{number}: {why} {SEEN} {took:.1f} s")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun_kb) / 1000
    return counted.result(read=read, slowest_seconds=round(slowest, 2), grown_mb=round(grown))


def hostile_runs(folder: Path, count: int) -> dict[str, Any]:
    """Run folders with odd contents: each verb does its work or says why not in a line; nothing is run."""
    counted, chance, own = Count(), random.Random(5), folder / "hostile"
    assert ended(forked(own, words_of("gan"))) == 0
    shutil.copytree(own / "r", own / "good")
    changes = {f"log {name}": forged.log(line) for name, line in forged.LOGS.items()}
    changes |= forged.STATES | forged.FILES | forged.SPECIALS | forged.SIZES
    names, begun_kb = list(changes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = [path.relative_to(own / "good") for path in sorted((own / "good").rglob("*")) if path.is_file()]
    slowest = (0.0, "")
    os.chdir(own)
    verbs = [
        ["list", "runs", "--folder", "."],
        ["sample", "r", "--count", "2", "--out", "x.png", "--overwrite"],
        ["watch", "r", "--no-images"],
        ["info", "r"],
        ["resume", "r", "--steps", "13"],
    ]
    attempt = 0
    while counted.tried < count:
        for left in (own / "r", own / "outside"):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(own / "good", own / "r")
        if attempt < len(names):
            what = names[attempt]
            changes[what](own / "r")
        else:  # text and numbers changed by chance, with a manifest that fits
            name = chance.choice(files)
            what = f"chance {attempt} in {name}"
            data = bytearray((own / "r" / name).read_bytes() or b"x")
            for _ in range(chance.choice((1, 3, 9))):
                place_ = chance.randrange(len(data))
                data[place_ : place_ + chance.choice((0, 1, 4))] = chance.choice(
                    (b"-", b"9" * 30, b"[", b"{", b"null", b'"', b"\xff", b"1e999", b"NaN", b"\\ud800", b"")
                )
                data = data or bytearray(b"x")
            (own / "r" / name).write_bytes(data)
            if name.parts[0] == "checkpoints" and name.name != "manifest.json":
                forged.seal((own / "r" / name).parent)
        attempt += 1
        for words in verbs[:4] if attempt % 4 else verbs:
            output, begun = io.StringIO(), time.process_time()  # the machine may be busy with more
            stdout, stderr = sys.stdout, sys.stderr
            sys.stdout = sys.stderr = output
            try:
                with watched(own):
                    code: Any = main(words)
            except BaseException:
                code = traceback.format_exc()
            finally:
                sys.stdout, sys.stderr = stdout, stderr
            took = time.process_time() - begun if words[0] != "resume" else 0.0  # which trains
            slowest = max(slowest, (took, f"{what} {words[0]}"))
            text = output.getvalue()
            errors = sum(line.startswith("error: ") for line in text.splitlines())
            good = code in (0, 2) and errors == (code == 2) and not SEEN and took < 2
            counted.add(good, f"{what} {words[0]}: {code} {SEEN} {took:.1f} s {text}")
    os.chdir(folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun_kb) / 1000
    seconds, which = slowest
    return counted.result(
        folders=attempt, slowest_cpu_seconds=round(seconds, 2), slowest=which, grown_mb=round(grown)
    )


def images(folder: Path, count: int) -> dict[str, Any]:
    """Odd images among good ones: each is used or named with a reason, the same ones every time."""
    from ganforge.data.open import open_dataset
    from ganforge.data.options import DataOptions

    counted, chance = Count(), random.Random(6)
    forms = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
    modes = ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16")
    batch, num_good = 40, 1000
    own = draw_images(folder / "images", num_good)
    for start in range(0, count, batch):
        for number in range(batch):
            image = Image.new(
                "RGB", (chance.choice((1, 8, 9, 300)), chance.choice((1, 8, 9, 300))), (9, 99, 199)
            )
            form, mode = chance.choice(forms), chance.choice(modes)
            buffer = io.BytesIO()
            try:
                image.convert("L").convert("I").convert(mode).save(
                    buffer, form
                ) if mode == "I;16" else image.convert(mode).save(buffer, form)
            except (OSError, ValueError, KeyError):
                image.save(buffer, "PNG")
            data = bytearray(buffer.getvalue())
            kind = number % 5
            if kind == 0:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            elif kind == 1:
                del data[chance.randrange(len(data)) :]
            elif kind == 2:
                place_ = chance.randrange(len(data))
                data[place_ : place_ + 4] = chance.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", b"", b"IEND"))
            ending = chance.choice((form.lower(), "png", "jpg", "tif")) if kind == 3 else form.lower()
            (own / f"odd-{number:03d}.{ending}").write_bytes(data)
        seen = []
        why = ""
        for _ in range(2):
            try:
                dataset = open_dataset(DataOptions(data=str(own), size=8))
                seen.append(
                    (dataset.fingerprint, tuple(name for name, _ in dataset.skipped), dataset.spec.num_images)
                )
            except UserError as error:
                seen.append(("refused", (), 0))
                why = str(error)
            except BaseException:
                why = traceback.format_exc()
        same = len(seen) == 2 and seen[0] == seen[1] and seen[0][0] != "refused"
        handled = same and len(seen[0][1]) + sum(len(s) for s in dataset.splits.values()) == num_good + batch
        for _ in range(batch):
            counted.add(handled, f"{start}: {seen} {why}")
        for path in own.glob("odd-*"):
            path.unlink()
    return counted.result()


def leaks(folder: Path, count: int) -> dict[str, Any]:
    """Resident memory over the steps of a training, from its log: the slope after the first third."""
    counted, own = Count(), folder / "leaks" / "long"
    words = [*words_of("dcgan"), "--steps", str(count), "--checkpoint-every", "500", "--sample-every", "500",
             "--log-every", "50"]  # fmt: skip
    assert ended(forked(own, words)) == 0, said(own)
    lines = [json.loads(line) for line in (own / "r/metrics.jsonl").read_text().splitlines()]
    peaks = [(line["step"], line["peak_memory_bytes"] / 1e6) for line in lines if line["kind"] == "train"]
    later = peaks[len(peaks) // 3 :]
    slope = (later[-1][1] - later[0][1]) / (later[-1][0] - later[0][0]) * 1000
    counted.add(slope < 5, f"{slope} MB per 1,000 steps")
    return counted.result(steps=count, mb_per_1000_steps=round(slope, 3))


def offline(folder: Path, count: int) -> dict[str, Any]:
    """The commands and the Python of the README, then the whole demo, where there is no network at all."""
    counted, own = Count(), folder / "offline"
    own.mkdir()
    readme = ["pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "-c", f"{ROOT}/pyproject.toml",
              "-k", "snippets_run and README", f"{ROOT}/tests/docs/test_snippets.py"]  # fmt: skip
    for words in (readme, ["ganforge", "demo"])[:count]:
        ended = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", *words],
            cwd=own,
            capture_output=True,
            text=True,
        )
        counted.add(ended.returncode == 0, f"{words[0]}: {ended.stdout[-300:]} {ended.stderr[-300:]}")
    return counted.result()


PARTS: dict[str, tuple[Callable[[Path, int], dict[str, Any]], int]] = {
    "kills": (kills, 200),
    "checkpoint damage": (damage, 1000),
    "disk": (disk, 40),
    "preemption": (preemption, 50),
    "hostile weights": (hostile_weights, 5000),
    "hostile run folders": (hostile_runs, 5000),
    "images": (images, 2000),
    "leaks": (leaks, 3000),
    "offline": (offline, 2),
}
"""Name -> the part, and how many attempts a release is held to."""


def command() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the attempts of each part")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--out", type=Path, help="parts that are there already and not tried stay")
    options = parser.parse_args()
    options.out = options.out and options.out.resolve()  # parts change the folder
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.addaudithook(_hook)
    folder = place()
    results = json.loads(options.out.read_bytes())["parts"] if options.out and options.out.exists() else {}
    for name in options.only:
        part, full = PARTS[name]
        results[name] = part(folder, max(1, round(options.share * full)))
        print(name, {key: value for key, value in results[name].items() if key != "failures"}, flush=True)
        record({"version": ganforge.__version__, "parts": results}, options.out)
    shutil.rmtree(folder)
    sys.exit(any(part["good"] != part["tried"] for part in results.values()))


if __name__ == "__main__":
    command()
