"""The MNIST pair of Mirza and Osindero 2014, section 4.1."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganforge.nn.networks.cgan import ConditionalDiscriminator, ConditionalGenerator

MNIST = (1, 28, 28)


@pytest.fixture
def generator() -> ConditionalGenerator:
    return ConditionalGenerator(latent_size=100, num_classes=10, shape=MNIST)


@pytest.fixture
def discriminator() -> ConditionalDiscriminator:
    return ConditionalDiscriminator(shape=MNIST, num_classes=10)


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in network.parameters() if p.dim() == 2]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def classes_of(num: int) -> Tensor:
    return one_hot(torch.arange(num) % 10, 10).float()


def test_generator_is_that_of_the_paper(generator: ConditionalGenerator) -> None:
    assert shapes(generator) == [(200, 100), (1000, 10), (1200, 1200), (784, 1200)]
    assert count(generator) == 20_200 + 11_000 + 1_441_200 + 941_584


def test_discriminator_is_that_of_the_paper(discriminator: ConditionalDiscriminator) -> None:
    assert shapes(discriminator) == [(240 * 5, 784), (50 * 5, 10), (240 * 4, 240 + 50), (1, 240)]
    assert count(discriminator) == 942_000 + 2_750 + 279_360 + 241


def test_generator_computes_what_the_paper_says(generator: ConditionalGenerator) -> None:
    """Written out in float64, with biases that matter."""
    twin = generator.double().eval()
    for name, parameter in twin.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    noise, classes = torch.rand(7, 2500).double(), classes_of(7).double()
    latents, masks = noise[:, :100], 2.0 * (noise[:, 100:] >= 0.5)  # inverted dropout of one half
    values = dict(twin.named_parameters())

    def dense(inputs: Tensor, name: str) -> Tensor:
        return torch.einsum("bi,oi->bo", inputs, values[f"{name}.weight"]) + values[f"{name}.bias"]

    first = torch.cat([dense(latents, "of_latents"), dense(classes, "of_classes")], 1).clamp(min=0)
    second = dense(first * masks[:, :1200], "joint").clamp(min=0) * masks[:, 1200:]
    pixels = 1 / (1 + torch.exp(-dense(second, "output.layers.0")))
    torch.testing.assert_close(
        twin(noise, classes).double(), (2 * pixels - 1).view(7, *MNIST), atol=1e-6, rtol=0
    )


def test_discriminator_computes_what_the_paper_says(discriminator: ConditionalDiscriminator) -> None:
    twin = discriminator.double().eval()
    for name, parameter in twin.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    images, classes = 2 * torch.rand(7, *MNIST).double() - 1, classes_of(7).double()
    values = dict(twin.named_parameters())

    def maxout(inputs: Tensor, name: str, pieces: int) -> Tensor:
        weight = values[f"{name}.linear.weight"].view(-1, pieces, inputs.shape[1])
        bias = values[f"{name}.linear.bias"].view(-1, pieces)
        return (torch.einsum("bi,upi->bup", inputs, weight) + bias).max(2).values

    pixels = (images.flatten(1) + 1) / 2  # in [0, 1]
    first = torch.cat([maxout(pixels, "of_images", 5), maxout(classes, "of_classes", 5)], 1)
    logits = maxout(first, "joint.1", 4) @ values["joint.3.weight"][0] + values["joint.3.bias"]
    torch.testing.assert_close(twin(images, classes), logits)


def test_the_label_matters(generator: ConditionalGenerator, discriminator: ConditionalDiscriminator) -> None:
    """Each class component moves the output of its own samples, in both networks."""
    classes = classes_of(20).requires_grad_()
    images = generator.eval()(torch.rand(20, 2500), classes)
    (gradient,) = torch.autograd.grad(images.square().sum(), classes)
    assert (gradient[classes.detach() > 0] != 0).all()
    (gradient,) = torch.autograd.grad(discriminator.eval()(images.detach(), classes).sum(), classes)
    assert (gradient[classes.detach() > 0] != 0).all()


def test_latents_labels_and_dropout_all_vary_the_first_images(generator: ConditionalGenerator) -> None:
    """Variances of an untrained generator's logits; with `mnist.yaml`'s +-0.05 all are below 0.002."""
    outputs: list[Tensor] = []
    generator.output.layers.register_forward_hook(lambda _, inputs, logits: outputs.append(logits.detach()))
    latents, masks = torch.rand(50, 100), torch.rand(50, 2400)
    for one in torch.eye(10):
        generator(torch.cat([latents, masks[:1].expand(50, -1)], 1), one.expand(50, 10))
    logits = torch.stack(outputs)
    assert float(logits.var(0).mean()) > 0.1, "between the classes of one latent"
    assert float(logits.var(1).mean()) > 0.005, "between the latents of one class"
    outputs.clear()
    generator(torch.cat([latents[:1].expand(50, -1), masks], 1), torch.eye(10)[:1].expand(50, 10))
    assert float(outputs[0].var(0).mean()) > 0.5, "between the dropout of one latent and class"


@torch.no_grad()
def test_first_weights(generator: ConditionalGenerator, discriminator: ConditionalDiscriminator) -> None:
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if parameter.dim() == 1:
                assert not parameter.any(), name
                continue
            bound = math.sqrt(6 / (1 if name.startswith("of_classes") else parameter.shape[1]))
            assert float(parameter.abs().max()) <= bound, name
            if parameter.numel() > 1_000:
                assert float(parameter.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05), name


def test_half_of_the_discriminators_hidden_units_drop_in_training_only(
    discriminator: ConditionalDiscriminator,
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    for module in discriminator.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    images = 2 * torch.rand(200, *MNIST) - 1
    trained = [discriminator.train()(images, classes_of(200)) for _ in range(2)]
    assert not torch.equal(*trained)
    assert [inputs.shape[1] for inputs, _ in seen] == 2 * [290, 240]
    for inputs, outputs in seen:
        alive, kept = inputs != 0, outputs != 0
        torch.testing.assert_close(outputs[kept], 2 * inputs[kept])
        spread = math.sqrt(0.25 / int(alive.sum()))
        assert abs(int(kept.sum()) / int(alive.sum()) - 0.5) < 5 * spread
    seen.clear()
    judged = [discriminator.eval()(images, classes_of(200)) for _ in range(2)]
    assert torch.equal(*judged)
    assert all(torch.equal(inputs, outputs) for inputs, outputs in seen)


def test_the_generators_dropout_is_part_of_its_noise(generator: ConditionalGenerator) -> None:
    """The same in training and in sampling; where no unit falls below, it only doubles them."""
    noise, classes = torch.rand(20, generator.noise_size), classes_of(20)
    assert torch.equal(generator.train()(noise, classes), generator.eval()(noise, classes))
    others = torch.cat([noise[:, :100], torch.rand(20, 2400)], 1)
    assert not torch.equal(generator(noise, classes), generator(others, classes))
    whole = torch.cat([noise[:, :100], torch.ones(20, 2400)], 1)
    undropped = ConditionalGenerator(latent_size=100, num_classes=10, shape=MNIST, dropout=0)
    undropped.load_state_dict(generator.state_dict())
    undropped.joint.weight.data *= 2
    undropped.output.layers[0].weight.data *= 2  # type: ignore[assignment]  # a layer's attribute is a Tensor or a Module to mypy
    torch.testing.assert_close(generator(whole, classes), undropped(noise, classes))


def test_nothing_looks_across_the_batch(discriminator: ConditionalDiscriminator) -> None:
    """What one pass for real and generated images rests on."""
    images, classes = torch.rand(6, *MNIST), classes_of(6)
    logits = discriminator.eval()(images, classes)
    parts = [discriminator(images[:2], classes[:2]), discriminator(images[2:], classes[2:])]
    torch.testing.assert_close(torch.cat(parts), logits)


def test_other_sizes() -> None:
    generator = ConditionalGenerator(latent_size=3, num_classes=4, shape=(3, 5, 7), units=(8, 9, 10))
    discriminator = ConditionalDiscriminator(
        shape=(3, 5, 7), num_classes=4, units=(8, 9, 10), pieces=(2, 3, 4)
    )
    assert shapes(generator) == [(8, 3), (9, 4), (10, 17), (105, 10)]
    assert shapes(discriminator) == [(16, 105), (27, 4), (40, 17), (1, 10)]
    classes = torch.eye(4)
    images = generator(torch.rand(4, generator.noise_size), classes)
    assert images.shape == (4, 3, 5, 7)
    assert float(images.detach().abs().max()) <= 1
    assert discriminator(images, classes).shape == (4,)
