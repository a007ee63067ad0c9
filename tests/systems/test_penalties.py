"""Gradient penalties: closed forms, one share and one norm for each sample, second derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.losses import gradient_penalty, zero_centred_penalty
from ganforge.nn.networks.dcgan import DCGANDiscriminator
from ganforge.nn.networks.mlp import PlainDiscriminator
from ganforge.nn.networks.resnet import ResNetDiscriminator
from ganforge.nn.networks.wgan_gp import ConvolutionalCritic
from ganforge.runs.device import autocast

CPU = torch.device("cpu")
SHAPES = [(5,), (2, 3, 4)]


class Linear(nn.Module):
    """s = w . x"""

    def __init__(self, shape: tuple[int, ...], norm: float) -> None:
        super().__init__()
        weight = torch.randn(shape)
        self.weight = nn.Parameter(norm * weight / torch.linalg.vector_norm(weight))

    def forward(self, images: Tensor) -> Tensor:
        return (self.weight * images).flatten(1).sum(1)


class Recorded(nn.Module):
    """Half the squared norm of a sample, whose gradient is the sample; remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.autocast: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return 0.5 * images.flatten(1).square().sum(1)


def gradient_of(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


# The two-sided penalty


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.25, 0.999, 1.5, 7.0])
def test_of_a_linear_critic(shape: tuple[int, ...], norm: float) -> None:
    """(|w| - 1)^2 whatever the data, from below as from above, and its gradient 2 (|w| - 1) w / |w|."""
    critic = Linear(shape, norm)
    for scale in (1.0, 1e3):
        penalty = gradient_penalty(critic, scale * torch.randn(6, *shape), torch.randn(6, *shape))
        assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-3 if norm == 0.999 else 1e-5)
        (found,) = torch.autograd.grad(penalty, critic.weight)
        expected = 2 * (norm - 1) / norm * critic.weight.detach()
        torch.testing.assert_close(found, expected, rtol=1e-3 if norm == 0.999 else 1e-5, atol=0)


def test_of_a_constant_critic_has_a_finite_gradient() -> None:
    critic = Linear((4,), 0.0)
    penalty = gradient_penalty(critic, torch.randn(3, 4), torch.randn(3, 4))
    penalty.backward()
    assert penalty.item() == 1
    assert critic.weight.grad is not None
    assert critic.weight.grad.isfinite().all()


def test_of_a_quadratic_critic_has_a_norm_for_each_sample() -> None:
    """Slopes of 0 and 2 average to 1, so a norm of the mean, or of the batch, would be something else."""
    critic = Recorded()
    reals = torch.tensor([0.0, 2.0])[:, None] * nn.functional.normalize(torch.randn(2, 5), dim=1)
    penalty = gradient_penalty(critic, reals, reals)
    assert penalty.item() == pytest.approx(1.0, rel=1e-5)


def test_between_pairs() -> None:
    """One share for all values of a sample, another for each sample, all of [0, 1] alike."""
    critic = Recorded()
    reals, fakes = torch.randn(4000, 2, 3, 1), torch.randn(4000, 2, 3, 1)
    penalty = gradient_penalty(critic, reals, fakes)
    (between,) = critic.seen
    direction = (fakes - reals).flatten(1)
    shares = ((between - reals).flatten(1) * direction).sum(1) / direction.square().sum(1)
    torch.testing.assert_close(between.flatten(1), reals.flatten(1) + shares[:, None] * direction)
    assert float(shares.min()) >= -1e-5
    assert float(shares.max()) <= 1 + 1e-5
    # 400 expected in each tenth, with a standard deviation of 19.
    assert float((torch.histc(shares, 10, 0, 1) - 400).abs().max()) < 5 * 19
    norms = torch.linalg.vector_norm(between.flatten(1), dim=1)
    assert penalty.item() == pytest.approx((norms - 1).square().mean().item(), rel=1e-5)


def test_twins_get_different_shares() -> None:
    critic = Recorded()
    gradient_penalty(critic, torch.zeros(8, 1, 2, 2), torch.ones(8, 1, 2, 2))
    (between,) = critic.seen
    assert len(between.flatten(1).unique(dim=0)) == 8
    assert all(len(sample.unique()) == 1 for sample in between)


def test_reaches_neither_the_images_nor_the_generator() -> None:
    critic = Linear((4,), 2.0)
    reals, fakes = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    gradient_penalty(critic, reals, fakes).backward()
    assert reals.grad is None
    assert fakes.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float32_under_autocast(dtype: torch.dtype) -> None:
    reals, fakes = torch.randn(4, 3, 8, 8).to(dtype), torch.randn(4, 3, 8, 8).to(dtype)
    critic = ConvolutionalCritic(channels=3, start=4, doublings=1, width=4, norm="none")
    recorded = Recorded()

    def penalty() -> Tensor:
        torch.manual_seed(0)
        gradient_penalty(recorded, reals, fakes)
        return gradient_penalty(critic, reals, fakes)

    outside = penalty()
    with autocast(CPU, "bf16"):
        inside = penalty()
        assert torch.is_autocast_enabled("cpu")
    assert outside.dtype == inside.dtype == torch.float32
    assert torch.equal(outside, inside)
    assert recorded.autocast == [False, False]
    assert [seen.dtype for seen in recorded.seen] == [torch.float32] * 2


# R1 and R2


def zero_centred(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    return zero_centred_penalty(critic(images), images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.0, 0.5, 3.0])
def test_zero_centred_of_a_linear_critic(shape: tuple[int, ...], norm: float) -> None:
    """|w|^2 and its gradient 2 w, whatever the data and however many."""
    critic = Linear(shape, norm)
    for count in (1, 7):
        penalty = zero_centred(critic, 100 * torch.randn(count, *shape))
        assert penalty.item() == pytest.approx(norm**2, rel=1e-5)
        (found,) = torch.autograd.grad(penalty, critic.weight)
        torch.testing.assert_close(found, 2 * critic.weight.detach(), rtol=1e-5, atol=1e-7)


def test_zero_centred_of_a_quadratic_critic() -> None:
    """s = x' A x / 2, A symmetric, has the gradient A x: E |A x|^2, whose gradient by A is 2 A E x x'."""
    matrix = torch.randn(6, 6)
    matrix = (matrix + matrix.T).requires_grad_()
    images = torch.randn(9, 1, 2, 3)
    flat = images.flatten(1)
    penalty = zero_centred(lambda x: 0.5 * ((x.flatten(1) @ matrix) * x.flatten(1)).sum(1), images)
    assert penalty.item() == pytest.approx((flat @ matrix).square().sum(1).mean().item(), rel=1e-5)
    (found,) = torch.autograd.grad(penalty, matrix)
    second_moment = flat.T @ flat / len(flat)
    expected = matrix.detach() @ second_moment
    torch.testing.assert_close(found, expected + expected.T, rtol=1e-4, atol=1e-4)


def test_zero_centred_under_autocast() -> None:
    """Logits of float32 networks stay what they are."""
    critic = ConvolutionalCritic(channels=3, start=4, doublings=1, width=4, norm="none")
    images = torch.randn(4, 3, 8, 8, requires_grad=True)
    logits = critic(images)
    outside = zero_centred_penalty(logits, images)
    with autocast(CPU, "bf16"):
        inside = zero_centred_penalty(logits, images)
    assert inside.dtype == torch.float32
    assert torch.equal(outside, inside)


# Derivatives of derivatives

CRITICS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": lambda: ConvolutionalCritic(channels=3, start=4, doublings=2, width=3, norm="none"),
    "layer_norm": lambda: ConvolutionalCritic(channels=3, start=4, doublings=2, width=3, norm="layer"),
    "resnet": lambda: ResNetDiscriminator(
        channels=3, start=4, doublings=2, width=3, spectral=False, pooling="mean"
    ),
    "mlp": lambda: PlainDiscriminator(shape=(3, 16, 16), hidden=(8, 8), output_bias=False),
}


@pytest.mark.parametrize("kind", ["two_sided", "zero_centred"])
@pytest.mark.parametrize("name", CRITICS)
def test_gradient_of_the_penalty_is_its_slope(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along a random direction of the weights, against differences of a float64 penalty taken one by one."""
    torch.manual_seed(5)
    critic = CRITICS[name]()
    seen: list[Tensor] = []
    handle = critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().double()))
    reals, fakes = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    penalty = gradient_penalty(critic, reals, fakes) if kind == "two_sided" else zero_centred(critic, reals)
    found = gradient_of(penalty, list(critic.parameters())).double()
    handle.remove()

    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the last layers ask for float32
    critic.double()
    direction = [torch.randn_like(p) * p.detach().abs().mean() for p in critic.parameters()]

    def twin(step: float) -> float:
        with torch.no_grad():
            for parameter, along in zip(critic.parameters(), direction, strict=True):
                parameter.add_(step * along)
        norms = []
        for image in seen[0]:
            leaf = image[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(critic(leaf).squeeze(), leaf)
            norms.append(gradient.square().sum().sqrt().item())
        return sum((n - 1) ** 2 if kind == "two_sided" else n**2 for n in norms) / len(norms)

    here, step = twin(0), 1e-6
    assert penalty.item() == pytest.approx(here, rel=1e-4)
    difference = (twin(step) - twin(-2 * step)) / (2 * step)
    slope = (torch.cat([along.flatten() for along in direction]) @ found).item()
    assert slope == pytest.approx(difference, rel=1e-3)
    assert abs(difference) > 1e-2 * here


def test_batch_norm_mixes_the_samples_of_a_penalty() -> None:
    """Why a penalised critic has none: the same pair is penalised differently in other company."""
    torch.manual_seed(0)
    for critic, alike in (
        (DCGANDiscriminator(channels=1, start=4, doublings=2, width=4, kernel_size=5), False),
        (ConvolutionalCritic(channels=1, start=4, doublings=2, width=4, norm="layer"), True),
    ):
        image, companies = torch.randn(1, 1, 16, 16), torch.randn(2, 3, 1, 16, 16)
        alone = [zero_centred_of_first(critic, torch.cat([image, company])) for company in companies]
        assert (alone[0] == pytest.approx(alone[1], rel=1e-4)) == alike


def zero_centred_of_first(critic: nn.Module, images: Tensor) -> float:
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images)[0], images)
    return gradient[0].square().sum().item()
