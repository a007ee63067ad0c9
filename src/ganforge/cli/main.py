"""The command line: its verbs, declared once, and how a process ends."""

import errno
import importlib
import io
import os
import shlex
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.cli import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_MISTAKE
from ganforge.errors import UserError, printable, unknown_name
from ganforge.files.code import TRUST, allow_typed
from ganforge.training.signals import requeue_before_training
from ganforge.version import __version__

HELP = ("-h", "--help")
COLUMNS = 80
RUN_FIRST = ("explore", "export")
"""Groups whose verbs may come after the run."""
TRAINING = {"train", "resume", "sweep"}
"""Verbs that SIGUSR1 saves and requeues."""


@dataclass(frozen=True)
class Verb:
    """One verb: `name`, with its group before it; what follows it in the usage; one line of help.

    `path` is `module:member` below `ganforge.cli`, imported when the verb is used: a dataclass of its
    arguments, called with the command, or a function of the words after the verb. Both return the exit code.
    """

    name: str
    arguments: str
    summary: str
    path: str

    def load(self) -> Any:
        """The member at `path`."""
        module, _, member = self.path.partition(":")
        return getattr(importlib.import_module(f"ganforge.cli.{module}"), member)


VERBS = (
    Verb("train", "[SYSTEM --data] DATA", "Train a system, or resume its run.", "train:train"),
    Verb("resume", "RUN", "Continue a run, up to its steps or more.", "resume:Resume"),
    Verb("sweep", "SPEC.toml", "Search options, in trials that resume.", "sweep:Sweep"),
    Verb("watch", "RUN", "Follow a run from another terminal.", "watch:Watch"),
    Verb("sample", "RUN", "Draw samples to a PNG, PNGs or an .npz.", "sample:Sample"),
    Verb("evaluate", "RUN ...", "Scores with protocols, and the report.", "evaluate:Evaluate"),
    Verb("compare", "RUN RUN ...", "Stored scores of several runs in one table.", "compare:Compare"),
    Verb("apply", "RUN IMAGES --out OUT", "Translate or enlarge images of any size.", "apply:Apply"),
    Verb("restyle", "RUN IMAGES --text T", "Draw prompts in the style of images.", "apply:Restyle"),
    Verb("info", "FILE|RUN", "Where a file is from; what a run is.", "info:Info"),
    Verb("explore interpolate", "RUN", "From sample to sample.", "explore:Interpolate"),
    Verb("explore walk", "RUN", "A closed loop through samples.", "explore:Walk"),
    Verb("explore arithmetic", 'RUN "1 - 2 + 3"', "Sums of mean latents.", "explore:Arithmetic"),
    Verb("explore traverse", "RUN", "One code, class or latent at a time.", "explore:Traverse"),
    Verb("explore directions", "RUN", "What a generator reacts to most.", "explore:Directions"),
    Verb("explore project", "RUN IMAGES", "The latents of your own images.", "explore:Project"),
    Verb("explore neighbours", "RUN", "The nearest training images.", "explore:Neighbours"),
    Verb("explore reconstructions", "RUN", "Images, as vae draws them again.", "figures:Reconstructions"),
    Verb("explore completions", "RUN", "Images from their upper rows.", "figures:Completions"),
    Verb("explore manifold", "RUN", "A map of two latents.", "figures:Manifold"),
    Verb("analyze features", "RUN --out F.npz", "Features of images, for classifiers.", "analyze:Features"),
    Verb("analyze probe", "F.npz", "A linear classifier on such features.", "analyze:Probe"),
    Verb("analyze outliers", "RUN --data D", "Detection of images from other data.", "analyze:Outliers"),
    Verb("analyze classify", "RUN", "Classes by p(x given y), with rejection.", "analyze:Classify"),
    Verb("analyze psnr", "IMAGES RUN ...", "PSNR and SSIM of enlarged images.", "analyze:PSNR"),
    Verb("data check", "DATA", "What a data set contains, and its problems.", "data:Check"),
    Verb("data pack", "DATA OUT.zip", "Resize a data set into one indexed zip.", "data:Pack"),
    Verb("data embed", "ENCODER --data D", "Write the caption embeddings of a data set.", "data:Embed"),
    Verb("data statistics", "DATA OUT.npz", "Mean and covariance of features.", "data:Statistics"),
    Verb("import", "KIND FILE --run RUN", "A run of the weights of other code.", "importing:Import"),
    Verb("bench", "SYSTEM ...", "Speed, next to a plain training loop.", "bench:bench"),
    Verb("studio", "", "Watch, play, compare and create in the browser.", "studio:Studio"),
    Verb("serve", "RUN [RUN ...]", "Runs over HTTP, for programs and pages.", "serve:Serve"),
    Verb("export onnx", "RUN OUT", "An ONNX model, and a script that draws.", "export:ONNX"),
    Verb("export torch", "RUN OUT", "For torch alone: a program, plain modules.", "export:Torch"),
    Verb("export hub", "RUN OUT", "Weights and a model card, to share.", "export:Hub"),
    Verb("export package", "RUN OUT", "A run as it ships with the package.", "export:Package"),
    Verb("export log", "RUN --to TRACKER", "The record, for TensorBoard and others.", "export:Log"),
    Verb("reproduce", "NAME", "Repeat a recipe and compare its scores.", "reproduce:Reproduce"),
    Verb("list", "WHAT", "systems, data, runs, pretrained or recipes.", "listing:Listing"),
    Verb("demo", "", "A DCGAN on MNIST in a few minutes, scored.", "demo:Demo"),
    Verb("completion", "bash|zsh|tcsh", "Print a completion script for your shell.", "completion:Completion"),
)
GROUPS = tuple(dict.fromkeys(verb.name.split()[0] for verb in VERBS if " " in verb.name))


def usage() -> str:
    """What `ganforge --help` prints: a line for each verb or group."""
    rows = {}
    for verb in VERBS:
        group, _, member = verb.name.partition(" ")
        if not member:
            rows[f"{verb.name} {verb.arguments}"] = verb.summary
        elif f"{group} VERB" in rows:
            rows[f"{group} VERB"] += f", {member}"
        else:
            rows[f"{group} VERB"] = member
    more = "  --help after a verb or group; --version; --trust-code: import what a run names\n"
    return f"usage: ganforge VERB ...\n{_columns(rows)}{more}"


def group_usage(group: str) -> str:
    """What `ganforge GROUP --help` prints."""
    rows = {f"{v.name} {v.arguments}": v.summary for v in VERBS if v.name.startswith(f"{group} ")}
    return f"usage: ganforge {group} VERB ...\n\n{_columns(rows)}\n  ganforge {group} VERB --help\n"


def _columns(rows: dict[str, str]) -> str:
    width = max(len(left.strip()) for left in rows)
    room = COLUMNS - width - 4
    cut = {left.strip(): textwrap.shorten(right, room, placeholder=" ...") for left, right in rows.items()}
    return "".join(f"  {left:<{width}}  {right}\n" for left, right in cut.items())


SHARED = ("train", "resume", "sample", "evaluate")
"""Verbs that several processes of torchrun do together; others each would do alone, all of it."""


def _find(words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb that `words` start with, and the words after it."""
    if words[0] in RUN_FIRST and len(words) > 2 and words[1][:1] != "-":
        group, kinds = words[0], {verb.name for verb in VERBS}
        if f"{group} {words[1]}" not in kinds and f"{group} {words[2]}" in kinds:  # the run came first
            words = [group, words[2], words[1], *words[3:]]
    length = 2 if words[0] in GROUPS else 1
    name, names = " ".join(words[:length]), {verb.name: verb for verb in VERBS}
    if name in GROUPS:
        members = [verb.name for verb in VERBS if verb.name.startswith(f"{name} ")]
        raise UserError(f"expected one of: {', '.join(f'ganforge {member}' for member in members)}")
    if name not in names:
        raise unknown_name("verb", name, names, "(ganforge --help)")
    return names[name], list(words[length:])


def _run(words: Sequence[str], on_load: Callable[[], None]) -> int:
    verb, rest = _find(words)
    # Read when torch is imported: what Apple's GPUs lack is computed on the CPU.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    target = verb.load()
    if verb.name not in SHARED and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from ganforge.distributed import refuse_several_processes  # imports torch, which not all verbs need

        refuse_several_processes(verb.name)
    on_load()
    if isinstance(target, type):
        from ganforge.cli.arguments import parse  # not for `ganforge --help`

        arguments: Any = parse(target, rest, f"ganforge {verb.name}", verb.summary)
        return arguments(shlex.join(["ganforge", *words]))
    return target(rest)


def main(arguments: Sequence[str] | None = None, on_load: Callable[[], None] = lambda: None) -> int:
    """Run a command; returns its exit code: 0, 2 for a mistake, 1 for bad data, 130 or 143 when stopped.

    `on_load` is called between the import of what the verb needs and its start.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in HELP:
        print(usage(), end="")
        return 0 if words else EXIT_MISTAKE
    if words[0] == "--version":
        print(f"ganforge {__version__}")
        return 0
    if words[0] in GROUPS and words[1:2] and words[1] in HELP:
        print(group_usage(words[0]), end="")
        return 0
    allow_typed(words)
    words = [word for word in words if word != TRUST]
    try:
        return _run(words, on_load)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        print(f"error: {_about_file(error)}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        # Imported only now: torch takes seconds, and most commands that fail have it already.
        from ganforge.training.loop import Stopped
        from ganforge.training.memory import is_shortage

        if isinstance(error, Stopped):
            again = f"the same command resumes, or `ganforge resume {error.run}`" if error.step else ""
            print(f"{error}: {again or 'the same command starts it'}", file=sys.stderr)
            return error.exit_code
        if is_shortage(error):
            print(
                "error: out of memory: end other programs, or give fewer or smaller images at a time"
                f" (ganforge {words[0]} --help)",
                file=sys.stderr,
            )
            return EXIT_MISTAKE
        raise


def _about_file(error: OSError) -> str:
    """What went wrong with which file, in a line, and what to do about it."""
    if error.filename is None or error.strerror is None:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
    else:
        text = f"{printable(str(error.filename))}: {error.strerror}"
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"{text}: free some space and type the same command again" if error.errno in full else text


def program() -> int:
    """`main` as a process of its own, which may change what a library must leave alone."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    # Pillow warns of an image's damaged extras (EXIF, animation), which do not matter here.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows its number
            stream.reconfigure(errors="backslashreplace")
    interrupts = signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in `ganforge.__main__`
    if set(sys.argv[1:2]) & TRAINING:
        requeue_before_training()

    def loaded() -> None:
        if interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _flush_denormals()

    return main(on_load=loaded)


def _flush_denormals() -> None:
    """Numbers below 1e-38 count as 0, for steps up to 4 times as fast.

    Threads inherit that from the one that starts them, so it comes before a verb does any work.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(True)
