"""Names in the place of this machine's paths, which are nobody's business, in whatever is exported."""

import re
import shlex
from pathlib import Path
from typing import Any

from ganforge.runs.folder import RunConfig
from ganforge.runs.hub import HUB, REPOSITORY
from ganforge.text.encoders import LIBRARY

_PATH = re.compile(r"(?<![\w./~-])(?:~\w*|\.{1,2})?/(?!/)[^\s,;'\"]+")
"""Within a text: a path that begins with `/`, `~`, `./` or `../`, and no part of an address."""


def name_of(place: str) -> str:
    """The last name of a path; `mnist`, `hf:owner/name` and `sentence:owner/name` are no paths, and stay."""
    kind, _, rest = place.partition(":")
    if f"{kind}:" in (HUB, LIBRARY) and REPOSITORY.fullmatch(rest) and not Path(rest).exists():
        return place
    return Path(place).name or place


def without_paths(config: RunConfig, text_encoder: str) -> RunConfig:
    """`config` of averaged weights alone, with names for paths, and `text_encoder` where that is."""
    data = {"data": name_of(config.data.data)}
    if config.data.sources is not None:
        data["sources"] = name_of(config.data.sources)
    if config.data.text_encoder is not None:
        data["text_encoder"] = text_encoder
    options = config.config | {"ema_half_life": 0.0}  # the weights are the average
    if options.get("vgg_weights"):
        options["vgg_weights"] = name_of(options["vgg_weights"])
    changed = {"data": config.data.model_copy(update=data), "config": options, "places": {}}
    if config.start_from is not None:
        place = name_of(config.start_from)
        started = {own: text.replace(config.start_from, place) for own, text in config.start_networks.items()}
        changed |= {"start_from": place, "start_networks": started}
    return config.model_copy(update=changed)


def text_without_paths(text: str, config: RunConfig) -> str:
    """`text` with names for the places of a run, which may hold spaces, and for other paths."""
    data = config.data
    named = (data.data, data.sources, data.text_encoder, config.config.get("vgg_weights"), config.start_from)
    for place in sorted(filter(None, (*named, *config.places.values())), key=len, reverse=True):
        text = text.replace(place, name_of(place))
    return _PATH.sub(lambda found: name_of(found[0]), text)


def json_without_paths(value: Any, config: RunConfig) -> Any:
    """The same of every text in `value`, which is JSON."""
    if isinstance(value, dict):
        return {key: json_without_paths(part, config) for key, part in value.items()}
    if isinstance(value, list):
        return [json_without_paths(part, config) for part in value]
    return text_without_paths(value, config) if isinstance(value, str) else value


def command_without_paths(command: str, config: RunConfig) -> str:
    """A command with names for all paths, relative ones and those of `--option=PATH` too."""
    if command.startswith("ganforge."):  # Python
        return text_without_paths(command, config)
    try:
        words = shlex.split(command)
    except ValueError:
        return command.split()[0]
    parted = (word.partition("=") if word.startswith("--") else ("", "", word) for word in words)
    return shlex.join(f"{option}{sign}{name_of(value)}" for option, sign, value in parted)
