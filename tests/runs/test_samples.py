"""Samples and runs as a notebook or a script shows them."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import ganforge
from ganforge.errors import UserError
from ganforge.runs.samples import Samples

FEW = {"steps": 2, "batch": 8, "quiet": True, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ganforge.Trained:
    run = tmp_path_factory.mktemp("runs") / "digits"
    return ganforge.train("dcgan", "mnist", run=run, width=4, latent_size=4, **FEW)


def test_samples_are_pil_images(trained: ganforge.Trained) -> None:
    samples = trained.sample(3, seed=7)
    images = samples.pil()
    assert [(image.mode, image.size) for image in images] == [("L", (28, 28))] * 3
    expected = ((samples.numpy() + 1) * 127.5).round().astype(np.uint8)
    assert all(
        np.array_equal(np.asarray(image), pixels[0]) for image, pixels in zip(images, expected, strict=True)
    )
    assert np.array_equal(np.asarray(samples[1].pil()[0]), np.asarray(images[1]))
    assert [image.tobytes() for image in ganforge.to_pil(samples[:2])] == [i.tobytes() for i in images[:2]]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_modes(channels: int, mode: str) -> None:
    images = torch.full((2, channels, 4, 6), 5.0)  # beyond the range: clamped
    (first, _) = ganforge.to_pil(images)
    assert (first.mode, first.size) == (mode, (6, 4))
    assert set(np.asarray(first).ravel().tolist()) == {255}


def test_colours_of_transparent_images_are_those_of_files() -> None:
    """Within, they are multiplied by alpha."""
    half_red = torch.tensor([0.0, -1, -1, 0]).view(1, 4, 1, 1).expand(1, 4, 8, 8)
    (image,) = ganforge.to_pil(half_red)
    assert image.getpixel((3, 3)) == (255, 0, 0, 128)
    assert half_red.as_subclass(Samples)._repr_png_()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (5, 2, 1, 1), (2, 7, 4, 4)])
def test_what_is_no_image_is_a_mistake(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected floats"):
        ganforge.to_pil(torch.zeros(shape))


def test_samples_are_tensors_in_every_way(trained: ganforge.Trained, tmp_path: Path) -> None:
    samples = trained.sample(3, seed=7)
    plain = torch.cat(list(trained.draw(3, seed=7)))
    assert type(plain) is Tensor
    assert isinstance(samples, Tensor)
    assert torch.equal(samples, plain)
    assert (samples * 2 - samples).allclose(plain)
    assert samples.shape == (3, 1, 28, 28)
    assert np.array_equal(np.asarray(samples), plain.numpy())
    assert torch.nn.Conv2d(1, 2, 3)(samples).shape == (3, 2, 26, 26)
    assert samples.double().dtype == torch.float64
    assert float(samples.mean()) == float(plain.mean())
    save_file({"x": samples}, tmp_path / "x.safetensors")
    assert torch.equal(load_file(tmp_path / "x.safetensors")["x"], plain)
    assert type(pickle.loads(pickle.dumps(samples))) is Tensor
    torch.save(samples, tmp_path / "x.pt")
    assert torch.equal(torch.load(tmp_path / "x.pt", weights_only=True), plain)


def test_a_notebook_shows_a_grid(trained: ganforge.Trained) -> None:
    samples = trained.sample(4)
    content = samples._repr_png_()
    assert content
    with Image.open(io.BytesIO(content)) as image:
        assert image.size[0] > 2 * 28
    assert samples.mean()._repr_png_() is None  # type: ignore[attr-defined]
    points = (torch.randn(20, 2, 1, 1)).as_subclass(Samples)
    assert points._repr_png_()
    assert (torch.zeros(0, 1, 4, 4)).as_subclass(Samples)._repr_png_() is None


def test_a_run_says_what_it_is(trained: ganforge.Trained) -> None:
    text = repr(trained)
    for part in ("dcgan on mnist", "digits", "step 2", "1x28x28", "cpu"):
        assert part in text
    html = trained._repr_html_()
    assert "&lt;Trained dcgan" in html
    assert '<img alt="samples" src="data:image/png;base64,' in html


def test_a_run_that_needs_sources_shows_no_samples(tmp_path: Path) -> None:
    options = {"width": 4, "discriminator_width": 4, "size": 8, "pairs": "edges", "patch": "1"}
    run = ganforge.train("pix2pix", "mnist", run=tmp_path / "r", **options, **FEW)  # type: ignore[arg-type]
    assert "<img" not in run._repr_html_()
    assert "pix2pix" in run._repr_html_()
