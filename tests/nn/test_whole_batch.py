"""The rows of a batch that several processes share."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganforge.nn.whole_batch import Part, gathered, sharing


@pytest.mark.parametrize(("batch", "own", "ranks"), [(4, 8, 2), (4, 6, 2), (4, 3, 3), (1, 5, 4), (6, 6, 1)])
def test_all_parts_together_are_the_whole(batch: int, own: int, ranks: int) -> None:
    whole = torch.arange(own * ranks)
    parts = [Part(rank, ranks, batch).cut(whole, 0) for rank in range(ranks)]
    assert all(len(part) == own for part in parts)
    assert sorted(torch.cat(parts).tolist()) == whole.tolist()


def test_rows_are_those_of_each_batch() -> None:
    assert Part(1, 2, 3).rows_of(12).tolist() == [3, 4, 5, 9, 10, 11]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rows: torch.rand(rows, 3),
        lambda rows: torch.rand((rows, 3)),
        lambda rows: torch.rand(size=(rows, 3)),
        lambda rows: torch.randn(rows, 2, dtype=torch.float64),
        lambda rows: torch.randint(7, (rows,)),
        lambda rows: torch.randint(-2, 7, (rows, 1)),
        lambda rows: torch.randint(high=7, size=(rows,)),
        lambda rows: torch.rand_like(torch.zeros(rows, 2)),
        lambda rows: torch.randn_like(torch.zeros(rows, 3, 4, 4).to(memory_format=torch.channels_last)),
        lambda rows: functional.dropout(torch.ones(rows, 20), 0.3),
        lambda rows: nn.Dropout(0.3)(torch.ones(rows, 20)),
        lambda rows: functional.dropout(
            torch.ones(rows, 3, 4, 4).to(memory_format=torch.channels_last), 0.5, inplace=True
        ),
        lambda rows: torch.cat([torch.rand(rows, 2), torch.rand(rows // 2, 2)]),
    ],
)
def test_what_parts_draw_is_what_one_process_draws(draw: object) -> None:
    assert callable(draw)
    torch.manual_seed(3)
    expected, after = draw(8), torch.rand(())
    found = []
    for rank in range(2):
        torch.manual_seed(3)
        with sharing(Part(rank, 2, 4)):
            found.append(draw(4))
            assert torch.rand(()) == after  # one number for all, and as many drawn before it
    batch = [torch.cat([part[:4] for part in found]), torch.cat([part[4:] for part in found])]
    assert torch.equal(torch.cat(batch), expected)


def test_a_leading_dimension_of_other_things_is_not_shared() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3, 8, 1)
    torch.manual_seed(3)
    with sharing(Part(1, 2, 4)):
        assert torch.equal(torch.rand(3, 4, 1), expected[:, 4:])


def test_what_has_a_generator_is_left_alone() -> None:
    with sharing(Part(1, 2, 4)):
        drawn = torch.rand(4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(1)))


def test_alone_nothing_is_gathered() -> None:
    rows = torch.rand(3, 2)
    assert gathered(rows) is rows
