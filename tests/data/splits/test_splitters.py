"""Every splitter: what it holds out by hand-written cases, what it promises, that a file's order does not matter."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from histories import interactions_of, many, parts_by_user, rows_of

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.noise import PlantedNoise
from curriculum_rec.data.splits import (
    ColdItems,
    ColdUsers,
    GlobalTime,
    InteractionFolds,
    LastN,
    LeaveOneOut,
    Part,
    Promise,
    RandomRows,
    RatioPerUser,
    Split,
    UserFolds,
    breaches,
    check_promises,
)
from curriculum_rec.errors import DataError, OptionError

ORDER, TIME, USERS, ITEMS = Promise
SPLITTERS = {
    LeaveOneOut(): {ORDER},
    LastN(validation=2, test=3): {ORDER},
    RatioPerUser(validation=0.2, test=0.3): {ORDER},
    GlobalTime(validation=0.2, test=0.2): {ORDER, TIME},
    GlobalTime(by="moment", validation=250, test=300): {ORDER, TIME},
    RandomRows(validation=0.2, test=0.2): set(),
    ColdUsers(): {USERS},
    ColdUsers(given=None, targets=None): {USERS},
    ColdItems(): {ITEMS},
    UserFolds(fold=1): {USERS},
    UserFolds(fold=4, given=2, targets=3): {USERS},
    InteractionFolds(fold=0): set(),
}
ALL = pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)


def histories(lengths, **options):
    return interactions_of([(u, f"i{n}", n) for u, length in lengths.items() for n in range(length)], **options)


@pytest.mark.parametrize(
    ("splitter", "expected"),
    [
        (LastN(validation=1, test=2), {"a": "tvTT", "b": "ttttttvTT", "c": "ttt"}),
        (LastN(validation=2, test=1), {"a": "tvvT", "b": "ttttttvvT", "c": "ttt"}),
        # 9 x 0.25 = 2.25 -> 2 and 9 x 0.5 = 4.5 -> 5; 4 x 0.25 = 1 and 4 x 0.5 = 2; 3 x 0.25 = 0.75 -> 1, 1.5 -> 2,
        # of which training takes one back.
        (RatioPerUser(validation=0.25, test=0.5), {"a": "tvTT", "b": "ttvvTTTTT", "c": "tTT"}),
        (RatioPerUser(validation=0.1, test=0.2), {"a": "tttT", "b": "ttttttvTT", "c": "ttT"}),
    ],
)
def test_the_end_of_every_history_is_held_out(splitter, expected):
    assert parts_by_user(splitter(histories({"a": 4, "b": 9, "c": 3}))) == expected


def test_each_of_the_last_n_is_asked_after_all_that_came_before():
    split = LastN(validation=1, test=2)(interactions_of([(u, i, i) for u in (1, 2) for i in (1, 2, 3, 4)]))
    assert rows_of(split, Part.TEST)[:2] == [(1, [1, 2], 3), (1, [1, 2, 3], 4)]
    assert rows_of(split, Part.VALIDATION)[0] == (1, [1], 2)


def test_time_is_cut_for_all_users_at_once_and_equal_times_stay_together():
    times = {"a": [1, 2, 8, 9], "b": [3, 7, 7, 9], "c": [9, 9]}
    data = interactions_of([(u, f"i{n}", t) for u, ts in times.items() for n, t in enumerate(ts)])
    # Of ten, the two latest are among the four at 9, which all are test; the three before these begin at 7.
    split = GlobalTime(validation=0.3, test=0.2)(data)
    assert parts_by_user(split) == {"a": "ttvT", "b": "tvvT", "c": "TT"}
    assert parts_by_user(GlobalTime(by="moment", validation=3, test=8)(data)) == {"a": "ttTT", "b": "vvvT", "c": "TT"}
    # c's first has no history; of the second the first one is.
    assert [row[0] for row in rows_of(split, Part.TEST)] == [1, 2, 3]


def test_cold_users_show_what_is_given_and_are_asked_for_what_follows():
    data = histories({f"u{n}": 6 for n in range(10)})
    for given, targets, held_out in (
        (3, 1, "---{}--"),
        (3, None, "---{0}{0}{0}"),
        (None, 2, "----{0}{0}"),
        (1, 1, "-{}----"),
    ):
        found = parts_by_user(ColdUsers(validation=0.2, test=0.3, given=given, targets=targets)(data)).values()
        assert sorted(found) == sorted([held_out.format("T")] * 3 + [held_out.format("v")] * 2 + ["tttttt"] * 5)


def test_a_cold_user_with_too_short_a_history_is_not_asked():
    split = ColdUsers(validation=0.4, test=0.5, given=3)(histories({f"u{n}": 3 + n % 2 for n in range(10)}))
    short = [parts for parts in parts_by_user(split).values() if len(parts) == 3]
    assert set(short) <= {"---", "ttt"}


def test_cold_items_are_asked_for_and_nothing_of_them_is_trained_on():
    split = ColdItems(validation=0.1, test=0.2)(many())
    items, part = split.interactions.item, split.part
    assert len(set(items[part == Part.TEST])) == 8
    assert len(set(items[part == Part.VALIDATION])) == 4
    assert not set(items[part == Part.TRAIN]) & set(items[part != Part.TRAIN])
    assert split.item_counts(Part.TRAIN)[items[part == Part.TEST]].sum() == 0


def test_random_rows_have_their_shares():
    data = many(200)
    part = RandomRows(validation=0.1, test=0.3)(data).part
    assert [np.count_nonzero(part == p) for p in (Part.VALIDATION, Part.TEST)] == [
        round(0.1 * len(data)),
        round(0.3 * len(data)),
    ]


@ALL
def test_promises_are_those_that_are_kept(splitter):
    split = splitter(many(300, seed=5))
    assert set(split.promises) == SPLITTERS[splitter]
    for promise in split.promises:
        assert not len(breaches(split, promise))


@ALL
def test_what_is_asked_for_comes_after_its_history_and_nothing_later_is_known(splitter):
    split = splitter(many(seed=2))
    data = split.interactions
    for part in (Part.VALIDATION, Part.TEST):
        expected = []
        for row in np.flatnonzero(split.part == part):
            before = [
                other
                for other in range(row)
                if data.user[other] == data.user[row] and (split.part[other] <= part or split.part[other] == Part.ASIDE)
            ]
            if before:
                expected.append((data.user[row], data.item[before].tolist(), data.item[row]))
        assert rows_of(split, part) == expected


@ALL
@pytest.mark.parametrize("timed", [True, False])
def test_the_order_of_a_file_does_not_matter(splitter, timed):
    if isinstance(splitter, GlobalTime) and not timed:
        pytest.skip("it needs times")
    rng = np.random.default_rng(1)
    # No two equal times of one user: of these a file's order is all that is known.
    rows = [(f"u{u:02}", f"i{i:02}", int(t)) for u in range(40) for i, t in enumerate(rng.permutation(40)[: 5 + u % 9])]
    rows = [(u, f"i{rng.integers(30):02}", t * 10) for u, _, t in sorted(rows, key=lambda row: (row[0], row[2]))]
    split = splitter(interactions_of(rows, timed=timed))
    order = (
        rng.permutation(len(rows))
        if timed
        else np.argsort(rng.permutation(40)[[int(r[0][1:]) for r in rows]], kind="stable")
    )
    other = splitter(interactions_of([rows[n] for n in order], timed=timed))
    assert other.hash == split.hash


@pytest.mark.parametrize("splitter", [RandomRows(), InteractionFolds(fold=1), ColdItems()], ids=repr)
def test_equal_times_in_another_order_fall_into_the_same_parts(splitter):
    rows = [(u, f"i{(u * 7 + n) % 40}", n // 3) for u in range(30) for n in range(12)]
    split, other = splitter(interactions_of(rows)), splitter(interactions_of(rows[::-1]))

    def told(split):
        data = split.interactions
        return sorted(
            zip(data.user.tolist(), data.item.tolist(), data.timestamp.tolist(), split.part.tolist(), strict=True)
        )

    assert told(split) == told(other)


@ALL
def test_another_seed_holds_out_others(splitter):
    if not hasattr(splitter, "seed"):
        pytest.skip("chance plays no part")
    data = many(seed=3)
    assert splitter(data).hash == splitter(data).hash != replace(splitter, seed=1)(data).hash


@ALL
def test_planted_noise_breaks_no_promise(splitter):
    for how in ("insert", "replace"):
        noisy = check_promises(PlantedNoise(rate=0.5, how=how)(splitter(many(seed=4)), seed=0))
        assert noisy.noise.sum() > 20
        assert (noisy.part[noisy.noise] == Part.TRAIN).all()


@pytest.mark.parametrize(
    ("part", "promise", "broken"),
    [
        # Rows: a at times 1, 2, 3 with items x, y, x; b at 2, 4 with items y, z.
        ([0, 1, 2, 0, 0], ORDER, []),
        ([1, 0, 2, 0, 0], ORDER, [1]),
        ([2, 1, 0, 2, 0], ORDER, [1, 2, 4]),
        ([2, 3, 1, 3, 0], ORDER, [2]),
        ([0, 0, 2, 0, 2], TIME, []),
        ([0, 0, 2, 0, 0], TIME, [4]),
        ([0, 1, 2, 0, 0], TIME, [3, 4]),
        ([0, 0, 0, 3, 2], USERS, []),
        ([0, 0, 0, 0, 2], USERS, [3, 4]),
        ([3, 2, 1, 0, 0], USERS, [1, 2]),
        ([0, 0, 0, 0, 2], ITEMS, []),
        ([0, 2, 0, 0, 1], ITEMS, [3]),
        ([0, 2, 0, 1, 1], ITEMS, [3]),
        ([1, 3, 0, 2, 0], ITEMS, [2]),
    ],
)
def test_a_broken_promise_is_found_row_by_row(part, promise, broken):
    data = interactions_of([("a", "x", 1), ("a", "y", 2), ("a", "x", 3), ("b", "y", 2), ("b", "z", 4)])
    split = Split(data, np.array(part, np.int8), promises=(promise,))
    assert breaches(split, promise).tolist() == broken
    if broken:
        with pytest.raises(DataError, match=f"the split promises '{promise}'"):
            check_promises(split)


def test_without_timestamps_nothing_is_known_of_time():
    data = interactions_of([("a", "x", 1), ("b", "y", 2)], timed=False)
    assert len(breaches(Split(data, np.array([0, 2], np.int8)), TIME)) == 2
    with pytest.raises(DataError, match="needs timestamps"):
        GlobalTime()(data)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LastN(test=0), "split.test=0: it must be at least 1"),
        (lambda: RatioPerUser(test=1.0), r"split.test=1.0: it must be in \(0, 1\)"),
        (lambda: RandomRows(validation=0.5, test=0.5), "leave nothing to train on"),
        (lambda: GlobalTime(by="moment", validation=5, test=5), "must be an earlier moment"),
        (lambda: GlobalTime(by="date"), "split.by=date: it must be one of share, moment"),
        (lambda: ColdUsers(given=0), "split.given=0: it must be at least 1, or null"),
        (UserFolds, "fold is not set: choose one of 5 by fold=0"),
        (lambda: InteractionFolds(folds=3, fold=3), "fold=3: with split.folds=3 it must be one of 0 to 2"),
        (lambda: UserFolds(folds=1, fold=0), "split.folds=1: it must be at least 2"),
    ],
)
def test_options_that_make_no_split_are_refused(make, sentence):
    with pytest.raises(OptionError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("splitter", "lengths", "sentence"),
    [
        (LastN(validation=2, test=3), {"a": 5, "b": 5}, "no user has 6 interactions"),
        (RatioPerUser(), {"a": 1, "b": 2}, "the validation part has a history"),
        (ColdUsers(given=9), {f"u{n}": 9 for n in range(20)}, "the validation part has a history"),
        (GlobalTime(by="moment", validation=0, test=5), {"a": 9, "b": 9}, "no interaction before 0 to train on"),
        (UserFolds(fold=0), {"a": 9, "b": 9}, "split.folds=5 are too many for 2"),
    ],
)
def test_data_that_make_no_split_are_refused(splitter, lengths, sentence):
    with pytest.raises(DataError, match=sentence):
        splitter(histories(lengths))


def test_where_time_hardly_differs_it_cannot_be_cut():
    frame = pl.DataFrame({"user": ["a", "b"] * 10, "item": ["x", "y", "z", "w"] * 5, "timestamp": [0] * 20})
    with pytest.raises(DataError, match="all interactions from 0 on would be test"):
        GlobalTime()(clean(frame, {}, source="s"))
