import itertools
import time
from typing import Any

import pytest
import torch

from ganforge.data.batch import to_float, to_uint8
from ganforge.data.loader import Loader
from ganforge.data.split import in_memory, lazy
from ganforge.errors import UserError

COUNT, BATCH = 97, 8


def numbered(count=COUNT):
    """Images whose pixels say their index; the left column is dark, so that a flip shows."""
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2)
    pixels[..., 0] = 255
    return in_memory(pixels, labels=torch.arange(count))


def indices(stream, position):
    return stream.indices_at(position).tolist()


@pytest.mark.parametrize("batch_size", [1, 8, 97, 250])
def test_every_epoch_is_a_permutation(batch_size):
    stream = Loader(numbered(), batch_size, seed=3)
    needed = 4 * COUNT // batch_size + 1
    seen = list(itertools.chain(*(indices(stream, at * batch_size) for at in range(needed))))
    for epoch in range(4):
        assert sorted(seen[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))
    assert seen[:COUNT] != seen[COUNT : 2 * COUNT]


@pytest.mark.parametrize("position", range(COUNT + 1))
def test_resume_from_any_position_continues_the_same_order(position):
    whole = Loader(numbered(), 2 * COUNT + BATCH, seed=1).indices_at(0)
    resumed = next(Loader(numbered(), BATCH, seed=1, flip=True).iterate(position))
    assert torch.equal(resumed.labels, whole[position : position + BATCH])
    assert torch.equal(resumed.images, Loader(numbered(), BATCH, seed=1, flip=True).batch_at(position).images)


@pytest.mark.parametrize(
    "settings", [{}, {"flip": True}, {"dequantise": True}, {"flip": True, "dequantise": True}]
)
def test_a_batch_is_a_function_of_its_position(settings):
    stream = Loader(numbered(), BATCH, seed=5, **settings)
    forward = [batch for _, batch in zip(range(30), stream.iterate(0), strict=False)]
    for at in reversed(range(30)):
        again = stream.batch_at(at * BATCH)
        assert torch.equal(again.images, forward[at].images)
        assert torch.equal(again.labels, forward[at].labels)


def test_labels_and_images_stay_together():
    batch = Loader(numbered(), BATCH, seed=5).batch_at(40)
    assert torch.equal(to_uint8(batch.images)[:, 0, 0, 1].long(), batch.labels)


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (2**63, 2**63 + 1), (2**64 - 1, 2**64 - 2), (0, 2**64 - 1)]
)
def test_different_seeds_differ(one, other):
    assert indices(Loader(numbered(), COUNT, one), 0) != indices(Loader(numbered(), COUNT, other), 0)


def test_flips_differ_between_epochs_and_are_about_half():
    stream = Loader(numbered(), COUNT, seed=0, flip=True)
    flipped = []
    for epoch in range(20):
        batch = stream.batch_at(epoch * COUNT)
        by_index = torch.empty(COUNT, dtype=torch.bool)
        by_index[batch.labels] = batch.images[:, 0, 0, 1] == 1
        flipped.append(by_index)
    assert not torch.equal(flipped[0], flipped[1])
    assert 0.45 < torch.stack(flipped).float().mean() < 0.55
    assert torch.stack(flipped).any(0).all()


def test_flipping_leaves_the_data_as_they_are():
    images = numbered()
    before = images.pixels.clone()
    Loader(images, COUNT, seed=0, flip=True).batch_at(0)
    assert torch.equal(images.pixels, before)


def test_bytes_survive_the_round_trip_to_floats():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_dequantised_pixels_stay_in_their_bin_and_fill_it():
    stream = Loader(numbered(), COUNT, seed=0, dequantise=True)
    batch = stream.batch_at(0)
    levels = (batch.images + 1) * 128
    bytes_ = stream.images.read(batch.labels)
    assert batch.images.min() >= -1
    assert batch.images.max() <= 1
    assert ((levels - bytes_) >= -1e-4).all()
    assert ((levels - bytes_) <= 1 + 1e-4).all()
    assert 0.4 < (levels - bytes_).mean() < 0.6
    assert not torch.equal(batch.images, stream.batch_at(COUNT).images)


def test_a_lazy_set_gives_the_same_batches_ahead_of_time():
    whole = numbered()
    names = [str(number) for number in range(COUNT)]
    on_disk = lazy((1, 2, 2), lambda row: whole.pixels[row].numpy(), names, False, whole.labels)
    eager = Loader(whole, BATCH, seed=2, flip=True).iterate(50)
    ahead = Loader(on_disk, BATCH, seed=2, flip=True).iterate(50)
    for one, other in itertools.islice(zip(eager, ahead, strict=True), 30):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    ahead.close()  # type: ignore[attr-defined]  # an iterator that is a generator


def test_points_pass_unchanged_and_refuse_pixel_options():
    points = in_memory(torch.randn(10, 2, 1, 1) * 9)
    batch = Loader(points, 10, seed=0, values="points").batch_at(0)
    assert torch.equal(batch.images.sum(), points.pixels[Loader(points, 10, 0).indices_at(0)].sum())
    with pytest.raises(UserError, match="2-D points"):
        Loader(points, 10, seed=0, flip=True, values="points")


@pytest.mark.parametrize(("batch_size", "seed"), [(0, 0), (8, -1), (8, 2**64)])
def test_values_out_of_range_are_refused(batch_size, seed):
    with pytest.raises(ValueError, match="expected"):
        Loader(numbered(), batch_size, seed)


def test_a_batch_from_memory_is_quick():
    stream = Loader(in_memory(torch.zeros(2000, 3, 64, 64, dtype=torch.uint8)), 64, seed=0, flip=True)
    stream.batch_at(0)
    seconds = []
    for at in range(50):
        start = time.perf_counter()
        stream.batch_at(64 * at)
        seconds.append(time.perf_counter() - start)
    # The fastest of many, because other work on the machine only ever adds time.
    assert min(seconds) < 0.005


def paired(count=COUNT, side=12):
    """Smooth images, and sources of one channel that are the inverted average of their colours."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 3, 3, generator=generator) * 255
    pixels = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(torch.uint8)
    return in_memory(pixels, torch.arange(count), sources=255 - pixels[:, :1])


def test_sources_are_mirrored_and_cropped_with_their_images():
    stream = Loader(paired(), 32, seed=1, flip=True, jitter=4)
    plain = Loader(paired(), 32, seed=1).batch_at(96)
    batch = stream.batch_at(96)
    assert batch.images.shape == plain.images.shape
    assert torch.equal(batch.labels, plain.labels)
    assert not torch.equal(batch.images, plain.images)
    # Rounding alone keeps one from being exactly the other's inverse.
    assert (batch.sources + batch.images[:, :1]).abs().max() <= 2 * 2 / 255
    assert torch.equal(batch.sources, stream.batch_at(96).sources)
    assert not torch.equal(stream.batch_at(96 + COUNT).images, batch.images)


@pytest.mark.parametrize("settings", [{"flip": True}, {"jitter": 3}, {}])
def test_sources_come_with_every_option(settings):
    batch = Loader(paired(), 8, seed=2, **settings).batch_at(0)
    assert batch.sources.shape == (8, 1, 12, 12)
    assert batch.sources.abs().max() <= 1
    assert torch.allclose(batch.sources, -batch.images[:, :1], atol=4 / 255)


def test_jitter_moves_by_at_most_so_many_pixels():
    pixels = torch.zeros(COUNT, 1, 9, 9, dtype=torch.uint8)
    pixels[:, :, 4, 4] = 255
    jittered = Loader(in_memory(pixels), COUNT, seed=0, jitter=2).batch_at(0).images
    rows = jittered.amax((1, 3)).argmax(1)
    assert set(rows.tolist()) <= {3, 4, 5}
    assert len(set(rows.tolist())) > 1
    assert torch.equal(
        Loader(in_memory(pixels), COUNT, seed=0).batch_at(0).images,
        to_float(pixels)[Loader(in_memory(pixels), COUNT, 0).indices_at(0)],
    )


def test_jitter_makes_no_new_colours_of_drawings():
    drawing = (torch.rand(COUNT, 1, 12, 12) > 0.5).to(torch.uint8) * 255
    images = in_memory(torch.randint(0, 256, (COUNT, 1, 12, 12), dtype=torch.uint8), sources=drawing)
    sources = Loader(images, 16, seed=0, jitter=5).batch_at(0).sources
    assert sources.unique().tolist() == [-1.0, 1.0]


def unequal(sizes=(70, 20, 7)):
    pixels = torch.arange(COUNT, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2)
    return in_memory(pixels, labels=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)))


def test_balanced_epochs_have_as_many_of_each_class():
    stream = Loader(unequal(), COUNT, seed=3, balance_classes=True)
    for epoch in range(3):
        batch = stream.batch_at(epoch * COUNT)
        assert torch.bincount(batch.labels).tolist() == [33, 32, 32]
        assert torch.equal(unequal().labels[to_uint8(batch.images)[:, 0, 0, 0].long()], batch.labels)
        times = torch.bincount(stream.indices_at(epoch * COUNT), minlength=COUNT)
        assert times[:70].max() == 1  # a frequent class: some of its images, once each
        assert times[70:].min() >= 1  # rare ones: all, one no more than once oftener than another
        assert set(times[70:90].tolist()) == {1, 2}
        assert set(times[90:].tolist()) == {4, 5}
    shown = torch.cat([stream.indices_at(epoch * COUNT) for epoch in range(20)])
    assert len(shown.unique()) == COUNT  # within some epochs every image comes


@pytest.mark.parametrize("position", [0, 5, 96, 97, 200])
def test_balanced_epochs_resume_anywhere(position):
    whole = Loader(unequal(), 4 * COUNT, seed=1, balance_classes=True).indices_at(0)
    resumed = Loader(unequal(), BATCH, seed=1, balance_classes=True).indices_at(position)
    assert torch.equal(resumed, whole[position : position + BATCH])


@pytest.mark.parametrize(
    "options",
    [{}, {"flip": True, "jitter": 2}, {"dequantise": True}, {"binarise": True}, {"balance_classes": True}],
)
def test_some_rows_are_those_of_the_whole_batch(options: dict[str, Any]) -> None:
    pixels = torch.randint(0, 256, (30, 1, 6, 6), dtype=torch.uint8)
    images = in_memory(pixels, torch.arange(30) % 4)
    rows = torch.tensor([2, 3, 6, 7])
    whole, some = (Loader(images, 8, seed=3, rows=each, **options) for each in (None, rows))
    for position in (0, 24, 32):
        expected, found = whole.batch_at(position), some.batch_at(position)
        assert torch.equal(found.images, expected.images[rows])
        assert found.labels is not None
        assert torch.equal(found.labels, expected.labels[rows])
