"""The networks of FastGAN: sizes, gates in (0, 1), noise, and what is decoded to be compared with what."""

import pytest
import torch

from ganforge.nn.networks.fastgan import (
    FastGANDiscriminator,
    FastGANGenerator,
    Gate,
    Noise,
    generator_channels,
    quarter,
)
from ganforge.nn.stages import rectangle_stages

# Height, width; side of the smaller output or 0; logits; blocks; gates of both networks.
SIZES = {
    (6, 6): (0, 1, 1, (1, 0)),
    (8, 8): (0, 1, 1, (1, 0)),
    (16, 16): (0, 25, 1, (1, 0)),
    (28, 28): (0, 16, 2, (1, 0)),
    (32, 32): (0, 25, 2, (1, 0)),
    (48, 64): (0, 15, 3, (1, 1)),
    (64, 64): (0, 25, 3, (1, 1)),
    (128, 128): (0, 25, 4, (2, 2)),
    (256, 256): (128, 50, 5, (3, 3)),
}


@pytest.mark.parametrize("sides", SIZES)
def test_sizes(sides: tuple[int, int]) -> None:
    stages = rectangle_stages(*sides)
    assert stages is not None
    shape = {"channels": 3, "start": stages[0], "doublings": stages[1], "width": 2}
    small, logits, blocks, gates = SIZES[sides]
    generator, discriminator = FastGANGenerator(latent_size=5, **shape), FastGANDiscriminator(**shape)
    images = [each.detach() for each in generator(torch.randn(2, 5))]
    expected = [(2, 3, *sides), (2, 3, small, small)]
    assert [tuple(each.shape) for each in images] == expected[: 1 + bool(small)]
    assert all(float(each.abs().max()) <= 1 for each in images)
    assert (len(generator.gates), len(discriminator.gates)) == gates
    assert len(discriminator.layers) == 1 + blocks
    assert discriminator(*images).shape == discriminator(images[0]).shape == (2, logits)
    again, pairs = discriminator.reconstruct(images[0])
    assert again.shape == (2, logits)
    assert len(pairs) == 2 + bool(small)
    for made, original in pairs:
        assert made.shape == original.shape
        assert made.shape[2:] == (sides[0] // 2, sides[1] // 2), "half the image, or a quarter of it as it is"


@pytest.mark.parametrize(
    ("size", "first", "second"), [(512, "16x3x4x4", None), (1024, "8x3x4x4", "16x8x4x4")]
)
def test_large_images_are_halved_before_the_blocks(size: int, first: str, second: str | None) -> None:
    with torch.device("meta"):
        network = FastGANDiscriminator(channels=3, start=4, doublings=size.bit_length() - 3, width=64)
    weights = [p for name, p in network.layers[0].named_parameters() if p.dim() == 4]
    shapes = ["x".join(map(str, weight.shape)) for weight in weights]
    assert shapes == [shape for shape in (first, second) if shape]
    assert len(network.layers) == 6
    assert len(network.gates) == 3


def test_the_papers_networks() -> None:
    """Of 256x256: the released code's channels, and the gates 4 -> 64, 8 -> 128 and 16 -> 256."""
    assert [generator_channels(64, stage) for stage in range(9)] == [1024, 512, 256, 128, 128, 64, 32, 16, 8]
    assert generator_channels(1, 8) == 1
    with torch.device("meta"):
        generator = FastGANGenerator(latent_size=256, channels=3, start=4, doublings=6, width=64)
        discriminator = FastGANDiscriminator(channels=3, start=4, doublings=6, width=64)
    assert [gate.layers[1].weight.shape for gate in generator.gates] == [
        (128, 1024, 4, 4),
        (64, 512, 4, 4),
        (32, 256, 4, 4),
    ]
    noisy = [any(isinstance(layer, Noise) for layer in block.modules()) for block in generator.layers]
    assert noisy == [True, False] * 3
    outputs = [layer.direct[1].weight.shape[0] for layer in list(discriminator.layers)[1:]]
    assert outputs == [32, 64, 128, 256, 512]
    assert [gate.layers[1].weight.shape[:2] for gate in discriminator.gates] == [
        (512, 64),
        (256, 32),
        (128, 16),
    ]


def test_a_gate_is_a_share_of_each_channel_by_what_is_in_the_small_maps() -> None:
    torch.manual_seed(0)
    gate = Gate(8, 6)
    factors = gate(10 * torch.randn(5, 8, 7, 7)).detach()
    assert factors.shape == (5, 6, 1, 1)
    assert float(factors.min()) > 0
    assert float(factors.max()) < 1
    assert float(factors.std(0).min()) > 0


@pytest.mark.parametrize(("doublings", "source", "target"), [(2, 0, 2), (4, 0, 4), (5, 1, 5)])
def test_gates_multiply_the_maps_four_doublings_later(doublings: int, source: int, target: int) -> None:
    """A closed gate leaves nothing of the last maps: the images are those of zeros."""
    torch.manual_seed(0)
    network = FastGANGenerator(latent_size=5, channels=1, start=4, doublings=doublings, width=2).eval()
    latents = torch.randn(3, 5)
    with torch.no_grad():
        before = network(latents)[0]
        network.gates[source].register_forward_hook(lambda *_: torch.zeros(()))
        after = network(latents)[0]
    assert float(before.abs().max()) > 0
    assert target == doublings
    assert float(after.abs().max()) == 0


def test_noise_is_fresh_in_training_and_fixed_in_sampling() -> None:
    torch.manual_seed(0)
    noise = Noise((6, 5))
    maps = torch.zeros(4, 3, 6, 5)
    assert torch.equal(noise(maps), maps), "its strength starts from 0"
    with torch.no_grad():
        noise.strength.fill_(2.0)
        fresh, other, fixed, again = noise(maps), noise(maps), noise.eval()(maps), noise(maps)
    assert torch.equal(fresh[:, 0], fresh[:, 2]), "the same in every channel"
    assert len(fresh[:, 0].flatten(1).unique(dim=0)) == 4
    assert not torch.equal(fresh, other)
    assert torch.equal(fixed, again)
    assert torch.equal(fixed[0], fixed[3])
    assert 1 < float(fresh.std()) < 3


def test_quarters() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    down, across = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    quarters = quarter(image.expand(4, 2, 4, 4), down, across)
    assert quarters.shape == (4, 2, 2, 2)
    expected = [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]]]
    assert quarters[:, 1].tolist() == expected


def test_each_image_is_compared_with_itself_and_a_quarter_of_its_own() -> None:
    """The quarter of the maps is that of the image: a constant quarter is known by its value."""
    torch.manual_seed(0)
    network = FastGANDiscriminator(channels=1, start=4, doublings=2, width=2)
    images = torch.arange(4.0).view(1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    seen: list[torch.Tensor] = []
    network.layers[0].register_forward_hook(lambda *_: images.expand(64, 8, 16, 16))
    network.layers[1].register_forward_hook(lambda _, __, maps: maps)
    network.part_decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    _, ((_, whole), (_, part)) = network.reconstruct(images.expand(64, 1, 16, 16))
    assert torch.equal(whole, images[..., ::2, ::2].expand(64, 1, 8, 8))
    assert torch.equal(seen[0][:, :1], part)
    values = part.flatten(1)
    assert torch.equal(values.amin(1), values.amax(1))
    assert set(values[:, 0].tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_features_are_of_the_first_layer_and_every_block() -> None:
    network = FastGANDiscriminator(channels=3, start=4, doublings=3, width=4).eval()
    assert network.features(torch.randn(2, 3, 32, 32)).shape == (2, 16 * (8 + 16 + 32))
