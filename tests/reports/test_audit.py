import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curriculum_rec.curriculum.difficulty import HistoryEntropy, Length, Popularity, TimeGap
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.scores import score_table
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.reports.audit import Scorer, audit, noise_by_decile, rank_correlations, score
from curriculum_rec.reports.target_files import read_flags, read_scorer

RNG = np.random.default_rng(5)
TIED = RNG.integers(0, 6, (4, 80)).astype(float)
NOISE = RNG.random(80) < 0.3


def test_rank_correlations_are_those_of_scipy():
    np.testing.assert_allclose(rank_correlations(TIED), spearmanr(TIED, axis=1).statistic, atol=1e-12)


def test_a_constant_score_correlates_with_nothing():
    found = rank_correlations(np.stack([TIED[0], np.zeros(80)]))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan([found[0, 1], found[1, 0], found[1, 1]]).all()


@given(st.integers(0, 1000))
def test_ranks_alone_matter(seed):
    values = np.random.default_rng(seed).random((2, 30))
    stretched = np.stack([np.exp(5 * values[0]), values[1] ** 3])
    np.testing.assert_allclose(rank_correlations(stretched), rank_correlations(values))
    np.testing.assert_allclose(
        rank_correlations(np.stack([values[0], -values[1]]))[0, 1], -rank_correlations(values)[0, 1]
    )


def test_noise_by_decile():
    share = noise_by_decile(np.arange(20.0), np.arange(20) >= 17)
    np.testing.assert_allclose(share, [0] * 8 + [1 / 2, 1])


def test_an_audit_by_hand():
    easy, hard = Scorer("a", np.array([[1.0, 2.0, 3.0]])), Scorer("b", np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]]))
    found = audit([easy, hard], np.array([False, False, True]))
    assert found.names == ("a", "b")
    assert found.split_half == (None, pytest.approx(1 / 2))
    assert found.noise_auc == (1, 1 / 4)  # the mean of b is (3, 1.5, 1.5)
    assert found.correlation[0, 1] == pytest.approx(-np.sqrt(3) / 2)
    assert found.n_noise == 1
    without = audit([easy, hard])
    assert without.noise_auc == (None, None)
    assert without.noise_share is None


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(OptionError, match="'a' is not a number"):
        audit([Scorer("a", np.array([[1.0, np.nan]]))])
    with pytest.raises(OptionError, match="at least one"):
        audit([])


def test_difficulties_are_scored_once_or_once_a_seed(tiny_examples):
    once = score("popularity", Popularity(), tiny_examples, n_seeds=3)
    np.testing.assert_array_equal(once.scores, Popularity()(tiny_examples, "target")[None])
    thrice = score("entropy", HistoryEntropy(clusters=5, seed=4), tiny_examples, n_seeds=3)
    assert thrice.scores.shape == (3, len(tiny_examples.targets))
    np.testing.assert_array_equal(thrice.scores[1], HistoryEntropy(clusters=5, seed=5)(tiny_examples, "target"))
    assert (thrice.scores[0] != thrice.scores[1]).any()
    with pytest.raises(OptionError, match="seeds=1"):
        score("popularity", Popularity(), tiny_examples, n_seeds=1)


def test_what_cannot_score_says_so(tiny_examples):
    without_times = Examples(tiny_examples.buckets, tiny_examples.item_counts)
    with pytest.raises(OptionError, match="needs timestamps"):
        score("time_gap", TimeGap(), without_times, n_seeds=2)


def named(examples, **columns):
    """Name every training target, as a person would."""
    nothing = np.zeros(len(examples.targets))
    return score_table(examples, "target", nothing, nothing).drop("score", "quantile").with_columns(**columns)


def test_score_files_are_read_in_any_order(tiny_examples, tmp_path):
    length = Length()(tiny_examples, "target")
    frame = named(tiny_examples, score=pl.Series(length))
    (tmp_path / "seeds").mkdir()
    frame.sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "seeds" / "0.parquet")
    frame.with_columns(-pl.col("score").cast(pl.Float32)).write_parquet(tmp_path / "seeds" / "1.parquet")
    one = read_scorer(tmp_path / "seeds" / "0.parquet", tiny_examples)
    assert one.name == "0"
    np.testing.assert_array_equal(one.scores, length[None])
    both = read_scorer(tmp_path / "seeds", tiny_examples)
    assert both.name == "seeds"
    np.testing.assert_array_equal(both.scores, [length, -length])


def test_flags_mark_the_listed_targets(tiny_examples, tmp_path):
    targets = named(tiny_examples)
    listed = targets.filter(pl.int_range(pl.len()) % 7 == 2)
    first = listed.head(1).with_columns(position=pl.lit(0, pl.Int64))  # the first of a history is no target
    pl.concat([listed, first]).write_parquet(tmp_path / "wrong.parquet")
    flags = read_flags(tmp_path / "wrong.parquet", tiny_examples)
    np.testing.assert_array_equal(flags, np.arange(len(targets)) % 7 == 2)


def test_mistakes_in_files_of_targets_are_named(tiny_examples, tmp_path):
    targets, path = named(tiny_examples), tmp_path / "scores.parquet"
    for frame, sentence in (
        (targets.with_columns(value=1), "no column 'score'; it has user, item, position, value"),
        (targets.with_columns(score=1.0)[1:], "no score for 1 of .*, the first being user '100'"),
        (targets.with_columns(score=np.inf), "scores that are not finite"),
        (targets.drop("item", "position").unique().with_columns(score=1.0), "neither 'position' nor 'item'"),
    ):
        frame.write_parquet(path)
        with pytest.raises(DataError, match=sentence):
            read_scorer(path, tiny_examples)
    path.write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_scorer(path, tiny_examples)
    with pytest.raises(DataError, match="it does not exist"):
        read_flags(tmp_path / "nothing.parquet", tiny_examples)
    (tmp_path / "seeds").mkdir()
    with pytest.raises(DataError, match="holds no Parquet file"):
        read_scorer(tmp_path / "seeds", tiny_examples)
    targets.with_columns(user=pl.lit("x")).write_parquet(path)
    with pytest.raises(DataError, match="lists no training target"):
        read_flags(path, tiny_examples)
