"""The convolutional pair against figure 1 of Radford et al. 2015 and the released code."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ganforge.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.nn.stages import stages_of

SIZES = [8, 14, 16, 28, 32, 56, 64, 112, 128]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def pair(
    size: int, *, width: int = 4, kernel_size: int = 5, channels: int = 3
) -> tuple[DCGANGenerator, DCGANDiscriminator]:
    stages = stages_of(size)
    assert stages is not None
    start, doublings = stages
    shape = {
        "channels": channels,
        "start": start,
        "doublings": doublings,
        "width": width,
        "kernel_size": kernel_size,
    }
    return DCGANGenerator(latent_size=100, **shape), DCGANDiscriminator(**shape)


def outputs_of(network: nn.Module, inputs: Tensor, kinds: tuple[type, ...]) -> list[tuple[Tensor, Tensor]]:
    """Inputs and outputs of every layer of these kinds, in the order of the pass."""
    seen: list[tuple[Tensor, Tensor]] = []
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, given, output: seen.append((given[0], output)))
    network(inputs)
    return seen


def test_stages() -> None:
    for size in range(1, 1025):
        found = [
            (start, doublings) for start in (4, 7) for doublings in range(1, 10) if start << doublings == size
        ]
        assert stages_of(size) == (found[0] if found else None), size


def test_generator_of_figure_1() -> None:
    generator, _ = pair(64, width=128)
    seen = outputs_of(generator, torch.randn(2, 100), CONVOLUTIONS)
    maps = [tuple(seen[0][0].shape[1:]), *(tuple(output.shape[1:]) for _, output in seen)]
    assert maps == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    shapes = [
        tuple(module.weight.shape) for module in generator.modules() if isinstance(module, CONVOLUTIONS)
    ]
    assert shapes == [(1024, 512, 5, 5), (512, 256, 5, 5), (256, 128, 5, 5), (128, 3, 5, 5)]
    assert tuple(generator.dense.weight.shape) == (16_384, 100)
    norms = [module.num_features for module in generator.modules() if isinstance(module, NORMS)]
    assert norms == [16_384, 512, 256, 128]
    weights = 100 * 16_384 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert sum(p.numel() for p in generator.parameters()) == weights + 2 * sum(norms) + 3


def test_discriminator_of_the_faces_code() -> None:
    _, discriminator = pair(64, width=128)
    seen = outputs_of(discriminator, torch.randn(2, 3, 64, 64), CONVOLUTIONS)
    maps = [tuple(output.shape[1:]) for _, output in seen]
    assert maps == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    norms = [module.num_features for module in discriminator.modules() if isinstance(module, NORMS)]
    assert norms == [256, 512, 1024]
    weights = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 16_384
    assert sum(p.numel() for p in discriminator.parameters()) == weights + 2 * sum(norms) + 1


def test_mnist_starts_from_7x7() -> None:
    generator, discriminator = pair(28, channels=1)
    seen = outputs_of(generator, torch.randn(2, 100), CONVOLUTIONS)
    assert [tuple(output.shape[2:]) for _, output in seen] == [(14, 14), (28, 28)]
    assert seen[0][0].shape == (2, 8, 7, 7)
    assert discriminator(torch.randn(2, 1, 28, 28)).shape == (2,)


@pytest.mark.parametrize("kernel_size", [5, 4])
@pytest.mark.parametrize("size", SIZES)
def test_every_convolution_doubles_or_halves_exactly(size: int, kernel_size: int) -> None:
    generator, discriminator = pair(size, width=2, kernel_size=kernel_size)
    images = 100 * torch.randn(2, 3, size, size)
    up = outputs_of(generator, 100 * torch.randn(2, 100), CONVOLUTIONS)
    down = outputs_of(discriminator, images, CONVOLUTIONS)
    assert all(output.shape[2:] == (2 * given.shape[2], 2 * given.shape[3]) for given, output in up)
    assert all((2 * output.shape[2], 2 * output.shape[3]) == given.shape[2:] for given, output in down)
    generated = generator(torch.randn(2, 100))
    assert generated.shape == images.shape
    assert float(generated.abs().max()) <= 1
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("kernel_size", [5, 4])
@pytest.mark.parametrize("size", SIZES)
def test_batch_norm_everywhere_but_at_the_image(size: int, kernel_size: int) -> None:
    generator, discriminator = pair(size, kernel_size=kernel_size)
    kinds = (*CONVOLUTIONS, *NORMS, nn.ReLU, nn.LeakyReLU)
    inside = [type(module) for module in generator.layers if isinstance(module, kinds)]
    doublings = generator_doublings(generator)
    block: list[type] = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    assert inside == block * (doublings - 1) + [nn.ConvTranspose2d]
    assert type(generator.dense_norm) is (nn.BatchNorm1d if kernel_size == 5 else nn.BatchNorm2d)
    block = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    inside = [type(module) for module in discriminator.layers]  # type: ignore[misc]  # compared with a list of few classes
    assert inside == [nn.Conv2d, nn.LeakyReLU] + block * (doublings - 1)
    slopes = {module.negative_slope for module in discriminator.layers if isinstance(module, nn.LeakyReLU)}
    assert slopes == {0.2}


def generator_doublings(generator: DCGANGenerator) -> int:
    return sum(isinstance(module, nn.ConvTranspose2d) for module in generator.modules())


def test_a_bias_only_where_no_norm_follows() -> None:
    """Batch norm takes the mean away, so a bias before it would learn nothing."""
    for network, biased in zip(pair(64), ("layers.9.bias", "head.bias"), strict=True):
        norms = {f"{name}.bias" for name, module in network.named_modules() if isinstance(module, NORMS)}
        names = {name for name, _ in network.named_parameters() if name.endswith("bias")}
        assert names - norms == {biased}


def test_initial_weights() -> None:
    for network in pair(64, width=64):
        for name, module in network.named_modules():
            if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
                assert float(module.weight.std()) == pytest.approx(0.02, rel=0.05), name
            elif isinstance(module, NORMS):
                assert float(module.weight.mean()) == pytest.approx(1.0, abs=0.02), name
                assert 0.01 < float(module.weight.std()) < 0.03, name
                assert not module.bias.any()


@pytest.mark.parametrize("kernel_size", [5, 4])
def test_evaluation_does_not_look_across_the_batch(kernel_size: int) -> None:
    generator, discriminator = pair(16, kernel_size=kernel_size)
    latents = torch.randn(6, 100)
    generator.train()(latents)
    images = generator.eval()(latents)
    torch.testing.assert_close(torch.cat([generator(latents[:2]), generator(latents[2:])]), images)
    discriminator.train()(images)
    logits = discriminator.eval()(images)
    torch.testing.assert_close(torch.cat([discriminator(images[:2]), discriminator(images[2:])]), logits)


@pytest.mark.parametrize("kernel_size", [5, 4])
@pytest.mark.parametrize(
    ("start", "doublings", "size"), [(7, 2, (28, 28)), (7, 3, (56, 56)), ((5, 7), 2, (20, 28))]
)
def test_an_odd_stage_starts_from_half_of_the_smallest_maps(
    kernel_size: int, start: int | tuple[int, int], doublings: int, size: tuple[int, int]
) -> None:
    sizes = {
        "start": start,
        "doublings": doublings,
        "width": 4,
        "kernel_size": kernel_size,
        "odd_stage": True,
    }
    generator = DCGANGenerator(latent_size=5, channels=1, **sizes)
    assert generator(torch.randn(2, 5)).shape == (2, 1, *size)
    down, across = (start, start) if isinstance(start, int) else start
    assert generator.start == ((down + 1) // 2, (across + 1) // 2)
    discriminator = DCGANDiscriminator(channels=1, **sizes)
    assert discriminator(torch.randn(2, 1, *size)).shape == (2,)
    maps = discriminator.layers(torch.randn(2, 1, *size))
    assert maps.shape == (2, 4 * 2**doublings, *generator.start)


@pytest.mark.parametrize(("width", "groups"), [(128, [32, 32, 32]), (32, [16, 32, 32]), (4, [2, 4, 8])])
def test_group_norm_is_of_each_image_alone(width: int, groups: list[int]) -> None:
    discriminator = DCGANDiscriminator(
        channels=3, start=4, doublings=4, width=width, kernel_size=5, dense_units=12, norm="group"
    )
    found = [module.num_groups for module in discriminator.modules() if isinstance(module, nn.GroupNorm)]
    assert found == [*groups, 3]
    assert not any(isinstance(module, NORMS) for module in discriminator.modules())
    images = torch.randn(3, 3, 64, 64)
    alone = torch.cat([discriminator(image[None]) for image in images])
    torch.testing.assert_close(discriminator(images), alone, rtol=1e-4, atol=1e-6)
    assert float(alone.std()) > 1e-4, "logits that no image changes would pass"


def test_a_dense_layer_sees_the_whole_image() -> None:
    network = DCGANDiscriminator(channels=1, start=4, doublings=1, width=4, kernel_size=4, dense_units=6)
    hidden = network.hidden[0]
    assert isinstance(hidden, torch.nn.Linear)
    assert (hidden.in_features, hidden.out_features) == (4 * 4 * 4, 6)
    assert network(torch.randn(3, 1, 8, 8)).shape == (3,)
