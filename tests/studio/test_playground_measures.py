"""Parts of data without known modes, dabs, and grids of latents."""

import base64

import numpy as np
import pytest
import torch

from ganforge.data.batch import DataSpec
from ganforge.studio.playground.measures import NUM_PARTS, Measures, parts_of
from ganforge.studio.playground.points import REACH, dabs_of, drawn, preset, shown_points, window_of
from ganforge.studio.playground.views import SIDE, cell_centres, grid_latents
from ganforge.systems.gan import GAN, GANConfig

POINTS = DataSpec(channels=2, height=1, width=1, num_images=100_000, values="points")


def measures_of(name: str) -> Measures:
    dataset = preset(name)
    return Measures(dataset, window_of(shown_points(dataset)))


@pytest.mark.parametrize(
    ("name", "parts"), [("ring", 8), ("grid", 25), ("moons", 2), ("circles", 2), ("spiral", 12)]
)
def test_data_find_all_of_their_own_parts(name: str, parts: int) -> None:
    real = preset(name).splits["test"].read(torch.arange(1000)).flatten(1)
    measured = measures_of(name).measure(real)
    assert (measured.found, measured.parts) == (parts, parts)
    assert measured.good_percent > 95
    assert measured.js < 0.12


def test_half_of_the_data_is_half_found_and_nothing_is_none() -> None:
    real = preset("moons").splits["test"].read(torch.arange(1000)).flatten(1)
    labels = preset("moons").splits["test"].labels[:1000]
    assert measures_of("moons").measure(real[labels == 0]).found == 1
    nothing = measures_of("moons").measure(torch.full((100, 2), torch.nan))
    assert (nothing.found, nothing.good_percent) == (0, 0)
    assert nothing.js == pytest.approx(np.log(2))


def test_clusters_are_parts_and_a_single_cluster_is_cut() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    points = centres[:, None] + 0.02 * torch.randn(3, 50, 2, generator=torch.Generator().manual_seed(0))
    parts = parts_of(points.reshape(-1, 2), 0.2).reshape(3, 50)
    assert [len(set(row.tolist())) for row in parts] == [1, 1, 1]
    assert len(set(parts[:, 0].tolist())) == 3
    assert len(parts_of(points[0], 0.2).unique()) == NUM_PARTS


def test_dabs_have_twelve_bits_a_coordinate() -> None:
    corners = base64.urlsafe_b64encode(bytes([0, 0, 0, 255, 255, 255, 0x80, 0x08, 0x00])).decode()
    assert dabs_of(corners)[:2].tolist() == [[-REACH, -REACH], [REACH, REACH]]
    assert np.abs(dabs_of(corners)[2]).max() < 2 * REACH
    assert torch.equal(*(drawn(corners).splits["train"].read(torch.arange(36)) for _ in range(2)))


def test_the_grid_has_cells_of_equal_probability() -> None:
    def system(**fields: object) -> GAN:
        return GAN(GANConfig.model_validate({"network": "mlp", **fields}), POINTS)

    gaussian = grid_latents(system(latent_size=2))
    assert gaussian.shape == (SIDE**2, 2)
    shares = torch.special.ndtr(gaussian[:, 1].reshape(SIDE, SIDE)[0])
    torch.testing.assert_close(shares.diff(), shares.diff().mean().expand(SIDE - 1), atol=1e-5, rtol=0)
    uniform = grid_latents(system(latent_size=1, latent_distribution="uniform"))
    torch.testing.assert_close(uniform.diff(dim=0), uniform.diff(dim=0).mean().expand(len(uniform) - 1, 1))
    assert grid_latents(system(latent_size=3)) is None
    assert grid_latents(system(latent_size=2, latent_distribution="spherical")) is None


def test_the_map_begins_at_the_upper_left() -> None:
    cells = cell_centres((1.0, 2.0, 0.5)).reshape(50, 50, 2)
    assert cells[0, 0].tolist() == pytest.approx([0.51, 2.49])
    assert cells[0, 1, 0] > cells[0, 0, 0]
