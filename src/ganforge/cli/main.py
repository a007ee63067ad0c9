"""The command line: its verbs, declared once, and how a process ends."""

import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.cli import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_MISTAKE
from ganforge.errors import UserError, unknown_name
from ganforge.version import __version__

HELP = ("-h", "--help")


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
    Verb("train", "SYSTEM --data DATA", "Train a system, or resume its run.", "train:train"),
    Verb("sample", "RUN", "Draw samples to a PNG, PNGs or an .npz.", "sample:Sample"),
    Verb("evaluate", "RUN", "Scores with protocols, and the report.", "evaluate:Evaluate"),
    Verb("compare", "RUN RUN ...", "Stored scores of several runs in one table.", "compare:Compare"),
    Verb("apply", "RUN IMAGES --out OUT", "Translate or enlarge images of any size.", "apply:Apply"),
    Verb("restyle", "RUN IMAGES --text T", "Draw prompts in the style of images.", "apply:Restyle"),
    Verb("draw", "RUN KIND --out F.png", "Reconstructions, completions or a latent map.", "apply:Draw"),
    Verb("analyze features", "RUN --out F.npz", "Features of images, for classifiers.", "analyze:Features"),
    Verb("analyze probe", "F.npz", "A linear classifier on such features.", "analyze:Probe"),
    Verb("analyze outliers", "RUN --data D", "Detection of images from other data.", "analyze:Outliers"),
    Verb("analyze classify", "RUN", "Classes by p(x given y), with rejection.", "analyze:Classify"),
    Verb("analyze psnr", "IMAGES RUN ...", "PSNR and SSIM of enlarged images.", "analyze:PSNR"),
    Verb("data check", "DATA", "What a data set contains, and its problems.", "data:Check"),
    Verb("data pack", "DATA OUT.zip", "Resize a data set into one indexed zip.", "data:Pack"),
    Verb("data embed", "ENCODER --data D", "Write the caption embeddings of a data set.", "data:Embed"),
    Verb("export package", "RUN OUT", "A run as it ships with the package.", "export:Package"),
    Verb("reproduce", "NAME", "Repeat a recipe and compare its scores.", "reproduce:Reproduce"),
    Verb("list", "systems|data|runs|recipes", "Names that other verbs accept.", "listing:Listing"),
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
    more = "  ganforge VERB --help: the options of a verb, or the verbs of a group\n  ganforge --version\n"
    return f"usage: ganforge VERB ...\n\n{_columns(rows)}\n{more}"


def group_usage(group: str) -> str:
    """What `ganforge GROUP --help` prints."""
    rows = {f"{v.name} {v.arguments}": v.summary for v in VERBS if v.name.startswith(f"{group} ")}
    return f"usage: ganforge {group} VERB ...\n\n{_columns(rows)}\n  ganforge {group} VERB --help\n"


def _columns(rows: dict[str, str]) -> str:
    width = max(len(left.strip()) for left in rows)
    return "".join(f"  {left.strip():<{width}}  {right}\n" for left, right in rows.items())


def _find(words: Sequence[str]) -> tuple[Verb, list[str]]:
    """The verb that `words` start with, and the words after it."""
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
    target = verb.load()
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
    try:
        return _run(words, on_load)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (OSError, MemoryError) as error:
        return _failed(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        # Imported only now: torch takes seconds, and most commands that fail have it already.
        from torch import OutOfMemoryError

        from ganforge.training.loop import Stopped

        if isinstance(error, Stopped):
            print(f"{error}: the same command resumes", file=sys.stderr)
            return error.exit_code
        if isinstance(error, OutOfMemoryError):
            return _failed(error)
        raise


def _failed(error: Exception) -> int:
    print(f"error: {str(error).splitlines()[0] if str(error) else 'out of memory'}", file=sys.stderr)
    return EXIT_MISTAKE


def program() -> int:
    """`main` as a process of its own, which may change what a library must leave alone."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    # Pillow warns of an image's damaged extras (EXIF, animation), which do not matter here.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    return main(on_load=_flush_denormals)


def _flush_denormals() -> None:
    """Numbers below 1e-38 count as 0, for steps up to 4 times as fast.

    Threads inherit that from the one that starts them, so it comes before a verb does any work.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(True)
