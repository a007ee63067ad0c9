"""`ganforge completion`: scripts for a shell, made of the stored names."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from ganforge.cli.names import Names, read_names

LISTS = ("systems", "data", "runs", "pretrained", "recipes")
SHELLS = ("bash", "zsh", "tcsh")


@dataclass(frozen=True)
class Completion:
    """Print a completion script."""

    shell: tyro.conf.Positional[
        Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.arg(help="The shell that loads the script.")]
    ]

    def __call__(self, command: str) -> int:
        """Print the script; returns the exit code."""
        names = read_names()
        print(_tcsh(names) if self.shell == "tcsh" else _bash(names, self.shell), end="")
        return 0


def _second_words(names: Names) -> dict[str, list[str]]:
    """What may follow a first word: the verbs of a group, systems, shells, lists; nothing for most verbs."""
    words: dict[str, list[str]] = {}
    for verb in names.options:
        first, _, second = verb.partition(" ")
        words.setdefault(first, []).extend([second] if second else [])
    return words | {"bench": list(names.systems), "list": list(LISTS), "completion": list(SHELLS)}


_BASH = """\
_ganforge() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  local first="${{COMP_WORDS[1]}}" both="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{first}"
  elif [ "$COMP_CWORD" -eq 2 ]; then
    case "$first" in
{second}
    esac
  fi
  case "$previous" in
    --data) words="{data}" ;;
  esac
  case "$both $previous" in
{choices}
  esac
  case "$current" in
    -*)
      case "$first" in
{common}
      esac
      case "$both" in
{own}
      esac ;;
  esac
  COMPREPLY=( $(compgen -W "$words" -- "$current") )
}}
complete -o default -F _ganforge ganforge
"""


def _bash(names: Names, shell: str) -> str:
    def cases(patterns: dict[str, list[str]], indent: int, more: str = "") -> str:
        lines = [f'{pattern}) words="{more}{" ".join(words)}" ;;' for pattern, words in patterns.items()]
        return "\n".join(" " * indent + line for line in lines)

    single = {verb: list(options) for verb, options in names.options.items() if " " not in verb}
    double = {f'"{verb}"': list(options) for verb, options in names.options.items() if " " in verb}
    choices = {
        f'"{verb} "*{option}' if " " not in verb else f'"{verb} {option}"': values
        for verb, options in names.options.items()
        for option, values in options.items()
        if values
    }
    script = _BASH.format(
        first=" ".join(_second_words(names)),
        second=cases({word: words for word, words in _second_words(names).items() if words}, 6),
        data=" ".join(_data_names(names)),
        choices=cases(choices, 4),
        common=cases(single, 8),
        own=cases(double, 8, "$words "),
    )
    zsh = "autoload -Uz compinit && compinit\nautoload -Uz bashcompinit && bashcompinit\n"
    return zsh + script if shell == "zsh" else script


def _tcsh(names: Names) -> str:
    values: dict[str, dict[str, None]] = {}
    for options in names.options.values():
        for option, choices in options.items():
            values.setdefault(option, {}).update(dict.fromkeys(choices))
    values["--data"] = dict.fromkeys(_data_names(names))
    rules = [f"p/1/({' '.join(_second_words(names))})/"]
    rules += [f"n/{first}/({' '.join(words)})/" for first, words in _second_words(names).items() if words]
    rules += [f"n/{option}/({' '.join(choices)})/" for option, choices in values.items() if choices]
    rules.append(f"c/--/({' '.join(sorted(option.removeprefix('--') for option in values))})/")
    return "complete ganforge " + " ".join(f"'{rule}'" for rule in rules) + "\n"


def _data_names(names: Names) -> list[str]:
    return [name for name in names.data if name.replace("-", "").isalnum()]
