"""Architecture E of R3GAN: identity at the start, resampling, sizes, no coupling between samples."""

import pytest
import torch
from torch.nn.functional import interpolate

from ganforge.nn.networks.r3gan import R3GANDiscriminator, R3GANGenerator, Resample, ResidualBlock


def test_a_block_begins_as_the_identity() -> None:
    maps = torch.randn(2, 32, 5, 5)
    assert torch.equal(ResidualBlock(32, 16, 8)(maps), maps)


def test_upsampling_is_bilinear_away_from_the_border() -> None:
    maps = torch.randn(2, 3, 6, 6)
    ours = Resample(3, up=True)(maps)
    expected = interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    assert ours.shape == expected.shape
    assert torch.allclose(ours[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_resampling_is_symmetric_under_mirroring(up: bool) -> None:
    maps = torch.randn(1, 2, 8, 8)
    resample = Resample(2, up=up)
    assert torch.allclose(resample(maps.flip(-1)), resample(maps).flip(-1), atol=1e-6)
    assert torch.allclose(resample(maps.flip(-2)), resample(maps).flip(-2), atol=1e-6)


def test_no_row_or_column_of_an_untrained_generator_stands_out() -> None:
    """A wrong filter draws a grid of lines, and a dark border."""
    torch.manual_seed(0)
    sizes = {"start": 4, "doublings": 3, "width": 32, "group_size": 16, "blocks": 1}
    images = R3GANGenerator(latent_size=16, channels=3, **sizes)(torch.randn(500, 16)).detach()
    variance = images.var(0).mean((0, 1))
    inner = variance[4:-4]
    assert float(inner.max() / inner.min()) < 2.5
    assert 0.5 < float(variance[-1] / variance[0]) < 2


def test_downsampling_keeps_what_is_flat_and_is_the_adjoint_of_upsampling() -> None:
    flat = Resample(3, up=False)(torch.full((1, 3, 8, 8), 2.0))
    assert flat.shape == (1, 3, 4, 4)
    assert torch.allclose(flat[..., 1:-1, 1:-1], torch.tensor(2.0))
    small, large = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 8, 8)
    left = (Resample(2, up=True)(small) * large).sum()
    right = 4 * (small * Resample(2, up=False)(large)).sum()
    assert torch.allclose(left, right, rtol=1e-4)


@pytest.mark.parametrize(("start", "doublings", "size"), [(4, 3, 32), (7, 2, 28), (4, 1, 8)])
def test_sizes(start: int, doublings: int, size: int) -> None:
    sizes = {"start": start, "doublings": doublings, "width": 16, "group_size": 16, "blocks": 2}
    images = R3GANGenerator(latent_size=5, channels=3, **sizes)(torch.randn(2, 5))
    assert images.shape == (2, 3, size, size)
    discriminator = R3GANDiscriminator(channels=3, **sizes)
    assert discriminator(images).shape == (2,)
    num_blocks = sum(isinstance(module, ResidualBlock) for module in discriminator.modules())
    assert num_blocks == 2 * (doublings + 1)


def test_first_outputs_are_of_order_one() -> None:
    """Inputs of unit variance keep it through all of the depth, at the start."""
    torch.manual_seed(0)
    sizes = {"start": 4, "doublings": 3, "width": 64, "group_size": 16, "blocks": 2}
    images = R3GANGenerator(latent_size=64, channels=3, **sizes)(torch.randn(200, 64))
    assert 0.3 < float(images.detach().std()) < 1.5


def test_samples_do_not_affect_each_other() -> None:
    torch.manual_seed(0)
    network = R3GANDiscriminator(channels=1, start=4, doublings=1, width=16, group_size=8, blocks=1)
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.randn(4, 1, 8, 8)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-6)
    assert float(alone.detach().std()) > 0


@pytest.mark.parametrize(("halvings", "widths"), [(0, [32, 32, 32]), (1, [32, 32, 16]), (2, [32, 16, 8])])
def test_widths_are_halved_at_the_largest_sizes(halvings: int, widths: list[int]) -> None:
    sizes = {"start": 7, "doublings": 2, "width": 32, "group_size": 8, "blocks": 1, "halvings": halvings}
    generator = R3GANGenerator(latent_size=5, channels=1, **sizes)
    discriminator = R3GANDiscriminator(channels=1, **sizes)
    for network, expected in ((generator, widths), (discriminator, widths[::-1])):
        seen: list[torch.Size] = []
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module.register_forward_hook(lambda *args, seen=seen: seen.append(args[2].shape[1:]))
        network(torch.randn(2, 5) if network is generator else torch.randn(2, 1, 28, 28))
        sides = [7, 14, 28] if network is generator else [28, 14, 7]
        assert seen == [torch.Size([w, side, side]) for w, side in zip(expected, sides, strict=True)]
    # Widths change at the smaller of two sizes, where it costs a quarter.
    changes = [m for m in generator.layers if isinstance(m, torch.nn.Conv2d)]
    assert len(changes) == halvings
