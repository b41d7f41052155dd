import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from workshops import ToldWorkshop

from curriculum_rec.curriculum.difficulty import (
    Combined,
    Ensemble,
    Length,
    Loss,
    Popularity,
    ReducibleLoss,
    RunningLoss,
    TransferTeacher,
)
from curriculum_rec.curriculum.difficulty.combined import combine, split_half_agreement, tied_quantiles
from curriculum_rec.errors import OptionError

SCORES = hnp.arrays(np.float64, st.tuples(st.integers(2, 3), st.integers(1, 12)), elements=st.integers(-3, 3))


@given(SCORES, st.sampled_from(["mean", "max", "lexicographic"]))
def test_only_the_ranks_of_what_is_combined_count(scores, how):
    stretched = np.exp(scores) * np.arange(1, len(scores) + 1)[:, None]
    np.testing.assert_array_equal(combine(scores, how), combine(stretched, how))


@given(SCORES, st.sampled_from(["mean", "max", "lexicographic"]))
def test_what_is_harder_by_all_is_harder(scores, how):
    combined = combine(scores, how)
    for a in range(scores.shape[1]):
        for b in range(scores.shape[1]):
            if (scores[:, a] >= scores[:, b]).all():
                assert combined[a] >= combined[b]
            if how == "lexicographic":
                assert (combined[a] > combined[b]) == (tuple(scores[:, a]) > tuple(scores[:, b]))


@given(SCORES)
def test_combining_a_score_with_itself_changes_nothing(scores):
    twice = np.stack([scores[0], scores[0]])
    for how in ("mean", "max", "lexicographic"):
        np.testing.assert_allclose(combine(twice, how), tied_quantiles(scores[0]))


def test_mean_and_max_of_known_scores():
    scores = np.array([[1.0, 2.0, 3.0, 4.0], [40.0, 10.0, 10.0, 30.0]])  # quantiles (1 3 5 7) / 8 and (7 2 2 5) / 8
    np.testing.assert_allclose(combine(scores, "mean"), [8 / 16, 5 / 16, 7 / 16, 12 / 16])
    np.testing.assert_allclose(combine(scores, "max"), [7 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_difficulties_count_in_the_order_of_their_names(tiny_examples):
    length, popularity = Length(), Popularity()
    both = {"b": popularity, "a": length}
    got = Combined(both, "lexicographic")(tiny_examples, "target")
    scores = np.stack([length(tiny_examples, "target"), popularity(tiny_examples, "target")])
    np.testing.assert_array_equal(got, combine(scores, "lexicographic"))
    assert (np.diff(scores[0][np.argsort(got, kind="stable")]) >= 0).all()


def test_running_and_taught_difficulties_combine(tiny_examples):
    combined = Combined({"first": Loss(decay=0.5), "second": TransferTeacher()})
    assert combined.decay == 0.5
    n = len(tiny_examples)
    losses = RunningLoss(np.random.default_rng(0).random(n).astype(np.float32), np.ones(n, bool))
    workshop = ToldWorkshop(lambda w, lesson, name, n: np.arange(n, dtype=float)[None])
    got = combined(tiny_examples, "sequence", losses, workshop)
    taught = TransferTeacher()(tiny_examples, "sequence", None, workshop)
    np.testing.assert_array_equal(got, combine(np.stack([losses.mean, taught]), "mean"))
    with pytest.raises(OptionError, match="decay differs"):
        Combined({"first": Loss(decay=0.5), "second": ReducibleLoss(decay=0.9)})


@pytest.mark.parametrize(
    "options", [{"difficulties": {"one": Length()}}, {"difficulties": {"a": Length(), "b": Length()}, "how": "sum"}]
)
def test_wrong_combinations_are_refused(options):
    with pytest.raises(OptionError, match=r"curriculum\.difficulty\.(difficulties|how)"):
        Combined(**options)


def noisy_copies(n_copies, noise, *, n=400):
    rng = np.random.default_rng(0)
    truth = rng.random(n)
    return truth, truth + noise * rng.standard_normal((n_copies, n))


def test_averaging_four_noisy_copies_raises_the_agreement_of_two_halves():
    truth, copies = noisy_copies(8, noise=0.5)
    single = np.mean([split_half_agreement(copies[[i, i + 1]]) for i in range(7)])
    assert split_half_agreement(copies) > single + 0.2
    assert split_half_agreement(np.stack([truth, truth**3])) == pytest.approx(1)
    assert split_half_agreement(np.stack([truth, -truth])) == pytest.approx(-1)


def test_an_ensemble_averages_quantiles_over_seeds_and_tells_how_far_they_agree(tiny_examples):
    n = len(tiny_examples.targets)
    _, copies = noisy_copies(3, 0.3, n=n)
    workshop = ToldWorkshop(lambda workshop, lesson, name, n: copies[workshop.number][None])
    got = Ensemble(TransferTeacher())(tiny_examples, "target", None, workshop)
    np.testing.assert_allclose(got, combine(copies.astype(np.float32), "mean"))
    assert [number for number, _ in workshop.lessons] == [0, 1, 2]
    assert f"agree by {split_half_agreement(copies.astype(np.float32)):.3f}" in workshop.said[0]


def test_an_ensemble_of_what_has_no_seed_is_refused(tiny_examples):
    with pytest.raises(OptionError, match="Length is the same for all seeds"):
        Ensemble(Length())(tiny_examples, "target", None, ToldWorkshop(None))
    with pytest.raises(OptionError, match="Ensemble asks teachers"):
        Ensemble(TransferTeacher())(tiny_examples, "target", None, None)
    with pytest.raises(OptionError, match="seeds=1"):
        Ensemble(TransferTeacher(), seeds=1)
