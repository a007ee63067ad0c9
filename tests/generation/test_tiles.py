"""Images in tiles: the same as whole where a network's reach is known, without seams where it is not."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganforge.errors import UserError
from ganforge.generation.tiles import bands
from ganforge.nn.networks.srresnet import SRResNet
from ganforge.nn.networks.unet import UNet
from ganforge.system import Tiling


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def each(network: Callable[[Tensor], Tensor]) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    def translate(parts: Iterator[Tensor]) -> Iterator[Tensor]:
        with torch.no_grad():
            for part in parts:
                yield network(part)

    return translate


def whole(network: Callable[[Tensor], Tensor], tiling: Tiling, image: NDArray, tile: int) -> Tensor:
    return torch.cat(list(bands(each(network), tiling, image, tile)), 1)


def small_srresnet(scale: int = 2) -> SRResNet:
    network = SRResNet(channels=3, width=4, num_blocks=2, scale=scale)
    with torch.no_grad():  # norms that do something
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.weight.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("scale", [2, 4])
def test_the_reach_is_what_the_network_sees(scale: int) -> None:
    """A change of one pixel is felt up to there, not beyond, in whole pixels of the source."""
    network = small_srresnet(scale).double()
    side = 2 * network.reach + 9
    middle = side // 2
    one = torch.rand(1, 3, side, side, dtype=torch.float64)
    other = one.clone()
    other[..., middle, middle] += 1
    with torch.no_grad():
        felt = (network.forward(one) - network.forward(other)).abs().amax((0, 1)) > 0
    first = int(felt.any(0).nonzero()[0]) // scale
    assert middle - network.reach <= first <= middle - network.reach + 1


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(90, 61), (40, 100), (17, 33), (1, 1)])
def test_tiles_are_the_whole_where_the_reach_is_known(scale: int, size: tuple[int, int]) -> None:
    network, image = small_srresnet(scale), noise(3, *size)
    tiling = Tiling(scale=scale, reach=network.reach)
    made = whole(network, tiling, image, 16)
    with torch.no_grad():
        at_once = network(torch.from_numpy(image).float()[None] / 127.5 - 1)[0]
    assert made.shape == (3, size[0] * scale, size[1] * scale)
    assert torch.allclose(made, at_once, atol=1e-5)


def test_a_reach_too_short_would_be_seen() -> None:
    network, image = small_srresnet(), noise(3, 90, 61)
    made = whole(network, Tiling(scale=2, reach=network.reach // 3), image, 16)
    with torch.no_grad():
        at_once = network(torch.from_numpy(image).float()[None] / 127.5 - 1)[0]
    assert not torch.allclose(made, at_once, atol=1e-5)


@pytest.mark.parametrize("size", [(100, 130), (64, 65), (63, 200), (5, 300), (64, 64), (97, 33)])
@pytest.mark.parametrize("multiple", [1, 8, 32])
def test_weights_sum_to_one(size: tuple[int, int], multiple: int) -> None:
    """What leaves every pixel alone is found again, in any tiles; and every tile has a legal size."""
    image = noise(1, *size)

    def check(part: Tensor) -> Tensor:
        assert part.shape[2] % multiple == part.shape[3] % multiple == 0
        assert max(part.shape) <= 64
        return part

    made = whole(check, Tiling(multiple=multiple), image, 64)
    assert made.shape == (1, *size)
    assert torch.allclose(made, torch.from_numpy(image).float() / 127.5 - 1, atol=1e-5)


def test_16_bits_keep_their_steps() -> None:
    image = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    made = whole(lambda part: part, Tiling(), image, 64)
    assert np.array_equal(((made.numpy() + 1) * 32767.5).round().astype(np.uint16), image)


def steps_of(made: Tensor) -> Tensor:
    """The largest step from each column to the next."""
    return (made[:, :, 1:] - made[:, :, :-1]).abs().amax((0, 1))


def test_blended_tiles_have_no_seams() -> None:
    """Tiles that disagree as much as can be: each has one colour of its own."""
    colours = iter([-1.0, 1.0] * 8)
    image = noise(1, 64, 208)
    made = whole(lambda part: torch.full_like(part, next(colours)), Tiling(multiple=16), image, 64)
    steps = (made[:, :, 1:] - made[:, :, :-1]).abs()
    assert float(steps.max()) <= 2 / 15  # 2 over a quarter of a tile, 16 pixels
    assert float(made.max()) == 1
    assert float(made.min()) == -1
    assert float((made[:, 1:] - made[:, :-1]).abs().max()) == 0


def test_a_unet_in_tiles_has_no_seams() -> None:
    network = UNet(channels=1, outputs=3, depth=3, width=8, skips=True).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    y, x = np.mgrid[:64, :200]
    image = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)[None]
    made = whole(network, Tiling(multiple=8), image, 64)
    starts = [0, 40, 88, 136]
    ends = [start + 64 for start in starts[:-1]]
    cuts = [(start + end) // 2 for start, end in zip(starts[1:], ends, strict=True)]
    seams = steps_of(made)[[place - 1 for place in (*starts[1:], *ends, *cuts)]]
    assert float(seams.max()) <= float(steps_of(whole(network, Tiling(multiple=8), image, 256)).max())


def test_tiles_too_small_are_refused() -> None:
    with pytest.raises(UserError, match="--tile 15: expected 16 or more"):
        whole(lambda part: part, Tiling(multiple=64), noise(1, 8, 8), 15)
