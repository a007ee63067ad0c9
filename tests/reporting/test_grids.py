"""Laws of the images: geometry, exact colours, the PNG's account of itself, charts that keep spikes."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.files.images import save_image
from ganforge.files.provenance import read_provenance
from ganforge.reporting import grids

MNIST = Path(ganforge.__file__).parent / "data/sources/builtin/mnist/t10k-images-idx3-ubyte.gz"
POINTS = DataSpec(channels=2, height=1, width=1, num_images=100, values="points")
PIXELS = DataSpec(channels=1, height=28, width=28, num_images=100)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """The first 30 test digits, in [-1, 1]."""
    with gzip.open(MNIST) as file:
        raw = np.frombuffer(file.read(16 + 30 * 784)[16:], np.uint8)
    return torch.tensor(raw.copy()).reshape(30, 1, 28, 28).float() / 127.5 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "columns", "gap", "scale"), [(1, 1, 2, 1), (7, 3, 2, 1), (6, 3, 0, 2), (5, 8, 5, 3)]
)
def test_grid_holds_every_pixel_at_its_place(
    channels: int, count: int, columns: int, gap: int, scale: int
) -> None:
    height, width = 5, 9
    pixels = torch.randint(
        0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(count)
    )
    image = grids.grid(pixels / 127.5 - 1, columns=columns, gap=gap, scale=scale)
    rows = math.ceil(count / columns)
    assert image.size == (columns * (width * scale + gap) - gap, rows * (height * scale + gap) - gap)
    canvas = np.asarray(image).reshape(image.height, image.width, channels)
    used = np.zeros(canvas.shape[:2], bool)
    for index in range(count):
        top, left = index // columns * (height * scale + gap), index % columns * (width * scale + gap)
        place = (slice(top, top + height * scale), slice(left, left + width * scale))
        used[place] = True
        expected = pixels[index].permute(1, 2, 0).numpy().repeat(scale, 0).repeat(scale, 1)
        assert (canvas[place] == expected).all()
    assert (canvas[~used] == 255).all()


@pytest.mark.parametrize(("side", "factor"), [(1, 48), (14, 4), (28, 2), (48, 1), (64, 1)])
def test_small_images_are_scaled_up_and_large_ones_are_not(side: int, factor: int) -> None:
    assert grids.grid(torch.zeros(1, 3, side, side)).size == (side * factor, side * factor)


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (4, 2), (8, 4), (10, 5), (16, 4), (30, 6), (64, 8), (7, 3)]
)
def test_default_grid_is_near_square(count: int, columns: int) -> None:
    assert grids.grid(torch.zeros(count, 1, 48, 48), gap=0).width == columns * 48


def test_values_outside_are_clamped_and_not_a_number_is_grey() -> None:
    values = torch.tensor([-9.0, 9.0, math.nan, math.inf]).reshape(1, 1, 2, 2)
    assert np.asarray(grids.grid(values, scale=1)).ravel().tolist() == [0, 255, 128, 255]


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 2, 4, 4), (1, 4, 4), (2, 3, 0, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected images"):
        grids.grid(torch.zeros(shape))


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"gap": -1}, {"scale": 0}])
def test_impossible_layouts_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"got"):
        grids.grid(torch.zeros(1, 1, 4, 4), **wrong)


def test_neighbours_stand_right_of_their_samples_in_a_frame(digits: torch.Tensor) -> None:
    samples, neighbours = digits[:6], digits[6:12]
    image = grids.neighbours_grid(samples, neighbours, columns=2, scale=1)
    canvas, frame, pair = np.asarray(image), grids.FRAME, 2 * (28 + 2 * grids.FRAME)
    for index in range(6):
        left = index % 2 * (pair + 4 * frame) + frame
        top = index // 2 * (28 + 2 * frame + grids.GAP) + frame
        for images, start in ((samples, left), (neighbours, left + 28 + 2 * frame)):
            expected = ((images[index, 0] + 1) * 127.5).round().numpy()
            assert (canvas[top : top + 28, start : start + 28, 0] == expected).all()
        assert tuple(canvas[top - 1, left]) == grids.WHITE
        assert tuple(canvas[top - 1, left + 28 + 2 * frame]) == grids.FRAME_COLOUR
    with pytest.raises(UserError, match="one neighbour of its shape"):
        grids.neighbours_grid(samples, neighbours[:5])


def _colour_centre(image: Image.Image) -> tuple[float, float]:
    """The mean place of the generated points' orange, in shares of the width and height."""
    red, _, blue = np.asarray(image).astype(int).transpose(2, 0, 1)
    rows, columns = np.nonzero(red - blue > 120)
    return columns.mean() / image.width, rows.mean() / image.height


def test_scatter_puts_points_where_they_are() -> None:
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])
    cloud = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) * 0.05
    for centre, right, up in (
        ((0.7, 0.7), True, True),
        ((-0.7, 0.7), False, True),
        ((0.7, -0.7), True, False),
    ):
        # The corner of the legend holds an orange dot as well, far fewer pixels than the cloud.
        across, down = _colour_centre(grids.scatter(cloud + torch.tensor(centre), corners))
        assert (across > 0.5) == right
        assert (down < 0.5) == up


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38, 0.0])
def test_scatter_survives_a_diverged_generator(value: float) -> None:
    points = torch.tensor([[value, 0.0], [1.0, 2.0]])
    assert grids.scatter(points, torch.rand(10, 2)).size == grids.scatter(points).size == (480, 480)
    assert grids.scatter(torch.full((3, 2), value)).size == (480, 480)


def test_draw_follows_the_data(digits: torch.Tensor) -> None:
    assert grids.draw(digits, PIXELS).tobytes() == grids.grid(digits).tobytes()
    points, reference = torch.rand(20, 2, 1, 1), torch.rand(30, 2, 1, 1)
    drawn = grids.draw(points, POINTS, reference)
    assert drawn.tobytes() == grids.scatter(points[:, :, 0, 0], reference[:, :, 0, 0]).tobytes()
    assert drawn.tobytes() != grids.draw(points, POINTS).tobytes()


ABOUT = {
    "command": "ganforge train dcgan --data 'Bücher ☃'\n--seed 7",
    "run": "<script>",
    "step": "500",
    "note": "",
}


def test_png_says_how_it_was_made_and_equal_input_gives_equal_bytes(
    tmp_path: Path, digits: torch.Tensor
) -> None:
    image = grids.grid(digits)
    first, second = tmp_path / "new/folder/a.png", tmp_path / "b.png"
    save_image(image, first, ABOUT)
    save_image(image, second, dict(reversed(ABOUT.items())))
    assert first.read_bytes() == second.read_bytes()
    assert read_provenance(first) == ABOUT
    assert Image.open(first).tobytes() == image.tobytes()
    assert [path.name for path in first.parent.iterdir()] == ["a.png"]


def test_png_text_survives_undecodable_bytes(tmp_path: Path) -> None:
    save_image(Image.new("L", (1, 1)), tmp_path / "a.png", {"command": "x\udcff\0y"})
    assert read_provenance(tmp_path / "a.png") == {"command": r"x\udcff\0y"}


@pytest.mark.parametrize("key", ["", "a" * 80, "schlüssel", "a\nb", " a"])
def test_forbidden_keys_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match="PNG text key"):
        save_image(Image.new("L", (1, 1)), tmp_path / "a.png", {key: "x"})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    save_image(Image.new("L", (2, 2)), path, {"step": "1"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_image(Image.new("L", (2, 2)), path, {"step": "2"})
    assert read_provenance(path) == {"step": "1"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
