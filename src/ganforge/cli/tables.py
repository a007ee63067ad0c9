"""What the command line prints about scores and skipped images."""

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganforge.cli import EXIT_BAD_DATA
from ganforge.errors import printable
from ganforge.evaluation.compare import Compared, Line, cell_of, shared_note
from ganforge.evaluation.evaluate import Score
from ganforge.evaluation.groups import (
    BOLD_NOTE,
    P_NOTE,
    SEEDS_NOTE,
    Group,
    best_group,
    differences,
    group_cell,
    line_p_value,
    steps_of,
)
from ganforge.evaluation.psnr import Row
from ganforge.evaluation.verdict import verdict

NETWORKS = ("features", "classifier")
"""Parts of a protocol that are long and the same for several scores."""
MAIN_SCORES = (
    *("psnr_y", "ssim_y", "sharpness"),  # super-resolution
    *("l1", "psnr"),  # translation
    *("caption_recall_at_10", "held_out_image_recall_at_10", "caption_neighbour_accuracy"),  # text encoders
    *("attributes_right", "attributes_right_one_object", "attributes_right_two_objects"),  # scenes
    *("variety_within_caption", "caption_ranking_accuracy", "category_accuracy"),  # captions
    *("nll_bits_per_dim", "nll", "elbo"),  # likelihoods
    *("class_accuracy", "code_error"),  # classes
    *("modes", "high_quality", "reverse_kl", "frechet_distance"),  # mixtures, stacks
    *("fid", "fid_to_training", "kid", "precision", "recall", "coverage"),
)
"""Those of special systems first: of these the first five that a run has are printed."""
COMPARED_WITH = {
    "fid": "fid_floor",
    "attributes_right": "attributes_right_real",
    "class_accuracy": "worst_class_accuracy",
    "category_accuracy": "category_accuracy_real",
    "caption_ranking_accuracy": "caption_ranking_accuracy_held_out",
    "psnr_y": "bicubic_psnr_y",
    "ssim_y": "bicubic_ssim_y",
    "sharpness": "bicubic_sharpness",
}


def print_scores(scores: list[Score], verbose: bool = True) -> None:
    """Scores with what is special to each; what most share, and the networks, are stated once below.

    Not `verbose`: the five that matter most for this kind of system, each with what it compares with.
    """
    names = {score.name: score for score in scores}
    shown = scores if verbose else _main_scores(scores)
    protocols = [{name: str(text) for name, text in score.protocol.items()} for score in shown]
    shared = {}
    for name, text in protocols[0].items():  # such as seed and step, which scores of real images lack
        others = [protocol[name] for protocol in protocols if name in protocol]
        if name not in NETWORKS and set(others) == {text} and 2 * len(others) > len(protocols):
            shared[name] = text
    table = Table("score", "value", "measured on" if verbose else "compared with")
    footnotes: dict[str, list[str]] = {}
    for score, protocol in zip(shown, protocols, strict=True):
        special = [f"{name}: {text}" for name, text in protocol.items() if name not in (*shared, *NETWORKS)]
        if absent := [name for name in shared if name not in protocol]:
            special.append(f"no {', '.join(absent)}")
        if verbose:
            about = "; ".join([*special, score.note] if score.note else special)
        else:
            about = _comparison(score, names)
            footnotes.setdefault("; ".join(special), []).append(score.name)
        table.add_row(score.name, f"{cell_of(score)} {score.unit}".strip(), Text(about))
    console = Console()
    console.print(table)
    console.print("all:", "; ".join(f"{name}: {text}" for name, text in shared.items()), highlight=False)
    special_lines = [f"{', '.join(which)}: {text}" for text, which in footnotes.items() if text]
    if special_lines:
        console.print(" | ".join(special_lines), highlight=False, markup=False)
    networks = {(part, protocol[part]) for protocol in protocols for part in NETWORKS if part in protocol}
    for text in sorted({text for _, text in networks}):
        parts = [part for part in NETWORKS if (part, text) in networks]
        console.print(f"{', '.join(parts)}: {text}", highlight=False)
    if len(shown) < len(scores):
        print(f"{len(scores) - len(shown)} more scores and their protocols: --verbose, and the report")


def print_verdict(scores: list[Score]) -> None:
    """The scores in words, and how to get those of Inception where the data are unknown."""
    console = Console()
    if text := verdict(scores):
        console.print(text, style="bold", highlight=False, markup=False)
    if any("on unknown data" in str(score.protocol.get("features", "")) for score in scores):
        hint = "features of a small classifier of other data; those of Inception: --features inception"
        console.print(f"{hint} (downloads 96 MB once)", highlight=False, markup=False)


def _main_scores(scores: list[Score]) -> list[Score]:
    """At most five of `scores`, in the order of `MAIN_SCORES`, filled up with the first others."""
    rank = {name: place for place, name in enumerate(MAIN_SCORES)}
    return sorted(scores, key=lambda score: rank.get(score.name, len(rank)))[:5]


def _comparison(score: Score, scores: dict[str, Score]) -> str:
    """The score that `score` compares with, in words, or its own note."""
    other = scores.get(COMPARED_WITH.get(score.name, ""))
    if other is None:
        return score.note
    detail = f" ({other.note})" if other.name == "worst_class_accuracy" else ""
    return f"{other.name}: {cell_of(other)} {other.unit}".strip() + detail


def print_fidelity(rows: Sequence[Row]) -> None:
    """A line for each image; dB, SSIM and sharpness of every way to enlarge it."""
    table = Table("image", "size")
    for way in rows[0].found:
        table.add_column(Text(f"{way}\ndB, SSIM, sharpness"))
    for row in rows:
        cells = [
            f"{psnr:.2f}  {ssim:.4f}  {'-' if sharpness is None else f'{sharpness:.3f}'}"
            for psnr, ssim, sharpness in row.found.values()
        ]
        table.add_row(Text(row.name), f"{row.width}x{row.height}" if row.width else "", *cells)
    Console().print(table)
    print("on Y of BT.601 (grey images: their levels), without as many pixels at each border as the scale")


def print_comparison(runs: Sequence[Compared], groups: Sequence[Group], lines: Sequence[Line]) -> None:
    """A line for each score and protocol, a column for each group; what all share is stated once below."""
    table, grouped = Table("score"), len(groups) < len(runs)
    for group in groups:
        seeds = f"\n{len(group.places)} seeds" if len(group.places) > 1 else ""
        about = f"{runs[group.places[0]].run.config.system}, step {steps_of(runs, group)}"
        table.add_column(Text(f"{group.name}\n{about}{seeds}"))
    p_values = [line_p_value(line, groups) for line in lines]
    has_p = any(p is not None for p in p_values)
    if has_p:
        table.add_column("p")
    for line, p in zip(lines, p_values, strict=True):
        name, best = f"{line.name}, {line.unit}" if line.unit else line.name, best_group(line, groups)
        cells = [
            Text(group_cell(line, group), style="bold" if place == best else "")
            for place, group in enumerate(groups)
        ]
        last = [Text("-" if p is None else f"{p:.2g}")] if has_p else []
        table.add_row(Text(f"{name}\n  {line.differs}" if line.differs else name), *cells, *last)
    console = Console()
    console.print(table)
    console.print(f"all: {shared_note(lines)}", highlight=False, markup=False)
    if any(line.differs for line in lines):
        print("scores that were measured in different ways have lines of their own, with what differs")
    if grouped:
        print("\n".join([SEEDS_NOTE, BOLD_NOTE, *([P_NOTE] if has_p else [])]))
    if differing := differences(runs, groups):
        options = Table("option")
        for group in groups:
            options.add_column(Text(group.name))
        for option, texts in differing.items():
            options.add_row(Text(option), *map(Text, texts))
        console.print(options)
    for compared in runs:
        for note in compared.notes:
            print(f"note: {compared.name}: {note}")


def print_or_dump(scores: list[Score], as_json: bool, verbose: bool = True) -> None:
    """Print scores as a table or as JSON."""
    if as_json:
        print(json.dumps([score.model_dump() for score in scores], indent=1))
    else:
        print_scores(scores, verbose)


def print_skipped(skipped: dict[str, str]) -> int:
    """Name skipped images and the reasons; returns the exit code."""
    for name, reason in skipped.items():
        print(f"skipped: {printable(name)} ({reason})", file=sys.stderr)
    return EXIT_BAD_DATA if skipped else 0
