"""A person's own scores, and the tables that the program writes."""

import numpy as np
import polars as pl
import pytest

from curriculum_rec.curriculum.difficulty import ScoreFile
from curriculum_rec.curriculum.quantile import quantiles
from curriculum_rec.data.examples import Examples, SequenceExamples
from curriculum_rec.data.scores import score_table, sequence_codes, target_codes
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.files import write_frame


@pytest.fixture(scope="module")
def table(tiny_examples):
    score = np.random.default_rng(0).permutation(len(tiny_examples.targets)) / 3
    return score, score_table(tiny_examples, "target", score, quantiles(score, seed=0))


def score_of(path, frame, examples, unit="target"):
    write_frame(path, frame)
    return ScoreFile(str(path))(examples, unit)


def test_positions_and_items_are_those_of_the_training_history(tiny_split, table):
    examples = SequenceExamples(max_length=4, bucket_lengths=(2,), positions_per_batch=96)(tiny_split)
    data = tiny_split.interactions
    frame = score_table(examples, "target", np.zeros(len(examples.targets)), np.zeros(len(examples.targets)))
    assert frame.columns == ["user", "item", "position", "score", "quantile"]
    history = {}
    for user, item, part in zip(
        data.users.decode(data.user), data.items.decode(data.item), tiny_split.part, strict=True
    ):
        if part == Part.TRAIN:
            history.setdefault(user, []).append(item)
    for user, rows in frame.group_by("user"):
        items = history[user[0]]
        expected = list(enumerate(items, start=1))[1:][-4:]
        assert rows.select("position", "item").rows() == expected
    assert set(frame["user"]) == {user for user, items in history.items() if len(items) > 1}


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_written_scores_read_back_in_any_order_of_rows(tmp_path, tiny_examples, table, ending):
    score, frame = table
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    path = tmp_path / f"scores.{ending}"
    np.testing.assert_allclose(score_of(path, shuffled, tiny_examples), score)
    np.testing.assert_allclose(score_of(path, shuffled.drop("item"), tiny_examples), score)
    mean = [part.mean() for part in np.split(score, tiny_examples.target_offsets[1:-1])]
    np.testing.assert_allclose(score_of(path, shuffled, tiny_examples, "sequence"), mean)


def test_scores_of_whole_sequences(tmp_path, tiny_examples):
    score = np.random.default_rng(0).permutation(len(tiny_examples)) / 3
    frame = score_table(tiny_examples, "sequence", score, quantiles(score, seed=0))
    assert frame.columns == ["user", "score", "quantile"]
    np.testing.assert_allclose(score_of(tmp_path / "s.csv", frame[::-1], tiny_examples, "sequence"), score)
    with pytest.raises(DataError, match="neither 'position' nor 'item'"):
        score_of(tmp_path / "s.csv", frame, tiny_examples, "target")


def test_rows_of_what_is_not_trained_on_are_ignored(tmp_path, tiny_examples, table):
    score, frame = table
    more = pl.DataFrame({"user": [9999, 100], "item": [1000, 1000], "position": [2, 1], "score": [1.0, 2.0]})
    both = pl.concat([frame.drop("quantile"), more], how="vertical_relaxed")
    np.testing.assert_allclose(score_of(tmp_path / "s.parquet", both, tiny_examples), score)


def test_missing_and_repeated_rows_are_named(tmp_path, tiny_examples, table):
    _, frame = table
    user, item, position = frame.row(7)[:3]
    without = pl.concat([frame[:7], frame[8:]])
    for drop, words in (
        ([], f"position {position}, item '{item}'"),
        (["item"], f"position {position}"),
    ):
        named = rf"no score for 1 of {len(frame)}, the first being user '{user}', {words}"
        with pytest.raises(DataError, match=named):
            score_of(tmp_path / "s.csv", without.drop(drop), tiny_examples)
        with pytest.raises(DataError, match=rf"several scores for user '{user}', {words}"):
            score_of(tmp_path / "s.csv", pl.concat([frame, frame[7:8]]).drop(drop), tiny_examples)


def test_an_item_that_comes_again_needs_its_position(tmp_path, tiny_examples, table):
    _, frame = table
    assert frame.select("user", "item").is_duplicated().any()
    by_item = frame.drop("position")
    with pytest.raises(DataError, match="several scores for .*needs the column 'position'"):
        score_of(tmp_path / "s.csv", by_item, tiny_examples)
    with pytest.raises(DataError, match="one score for two targets.*needs the column 'position'"):
        score_of(tmp_path / "s.csv", by_item.unique(["user", "item"], maintain_order=True), tiny_examples)


def test_items_alone_suffice_where_none_comes_again(tmp_path):
    from test_difficulty_from_data import make_examples

    from curriculum_rec.data.examples import Origin
    from curriculum_rec.data.interactions import IdMap

    plain = make_examples([[1, 2, 3], [2, 1], [3, 2, 1]])
    ids = IdMap(pl.Series(["a", "b", "c"]))
    origin = Origin(np.array([1, 2, 3], np.int32), np.array([2, 2, 2]), ids, ids)
    examples = Examples(plain.buckets, origin=origin)
    rows = [("a", "b", 1.0), ("a", "c", 2.0), ("b", "a", 3.0), ("c", "b", 4.0), ("c", "a", 5.0)]
    frame = pl.DataFrame(rows, schema=["user", "item", "score"], orient="row")
    assert score_of(tmp_path / "s.csv", frame[::-1], examples).tolist() == [1, 2, 3, 4, 5]
    assert target_codes(examples)["position"].to_list() == [2, 3, 2, 2, 3]
    assert sequence_codes(examples)["user"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,position\n1,2\n", "no column 'score'; it has user, position"),
        ("user,position,score\n1,2,x\n", "cannot be read"),
        ("user,position,score\n100,2,1\n100,3,\n", "row 2 of .* no score"),
        ("", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, tiny_examples, text, words):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        ScoreFile(str(path))(tiny_examples, "target")


def test_what_is_no_file_of_scores_is_refused(tmp_path, tiny_examples):
    with pytest.raises(
        OptionError, match=r"path=scores.txt: a file of scores must end in one of .parquet, .csv, .jsonl"
    ):
        ScoreFile("scores.txt")
    with pytest.raises(DataError, match="does not exist"):
        ScoreFile(str(tmp_path / "no.csv"))(tiny_examples, "target")
    nobody = Examples(tiny_examples.buckets)
    with pytest.raises(OptionError, match="do not say"):
        ScoreFile(str(tmp_path / "no.csv"))(nobody, "target")
