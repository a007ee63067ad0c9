"""Drawing: a function of the seed, which leaves torch's random numbers alone."""

import pytest
import torch

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.runs.sampling import CHUNK, draw, seeded
from ganforge.systems.dcgan import DCGAN, DCGANConfig

SPEC = DataSpec(channels=1, height=8, width=8, num_images=10)


@pytest.fixture
def system() -> DCGAN:
    return DCGAN(DCGANConfig(width=2, latent_size=3), SPEC).eval()


def samples(system: DCGAN, count: int, seed: int) -> torch.Tensor:
    return torch.cat(list(draw(system, count, seed)))


def test_a_seed_gives_the_same_samples(system: DCGAN) -> None:
    first = samples(system, 6, 7)
    torch.randn(100)
    assert torch.equal(samples(system, 6, 7), first)
    assert not torch.equal(samples(system, 6, 8), first)
    assert first.shape == (6, 1, 8, 8)
    assert first.dtype == torch.float32
    assert not first.requires_grad


def test_largest_seed(system: DCGAN) -> None:
    assert torch.equal(samples(system, 2, 2**64 - 1), samples(system, 2, 2**64 - 1))
    for seed in (-1, 2**64):
        with pytest.raises(UserError, match=f"seed is {seed}"):
            samples(system, 2, seed)


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_every_count_comes_in_chunks(system: DCGAN, count: int) -> None:
    parts = list(draw(system, count, 0))
    assert sum(map(len, parts)) == count
    assert max(map(len, parts)) <= CHUNK
    # A larger count starts with the samples of a smaller one of whole chunks.
    if count > CHUNK:
        assert torch.equal(parts[0], samples(system, CHUNK, 0))


def test_the_random_numbers_of_a_training_go_on(system: DCGAN) -> None:
    torch.manual_seed(3)
    expected = torch.randn(5)
    torch.manual_seed(3)
    samples(system, 4, 99)
    assert torch.equal(torch.randn(5), expected)


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 5, 2**64 - 1])
def test_the_numbers_are_those_of_torch_after_the_same_seed(seed: int) -> None:
    """So that the samples of runs before 0.2, which torch's own random numbers gave, are the same."""
    generator = seeded(seed, torch.device("cpu"))
    own = [torch.randn(3, 5, generator=generator), torch.rand(7, generator=generator)]
    own += [torch.randint(10, (4,), generator=generator), torch.randn(40, generator=generator)]
    torch.manual_seed(seed)
    expected = [torch.randn(3, 5), torch.rand(7), torch.randint(10, (4,)), torch.randn(40)]
    assert all(map(torch.equal, own, expected))


def test_what_a_reader_draws_between_chunks_is_apart(system: DCGAN) -> None:
    expected = samples(system, 2 * CHUNK, 0)
    torch.manual_seed(3)
    numbers = torch.randn(2)
    torch.manual_seed(3)
    parts, between = [], []
    for part in draw(system, 2 * CHUNK, 0):
        parts.append(part)
        between.append(torch.randn(1))
    assert torch.equal(torch.cat(parts), expected)
    assert torch.equal(torch.cat(between), numbers)


def test_a_drawing_that_is_dropped_half_way_restores_all(system: DCGAN) -> None:
    torch.manual_seed(3)
    expected = torch.randn(5)
    torch.manual_seed(3)
    parts = draw(system, 2 * CHUNK, 0)
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert torch.equal(torch.randn(5), expected)
    assert torch.is_grad_enabled()


def test_each_sample_is_drawn_alone(system: DCGAN) -> None:
    """In evaluation mode a sample does not depend on those beside it."""
    latents = system.draw_latents(5)
    with torch.no_grad():
        together = system.decode(latents)
        alone = torch.cat([system.decode(latent[None]) for latent in latents])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
