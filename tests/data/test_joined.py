import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.joined import Joined
from curriculum_rec.data.splits import LeaveOneOut
from curriculum_rec.errors import DataError, OptionError


class Rows:
    """A source of given rows."""

    def __init__(self, rows, columns=("user", "item", "timestamp")):
        self.frame, self.name = pl.DataFrame(rows, schema=list(columns), orient="row"), "rows"

    def read(self):
        return self.frame


BOOKS = Rows([(1, "x", 3), (1, "y", 5), (2, "x", 1), (2, "z", 2), (2, "y", 4), (2, "x", 9)])
FILMS = Rows([(1, "x", 4), (1, "v", 6), (1, "w", 7), (3, "v", 1), (3, "w", 2), (3, "x", 3)])


def test_ids_are_told_apart_unless_they_mean_the_same():
    frame = Joined({"books": BOOKS, "films": FILMS}).read()
    assert frame.row(0) == ("books:1", "books:x", 3, "books")
    assert frame.row(6) == ("films:1", "films:x", 4, "films")
    frame = Joined({"books": BOOKS, "films": FILMS}, same_users=True).read()
    assert frame.row(6) == ("1", "films:x", 4, "films")


def test_labels_follow_the_rows_through_cleaning_and_sorting():
    joined = Joined({"books": BOOKS, "films": FILMS}, same_users=True)
    data = clean(joined.read(), {}, source=joined.name)
    assert data.source_names == ("books", "films")
    items = data.items.decode(data.item)
    assert [item.partition(":")[0] for item in items] == [data.source_names[number] for number in data.source]
    first = data.user == 1
    assert items.filter(pl.Series(first)).to_list() == ["books:x", "films:x", "books:y", "films:v", "films:w"]


def test_an_example_belongs_to_the_source_of_most_of_its_training_interactions():
    joined = Joined({"books": BOOKS, "films": FILMS}, same_users=True)
    split = LeaveOneOut()(clean(joined.read(), {}, source=joined.name))
    examples = SequenceExamples(max_length=4, bucket_lengths=(), positions_per_batch=32)(split)
    # User 1 trains on books, films, books; user 2 on two books; user 3 on one item, which predicts nothing.
    assert examples.source.tolist() == [0, 0]
    assert examples.source_names == ("books", "films")


def test_one_source_alone_has_no_labels(tiny_split, tiny_examples):
    assert tiny_split.interactions.source is None
    assert tiny_examples.source is None


def test_times_must_be_there_for_all_or_for_none():
    timeless = Rows([(1, "x"), (1, "y")], ("user", "item"))
    with pytest.raises(DataError, match=r"data\.sources\.old has no timestamps"):
        Joined({"books": BOOKS, "old": timeless}).read()


def test_one_source_is_no_mixture():
    with pytest.raises(OptionError, match="at least two"):
        Joined({"books": BOOKS})


def test_the_sources_sizes_are_those_of_the_files():
    frame = Joined({"books": BOOKS, "films": FILMS}).read()
    assert np.unique(frame["source"].to_numpy(), return_counts=True)[1].tolist() == [6, 6]


def test_what_only_one_source_says_is_missing_in_the_others():
    first, second = Rows([(1, "a", 2.5)], ("user", "item", "price")), Rows([(1, "a", 4)], ("user", "item", "rating"))
    joined = Joined({"first": first, "second": second}).read()
    assert joined["price"].to_list() == [2.5, None]
    assert joined["rating"].to_list() == [None, 4]
