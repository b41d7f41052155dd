"""Ranks by counting, against a sort; and an evaluation that its own batching does not change."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx

from curriculum_rec.data import padded
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import Evaluation, FullRanking, target_ranks
from curriculum_rec.evaluation.scoring import list_batches, rank_batches
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.placement import Placement

MAX_LENGTH = 6


def sorted_rank(scores, target, seen):
    """Rank by sorting the candidates: the mean place of those level with the target."""
    candidates = [item for item in range(1, len(scores)) if item not in set(seen) - {0}]
    ordered = sorted((scores[item] for item in candidates), reverse=True)
    places = [place for place, score in enumerate(ordered, start=1) if score == scores[target]]
    return sum(places) / len(places)


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_ranks_against_a_sort(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(-levels, levels, (60, 31)).astype(np.float32)
    target = rng.integers(1, 31, 60).astype(np.int32)
    seen = np.zeros((60, 8), np.int32)
    for row in range(60):
        others = rng.permutation(np.setdiff1d(np.arange(1, 31), target[row]))[: rng.integers(0, 9)]
        seen[row, : len(others)] = others
    expected = [sorted_rank(*row) for row in zip(scores, target, seen, strict=True)]
    filled_up = np.pad(scores, ((0, 0), (0, 3)), constant_values=np.inf)
    for given in (scores, filled_up):
        assert target_ranks(jnp.array(given), jnp.array(target), jnp.array(seen), n_items=30).tolist() == expected


def test_without_seen_items_and_with_infinite_scores():
    scores = jnp.array([[jnp.inf, -jnp.inf, 2.0, -jnp.inf, jnp.inf]] * 2)
    none_seen = jnp.zeros((2, 0), jnp.int32)
    assert target_ranks(scores, jnp.array([2, 3]), none_seen, n_items=4).tolist() == [2.0, 3.5]


@pytest.mark.parametrize(("own", "others"), [(jnp.nan, jnp.nan), (jnp.nan, 0.0), (0.0, jnp.nan)])
def test_a_score_that_is_no_number_is_never_rewarded(own, others):
    # A diverged model must not look perfect.
    scores = jnp.full((1, 11), others).at[0, 1].set(own)
    assert target_ranks(scores, jnp.array([1]), jnp.zeros((1, 0), jnp.int32), n_items=10).item() >= 5.5


def split_of(n_items, lengths):
    """Users with histories of these lengths, whose items are drawn with repetitions."""
    rng = np.random.default_rng(3)
    rows = [(user, int(item)) for user, n in enumerate(lengths) for item in rng.integers(0, n_items, n)]
    return LeaveOneOut()(clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s"))


@pytest.fixture(scope="module")
def split():
    return split_of(25, np.random.default_rng(4).integers(3, 14, 45))


@pytest.fixture(scope="module")
def uneven():
    """A few histories are many times as long as the others, and as what the model takes."""
    return split_of(300, [*np.random.default_rng(5).integers(3, 14, 30), 500, 25, 5, 90, 6, 24, 100, 900])


def model_of(split):
    options = SASRec(width=8, depth=1, n_heads=2)
    built = options(n_items=split.interactions.n_items, max_length=MAX_LENGTH, rngs=nnx.Rngs(0))
    structure, params = split_model(built)
    return structure, jax.tree.map(lambda leaf: leaf * 3, params)  # further from ties than the initial values


@pytest.fixture(scope="module")
def model(split):
    return model_of(split)


def ranks_of(split, model, *, part=Part.TEST, devices=1, lengths=(2, 4), **options):
    placed = Placement("shard_map" if devices > 1 else "jit", devices).place()
    evaluation = Evaluation(FullRanking(**options), split.rows(part), MAX_LENGTH, lengths, placed)
    structure, params = model
    return evaluation.ranks(structure, placed.replicate(params))


def ranks_by_sorting(split, model, part, *, filter_seen):
    rows, network = split.rows(part), join_model(*model)
    vectors = np.asarray(network.item_vectors())[: network.n_items + 1]
    expected = []
    for target, start, stop in zip(rows.target, rows.start, rows.stop, strict=True):
        history = rows.items[start:stop]
        recent = history[-MAX_LENGTH:]
        row = np.pad(recent, (0, MAX_LENGTH - len(recent)))
        scores = np.asarray(user_vectors(network, {"history": jnp.array(row[None])}))[0] @ vectors.T
        seen = set(history.tolist()) - {int(target)} if filter_seen else set()
        expected.append(sorted_rank(scores, int(target), seen))
    return expected


@pytest.mark.parametrize("filter_seen", [True, False])
@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_ranks_of_a_model_against_a_sort(split, model, part, filter_seen):
    expected = ranks_by_sorting(split, model, part, filter_seen=filter_seen)
    assert ranks_of(split, model, part=part, filter_seen=filter_seen).tolist() == expected


@pytest.mark.parametrize("changed", [{}, {"batch_size": 8}, {"item_chunk": 70}, {"devices": 4}])
def test_ranks_after_histories_of_very_different_lengths_against_a_sort(uneven, changed, monkeypatch):
    monkeypatch.setattr(padded, "PLACES_TO_SPARE", 0)
    model = model_of(uneven)
    expected = ranks_by_sorting(uneven, model, Part.TEST, filter_seen=True)
    assert ranks_of(uneven, model, **changed).tolist() == expected


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("batch_size", [8, 128])
def test_one_long_history_takes_no_more_memory_than_eight_of_its_length(batch_size, whole, monkeypatch):
    """Nobody else's rows are as wide as its own, be it what was seen or the history of a model that takes all of it."""
    monkeypatch.setattr(padded, "PLACES_TO_SPARE", 0)
    examples, placed = SequenceExamples(max_length=MAX_LENGTH, bucket_lengths=(2, 4)), Placement("jit").place()

    def n_bytes(lengths):
        ranking = FullRanking(batch_size=batch_size).on(
            split_of(2000, lengths), Part.TEST, examples, placed, whole=whole
        )
        return sum(array.nbytes for _, arrays in ranking.evaluation._batches for array in arrays.values())

    others = [3, 5, 7, 20] * 50
    assert n_bytes([*others, 1000]) <= n_bytes(others) + 8 * 4 * (2 * 1000 + 2)


@pytest.mark.parametrize("changed", [{"batch_size": 8}, {"batch_size": 24}, {"lengths": ()}, {"devices": 4}])
def test_ranks_do_not_depend_on_how_rows_are_batched(split, model, changed):
    np.testing.assert_array_equal(ranks_of(split, model), ranks_of(split, model, **changed))


@pytest.mark.parametrize(("devices", "table"), [(2, 2), (4, 2), (4, 4)])
def test_ranks_and_lists_do_not_depend_on_where_the_rows_of_the_table_lie(devices, table):
    n_items, rng = 150, np.random.default_rng(4)  # 256 rows, of which the last shards have few items or none
    structure, params = split_model(SASRec(width=8, depth=1)(n_items=n_items, max_length=6, rngs=nnx.Rngs(0)))
    rows = params["items"]["embedding"]
    params["items"]["embedding"] = 3 * rows[1 + jnp.arange(len(rows)) % 40]  # items of several shards are level
    items = np.stack([1 + rng.permutation(n_items)[:12] for _ in range(32)]).reshape(2, 16, 12).astype(np.int32)
    asked = {"history": items[..., 6:], "target": items[..., 0], "seen": items[..., 1:6], "user": items[..., 0]}
    asked["seen"][:, ::2, 3:] = 0

    def answers(placed, item_chunk):
        placed_params = placed.place_state(params)
        arrays = {name: placed.split(array, 1) for name, array in asked.items()}
        lists = list_batches(structure, placed_params, arrays, 30, item_chunk)
        return np.asarray(rank_batches(structure, placed_params, arrays, item_chunk)), np.asarray(lists)

    ranks, lists = answers(Placement("jit").place(), None)
    assert (ranks % 1 == 0.5).any()
    for item_chunk in (None, 9, 1000):
        got_ranks, got_lists = answers(Placement("shard_map", devices, table).place(), item_chunk)
        np.testing.assert_array_equal(got_ranks, ranks)
        np.testing.assert_array_equal(got_lists, lists)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_a_constant_scorer_gets_the_mean_rank(split, model, filter_seen):
    structure, params = model
    ranks = ranks_of(split, (structure, jax.tree.map(jnp.zeros_like, params)), filter_seen=filter_seen)
    rows = split.rows(Part.TEST)
    seen = [
        len(set(rows.items[start:stop].tolist()) - {int(target)}) if filter_seen else 0
        for target, start, stop in zip(rows.target, rows.start, rows.stop, strict=True)
    ]
    n_items = split.interactions.n_items
    assert ranks.tolist() == [(n_items - n + 1) / 2 for n in seen]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": ()}, "evaluation.k"),
        ({"k": (0, 10)}, "evaluation.k"),
        ({"metric": "ndcg@7"}, "evaluation.metric=ndcg@7"),
        ({"metric": "auc@10"}, "is no metric"),
        ({"every_epochs": 0.0}, "evaluation.every_epochs"),
        ({"batch_size": 12}, "evaluation.batch_size=12"),
        ({"batch_size": 0}, "evaluation.batch_size=0"),
    ],
)
def test_options_out_of_range(options, words):
    with pytest.raises(OptionError, match=words):
        FullRanking(**options)


def test_cut_offs_stay_within_the_catalogue():
    options = FullRanking()
    options.check_catalogue(20)
    with pytest.raises(OptionError, match=r"evaluation\.k=20 is larger than the catalogue of 19 items"):
        options.check_catalogue(19)
    assert options.metric_names[:3] == ("hr@5", "hr@10", "hr@20")
