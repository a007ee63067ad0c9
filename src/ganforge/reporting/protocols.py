"""Protocols of scores, each part stated once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONG = 40  # characters: longer texts that several scores share are stated in notes below


@dataclass(frozen=True)
class Stated:
    """What most scores share, what is special to each, and long texts, to which `[1]` in those refers."""

    shared: dict[str, str]
    special: list[dict[str, str]]
    notes: list[str]


def state_once(protocols: Sequence[Mapping[str, str]]) -> Stated:
    """`protocols` with what most share taken out; a score that lacks a shared part has it as "none"."""
    shared = {}
    for name in dict.fromkeys(name for protocol in protocols for name in protocol):
        texts = Counter(protocol[name] for protocol in protocols if name in protocol)
        text, count = texts.most_common(1)[0]
        if len(protocols) > 1 and 2 * count > len(protocols):
            shared[name] = text
    long = Counter(
        text
        for protocol in protocols
        for name, text in protocol.items()
        if len(text) > LONG and shared.get(name) != text
    )
    notes = [text for text, count in long.items() if count > 1]
    special = []
    for protocol in protocols:
        own = {name: text for name, text in protocol.items() if shared.get(name) != text}
        own |= {name: "none" for name in shared if name not in protocol}
        special.append({name: _referred(text, notes) for name, text in own.items()})
    return Stated(shared, special, notes)


def _referred(text: str, notes: list[str]) -> str:
    return f"[{notes.index(text) + 1}]" if text in notes else text
