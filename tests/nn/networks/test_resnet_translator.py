"""CycleGAN's residual generator: its shapes, its noise and what it sees."""

import pytest
import torch

from ganforge.nn.networks.resnet_translator import ResNetTranslator


def translator(**options: int) -> ResNetTranslator:
    torch.manual_seed(0)
    return ResNetTranslator(channels=1, outputs=3, width=4, **{"blocks": 3, **options})


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 32)])
def test_the_size_is_kept(height: int, width: int) -> None:
    images = translator()(torch.randn(2, 1, height, width)).detach()
    assert images.shape == (2, 3, height, width)
    assert float(images.abs().max()) <= 1


def test_width_doubles_twice() -> None:
    """11.4 million weights are those of the paper's nine blocks for 256x256."""
    network = ResNetTranslator(channels=3, outputs=3, width=64, blocks=9)
    assert [layer.out_channels for layer in network.halvings] == [128, 256]
    assert 11.3e6 < sum(parameter.numel() for parameter in network.parameters()) < 11.5e6


def test_noise_is_dropout_in_the_chosen_blocks_in_evaluation_too() -> None:
    image = torch.randn(1, 1, 16, 16)
    plain = translator().eval()
    assert torch.equal(plain(image), plain(image))
    noisy = translator(num_dropouts=1, first_dropout=1).eval()
    assert [block.drops for block in noisy.blocks] == [False, True, False]
    assert not torch.equal(noisy(image), noisy(image))
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    assert torch.equal(*(noisy(image, generator) for generator in generators))
