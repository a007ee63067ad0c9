"""A model of how training scales to many GPUs, what it would cost, and the tables of docs/scaling.md.

    .venv/bin/python benchmarks/scaling.py --out benchmarks/scaling.json
    .venv/bin/python benchmarks/scaling.py --table

Operations, sums over processes and random numbers are counted in real steps of the package, without a GPU
(`counted_steps.py`); the speeds of the machine are assumed: the constants below. The same model is compared
with two processes on a CPU, whose speed `processes.json` holds. About five minutes.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from counted_steps import Count, Job, count_step, stored_bytes, training_of
from record import record
from scaling_tables import PARTS

import ganforge
from ganforge.data.batch import DataSpec
from ganforge.data.loader import Loader
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions
from ganforge.systems.discovery import find
from ganforge.training.update import OptimizerUpdate

WAITS = """
import json, statistics, sys, time
import torch, torch.distributed as d
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
from counted_steps import training_of
from scaling import job_of_processes
from ganforge.distributed import Shard
from ganforge.training.update import OptimizerUpdate
torch.set_num_threads(1)
torch.set_flush_denormal(True)
d.init_process_group("gloo")
plain, sums = d.all_reduce, []
def timed(tensor):
    begun = time.perf_counter()
    plain(tensor)
    sums.append(time.perf_counter() - begun)
d.all_reduce = timed
found = {}
for name in ("synchronised", "local"):
    job = replace(job_of_processes(), processes=2, synchronised=name == "synchronised")
    training, batch = training_of(job)
    training.shard = Shard(d.get_rank(), 2)
    update = OptimizerUpdate(training.optimizers, "cpu", mean=training.shard.mean)
    for step in range(45):
        if step == 5:
            sums.clear()
        training.advance(batch, update)
    found[name] = statistics.mean(sums)
numbers = torch.zeros(256)
sums.clear()
for _ in range(320):
    timed(numbers)
found["back_to_back"] = statistics.mean(sums[20:])
d.barrier()
if d.get_rank() == 0:
    print(json.dumps(found))
d.destroy_process_group()
"""
"""Seconds of a sum: in steps of two processes, where one waits for the other, and one after the other."""

FOLDER = Path(__file__).parent
RECIPES = FOLDER.parent / "src" / "ganforge" / "recipes" / "recipes.json"

# Assumed, not measured. Peaks of an H100 SXM by its data sheet, dense; float32 convolutions run as TF32.
PEAK = {torch.bfloat16: 989e12, torch.float32: 494e12}
PEAK_SHARE = 0.25  # of convolutions that nothing fuses; large language models reach 0.4
MEMORY = 3.35e12 * 0.7  # bytes/s; data sheet, and what copies usually reach of it
LAUNCH = 6e-6  # seconds of Python and driver for a kernel; 4 to 10 microseconds are usual
HOOK = 3e-6  # seconds for a call within the hook of several processes: decision 0024
MACHINE = 8  # GPUs
NVLINK, NETWORK = 450e9 * 0.8, 50e9 * 0.8  # bytes/s of a GPU: NVLink 4 one way, an adapter of 400 Gbit/s
START, NEAR_HOP, FAR_HOP = 15e-6, 2e-6, 6e-6  # seconds: to begin a sum, a hop within a machine, between two
COMMAND_HOP = 50e-6  # seconds of a hop over TCP: process 0 sends one number before each step
STORAGE = 1e9  # bytes/s of a GPU, 8 of a machine: a parallel file system
GPU_HOUR, CORE_HOUR = 2.5, 0.04  # USD: a rented H100, a rented CPU core
INDEX = 40  # bytes of an image of tar shards: offset, size, class; number and class in its split

GPUS = (1, 8, 64, 512)
IMAGES = 1_000_000_000
BIRDS = {"embedding_size": 1024, "class_names": tuple(str(number) for number in range(200))}


def _colour(size: int, images: int, **more: Any) -> DataSpec:
    return DataSpec(channels=3, height=size, width=size, num_images=images, **more)


@dataclass(frozen=True)
class Training:
    """A row of the tables; with `steps` of the paper where they are not the package's default."""

    title: str
    data: str
    job: Job
    steps: int = 0


TRAININGS = (
    # 25 epochs of 350,000 faces.
    Training("dcgan", "faces 64x64", Job("dcgan", {}, _colour(64, 350_000)), 25 * 350_000 // 128),
    Training(
        "dcgan --instance-noise 0.1",
        "faces 64x64",
        Job("dcgan", {"instance_noise": 0.1}, _colour(64, 350_000)),
        25 * 350_000 // 128,
    ),
    Training("wgan_gp", "CIFAR-10", Job("wgan_gp", {}, _colour(32, 50_000))),
    Training("sngan", "CIFAR-10", Job("sngan", {}, _colour(32, 50_000))),
    Training("r3gan", "CIFAR-10", Job("r3gan", {}, _colour(32, 50_000))),
    Training("stackgan --stage 1", "birds 64x64", Job("stackgan", {}, _colour(64, 8_855, **BIRDS))),
    Training(
        "stackgan --stage 2",
        "birds 256x256",
        Job("stackgan", {"stage": "2"}, _colour(256, 8_855, **BIRDS)),
    ),
    Training(
        "srresnet",
        "photos, crops 96x96",
        Job("srresnet", {}, _colour(96, 350_000, source_shape=(3, 24, 24))),
    ),
    Training(
        "srgan",
        "photos, crops 96x96",
        Job("srgan", {}, _colour(96, 350_000, source_shape=(3, 24, 24))),
    ),
    Training("pixelcnn", "CIFAR-10", Job("pixelcnn", {}, _colour(32, 50_000))),
)
MEASURED_RECIPES = ("demo", "dcgan-stacked", "sngan-mnist", "pixelcnn-binarised")
"""CPU rows of the table of costs."""


def roof(flops: int, dtype: torch.dtype, moved: int) -> float:
    """Seconds of a kernel: of its arithmetic or of its memory, whichever takes longer."""
    return max(flops / PEAK.get(dtype, PEAK[torch.float32]) / PEAK_SHARE, moved / MEMORY)


def sum_seconds(size: int, gpus: int) -> float:
    """Seconds of one sum of `size` bytes over all GPUs; latency grows as that of NCCL's trees."""
    near, far = min(gpus, MACHINE), math.ceil(gpus / MACHINE)
    hops = 2 * math.ceil(math.log2(near)) * NEAR_HOP + 2 * math.ceil(math.log2(far)) * FAR_HOP
    return START + hops + 2 * (gpus - 1) / gpus * size / (NETWORK if far > 1 else NVLINK)


def step_seconds(count: Count, gpus: int) -> dict[str, float]:
    """Seconds of a step, of the GPU's work in it, of its sums, and of Python, which works meanwhile."""
    sums = sum(sum_seconds(size, gpus) for size in count.sums)
    host = count.kernels * LAUNCH + (count.calls * HOOK if gpus > 1 else 0)
    command = COMMAND_HOP * math.log2(gpus)
    return {
        "step": max(host, count.seconds + sums) + command,
        "gpu": count.seconds,
        "sums": sums,
        "python": host,
    }


def predict(training: Training, gpus: int, weak: bool, synchronised: bool) -> dict[str, Any] | None:
    """A step of `gpus` processes; `weak`: each has the whole batch of one. None where that is refused."""
    config = find(training.job.system).Config.model_validate(training.job.options)
    batch = config.batch * gpus if weak else config.batch
    if batch % gpus:
        return None
    options = training.job.options | {"batch": batch}
    job = replace(training.job, options=options, processes=gpus, synchronised=synchronised)
    try:
        count = count_step(job, roof)
    except ValueError as error:  # of a batch norm that has one number for each channel
        if "more than 1 value" not in str(error):
            raise
        return None
    return {
        "gpus": gpus,
        "batch": batch,
        "weak": weak,
        "synchronised": synchronised,
        "images": count.images,
        "flops": count.flops,
        "bytes_moved": count.moved,
        "kernels": count.kernels,
        "calls": count.calls,
        "num_sums": len(count.sums),
        "bytes_summed": sum(count.sums),
        "numbers_drawn": count.drawn,
        "largest_tensor_bytes": count.largest,
        "parameters": count.parameters,
        "seconds": {name: round(value, 8) for name, value in step_seconds(count, gpus).items()},
    }


def predictions(training: Training) -> list[dict[str, Any]]:
    """One GPU, then strong and weak scaling with both kinds of batch norm."""
    settings = [(1, False, True)]
    settings += [(gpus, weak, both) for weak in (False, True) for both in (True, False) for gpus in GPUS[1:]]
    rows = [predict(training, *setting) for setting in settings]
    return [row for row in rows if row is not None]


def job_of_processes() -> Job:
    """The training whose speed `processes.json` holds: the command's options, and what is suggested."""
    spec = DataSpec(channels=1, height=28, width=28, num_images=60_000)
    suggested = {name: value for name, (value, _) in find("dcgan").suggest(spec, "cpu").items()}
    return Job("dcgan", suggested | {"width": 32, "batch": 128}, spec, precision="fp32")


def check_on_cpu(rounds: int) -> dict[str, Any]:
    """The same model for two processes on a CPU, next to what was measured.

    `half`: half of the time alone, and its sums. `own`: as `half`, but with the time that the own part of a
    step takes by itself, with sums that cost nothing, relative to a whole step: measured here, in turn.
    """
    measured = json.loads((FOLDER / "processes.json").read_text(encoding="utf-8"))["speed"]
    alone = statistics.median(measured["seconds_per_step"]["alone"])
    latency = measured["seconds_of_a_sum_of_256_numbers"]
    jobs = {"alone": job_of_processes()}
    jobs |= {
        name: replace(jobs["alone"], processes=2, synchronised=name == "synchronised")
        for name in ("synchronised", "local")
    }
    shares = time_steps(jobs, rounds)
    rows = {}
    for name in ("synchronised", "local"):
        num_sums = len(count_step(jobs[name]).sums) + 1  # and the number that process 0 sends
        share = shares[name] / shares["alone"]
        rows[name] = {
            "num_sums": num_sums,
            "own_share": round(share, 3),
            "predicted_half": round(alone / (alone / 2 + num_sums * latency), 3),
            "predicted_own": round(alone / (alone * share + num_sums * latency), 3),
            "measured": measured[f"speed_of_two_{name}"],
        }
    return {
        "seconds_alone": alone,
        "seconds_of_a_sum": latency,
        "rows": rows,
        "waits": {name: round(value, 5) for name, value in measure_waits().items()},
        "load_average": round(os.getloadavg()[0], 1),
    }


def measure_waits() -> dict[str, float]:
    """Seconds of a sum over two processes: `WAITS`."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(ganforge.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "waits.py"
        file.write_text(WAITS, encoding="utf-8")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        words = [*torchrun, str(file), str(FOLDER)]
        done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def time_steps(jobs: dict[str, Job], rounds: int, steps: int = 6) -> dict[str, float]:
    """The median CPU seconds of a step of process 0 of each job, in turn; sums do nothing.

    CPU seconds, because other work may share the cores.
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    with mock.patch("torch.distributed.all_reduce"):
        made = {name: training_of(job) for name, job in jobs.items()}
        for _ in range(rounds):
            for name, (training, batch) in made.items():
                update = OptimizerUpdate(training.optimizers, "cpu", mean=training.shard.mean)
                for step in range(steps):
                    begun = time.process_time()
                    training.advance(batch, update)
                    if step:
                        found[name].append(time.process_time() - begun)
    return {name: statistics.median(values) for name, values in found.items()}


def billion(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """10^9 images: hours of an epoch with weak scaling, what storage must give, and memory of the order."""
    dataset = open_dataset(DataOptions(data="ring"))
    loader = Loader(dataset.streamed, 1, 0)
    order = sum(stored_bytes(drawn) for drawn in loader._draw_epoch(0)) / len(dataset.streamed)
    found = []
    for training in TRAININGS:
        for row in rows[training.title]:
            if not (row["synchronised"] and (row["weak"] or row["gpus"] == 1)):
                continue
            size = math.prod(training.job.spec.shape)
            wanted = row["images"] / row["seconds"]["step"]
            rate = min(wanted, STORAGE / size * row["gpus"])
            found.append(
                {
                    "title": training.title,
                    "gpus": row["gpus"],
                    "bytes_of_an_image": size,
                    "images_per_second": round(wanted, 1),
                    "bytes_per_second_of_a_gpu": round(wanted * size / row["gpus"]),
                    "hours": round(IMAGES / rate / 3600, 3),
                }
            )
    return {"index_bytes": INDEX * IMAGES, "order_bytes": round(order * IMAGES), "rows": found}


def costs(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Hours and prices of whole trainings: by the model on GPUs, measured on a CPU."""
    gpu = []
    for training in TRAININGS:
        config = find(training.job.system).Config.model_validate(training.job.options)
        steps = training.steps or config.steps
        for row in rows[training.title]:
            if row["gpus"] <= MACHINE and row["synchronised"] and not row["weak"]:
                hours = steps * row["seconds"]["step"] / 3600
                gpu.append(
                    {
                        "title": training.title,
                        "data": training.data,
                        "steps": steps,
                        "batch": row["batch"],
                        "gpus": row["gpus"],
                        "hours": round(hours, 4),
                        "price": round(hours * row["gpus"] * GPU_HOUR, 3),
                    }
                )
    recipes = {each["name"]: each for each in json.loads(RECIPES.read_text(encoding="utf-8"))}
    cpu = []
    for name in MEASURED_RECIPES:
        machine = recipes[name]["machine"]
        cores = {"one": 1, "two": 2}[machine.split()[0]]
        hours = recipes[name]["minutes"] / 60
        price = round(hours * cores * CORE_HOUR, 4)
        cpu.append(
            {"recipe": name, "machine": machine, "cores": cores, "hours": round(hours, 4), "price": price}
        )
    return {"gpu": gpu, "cpu": cpu}


def assumptions() -> dict[str, float]:
    """The constants above, as they are stored with what follows from them."""
    return {
        "peak_bf16": PEAK[torch.bfloat16],
        "peak_float32": PEAK[torch.float32],
        "peak_share": PEAK_SHARE,
        "memory_bytes_per_second": MEMORY,
        "seconds_of_a_launch": LAUNCH,
        "seconds_of_a_hooked_call": HOOK,
        "gpus_of_a_machine": MACHINE,
        "nvlink_bytes_per_second": NVLINK,
        "network_bytes_per_second": NETWORK,
        "seconds_to_begin_a_sum": START,
        "seconds_of_a_near_hop": NEAR_HOP,
        "seconds_of_a_far_hop": FAR_HOP,
        "seconds_of_a_command_hop": COMMAND_HOP,
        "storage_bytes_per_second_of_a_gpu": STORAGE,
        "price_of_a_gpu_hour": GPU_HOUR,
        "price_of_a_core_hour": CORE_HOUR,
        "index_bytes_of_an_image": INDEX,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="print those of scaling.json, compute nothing")
    parser.add_argument("--rounds", type=int, default=12, help="of the timed steps on the CPU")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.table:
        stored = json.loads((FOLDER / "scaling.json").read_text(encoding="utf-8"))
        print("\n\n".join(part(stored) for part in PARTS))
        return
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as the command line does
    rows = {training.title: predictions(training) for training in TRAININGS}
    result = {
        "assumptions": assumptions(),
        "predictions": rows,
        "check": check_on_cpu(arguments.rounds),
        "billion_images": billion(rows),
        "costs": costs(rows),
    }
    record(result, arguments.out)


if __name__ == "__main__":
    main()
