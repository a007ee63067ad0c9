"""Which system draws best in the minutes people have: each trains for the same CPU seconds of one core.

python benchmarks/tournament.py emoji-32 --minutes 3 --seeds 0 1 2   adds rows to benchmarks/tournament.json
python benchmarks/tournament.py --table                              prints the stored rows as the docs do

Start it with OMP_NUM_THREADS=1. CPU seconds rather than those of the clock, so that other work on the
machine favours nobody; building the networks and drawing the samples are left out for all. A row measured
again replaces the old one. `--grids FOLDER` keeps the first 64 samples of each training as they come.
"""

import argparse
import datetime
import itertools
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.data.batch import as_images
from ganforge.data.dataset import Dataset, held_out, some_rows
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.evaluation.features.select import feature_extractor
from ganforge.evaluation.metrics.frechet import Moments, frechet_distance
from ganforge.evaluation.metrics.kernel import kernel_distance
from ganforge.evaluation.metrics.neighbours import Neighbourhoods, precision_recall
from ganforge.files.images import save_image
from ganforge.reporting import grids
from ganforge.runs.device import describe_machine
from ganforge.runs.folder import RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.runs.sampling import draw
from ganforge.training.plan import make_plan, on_disk
from ganforge.training.state import Training, build_loader, build_training
from ganforge.training.update import OptimizerUpdate

STORED = Path(__file__).with_name("tournament.json")
NUM_SAMPLES, NUM_NEIGHBOURS, SCHEDULED_SECONDS = 10_000, 2_500, 8.0
DATA = {
    "mnist": DataOptions(data="mnist"),
    "fashion-mnist": DataOptions(data="fashion-mnist"),
    "emoji-32": DataOptions(data="emoji", size=32),
    "emoji-64": DataOptions(data="emoji", size=64),
}


@dataclass(frozen=True)
class Contestant:
    """A system with the options that did best for it in trials of a few minutes."""

    name: str
    system: str
    options: dict[str, Any]


_DENSE = {"width": 24, "dense_units": 256}
_SNGAN = {
    "width": 16,
    "network": "convolutional",
    "discriminator_width": 16,
    "discriminator_steps": 1,
    "generator_batch_factor": 1,
    "learning_rate": 1e-3,
    "learning_rate_decay": "none",
}
CONTESTANTS = (
    Contestant("dcgan", "dcgan", {}),
    Contestant("dcgan-24", "dcgan", {"width": 24}),
    Contestant("dcgan-dense", "dcgan", _DENSE),
    Contestant("dcgan-dense-ada", "dcgan", _DENSE | {"augment": "ada"}),
    Contestant("dcgan-dense-diffaugment", "dcgan", _DENSE | {"augment": "color,translation"}),
    Contestant("dcgan-24-ada", "dcgan", {"width": 24, "augment": "ada"}),
    Contestant("fastgan", "fastgan", {}),
    Contestant("r3gan", "r3gan", {}),
    Contestant("sngan", "sngan", _SNGAN),
    Contestant("lsgan", "lsgan", {"width": 32, "batch": 64, "learning_rate": 1e-3}),
)


def options_as_typed(contestant: Contestant, data: DataOptions) -> str:
    """The command that trains the same, but for its steps."""
    size = "" if data.size is None else f" --size {data.size}"
    typed = "".join(
        f" --{name.replace('_', '-')} {value}"
        if not isinstance(value, bool)
        else f" --{'' if value else 'no-'}{name.replace('_', '-')}"
        for name, value in contestant.options.items()
    )
    return f"ganforge train {contestant.system} --data {data.data}{size}{typed}"


def configured(contestant: Contestant, dataset: Dataset, seed: int, steps: int) -> RunConfig:
    """The configuration of a run with these steps, on which schedules depend."""
    options = TrainOptions(seed=seed, device="cpu")
    disk = on_disk(contestant.system, dataset.options, Path("no-such-run"))
    return make_plan(contestant.system, dataset, options, contestant.options | {"steps": steps}, disk).config


def train(config: RunConfig, dataset: Dataset, cpu_seconds: float) -> tuple[Training, float]:
    """A training of these CPU seconds, or of all steps of `config`; and the CPU seconds of its steps."""
    torch.manual_seed(config.train.seed)
    training = build_training(config, dataset)
    update = OptimizerUpdate(training.optimizers, training.device.type)
    training.system.train()
    batches = build_loader(config, dataset, training.system.images_per_step()).iterate(0)
    begun = time.process_time()
    while time.process_time() - begun < cpu_seconds and training.step < config.config["steps"]:
        training.advance(next(batches).to(training.device), update)
    return training, time.process_time() - begun


def compete(
    contestant: Contestant, data: str, minutes: float, seed: int, folder: Path | None
) -> dict[str, Any]:
    """Train for `minutes` of one core and score the average of the generator."""
    dataset = open_dataset(DATA[data])
    tried, seconds = train(configured(contestant, dataset, seed, 10**6), dataset, SCHEDULED_SECONDS)
    steps = int(60 * minutes / (seconds / tried.step))
    training, seconds = train(configured(contestant, dataset, seed, steps), dataset, 60 * minutes * 1.1)
    with training.sampled() as system:
        fake = torch.cat(list(draw(system, NUM_SAMPLES, seed=0)))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{data}-{minutes:g}min-{contestant.name}-{seed}.png"
        save_image(grids.draw(fake[:64], training.system.data), folder / name, {})
    return {
        "data": data,
        "minutes": minutes,
        "name": contestant.name,
        "seed": seed,
        "command": options_as_typed(contestant, DATA[data]) + f" --steps {training.step}",
        "cpu_seconds": round(seconds, 1),
        "images": training.images,
        **scores(dataset, fake),
        "machine": describe_machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def scores(dataset: Dataset, fake: Tensor) -> dict[str, float | str]:
    """FID and KID to training and to held-out images; precision and recall against training images."""
    extractor = feature_extractor("auto", dataset)
    fakes = _features(extractor, fake)
    found: dict[str, float | str] = {"features": extractor.description}
    for name, split in {"": dataset.splits["train"], "_held_out": held_out(dataset)[1]}.items():
        real = _features(extractor, as_images(split.read(some_rows(split, NUM_SAMPLES))))
        found[f"fid{name}"] = round(frechet_distance(Moments.of(real), Moments.of(fakes)), 3)
        found[f"kid{name}"] = round(1000 * kernel_distance(real, fakes).mean, 3)
        if not name:
            count = min(NUM_NEIGHBOURS, len(real))
            nearest = precision_recall(Neighbourhoods(real[:count], fakes[:count]))
            found |= {"precision": round(nearest.precision, 3), "recall": round(nearest.recall, 3)}
    return found


def _features(extractor: Any, images: Tensor) -> Tensor:
    return torch.cat([extractor.features(part) for part in images.split(500)])


def keep(row: dict[str, Any]) -> None:
    """Put `row` into the stored rows, in place of one of the same training."""
    key = ("data", "minutes", "name", "seed")
    rows = [r for r in stored() if any(r[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda r: tuple(r[name] for name in key))
    STORED.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def stored() -> list[dict[str, Any]]:
    """The rows that were measured."""
    return json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else []


def table() -> str:
    """A table for each set and time, the best first: means, and in brackets the lowest and highest FID."""
    lines = list[str]()
    for (data, minutes), group in itertools.groupby(stored(), lambda row: (row["data"], row["minutes"])):
        rows = list(group)
        lines += [f"\n`{data}`, {minutes:g} core-minutes:\n"]
        lines += ["| contestant | images seen | FID | FID, held out | precision | recall | seeds |"]
        lines += ["|---|---|---|---|---|---|---|"]
        each = [list(runs) for _, runs in itertools.groupby(rows, lambda row: row["name"])]
        for runs in sorted(each, key=lambda runs: statistics.mean(row["fid"] for row in runs)):
            mean = {
                name: statistics.mean(row[name] for row in runs)
                for name in ("images", "fid", "fid_held_out", "precision", "recall")
            }
            spread = (
                f" ({min(r['fid'] for r in runs):.1f}-{max(r['fid'] for r in runs):.1f})"
                if len(runs) > 1
                else ""
            )
            lines.append(
                f"| {runs[0]['name']} | {mean['images']:,.0f} | {mean['fid']:.1f}{spread} | "
                f"{mean['fid_held_out']:.1f} | {mean['precision']:.2f} | {mean['recall']:.2f} | {len(runs)} |"
            )
    return "\n".join(lines[1:])


def main() -> None:
    """Measure rows, or print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", choices=[*DATA, []])
    parser.add_argument("--minutes", type=float, default=3.0, help="CPU minutes of one core")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=[contestant.name for contestant in CONTESTANTS])
    parser.add_argument("--grids", type=Path)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    for data, seed, contestant in itertools.product(arguments.data, arguments.seeds, CONTESTANTS):
        if arguments.only is None or contestant.name in arguments.only:
            row = compete(contestant, data, arguments.minutes, seed, arguments.grids)
            keep(row)
            print(json.dumps(row), flush=True)
    if arguments.table:
        print(table())


if __name__ == "__main__":
    main()
