import pytest
import torch

from ganforge.errors import UserError
from ganforge.evaluation.metrics import neighbours
from ganforge.evaluation.metrics.neighbours import nearest


def test_equals_the_search_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(20, 30, generator=generator)
    references = torch.randn(700, 30, generator=generator)
    every = (queries[:, None] - references[None]).double().norm(dim=2)
    for chunk_bytes in (1, 8 * 20 * 33, 50_000_000):
        monkeypatch.setattr(neighbours, "CHUNK_BYTES", chunk_bytes)
        indices, distances = nearest(queries, references.split([100, 0, 599, 1]))
        assert torch.equal(indices, every.argmin(1))
        torch.testing.assert_close(distances, every.min(1).values, rtol=1e-6, atol=0)


def test_a_copy_is_found_at_no_distance() -> None:
    references = torch.rand(100, 784, generator=torch.Generator().manual_seed(0)) + 1000
    indices, distances = nearest(references[[7, 93]], references.split(10))
    assert indices.tolist() == [7, 93]
    assert distances.tolist() == [0, 0]


def test_user_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="flatten both"):
        nearest(torch.zeros(2, 3), [torch.zeros(2, 4)])
    with pytest.raises(UserError, match="no references"):
        nearest(torch.zeros(2, 3), [])
