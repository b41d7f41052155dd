"""Leave-one-out, the rows to evaluate, and the hash that keeps unlike splits apart."""

import polars as pl
import pytest

from curriculum_rec.components import build
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.errors import DataError

HISTORIES = {"1": [1], "2": [1, 2], "3": [1, 2, 3], "4": [3, 3, 2, 3, 1]}


def split_of(histories):
    rows = [(user, item) for user, items in histories.items() for item in items]
    return LeaveOneOut()(clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s"))


def test_the_last_is_test_and_the_one_before_validation():
    split = split_of(HISTORIES)
    assert split.part.tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 2]
    items, offsets = split.training()
    assert items.tolist() == [1, 1, 2, 1, 3, 3, 2]
    assert offsets.tolist() == [0, 0, 1, 3, 4, 7]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Part.VALIDATION, [(3, 2, [1]), (4, 3, [3, 3, 2])]),
        (Part.TEST, [(3, 3, [1, 2]), (4, 1, [3, 3, 2, 3])]),
        (Part.TRAIN, [(2, 2, [1]), (4, 3, [3]), (4, 2, [3, 3])]),
    ],
)
def test_rows_hold_everything_before_the_target(part, expected):
    rows = split_of(HISTORIES).rows(part)
    found = [
        (user, target, rows.items[start:stop].tolist())
        for user, target, start, stop in zip(rows.user, rows.target, rows.start, rows.stop, strict=True)
    ]
    assert found == expected
    assert rows.lengths.tolist() == [len(history) for _, _, history in expected]


@pytest.mark.parametrize(
    ("part", "counts"),
    [(Part.TRAIN, [0, 3, 2, 2]), (Part.VALIDATION, [0, 3, 2, 2]), (Part.TEST, [0, 3, 3, 3])],
)
def test_item_counts_know_only_what_came_before(part, counts):
    assert split_of(HISTORIES).item_counts(part).tolist() == counts


def test_nothing_to_test_on():
    with pytest.raises(DataError, match="no user has three interactions"):
        split_of({"1": [1, 2], "2": [1, 2]})


@pytest.mark.parametrize(
    "changed",
    [
        HISTORIES | {"3": [1, 3, 2]},
        HISTORIES | {"3": [1, 2, 3, 3]},
        HISTORIES | {"4": [3, 3, 2, 3, 4]},
        HISTORIES | {"5": [1]},
        {("0" if user == "1" else user): items for user, items in HISTORIES.items()},
        {user: [item + 1 for item in items] for user, items in HISTORIES.items()},
    ],
)
def test_any_change_changes_the_hash(changed):
    assert split_of(changed).hash != split_of(HISTORIES).hash


def test_another_part_changes_the_hash():
    first, second = split_of(HISTORIES), split_of(HISTORIES)
    second.part[-1] = Part.VALIDATION
    assert first.hash != second.hash


def test_the_order_of_users_in_the_file_does_not_change_the_hash():
    assert split_of(dict(reversed(HISTORIES.items()))).hash == split_of(HISTORIES).hash


def test_runs_of_before_name_the_split_by_its_first_address():
    assert build({"_target_": "curriculum_rec.data.split.LeaveOneOut"}, "split") == LeaveOneOut()
