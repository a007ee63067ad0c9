"""What the model of scaling counts equals what a real step does, and its page shows what is stored."""

import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from counted_steps import Count, Job, count_step, training_of
from scaling import STORAGE, step_seconds, sum_seconds
from scaling_tables import PARTS

from ganforge.data.spec import DataSpec
from ganforge.training.cost import FlopCounter
from ganforge.training.update import OptimizerUpdate

ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "benchmarks" / "scaling.json").read_text(encoding="utf-8"))
SPEC = DataSpec(channels=3, height=32, width=32, num_images=100)
NAMED = DataSpec(channels=3, height=32, width=32, num_images=100, class_names=("a", "b"))
SMALL = {"width": 8, "batch": 8}
JOBS = {
    "dcgan": Job("dcgan", SMALL, SPEC, 2, precision="fp32"),
    "dcgan-local": Job("dcgan", SMALL, SPEC, 2, synchronised=False, precision="fp32"),
    "wgan_gp": Job("wgan_gp", SMALL, SPEC, 2, precision="fp32"),
    "sngan": Job(
        "sngan", SMALL | {"discriminator_width": 8, "conditional": True}, NAMED, 2, precision="fp32"
    ),
    "pixelcnn": Job("pixelcnn", SMALL | {"layers": 2, "head_width": 8}, SPEC, 2, precision="fp32"),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_step_without_data_does_what_a_real_one_does(name: str) -> None:
    """The same sums over processes, of as many bytes, and the same operations."""
    sums: list[int] = []
    with mock.patch("torch.distributed.all_reduce", lambda tensor: sums.append(tensor.nbytes)):
        training, batch = training_of(JOBS[name])
        update = OptimizerUpdate(training.optimizers, "cpu", mean=training.shard.mean)
        operations = FlopCounter()
        with operations:
            training.advance(batch, update)
    count = count_step(JOBS[name])
    assert count.sums == sums
    assert count.flops == operations.flops > 0
    assert count.images == training.images


def test_groups_have_a_share_of_the_products() -> None:
    """A convolution in groups, and its two gradients, multiply as often as its weights and positions say."""

    def flops(group_size: int) -> int:
        options = {"width": 16, "batch": 2, "group_size": group_size, "blocks": 1}
        return count_step(Job("r3gan", options, SPEC, precision="fp32")).flops

    # From one group of 32 channels on, twice the size is twice the work of the 3x3 convolutions.
    assert flops(32) - flops(16) == 2 * (flops(16) - flops(8))


def test_every_process_draws_the_numbers_of_all() -> None:
    one, four = (count_step(Job("dcgan", SMALL | {"batch": 8}, SPEC, each)).drawn for each in (1, 4))
    assert one == four == 8 * 100
    alone = count_step(Job("dcgan", SMALL, SPEC)).flops
    assert count_step(Job("dcgan", SMALL, SPEC, 4)).flops == alone / 4


def test_sums_and_steps() -> None:
    assert sum_seconds(10**9, 64) > sum_seconds(10**9, 8) > sum_seconds(10**9, 2) > 10**9 / 450e9
    assert sum_seconds(0, 512) < 1e-3
    busy, idle = Count(seconds=1.0, kernels=10, sums=[4]), Count(seconds=0.0, kernels=10_000)
    assert step_seconds(busy, 1)["step"] == pytest.approx(1, rel=1e-3)
    assert step_seconds(idle, 1)["step"] == step_seconds(idle, 1)["python"] > 0


def test_a_step_follows_from_the_stored_counts() -> None:
    """The constants of the script are those that its stored results were made with."""
    rows = [row for rows in STORED["predictions"].values() for row in rows]
    assert {row["gpus"] for row in rows} == {1, 8, 64, 512}
    for row in rows:
        parts = row["seconds"]
        slower = max(parts["python"], parts["gpu"] + parts["sums"])
        assert slower <= parts["step"] < slower + 1e-3
        again = step_seconds(Count(kernels=row["kernels"], calls=row["calls"]), row["gpus"])["python"]
        assert again == pytest.approx(parts["python"], abs=1e-7)
    assert STORED["assumptions"]["storage_bytes_per_second_of_a_gpu"] == STORAGE


def test_the_page_has_the_stored_tables() -> None:
    script = [sys.executable, ROOT / "benchmarks" / "scaling.py", "--table"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    page = " ".join((ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").split())
    parts = done.stdout.strip().split("\n\n")
    assert len(parts) == len(PARTS)
    for part in parts:
        assert " ".join(part.split()) in page, part
