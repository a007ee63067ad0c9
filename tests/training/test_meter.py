"""Means of what steps report: exact, kept over a checkpoint, and gathered without reading the device."""

import json
import math
from fractions import Fraction

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganforge.training.meter import Meter

CPU = torch.device("cpu")


class NoReads(TorchDispatchMode):
    """Refuses what would wait for a device: `.item()` and its like."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
        if "_local_scalar_dense" in str(function) or "is_nonzero" in str(function):
            raise AssertionError(f"{function} reads from the device")
        return function(*arguments, **(options or {}))


def test_means_are_exact() -> None:
    meter = Meter()
    added = [torch.tensor(value) for value in (0.1, 3e7, -2.5, 1e-8, 3.0)]
    for value in added:
        meter.add({"loss": value, "negative": -value})
    # float64 sums of a few float32 numbers are as exact as their mean can be said.
    mean = float(sum(Fraction(float(value)) for value in added) / len(added))
    assert meter.read() == {
        "loss": pytest.approx(mean, rel=1e-15),
        "negative": pytest.approx(-mean, rel=1e-15),
    }


def test_many_steps_lose_nothing() -> None:
    meter = Meter()
    for _ in range(3000):
        meter.add({"loss": torch.tensor(0.1)})
    assert meter.read()["loss"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_bf16_is_summed_in_float64() -> None:
    meter = Meter()
    for _ in range(1000):
        meter.add({"loss": torch.tensor(1.0, dtype=torch.bfloat16)})
    assert meter.read() == {"loss": 1.0}


def test_reset_forgets() -> None:
    meter = Meter()
    meter.add({"loss": torch.tensor(5.0)})
    meter.reset()
    assert meter.read() == {}
    meter.add({"other": torch.tensor(7.0)})
    assert meter.read() == {"other": 7.0}


def test_a_value_that_is_changed_later_was_taken_as_it_was() -> None:
    meter = Meter()
    value = torch.tensor(1.0, dtype=torch.float64)
    meter.add({"loss": value})
    value.fill_(100.0)
    assert meter.read() == {"loss": 1.0}


def test_no_graph_is_kept() -> None:
    meter = Meter()
    weight = torch.ones((), requires_grad=True)
    meter.add({"loss": weight * 2})
    meter.add({"loss": weight * 4})
    assert not any(total.requires_grad for total in meter._sums.values())
    assert meter.read() == {"loss": 3.0}


def test_state_goes_through_json_and_on_exactly() -> None:
    meter = Meter()
    numbers = [math.pi, -1e-30, 1e30, 1 / 3]
    for number in numbers:
        meter.add({"loss": torch.tensor(number, dtype=torch.float64)})
    other = Meter()
    other.load(json.loads(json.dumps(meter.state())), CPU)
    for each in (meter, other):
        each.add({"loss": torch.tensor(0.7, dtype=torch.float64)})
    assert meter.read() == other.read()
    assert meter.state() == other.state()


def test_an_empty_state_goes_through() -> None:
    meter = Meter()
    meter.load(json.loads(json.dumps(Meter().state())), CPU)
    assert meter.read() == {}


def test_adding_never_reads_from_the_device() -> None:
    meter = Meter()
    with NoReads():
        for _ in range(3):
            meter.add({"loss": torch.tensor(1.0), "other": torch.tensor(2.0)})
        with pytest.raises(AssertionError, match="reads from the device"):
            meter.read()
    on_meta = Meter()  # tensors without content: any read would fail
    on_meta.add({"loss": torch.zeros((), device="meta")})
    on_meta.add({"loss": torch.zeros((), device="meta")})
