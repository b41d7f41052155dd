import numpy as np
import polars as pl
import pytest

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.target_scores import read_target_scores
from curriculum_rec.errors import DataError, OptionError


def frame_of(examples):
    """Score every target by its number, as a run on the same data would write it."""
    lengths = np.diff(examples.target_offsets)
    n = len(examples.targets)
    return pl.DataFrame(
        {
            "user": np.repeat([f"u{number:03}" for number in range(len(examples))], lengths),
            "item": [f"i{item:03}" for item in examples.targets],
            "position": np.arange(n) - np.repeat(examples.target_offsets[:-1], lengths),
            "score": np.arange(n, dtype=np.float64) / 8,
        }
    )


def test_scores_come_in_the_order_of_the_targets_wherever_their_rows_stand(tiny_examples, tmp_path):
    path = tmp_path / "scores.parquet"
    frame_of(tiny_examples).sample(fraction=1.0, shuffle=True, seed=0).write_parquet(path)
    scores = read_target_scores(str(path), tiny_examples, option="x")
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, np.arange(len(tiny_examples.targets)) / 8)


def test_files_that_do_not_fit_are_refused(tiny_examples, tmp_path):
    good = frame_of(tiny_examples)
    bad = {
        "has no column position": good.drop("position"),
        "rows, but there are": good.head(5),
        "scores other targets: 2 of": good.with_columns(item=good["item"].gather([*range(1, len(good)), 0])),
        "missing or not finite": good.with_columns(score=pl.lit(None, pl.Float64)),
    }
    for number, (message, frame) in enumerate(bad.items()):
        path = tmp_path / f"{number}.parquet"
        frame.write_parquet(path)
        expected = message.replace("2 of", r"\d+ of")
        with pytest.raises(DataError, match=expected):
            read_target_scores(str(path), tiny_examples, option="x")
    with pytest.raises(DataError, match="weighting.reference=.*no such file"):
        read_target_scores(str(tmp_path / "none"), tiny_examples, option="weighting.reference")
    (tmp_path / "text").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_target_scores(str(tmp_path / "text"), tiny_examples, option="x")
    with pytest.raises(OptionError, match="no 'target' sequences"):
        read_target_scores("x", Examples.from_arrays({"x": np.zeros(3)}, batch_size=8), option="x")
