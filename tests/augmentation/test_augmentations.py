"""What each augmentation may do to a history, and that it is drawn row by row and the same on any device."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.augmentation import Crop, InOrder, Insert, Mask, OneOf, Reorder, Substitute, View
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng

N, LENGTH, MASK, K = 200, 10, 1000, 2
LENGTHS = np.arange(N) % (LENGTH + 1)
ITEMS = np.where(np.arange(LENGTH) < LENGTHS[:, None], np.arange(1, N * LENGTH + 1).reshape(N, LENGTH), 0)
SIMILAR = np.where(ITEMS[:, :, None] > 0, 10_000 + 2 * ITEMS[:, :, None] + np.arange(K), 0)
SIMILAR[:, 0, 1] = 0  # of the first item only one is known
TIME = np.where(ITEMS > 0, np.arange(LENGTH) ** 2, 0)
VIEW = View(jnp.asarray(ITEMS, jnp.int32), jnp.asarray(SIMILAR, jnp.int32), jnp.asarray(TIME, jnp.float32))
ALL = {
    "crop": Crop(),
    "mask": Mask(),
    "reorder": Reorder(),
    "substitute": Substitute(n_similar=K),
    "insert": Insert(n_similar=K),
}
ALL["one of"] = OneOf(dict(ALL))
ALL["in order"] = InOrder({name: ALL[name] for name in ("reorder", "insert", "crop")})
every = pytest.mark.parametrize("name", ALL)


def rng(rows, seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.asarray(rows, jnp.int32))


@cache
def changed(name, seed=0):
    """The changed view as lists of what is there, row by row."""
    view = jax.jit(lambda view, own: ALL[name](view, own, mask=MASK))(VIEW, rng(np.arange(N), seed))
    return View(*map(np.asarray, view))


@every
def test_shapes_stay_and_histories_stay_filled_from_the_left(name):
    view = changed(name)
    assert [array.shape for array in view] == [array.shape for array in VIEW]
    there = view.items > 0
    assert (there == (np.arange(LENGTH) < there.sum(axis=1)[:, None])).all()
    assert (there.any(axis=1) == (LENGTHS > 0)).all()
    assert not view.similar[~there].any() and not view.time[~there].any()


@every
def test_each_row_is_changed_by_itself_and_anew_with_another_seed(name):
    view = changed(name)
    rows = np.array([17, 3, 150])
    alone = View(*(array[rows] for array in VIEW))
    some = jax.jit(lambda view, own: ALL[name](view, own, mask=MASK))(alone, rng(rows))
    np.testing.assert_array_equal(some.items, view.items[rows])
    assert (changed(name, seed=1).items != view.items).any(axis=1).mean() > 0.3


def test_a_crop_is_a_part_of_the_history():
    view, begins = changed("crop"), set()
    for row, n in enumerate(LENGTHS):
        size = max(1, int(np.float32(0.6) * np.float32(n))) if n else 0
        own = view.items[row][view.items[row] > 0]
        assert len(own) == size
        if n:
            begin = own[0] - ITEMS[row, 0]
            begins.add((n, begin))
            np.testing.assert_array_equal(own, ITEMS[row, begin : begin + size])
            np.testing.assert_array_equal(view.time[row, :size], TIME[row, begin : begin + size])
            np.testing.assert_array_equal(view.similar[row, :size], SIMILAR[row, begin : begin + size])
    assert {begin for n, begin in begins if n == 10} == {0, 1, 2, 3, 4}


def test_masks_hide_their_share():
    view = changed("mask")
    hidden = view.items == MASK
    np.testing.assert_array_equal(view.items[~hidden], ITEMS[~hidden])
    n = (ITEMS > 0).sum()
    assert abs(hidden.sum() / n - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n)


def test_a_part_of_the_history_is_shuffled_and_times_stay():
    view = changed("reorder")
    np.testing.assert_array_equal(np.sort(view.items, axis=1), np.sort(ITEMS, axis=1))
    np.testing.assert_array_equal(view.time, TIME)
    moved = view.items != ITEMS
    first, last = moved.argmax(axis=1), LENGTH - 1 - moved[:, ::-1].argmax(axis=1)
    size = np.floor(np.float32(0.6) * LENGTHS)
    assert (last - first + 1 <= np.maximum(size, 1))[moved.any(axis=1)].all()
    assert moved[LENGTHS == 10].any(axis=0).all()
    there = view.items > 0
    np.testing.assert_array_equal(view.similar[there][:, 0], 10_000 + 2 * view.items[there])


def test_substitutes_are_similar_items_at_their_share():
    view = changed("substitute")
    replaced = view.items != ITEMS
    known = np.where(SIMILAR > 0, SIMILAR, -1)
    assert (view.items[replaced][:, None] == known[replaced]).any(axis=1).all()
    n = (ITEMS > 0).sum()
    assert abs(replaced.sum() / n - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n)
    both = replaced & (SIMILAR[:, :, 1] > 0)
    assert abs((view.items[both] % 2).mean() - 0.5) < 0.15


def test_what_nothing_is_like_stays():
    lonely = VIEW._replace(similar=jnp.zeros_like(VIEW.similar))
    for name in ("substitute", "insert"):
        np.testing.assert_array_equal(ALL[name](lonely, rng(np.arange(N)), mask=MASK).items, ITEMS)


def test_inserted_items_stand_before_those_that_they_are_like_and_the_newest_are_kept():
    view, n_inserted = changed("insert"), 0
    for row, n in enumerate(LENGTHS):
        own = view.items[row][view.items[row] > 0].tolist()
        kept = [item for item in own if item < 10_000]
        assert kept == ITEMS[row, n - len(kept) : n].tolist()
        assert len(own) == LENGTH or len(kept) == n
        for place, item in enumerate(own):
            if item >= 10_000:
                n_inserted += 1
                assert own[place + 1] == (item - 10_000) // 2
    n = (ITEMS > 0).sum()
    assert 0.15 < n_inserted / n < 0.3


def test_one_of_several_is_drawn_for_each_history():
    parts = {name: jax.jit(lambda v, r, part=part: part(v, r, mask=MASK)) for name, part in ALL["one of"].parts.items()}
    whole, own, seen = changed("one of"), rng(np.arange(N)), []
    for name, part in parts.items():
        alone = np.asarray(part(VIEW, own.named(name)).items)
        seen.append((alone == whole.items).all(axis=1))
    chosen = np.array(seen)
    assert chosen.any(axis=0).all()
    assert (chosen.sum(axis=1) > 10).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(0.0), "augmentation.share=0.0"),
        (lambda: Mask(1.5), "augmentation.share=1.5"),
        (lambda: Insert(n_similar=0), "augmentation.n_similar=0"),
        (lambda: OneOf({}), "augmentation.parts is empty"),
        (lambda: Substitute()(VIEW, rng(np.arange(N)), mask=MASK), "needs n_similar=4 similar items"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
