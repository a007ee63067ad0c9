"""PixelCNN and PixelRNN: exactly causal, what each can and cannot see, and caches that say the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ganforge.nn.layers import MaskedConv2d, colour_spans
from ganforge.nn.networks.gated_pixelcnn import GatedPixelCNN
from ganforge.nn.networks.lstm import _DiagonalScan, _LSTMStep, diagonal_scan, lstm_step
from ganforge.nn.networks.pixelcnn import MaskedStack, ResidualBlock
from ganforge.nn.networks.pixelrnn import DiagonalBiLSTM, RowLSTM

HEIGHT, COLUMNS, LEVELS = 4, 6, 4
SIZES = {"levels": LEVELS, "head_width": 30}


def gated(colours: int, layers: int = 4, num_classes: int = 0, kernel_size: int = 3) -> GatedPixelCNN:
    sizes = {"width": 7, "layers": layers, "kernel_size": kernel_size, "num_classes": num_classes}
    return GatedPixelCNN(colours=colours, **sizes, **SIZES)


def stack(block: Callable[[int, int], nn.Module], colours: int, layers: int) -> MaskedStack:
    blocks = [block(7, colours) for _ in range(layers)]
    return MaskedStack(blocks, width=7, colours=colours, **SIZES)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "gated": gated,
    "gated_5x5": lambda colours: gated(colours, layers=2, kernel_size=5),
    "gated_7x7": lambda colours: gated(colours, layers=2, kernel_size=7),
    "original": lambda colours: stack(ResidualBlock, colours, 3),
    "row": lambda colours: stack(RowLSTM, colours, 2),
    "diagonal": lambda colours: stack(DiagonalBiLSTM, colours, 2),
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_colours = pytest.mark.parametrize("colours", [1, 3])


def jacobian(network: nn.Module, colours: int, height: int = HEIGHT, columns: int = COLUMNS) -> Tensor:
    """Sizes of d logits / d sub-pixels, rows and columns in the order in which sub-pixels are made."""
    network = network.double()
    images = (2 * torch.rand(1, colours, height, columns) - 1).double().requires_grad_()
    logits = network(images)
    mixed = (logits * torch.randn(LEVELS, 1, 1, 1).double()).sum(1)[0].permute(1, 2, 0).flatten()
    gradients = [torch.autograd.grad(one, images, retain_graph=True)[0][0] for one in mixed]
    return torch.stack([gradient.permute(1, 2, 0).flatten() for gradient in gradients]).abs()


def position(row: int, column: int) -> int:
    return row * COLUMNS + column


@each_network
@each_colours
def test_no_logit_sees_its_own_sub_pixel_or_a_later_one(name: str, colours: int) -> None:
    """Exactly 0, for every pair; the same colour of the pixel above is seen by all."""
    found = jacobian(NETWORKS[name](colours), colours)
    assert torch.equal(found, found.tril(-1))
    assert (found.diagonal(-colours * COLUMNS) > 0).all()


@pytest.mark.parametrize("colours", [1, 2, 3])
def test_gated_sees_every_earlier_sub_pixel(colours: int) -> None:
    found = jacobian(gated(colours), colours)
    assert torch.equal(found > 0, torch.ones_like(found).tril(-1).bool())


def test_diagonal_sees_every_earlier_pixel_but_one() -> None:
    """The last pixel of the row above lies in no window of its row, as mask A hides it from itself.

    Only the 7x7 convolutions of the three columns that reach it see it; further rows all do, by the states.
    """
    expected = torch.ones(HEIGHT * COLUMNS, HEIGHT * COLUMNS).tril(-1)
    for row in range(1, HEIGHT):
        expected[position(row, 0) : position(row, COLUMNS - 4), position(row - 1, COLUMNS - 1)] = 0
    assert torch.equal(jacobian(stack(DiagonalBiLSTM, 1, 2), 1) > 0, expected.bool())


@pytest.mark.parametrize("colours", [1, 3])
def test_the_start_lets_the_rows_above_through(colours: int) -> None:
    """What the vertical stack knows of an image does not fade with the layers."""
    network = GatedPixelCNN(width=32, layers=7, kernel_size=3, num_classes=0, colours=colours, **SIZES)
    vertical = horizontal = 2 * torch.rand(8, colours, 12, 12).round() - 1
    with torch.no_grad():
        for layer in network.layers:
            vertical, horizontal, gated = layer(vertical, horizontal, None)
            assert 0.05 < float(gated.std(0).mean()) < 1
    assert float(vertical.std(0).mean()) > 0.05
    assert 0.1 < float(horizontal.std(0).mean()) < 3


@pytest.mark.parametrize("layers", [1, 6])
def test_the_blind_spot_of_the_original(layers: int) -> None:
    """To the right, the 7x7 convolution sees three columns of the row above, and no depth adds a fourth."""
    found = jacobian(stack(ResidualBlock, 1, layers), 1)
    assert (found[position(1, 0), : position(0, 4)] > 0).all()
    assert (found[position(1, 0), position(0, 4) : position(1, 0)] == 0).all()


def test_the_triangle_of_the_row_lstm() -> None:
    found = jacobian(stack(RowLSTM, 1, 2), 1)
    assert (found[position(1, 0), position(0, 4) : position(1, 0)] == 0).all()
    assert (found[position(3, 0), : position(1, 0)] > 0).all()


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("name", [*NETWORKS, "labelled"])
@pytest.mark.parametrize("shape", [(5, 6), (1, 1), (2, 1)])
def test_caches_say_what_a_full_pass_says(name: str, colours: int, shape: tuple[int, int]) -> None:
    network = gated(colours, num_classes=3) if name == "labelled" else NETWORKS[name](colours)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    labels = torch.tensor([2, 0, 1]) if name == "labelled" else None
    images = 2 * torch.rand(3, colours, *shape) - 1
    with torch.no_grad():
        expected = network(images, labels)
        cache = network.start(3, shape[1], labels)
        for row in range(shape[0]):
            cache.begin_row()
            for column in range(shape[1]):
                for colour in range(colours):
                    logits = cache.logits(column, colour)
                    torch.testing.assert_close(logits, expected[:, :, colour, row, column], atol=1e-5, rtol=0)
                    cache.pixels.cells[colour][column].copy_(images[:, colour, row, column, None])
    assert float(expected.std()) > 0.1


def test_labels_change_every_logit() -> None:
    network = gated(1, num_classes=3)
    images = torch.rand(1, 1, 5, 6).expand(3, -1, -1, -1)
    assert torch.equal(*network(images, torch.tensor([0, 1, 2]))[:2]), "labels begin unheard"
    for layer in network.layers:
        nn.init.normal_(layer.labels.weight)
    logits = network(images, torch.tensor([0, 1, 1]))
    assert (logits[0] != logits[1]).all()
    assert torch.equal(logits[1], logits[2])


def test_masks() -> None:
    """Section 3.4: of three colours, mask A lets i < o through at the centre, mask B i <= o."""
    first = MaskedConv2d(3, 6, "A", 3, above=1, side=1)
    assert first.mask[:, :, 0].eq(1).all()
    assert first.mask[:, :, 1, 0].eq(1).all()
    assert first.mask[:, :, 1, 2].eq(0).all()
    strict = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]]).float()
    assert torch.equal(first.mask[:, :, 1, 1], strict.repeat_interleave(2, 0))
    assert first.open_inputs == float(first.mask.sum()) / 6 == 9 + 3 + 1
    later = MaskedConv2d(3, 3, "B", 3, maps_in=2, maps_out=2)
    assert torch.equal(later.mask[:, :, 0, 0], (strict + torch.eye(3)).repeat(2, 2))


def test_the_mask_is_there_after_an_update() -> None:
    layer = MaskedConv2d(3, 6, "A", 3, above=1, side=1)
    nn.init.ones_(layer.weight)
    maps = torch.rand(1, 3, 4, 4)
    nn.init.zeros_(layer.bias)
    padded = nn.functional.pad(maps, (1, 1, 1, 0))
    torch.testing.assert_close(layer(maps), conv2d(padded, layer.mask))


def test_colours_share_features_as_equally_as_can_be() -> None:
    assert colour_spans(7, 3) == [slice(0, 3), slice(3, 5), slice(5, 7)]
    assert colour_spans(6, 3) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert colour_spans(5, 1) == [slice(0, 5)]


def test_gradients_of_the_recurrences() -> None:
    gates = torch.randn(2, 2, 3, 1, 8).double().requires_grad_()
    weight = torch.randn(2, 4, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(_DiagonalScan.apply, (gates, weight))
    sums, cell = torch.randn(3, 8).double().requires_grad_(), torch.randn(3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(_LSTMStep.apply, (sums, cell))


def test_an_lstm_step_is_equation_3() -> None:
    sums, before = torch.randn(5, 8), torch.randn(5, 2)
    output, forget, new, values = sums.chunk(4, 1)
    cell = forget.sigmoid() * before + new.sigmoid() * values.tanh()
    found = lstm_step(sums, before)
    torch.testing.assert_close(found, (output.sigmoid() * cell.tanh(), cell))


@pytest.mark.parametrize("shape", [(3, 4), (4, 2), (1, 3), (3, 1)])
def test_a_diagonal_scan_is_a_walk_over_the_pixels(shape: tuple[int, int]) -> None:
    gates, weight = torch.randn(2, *shape, 3, 8), torch.randn(2, 4, 8)
    states = diagonal_scan(gates, weight)
    nothing = torch.zeros(2, 3, 2)
    hidden, cell = {}, {}
    for row in range(shape[0]):
        for column in range(shape[1]):
            beside, above = hidden.get((row, column - 1), nothing), hidden.get((row - 1, column), nothing)
            sums = gates[:, row, column] + torch.cat([beside, above], 2) @ weight
            found = lstm_step(sums, cell.get((row, column - 1), nothing))
            hidden[row, column], cell[row, column] = found
            torch.testing.assert_close(states[:, row, column], found[0])
