"""What the command line prints about plans, runs and scores."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganforge.evaluation.compare import Compared, Line, cell_of, shared_note
from ganforge.evaluation.evaluate import Score
from ganforge.evaluation.psnr import Row
from ganforge.runs.folder import Run
from ganforge.training.cost import estimate
from ganforge.training.plan import Plan, reasons

NETWORKS = ("features", "classifier")
"""Parts of a protocol that are long and the same for several scores."""


def print_dry_run(plan: Plan) -> None:
    """What a run would be and cost, measured over a few steps."""
    why = reasons(plan)
    print(f"run folder: {plan.path}" + (" (exists: would resume)" if plan.run else ""))
    print(plan.config.model_dump_json(indent=1, exclude={"fingerprint"}))
    for name, text in why.items():
        print(f"chosen for this data: {name} = {text}")
    cost = estimate(plan.config, plan.dataset)
    steps = int(plan.config.config["steps"])
    minutes = steps * cost.seconds_per_step / 60
    for name, count in cost.parameters.items():
        print(f"{name}: {count:,} parameters")
    print(f"{cost.flops_per_image / 1e6:,.1f} MFLOP per image and step, on {cost.device} in {cost.precision}")
    print(
        f"measured over a few steps: {cost.images_per_second:,.0f} images/s, "
        f"{cost.seconds_per_step * 1e3:.1f} ms per step, so {steps} steps take about {minutes:.1f} minutes; "
        f"peak memory about {cost.peak_memory_bytes / 1e6:,.0f} MB"
    )
    print("nothing was written")


def print_finished(run: Run) -> None:
    """Where a run's results are, and what to type next."""
    drawn = (run.path / "samples").glob("[0-9]*.png")
    newest = max(drawn, key=lambda path: int(path.stem), default=None)
    print(f"run folder    {run.path}")
    if newest is not None:
        print(f"sample grid   {newest}")
    print(f"report        {run.path / 'report.html'}")
    # In a virtual environment that is not activated, as after `make demo`, only the whole path can be typed.
    called = Path(sys.argv[0])
    program = str(called) if called.name == "ganforge" and shutil.which("ganforge") is None else "ganforge"
    print("\nnext:")
    print(f"  {program} evaluate {shlex.quote(str(run.path))}")
    if newest is not None:
        print(f"  {program} sample {shlex.quote(str(run.path))} --count 16 --seed 7 --out samples.png")
    print(f"  {program} train {run.config.system} --help")


def print_scores(scores: list[Score]) -> None:
    """Scores with what is special to each; what most share, and the judging networks, are said once below."""
    protocols = [{name: str(text) for name, text in score.protocol.items()} for score in scores]
    shared = {}
    for name, text in protocols[0].items():  # such as seed and step, which scores of real images lack
        others = [protocol[name] for protocol in protocols if name in protocol]
        if name not in NETWORKS and set(others) == {text} and 2 * len(others) > len(protocols):
            shared[name] = text
    table = Table("score", "value", "measured on")
    for score, protocol in zip(scores, protocols, strict=True):
        spread = "" if score.plus_minus is None else f" ± {score.plus_minus:.3g}"
        special = [f"{name}: {text}" for name, text in protocol.items() if name not in (*shared, *NETWORKS)]
        if absent := [name for name in shared if name not in protocol]:
            special.append(f"no {', '.join(absent)}")
        measured_on = "; ".join([*special, score.note] if score.note else special)
        table.add_row(score.name, f"{score.value:.4g}{spread} {score.unit}".strip(), measured_on)
    console = Console()
    console.print(table)
    console.print("all:", "; ".join(f"{name}: {text}" for name, text in shared.items()), highlight=False)
    for network in NETWORKS:
        for text in sorted({protocol[network] for protocol in protocols if network in protocol}):
            console.print(f"{network}: {text}", highlight=False)


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


def print_comparison(runs: Sequence[Compared], lines: Sequence[Line]) -> None:
    """A line for each score and protocol, a column for each run; what all share is said once below."""
    table = Table("score")
    for compared in runs:
        table.add_column(Text(f"{compared.name}\n{compared.run.config.system}, step {compared.step}"))
    for line in lines:
        name = f"{line.name}, {line.unit}" if line.unit else line.name
        cells = [cell_of(line.scores.get(place)) for place in range(len(runs))]
        table.add_row(Text(f"{name}\n  {line.differs}" if line.differs else name), *cells)
    console = Console()
    console.print(table)
    console.print(f"all: {shared_note(lines)}", highlight=False, markup=False)
    if any(line.differs for line in lines):
        print("scores that were measured in different ways stand in lines of their own, with what differs")
