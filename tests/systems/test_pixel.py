"""PixelCNN and PixelRNN: probabilities, samples that follow them, what is learned and refused."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec, conditions, to_float, to_uint8
from ganforge.errors import UserError
from ganforge.nn.losses import categorical_nats
from ganforge.systems.discovery import find
from ganforge.systems.families.autoregressive import from_levels, make_images, to_levels
from ganforge.systems.pixelcnn import PixelCNN
from ganforge.systems.pixelrnn import PixelRNN
from ganforge.training.plan import validated
from ganforge.training.update import OptimizerUpdate

KINDS = [("pixelcnn", "gated"), ("pixelcnn", "original"), ("pixelrnn", "diagonal"), ("pixelrnn", "row")]
SMALL: dict[str, Any] = {"width": 6, "layers": 2, "levels": 2, "head_width": 12}
each_kind = pytest.mark.parametrize(("name", "network"), KINDS, ids=["gated", "original", "diagonal", "row"])


def spec(shape: tuple[int, int, int], classes: int = 0) -> DataSpec:
    channels, height, width = shape
    sizes = {"channels": channels, "height": height, "width": width, "num_images": 1_000}
    return DataSpec(**sizes, class_names=tuple("abcdef"[:classes]))


def build(
    name: str, network: str, shape: tuple[int, int, int], wild: bool = True, classes: int = 0, **fields: Any
) -> PixelCNN | PixelRNN:
    """A small system, by default with weights far from those of a start."""
    system = find(name)(find(name).Config(network=network, **(SMALL | fields)), spec(shape, classes))  # type: ignore[call-arg]  # the Config of the system named
    assert isinstance(system, PixelCNN | PixelRNN)
    if wild:
        for parameter in system.parameters():
            nn.init.normal_(parameter, std=0.6)
    return system


def every_image(shape: tuple[int, int, int], levels: int = 2) -> Tensor:
    """All images of that shape, `[levels ** pixels, *shape]`."""
    size = math.prod(shape)
    numbers = torch.arange(levels**size)[:, None] // levels ** torch.arange(size) % levels
    return from_levels(numbers, levels).view(-1, *shape)


# Likelihoods


@each_kind
def test_images_are_judged_a_few_at_a_time(name: str, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is judged at once does not grow with the batch, and the numbers are those of one pass."""
    classes = 2 if network == "gated" else 0
    system = build(name, network, (1, 4, 5), classes=classes, **({"conditional": True} if classes else {}))
    batch = Batch(to_float(torch.randint(0, 256, (11, 1, 4, 5), dtype=torch.uint8)), torch.arange(11) % 2)
    whole = system.outlier_scores(batch)["likelihood"].detach()
    sizes = []
    hook = system.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr("ganforge.systems.families.autoregressive.SUB_PIXELS_AT_ONCE", 4 * 20 + 3)
    with torch.no_grad():
        torch.testing.assert_close(system.outlier_scores(batch)["likelihood"], whole)
        assert sizes == max(1, classes) * [4, 4, 3]
        sizes.clear()
        measured = system.measure(batch)["nll_nats"]
    hook.remove()
    assert sizes == [4, 4, 3]
    torch.testing.assert_close(measured, system.measure(batch)["nll_nats"].detach())


def test_the_levels_belong_to_the_number() -> None:
    assert build("pixelcnn", "gated", (1, 2, 3), levels=4).measure_protocol == {"levels": 4}
    assert build("pixelrnn", "row", (1, 2, 3), levels=2).measure_protocol == {"levels": 2}


@each_kind
@pytest.mark.parametrize(
    ("shape", "levels"), [((1, 2, 3), 2), ((3, 1, 2), 2), ((1, 3, 1), 4), ((3, 1, 1), 4)]
)
def test_probabilities_sum_to_one(name: str, network: str, shape: tuple[int, int, int], levels: int) -> None:
    system = build(name, network, shape, levels=levels)
    with torch.no_grad():
        chances = system.nats(every_image(shape, levels)).neg().exp()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    assert float(chances.max()) > 2 * float(chances.min()), "some are more likely than others"


@each_kind
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2)])
def test_samples_have_their_probabilities(name: str, network: str, shape: tuple[int, int, int]) -> None:
    """Total variation between 40,000 samples and all 16 probabilities: 0.006 is to be expected."""
    system, every = build(name, network, shape), every_image(shape)
    with torch.no_grad():
        chances = system.nats(every).neg().exp()
        samples = system.sample(40_000)
    found = (samples[:, None] == every).flatten(2).all(2)
    assert found.any(1).all(), "levels are exact"
    assert float((found.float().mean(0) - chances).abs().sum() / 2) < 0.015


def test_labels_have_their_own_distribution() -> None:
    system = build("pixelcnn", "gated", (1, 2, 2), conditional=True, classes=2)
    every = every_image((1, 2, 2))
    assert system.conditions == {"labels"}
    for label in (0, 1):
        with torch.no_grad():
            chances = system.nats(every, conditions(torch.full((16,), label))).neg().exp()  # type: ignore[call-arg]  # of one of two systems
            samples = system.sample(20_000, conditions(torch.full((20_000,), label)))
        assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
        found = (samples[:, None] == every).flatten(2).all(2).float().mean(0)
        assert float((found - chances).abs().sum() / 2) < 0.02
    assert system.sample(3).shape == (3, 1, 2, 2), "of random labels"


@each_kind
def test_measures(name: str, network: str) -> None:
    """Bits per dimension are nats over D log 2; logits of 0 make every level alike: log2(levels) bits."""
    system = build(name, network, (3, 4, 5), levels=16)
    batch = Batch(2 * torch.rand(6, 3, 4, 5) - 1)
    found = system.measure(batch)
    bits = float(found["nll_nats"].detach()) / (60 * math.log(2))
    assert float(found["nll_bits_per_dim"].detach()) == pytest.approx(bits)
    for parameter in system.network.head.last.parameters():
        nn.init.zeros_(parameter)
    assert float(system.measure(batch)["nll_bits_per_dim"].detach()) == pytest.approx(4)


@pytest.mark.parametrize("levels", [2, 4, 256])
def test_categorical_nats(levels: int) -> None:
    logits, targets = torch.randn(3, levels, 2, 4, 5), torch.randint(levels, (3, 2, 4, 5))
    chosen = logits.double().log_softmax(1).gather(1, targets[:, None])
    found = categorical_nats(logits, targets)
    torch.testing.assert_close(found, -chosen.flatten(1).sum(1).float(), rtol=1e-5, atol=0)
    assert categorical_nats(logits.bfloat16(), targets).dtype == torch.float32


# Levels


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 32, 64, 128, 256])
def test_levels_survive_a_round_trip(levels: int) -> None:
    """Through pixels, and through the bytes of a file."""
    values = torch.arange(levels)
    images = from_levels(values, levels)
    assert torch.equal(to_levels(images, levels), values)
    assert torch.equal(to_levels(to_float(to_uint8(images)), levels), values)
    assert images.aminmax() == (-1, 1)  # type: ignore[comparison-overlap]  # a named tuple of two tensors


@pytest.mark.parametrize("levels", [2, 8, 256])
def test_levels_share_the_bytes_equally(levels: int) -> None:
    found = to_levels(to_float(torch.arange(256, dtype=torch.uint8)), levels)
    assert torch.equal(found, torch.arange(levels).repeat_interleave(256 // levels))


def test_only_levels_are_judged() -> None:
    """What is between two levels changes neither the inputs nor the targets."""
    system = build("pixelcnn", "gated", (1, 3, 3), levels=4)
    images = 2 * torch.rand(5, 1, 3, 3) - 1
    rounded = from_levels(to_levels(images, 4), 4)
    assert not torch.equal(rounded, images)
    assert torch.equal(system.nats(images), system.nats(rounded))


# Learning, and completing


def copies(count: int) -> Tensor:
    """4x4 images: a row of fair coins, then rows that each invert the one above."""
    first = torch.randint(2, (count, 1, 1, 4)).float() * 2 - 1
    return torch.cat([first, -first, first, -first], dim=2)


@each_kind
def test_learns_the_entropy_of_a_pattern(name: str, network: str) -> None:
    """4 log 2 = 2.77 nats; one that ignores its context has 11.1. Then it completes and draws the pattern."""
    fields = {"steps": 150, "batch": 32, "learning_rate": 0.02, "width": 8, "layers": 1}
    system = build(name, network, (1, 4, 4), wild=False, **fields)
    optimizers = system.build_optimizers()
    update = OptimizerUpdate(optimizers, "cpu")
    for step in range(150):
        system.schedule(optimizers, step * 32)
        system.train_step(Batch(copies(32)), update)
    with torch.no_grad():
        nats = float(system.measure(Batch(copies(500)))["nll_nats"])
    assert 2.7 < nats < 2.9
    drawn = system.sample(200)
    assert float((drawn[:, :, 1:] == -drawn[:, :, :-1]).float().mean()) > 0.99
    wanted = copies(50)
    for rows in (1, 3, 4):
        completed = system.complete(wanted, rows)
        assert torch.equal(completed[:, :, :rows], wanted[:, :, :rows])
        assert float((completed == wanted).float().mean()) > 0.99
        one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
        parts = list(system.complete_rows(wanted, rows, generator=one))
        assert len(parts) == wanted.shape[2]
        assert torch.equal(torch.stack(parts, 2), system.complete(wanted, rows, generator=other))


def test_completions_are_drawn_from_the_conditional_distribution() -> None:
    system, every = build("pixelcnn", "original", (1, 2, 2)), every_image((1, 2, 2))
    kept = torch.tensor([1.0, -1.0])
    fitting = every[(every[:, 0, 0] == kept).all(1)]
    with torch.no_grad():
        chances = system.nats(fitting).neg().exp()
        samples = system.complete(fitting[:1].expand(20_000, -1, -1, -1), 1)
    found = (samples[:, None] == fitting).flatten(2).all(2).float().mean(0)
    assert float(found.sum()) == 1
    assert float((found - chances / chances.sum()).abs().max()) < 0.02


def test_autocast_does_not_reach_the_sampler() -> None:
    system = build("pixelrnn", "diagonal", (1, 3, 3))
    images = []
    for enabled in (False, True):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            images.append(make_images(system.network, 50, system.data, 2))
    assert torch.equal(*images)


# Defaults, suggestions and refusals


def test_black_and_white_is_two_levels() -> None:
    for name, _ in KINDS:
        kind = find(name)
        grey = DataSpec(channels=1, height=28, width=28, num_images=50_000)
        assert kind.suggest(grey.model_copy(update={"binary": True}))["levels"][0] == 2
        assert "levels" not in kind.suggest(grey)
        assert kind.Config().levels == 256  # type: ignore[attr-defined]  # the Config of the system named


@pytest.mark.parametrize("linear", [True, False])
def test_the_rate_falls_to_nothing(linear: bool) -> None:
    decay = "linear" if linear else "none"
    system = build("pixelcnn", "gated", (1, 2, 2), steps=10, batch=4, learning_rate_decay=decay)
    optimizers = system.build_optimizers()
    rates = []
    for seen in (0, 20, 40):
        system.schedule(optimizers, seen)
        rates.append(optimizers["network"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 5e-4, 0] if linear else [1e-3] * 3)


@pytest.mark.parametrize("name", ["pixelcnn", "pixelrnn"])
@pytest.mark.parametrize("levels", [3, 100, 255])
def test_levels_that_do_not_divide_256_are_refused_in_one_line(name: str, levels: int) -> None:
    with pytest.raises(UserError, match="use --levels 2, 4, 8") as refused:
        validated(find(name).Config, {"levels": levels})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kernel_size": 4}, "use --kernel-size 3, 5 or 7"),
        ({"network": "original", "conditional": True}, "use --network gated"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError):
        PixelCNN.Config(**fields)
    with pytest.raises(UserError, match=said) as refused:
        validated(PixelCNN.Config, fields)
    assert "\n" not in str(refused.value)


def test_labels_that_are_missing_are_named() -> None:
    with pytest.raises(UserError, match="needs labels, this data has none") as refused:
        build("pixelcnn", "gated", (1, 4, 4), conditional=True)
    assert "\n" not in str(refused.value)
    system = build("pixelcnn", "gated", (1, 4, 4), conditional=True, classes=2)
    with pytest.raises(UserError, match="images with labels"):
        system.measure(Batch(torch.zeros(2, 1, 4, 4)))


@each_kind
def test_completing_refuses_what_it_cannot_keep(name: str, network: str) -> None:
    system = build(name, network, (1, 4, 4))
    with pytest.raises(UserError, match="expected 0 to 4"):
        system.complete(torch.zeros(1, 1, 4, 4), 5)
    with pytest.raises(UserError, match="images of 1x5x4: expected 1x4x4"):
        system.complete(torch.zeros(1, 1, 5, 4), 2)
