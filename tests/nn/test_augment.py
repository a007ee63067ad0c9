"""Augmentation as a map: its closed forms, its adjoint, its distributions, and the controller of ADA."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import pad

from ganforge.nn.augment import (
    DIFF_AUGMENTATIONS,
    AdaptiveAugmentation,
    Colours,
    diff_augment,
    draw_colours,
    draw_geometry,
    inverse_of,
    recolour,
    warp,
)

Map = Callable[[Tensor], Tensor]
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 14)]
SURE = torch.tensor(1.0)


def random_images(
    count: int, shape: tuple[int, int, int] = (3, 32, 32), dtype: torch.dtype = torch.float32
) -> Tensor:
    return 2 * torch.rand(count, *shape, dtype=dtype) - 1


def ada(probability: float) -> AdaptiveAugmentation:
    augmentation = AdaptiveAugmentation()
    augmentation.probability.fill_(probability)
    return augmentation


def seeded(augment: Map, seed: int = 5) -> Map:
    """`augment` with the same draws at every call."""

    def apply(images: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return augment(images)

    return apply


AUGMENTATIONS: dict[str, Map] = {
    **{name: lambda images, name=name: diff_augment(images, (name,)) for name in DIFF_AUGMENTATIONS},  # type: ignore[misc]  # the default binds the loop's name
    "all three": lambda images: diff_augment(images, DIFF_AUGMENTATIONS),
    "ada": ada(1.0),
    "ada sometimes": ada(0.5),
}
each_augmentation = pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    assert_distributed(values, lambda x: ((x - low) / (high - low)).clamp(0, 1))


def assert_normal(values: Tensor, std: float) -> None:
    assert_distributed(values, lambda x: torch.special.ndtr(x / std))


def assert_distributed(values: Tensor, cumulative: Map) -> None:
    """Kolmogorov and Smirnov's test at 0.1 %."""
    ordered = cumulative(values.double().flatten().sort().values)
    steps = torch.arange(len(ordered) + 1) / len(ordered)
    distance = torch.maximum(ordered - steps[:-1], steps[1:] - ordered).max()
    assert float(distance) < 1.95 / math.sqrt(len(ordered))


def assert_share(hits: Tensor, probability: float) -> None:
    """Within four standard deviations of a binomial."""
    bound = 4 * math.sqrt(probability * (1 - probability) / hits.numel())
    assert abs(float(hits.double().mean()) - probability) <= bound


# What all have in common


@each_augmentation
@each_shape
def test_shape_and_type(augment: Map, shape: tuple[int, int, int]) -> None:
    for dtype, expected in ((torch.float32,) * 2, (torch.bfloat16, torch.float32), (torch.float64,) * 2):
        augmented = augment(random_images(4, shape).to(dtype))
        assert augmented.shape == (4, *shape)
        assert augmented.dtype == expected


@each_augmentation
def test_each_sample_has_its_own_draw(augment: Map) -> None:
    augmented = augment(random_images(1).expand(64, -1, -1, -1))
    assert len(augmented.flatten(1).unique(dim=0)) > 32


@each_augmentation
def test_samples_do_not_see_one_another(augment: Map) -> None:
    augment, images = seeded(augment), random_images(6)
    expected, changed = augment(images), images.clone()
    changed[2] = -0.3 * changed[2] + 0.1
    augmented = augment(changed)
    assert torch.equal(augmented[[0, 1, 3, 4, 5]], expected[[0, 1, 3, 4, 5]])
    assert not torch.equal(augmented[2], expected[2])


@each_augmentation
@each_shape
def test_the_gradient_is_the_adjoint(augment: Map, shape: tuple[int, int, int]) -> None:
    """With its constant taken off the map is linear, A, and <A x, y> = <x, A^T y>."""
    augment = seeded(augment)
    images, probe = (
        random_images(8, shape, torch.float64).requires_grad_(),
        random_images(8, shape, torch.float64),
    )
    augmented = augment(images)
    constant = augment(torch.zeros_like(images))
    (adjoint,) = torch.autograd.grad((augmented * probe).sum(), images)
    left = ((augmented - constant) * probe).flatten(1).sum(1)
    right = (images * adjoint).flatten(1).sum(1)
    assert torch.allclose(left, right, rtol=1e-9, atol=1e-9)


@each_augmentation
def test_gradients_of_gradients(augment: Map) -> None:
    images = random_images(2, (3, 4, 2), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(seeded(augment), (images,))
    assert torch.autograd.gradgradcheck(seeded(augment), (images,))


@each_augmentation
def test_a_gradient_penalty_reaches_the_weights(augment: Map) -> None:
    """R1: the slope of the penalty with respect to a weight, against central differences."""
    augment, images = seeded(augment), random_images(4, (3, 8, 8), torch.float64)

    def penalty(weight: Tensor) -> Tensor:
        leaf = images.clone().requires_grad_()
        logits = (weight * augment(leaf)).sin().sum()
        (gradient,) = torch.autograd.grad(logits, leaf, create_graph=True)
        return gradient.square().sum()

    weight = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(penalty(weight), weight)
    with torch.enable_grad():
        difference = (penalty(weight + 1e-5) - penalty(weight - 1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(difference.detach()), rel=1e-6)


@each_augmentation
def test_autocast_changes_nothing(augment: Map) -> None:
    """Matrix products in bf16 would misplace pixels."""
    augment, images = seeded(augment), random_images(4)
    expected = augment(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images), expected)


def test_nothing_is_read_back() -> None:
    with FakeTensorMode():
        augmentation = AdaptiveAugmentation()
        images = torch.rand(4, 3, 16, 16, requires_grad=True)
        for augmented in (augmentation(images), diff_augment(images, DIFF_AUGMENTATIONS)):
            (gradient,) = torch.autograd.grad(augmented.sin().sum(), images, create_graph=True)
            gradient.square().sum().backward()
        augmentation.adapt(torch.rand(4), 4)
        assert augmentation.probability.shape == ()


# DiffAugment


def test_no_policy_is_the_identity() -> None:
    images = random_images(3)
    assert torch.equal(diff_augment(images, ()), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_color_is_three_factors(channels: int) -> None:
    """x + b, then the chroma times s, then all but the mean times c: b, s and c are found in the result."""
    images = random_images(2000, (channels, 4, 4), torch.float64)
    augmented = diff_augment(images, ("color",))

    def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, luma = x.mean((1, 2, 3), keepdim=True), x.mean(1, keepdim=True)
        return mean, luma - mean, x - luma

    mean, luma, chroma = parts(images)
    new_mean, new_luma, new_chroma = parts(augmented)
    brightness = new_mean - mean
    contrast = (new_luma * luma).sum((1, 2, 3), keepdim=True) / luma.square().sum((1, 2, 3), keepdim=True)
    assert torch.allclose(new_luma, contrast * luma, atol=1e-12)
    assert_uniform(brightness, -0.5, 0.5)
    assert_uniform(contrast, 0.5, 1.5)
    if channels == 1:
        assert float(new_chroma.abs().max()) == 0
        return
    factor = (new_chroma * chroma).sum((1, 2, 3), keepdim=True) / chroma.square().sum((1, 2, 3), keepdim=True)
    assert torch.allclose(new_chroma, factor * chroma, atol=1e-12)
    assert_uniform(factor / contrast, 0, 2)
    independent = torch.stack([t.flatten() for t in (brightness, contrast, factor / contrast)])
    assert float((independent.corrcoef() - torch.eye(3)).abs().max()) < 4 / math.sqrt(2000)


@each_shape
def test_translation_moves_pixels_and_brings_zeros(shape: tuple[int, int, int]) -> None:
    """Every result is one of the crops of the padded image, each as likely."""
    _, height, width = shape
    down, right = int(height / 8 + 0.5), int(width / 8 + 0.5)
    image, count = random_images(1, shape), 4000
    padded = pad(image, (right, right, down, down))
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)  # [1, channels, shifts, shifts, height, width]
    crops = crops.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    assert len(crops) == (2 * down + 1) * (2 * right + 1)
    augmented = diff_augment(image.expand(count, -1, -1, -1), ("translation",)).flatten(1)
    key = torch.rand(augmented.shape[1], dtype=torch.float64)
    which = (augmented.double() @ key - (crops.double() @ key).unsqueeze(1)).abs().argmin(0)
    assert torch.equal(augmented, crops[which])
    assert_share(which.unsqueeze(1) == torch.arange(len(crops)), 1 / len(crops))
    assert len(which.unique()) == len(crops)


@each_shape
def test_cutout_is_one_rectangle_anywhere(shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    count = 4000
    images = random_images(1, shape).expand(count, -1, -1, -1)
    augmented = diff_augment(images, ("cutout",))
    cut = (augmented == 0).all(1)
    assert torch.equal(augmented, torch.where(cut.unsqueeze(1), 0, images))
    rows, columns = cut.any(2), cut.any(1)
    assert torch.equal(cut, rows.unsqueeze(2) & columns.unsqueeze(1))
    for lines, size in ((rows, height), (columns, width)):
        length = int(size / 2 + 0.5)
        ends = (lines.int().diff(dim=1) != 0).sum(1)
        assert bool(((ends == 1) | (ends == 2) | (lines.sum(1) == size)).all()), "one stretch"
        assert int(lines.sum(1).max()) == length
        assert bool(((lines.sum(1) == length) | lines[:, 0] | lines[:, -1]).all()), "cut by the edge alone"
        for edge in (0, -1):
            assert int(lines[lines[:, edge]].sum(1).min()) == length - length // 2, "centred on the edge"
        # A line is cut by those of the equally likely centres that are near enough.
        centres = torch.arange(size + 1 - length % 2)
        distances = torch.arange(size).unsqueeze(1) - (centres - length // 2)
        shares = ((distances >= 0) & (distances < length)).double().mean(1)
        for line in range(size):
            assert_share(lines[:, line], float(shares[line]))


# ADA: geometry


def test_geometry_is_the_product_of_its_moves() -> None:
    """The inverse map against the inverse of the product of homogeneous matrices, last move first."""
    geometry = draw_geometry(50, 30, 20, SURE)
    expected = []
    for mirror, quarters, pixels, scale, turn, stretch, second_turn, shift in zip(*geometry, strict=True):

        def move(matrix: list[list[float]], by: Tensor | tuple[float, float] = (0.0, 0.0)) -> Tensor:
            homogeneous = torch.eye(3, dtype=torch.float64)
            homogeneous[:2, :2] = torch.tensor(matrix, dtype=torch.float64)
            homogeneous[:2, 2] = torch.as_tensor(by, dtype=torch.float64)
            return homogeneous

        def rotation(angle: Tensor) -> Tensor:
            cos, sin = math.cos(float(angle)), math.sin(float(angle))
            return move([[cos, -sin], [sin, cos]])

        still, s, a = [[1.0, 0.0], [0.0, 1.0]], float(scale), float(stretch)
        moves = [
            move([[float(mirror), 0], [0, 1]]),
            rotation(quarters),
            move(still, pixels),
            move([[s, 0], [0, s]]),
            rotation(turn),
            move([[a, 0], [0, 1 / a]]),
            rotation(second_turn),
            move(still, shift),
        ]
        expected.append(torch.linalg.inv(torch.linalg.multi_dot(moves[::-1]))[:2])
    assert torch.allclose(inverse_of(geometry).double(), torch.stack(expected), atol=1e-4)


@each_shape
def test_warp_moves_a_ramp_exactly(shape: tuple[int, int, int]) -> None:
    """Bilinear sampling is exact on linear images: two ramps show where each of their points came from."""
    _, height, width = shape
    right, down = torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2
    ramps = torch.stack((right.expand(height, -1), down.unsqueeze(1).expand(-1, width))).double()
    inverse = inverse_of(draw_geometry(40, height, width, SURE)).double()
    moved = warp(ramps.expand(40, -1, -1, -1), inverse)
    points = torch.cat((ramps, torch.ones(1, height, width))).flatten(1)
    came_from = (inverse @ points).view(40, 2, height, width)
    edges = torch.tensor([(width - 1) / 2, (height - 1) / 2]).view(2, 1, 1)
    inside = (came_from.abs() <= edges).all(1, keepdim=True)
    assert 0.3 < float(inside.double().mean()) < 1
    assert torch.allclose(torch.where(inside, moved, 0), torch.where(inside, came_from, 0), atol=1e-9)
    reflected = edges - ((came_from + edges).remainder(4 * edges) - 2 * edges).abs()
    assert torch.allclose(moved, reflected, atol=1e-9), "outside: a triangle wave of the same slope"


def affine(rows: list[list[float]]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float64)


@pytest.mark.parametrize(
    ("inverse", "expected"),
    [
        ([[1, 0, 0], [0, 1, 0]], lambda x: x),
        ([[-1, 0, 0], [0, 1, 0]], lambda x: x.flip(3)),
        ([[0, 1, 0], [-1, 0, 0]], lambda x: x.rot90(-1, (2, 3))),
        ([[1, 0, -2], [0, 1, -1]], lambda x: pad(x, (2, 0, 1, 0), mode="reflect")[:, :, :8, :8]),
        ([[1, 0, 3], [0, 1, 2]], lambda x: pad(x, (0, 3, 0, 2), mode="reflect")[:, :, 2:, 3:]),
    ],
    ids=["still", "mirror", "quarter turn to the right", "right and down", "left and up"],
)
def test_moves_of_whole_pixels_are_copies(inverse: list[list[float]], expected: Map) -> None:
    images = random_images(1, (3, 8, 8), torch.float64)
    assert torch.allclose(warp(images, affine(inverse)), expected(images), atol=1e-12)


def test_a_quarter_turn_is_one() -> None:
    """In image coordinates, down being positive, positive angles turn to the right, as the eye sees it."""
    still = draw_geometry(1, 8, 8, torch.tensor(0.0))
    turned = inverse_of(still._replace(quarters=torch.full((1, 1), math.pi / 2)))
    images = random_images(1, (1, 8, 8))
    assert torch.allclose(warp(images, turned), images.rot90(-1, (2, 3)), atol=1e-5)


def test_distributions_of_the_moves() -> None:
    geometry = draw_geometry(4000, 64, 32, SURE)
    assert_share(geometry.mirror == -1, 0.5)
    for quarter in range(4):
        assert_share((geometry.quarters - quarter * math.pi / 2).abs() < 1e-3, 0.25)
    right, down = geometry.pixels.unbind(1)
    assert set(right.tolist()) == set(range(-4, 5))
    assert set(down.tolist()) == set(range(-8, 9))
    for value in range(-3, 4):
        assert_share(right == value, 1 / 8)  # the outermost have half of this
    assert_normal(geometry.scale.log2(), 0.2)
    assert_normal(geometry.stretch.log2(), 0.2)
    assert_uniform(geometry.turn, -math.pi, math.pi)
    assert_uniform(geometry.second_turn, -math.pi, math.pi)
    assert_normal(geometry.shift[:, 0], 32 / 8)
    assert_normal(geometry.shift[:, 1], 64 / 8)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8])
def test_each_move_has_the_probability(probability: float) -> None:
    geometry = draw_geometry(4000, 512, 512, torch.tensor(probability))
    assert_share(geometry.mirror == -1, probability / 2)
    assert_share(geometry.quarters != 0, probability * 3 / 4)
    assert_share(geometry.pixels.abs().sum(1) > 0, probability * (1 - 1 / 128**2))
    assert_share(geometry.scale != 1, probability)
    assert_share(geometry.stretch != 1, probability)
    assert_share((geometry.turn != 0) | (geometry.second_turn != 0), probability)
    assert_share(geometry.turn != 0, 1 - math.sqrt(1 - probability))
    assert_share(geometry.shift.abs().sum(1) > 0, probability)


def test_half_of_the_images_are_mirrored_at_probability_1() -> None:
    """Whatever else is done: a reflection is what turns the sense of the map, scale and turns do not."""
    assert_share(torch.linalg.det(inverse_of(draw_geometry(4000, 32, 32, SURE))[:, :, :2]) < 0, 0.5)


# ADA: colours


def matrix_of(colours: Colours, sample: int) -> Tensor:
    """The product of the homogeneous 4x4 matrices of the five changes, with the luma axis in space."""
    brightness, contrast, sign, hue, saturation = (float(part[sample]) for part in colours)
    axis = torch.ones(3, dtype=torch.float64) / math.sqrt(3)
    along, one = torch.outer(axis, axis), torch.eye(3, dtype=torch.float64)
    across = torch.linalg.cross(axis.expand(3, 3), one).T / 1.0
    rodrigues = math.cos(hue) * one + math.sin(hue) * across + (1 - math.cos(hue)) * along

    def homogeneous(matrix: Tensor, shift: float = 0.0) -> Tensor:
        result = torch.eye(4, dtype=torch.float64)
        result[:3, :3] = matrix
        result[:3, 3] = shift
        return result

    changes = [
        homogeneous(one, brightness),
        homogeneous(contrast * one),
        homogeneous(one - (1 - sign) * along),
        homogeneous(rodrigues),
        homogeneous(along + saturation * (one - along)),
    ]
    return torch.linalg.multi_dot(changes[::-1])


def test_colours_are_the_product_of_matrices() -> None:
    images = random_images(30, (3, 4, 5), torch.float64)
    colours = Colours(*(part.double() for part in draw_colours(30, SURE)))
    recoloured = recolour(images, colours)
    for sample in range(30):
        pixels = torch.cat((images[sample].flatten(1), torch.ones(1, 20, dtype=torch.float64)))
        expected = (matrix_of(colours, sample) @ pixels)[:3].view(3, 4, 5)
        assert torch.allclose(recoloured[sample], expected, atol=1e-12)


def test_colours_commute_with_the_luma() -> None:
    """To recolour and then to drop the chroma is to recolour the grey image."""
    images, colours = random_images(20), draw_colours(20, SURE)
    luma = recolour(images, colours).mean(1, keepdim=True)
    assert torch.allclose(luma, recolour(images.mean(1, keepdim=True), colours), atol=1e-5)


def neutral(**changes: float) -> Colours:
    parts = {"brightness": 0.0, "contrast": 1.0, "luma": 1.0, "hue": 0.0, "saturation": 1.0} | changes
    return Colours(*(torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in parts.values()))


def test_each_change_of_colours_alone() -> None:
    images = random_images(5, (3, 4, 4), torch.float64)
    luma = images.mean(1, keepdim=True)
    for colours, expected in (
        (neutral(), images),
        (neutral(brightness=0.25), images + 0.25),
        (neutral(contrast=1.5), 1.5 * images),
        (neutral(luma=-1.0), images - 2 * luma),
        (neutral(hue=2 * math.pi / 3), images.roll(1, 1)),  # red becomes green, green blue
        (neutral(saturation=0.0), luma.expand_as(images)),
    ):
        assert torch.allclose(recolour(images, colours), expected, atol=1e-12)
    twice = recolour(recolour(images, neutral(luma=-1.0)), neutral(luma=-1.0))
    assert torch.allclose(twice, images, atol=1e-12)


def test_distributions_of_the_colours() -> None:
    colours = draw_colours(4000, SURE)
    assert_normal(colours.brightness, 0.2)
    assert_normal(colours.contrast.log2(), 0.5)
    assert_share(colours.luma == -1, 0.5)
    assert_uniform(colours.hue, -math.pi, math.pi)
    assert_normal(colours.saturation.log2(), 1.0)
    colours = draw_colours(4000, torch.tensor(0.3))
    for part, still, share in zip(colours, (0, 1, 1, 0, 1), (0.3, 0.3, 0.15, 0.3, 0.3), strict=True):
        assert_share(part != still, share)


@each_shape
def test_without_probability_ada_is_the_identity(shape: tuple[int, int, int]) -> None:
    images = random_images(16, shape, torch.float64)
    assert torch.allclose(ada(0.0)(images), images, atol=1e-9)
    assert torch.allclose(ada(0.0)(images.float()), images.float(), atol=2e-5)


# ADA: the controller

UP, DOWN = torch.full((64,), 0.1), torch.full((64,), -0.1)
MOVE = 4 * 64 / 500_000


def adapt(augmentation: AdaptiveAugmentation, *logits: Tensor) -> float:
    for minibatch in logits:
        augmentation.adapt(minibatch, 64)
    return float(augmentation.probability)


def test_p_moves_at_every_fourth_minibatch_by_their_share_of_half_a_million() -> None:
    augmentation = ada(0.0)
    assert adapt(augmentation, UP, UP, UP) == 0
    assert adapt(augmentation, UP) == pytest.approx(MOVE, rel=1e-6)
    assert adapt(augmentation, *[UP] * 4) == pytest.approx(2 * MOVE, rel=1e-6)
    assert adapt(augmentation, *[DOWN] * 4) == pytest.approx(MOVE, rel=1e-6)
    assert adapt(augmentation, *[DOWN] * 8) == 0, "never below 0"


def test_p_goes_from_0_to_its_limit_in_400_000_images() -> None:
    augmentation = AdaptiveAugmentation()
    for _ in range(4 * 100 - 1):
        augmentation.adapt(UP, 1_000)
    assert float(augmentation.probability) == pytest.approx(0.8 - 4_000 / 500_000, rel=1e-4)
    for _ in range(9):
        augmentation.adapt(UP, 1_000)
    assert float(augmentation.probability) == pytest.approx(0.8)


def signs(positive: int, of: int = 10) -> Tensor:
    return torch.tensor([1.0] * positive + [-1.0] * (of - positive))


def test_the_mean_sign_of_four_minibatches_decides() -> None:
    assert adapt(ada(0.5), UP, UP, UP, DOWN) == pytest.approx(0.5 - MOVE), "a mean of 0.5"
    assert adapt(ada(0.5), UP, UP, UP, signs(7)) == pytest.approx(0.5 + MOVE), "a mean of 0.85"
    assert adapt(ada(0.5), *[signs(9)] * 4) == pytest.approx(0.5 + MOVE), "9 of 10 right: 0.8"
    assert adapt(ada(0.5), *[signs(7)] * 4) == pytest.approx(0.5 - MOVE), "7 of 10 right: 0.4"
    gentle = AdaptiveAugmentation(target=0.5)
    assert adapt(gentle, *[signs(3, 4)] * 4) == 0, "on target"


def test_only_signs_count() -> None:
    for scale in (1e-6, 1.0, 1e6):
        assert adapt(ada(0.5), *[scale * torch.randn(4000).abs()] * 4) == pytest.approx(0.5 + MOVE)
    assert adapt(ada(0.5), *[UP.bfloat16()] * 4) == pytest.approx(0.5 + MOVE)


def test_a_logit_that_is_no_number_does_not_stay() -> None:
    assert adapt(ada(0.5), UP, UP, UP, torch.full((64,), torch.nan)) == pytest.approx(0.5 + MOVE)


def test_adapting_leaves_the_logits_alone() -> None:
    logits = torch.ones(4, requires_grad=True)
    augmentation = ada(0.5)
    augmentation.adapt(logits, 4)
    assert not augmentation.sign_sum.requires_grad
    assert logits.grad is None


def test_everything_is_in_the_state() -> None:
    """Saved between two changes of p, both go on alike."""
    first, second = ada(0.3), ada(0.0)
    adapt(first, UP, UP, DOWN)
    second.load_state_dict(first.state_dict())
    assert adapt(second, UP) == adapt(first, UP) != pytest.approx(0.3, abs=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))
