"""The averaged weights: their half-life, ramp-up and buffers, and how they are sampled."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch
from ganforge.runs.ema import Average
from ganforge.system import System, SystemConfig, Update


class Toy(System):
    """Two children, one of them averaged."""

    Config = SystemConfig
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, half_life: float = 100.0, ramp_up: float = 1e9) -> None:
        super().__init__()
        self.config = SystemConfig(ema_half_life=half_life, ema_ramp_up=ramp_up)
        self.generator = nn.Sequential(
            nn.Linear(2, 3, dtype=torch.float64), nn.BatchNorm1d(3, dtype=torch.float64)
        )
        self.discriminator = nn.Linear(3, 1)

    def build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    def train_step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}

    def sample(
        self, count: int, given: Batch | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.generator(torch.zeros(count, 2, dtype=torch.float64))


def fill(network: nn.Module, value: float) -> None:
    for tensor in network.state_dict().values():
        tensor.fill_(value)


def values(average: Average) -> set[float]:
    return {float(v) for t in average.state().values() if t.is_floating_point() for v in t.flatten()}


@pytest.mark.parametrize("batch", [1, 10, 50, 100])
def test_the_start_weighs_one_half_after_the_half_life(batch: int) -> None:
    system = Toy(half_life=100)
    fill(system.generator, 1.0)
    average = Average(system)
    fill(system.generator, 0.0)
    for step in range(1, 300 // batch + 1):
        average.update(batch, step * batch)
        (left,) = values(average)
        assert left == pytest.approx(0.5 ** (step * batch / 100), rel=1e-12)
    (left,) = values(average)
    assert left == pytest.approx(1 / 8, rel=1e-12)


def test_ramp_up_shortens_the_half_life_at_first() -> None:
    system = Toy(half_life=1000, ramp_up=0.05)
    fill(system.generator, 1.0)
    average = Average(system)
    fill(system.generator, 0.0)
    expected, seen = 1.0, 0
    for _ in range(60):
        seen += 500
        average.update(500, seen)
        expected *= 0.5 ** (500 / min(1000.0, 0.05 * seen))
        (left,) = values(average)
        assert left == pytest.approx(expected, rel=1e-9)
    # At the first step the half-life is 25 images, so nothing of the start is left.
    assert expected < 2**-20
    # The ramp ends at 20,000 images: from there on the half-life is the one asked for.
    fill(average.networks["generator"], 1.0)
    average.update(500, 20_000)
    (left,) = values(average)
    assert left == pytest.approx(0.5**0.5, rel=1e-12)


def test_buffers_are_averaged_and_counters_copied() -> None:
    system = Toy(half_life=10)
    average = Average(system)
    system.generator(torch.randn(8, 2, dtype=torch.float64))
    system.generator(torch.randn(8, 2, dtype=torch.float64))
    norm = system.generator[1]
    average.update(10, 10)
    state = average.state()
    torch.testing.assert_close(state["generator.1.running_mean"], norm.running_mean / 2)
    torch.testing.assert_close(state["generator.1.running_var"], (norm.running_var + 1) / 2)
    assert int(state["generator.1.num_batches_tracked"]) == 2


def test_the_average_is_its_own_and_never_trains() -> None:
    system = Toy()
    average = Average(system)
    network = average.networks["generator"]
    assert network is not system.generator
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert "discriminator" not in average.networks
    fill(system.generator, 7.0)
    assert 7.0 not in values(average)


def test_zero_turns_it_off() -> None:
    system = Toy(half_life=0)
    average = Average(system)
    average.update(10, 10)
    assert average.state() == {}
    assert average.averaged(system).generator is system.generator


def test_the_averaged_system_is_the_same_but_for_its_averages() -> None:
    system = Toy()
    average = Average(system)
    raw = system.generator
    averaged = average.averaged(system)
    assert averaged.generator is average.networks["generator"]
    assert averaged.discriminator is system.discriminator
    assert list(averaged.state_dict()) == list(system.state_dict())
    assert type(averaged) is type(system)
    averaged.eval()
    assert system.generator is raw
    assert system.training
    assert raw.training


def test_state_round_trip_goes_on_alike() -> None:
    system = Toy()
    average = Average(system)
    fill(system.generator, 2.0)
    average.update(30, 30)
    kept = {name: tensor.clone() for name, tensor in average.state().items()}
    other = Average(Toy())
    other.load(kept)
    assert other.state().keys() == kept.keys()
    for name, tensor in other.state().items():
        assert torch.equal(tensor, kept[name])
    again = Average(system)  # bound to the same weights
    again.load(kept)
    average.update(30, 60)
    again.update(30, 60)
    for name, tensor in average.state().items():
        assert torch.equal(tensor, again.state()[name])
        assert tensor.is_floating_point() is False or not torch.equal(tensor, kept[name])
