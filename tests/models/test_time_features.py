"""When items came, as a feature of positions: numbers of gaps, what a position may know, growth, and every asker."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx

from curriculum_rec.augmentation import Crop, Reorder
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import Evaluation, FullRanking
from curriculum_rec.growth import ComposedGrowth, Copies, DepthGrowth
from curriculum_rec.growth.layer_maps import Interleave
from curriculum_rec.growth.new_blocks import Gated
from curriculum_rec.inference.recommend import history_vectors
from curriculum_rec.models import DNN, HSTU, BERT4Rec, GRU4Rec, SASRec, TwoTower
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import FillsMasks, needs_time
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.models.time_features import N_BUCKETS, gap_numbers
from curriculum_rec.negatives.cached import hard_lists
from curriculum_rec.objectives import Contrastive, DuoRec, MaskedItem, Softmax
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import count_parameters

N_ITEMS, WIDTH, LENGTH, LENGTHS = 20, 8, 8, (8, 5, 1)
GAP = {"width": WIDTH, "time_features": "gap", "dropout": 0.0}
MODELS = {
    "sasrec": SASRec(**GAP, feed_forward_factor=1),
    "bert4rec": BERT4Rec(**GAP, feed_forward_factor=1),
    "hstu": HSTU(**GAP, inner_width=4, bias="position"),
    "hstu with both": HSTU(**GAP, inner_width=4, time_buckets=9),
    "gru4rec": GRU4Rec(**GAP, hidden=5),
    "dnn": DNN(**GAP, feed_forward_factor=1),
    "two_tower": TwoTower(**GAP, feed_forward_factor=1),
}
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)


def build(options, depth=1):
    return options(n_items=N_ITEMS, max_length=LENGTH, depth=depth, rngs=nnx.Rngs(0))


@cache
def make_params(options, depth=1):
    """A model's structure, and parameters that are all away from their special initial values."""
    structure, abstract = split_model(nnx.eval_shape(partial(build, options, depth)))
    rng = np.random.default_rng(1)
    return structure, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract
    )


ITEMS = np.random.default_rng(0).integers(1, N_ITEMS + 1, (3, LENGTH)).astype(np.int32)
HISTORY = np.where(np.arange(LENGTH) < np.array(LENGTHS)[:, None], ITEMS, 0)
SINCE = np.array([0, 1, 100, 86_400, 3, 10, 40, 1000])
TIME = np.where(HISTORY > 0, np.cumsum(SINCE), 0)


def make_batch(history=HISTORY, time=TIME):
    arrays = {"history": jnp.asarray(history), "time": jnp.asarray(time, jnp.float32)}
    return Batch(arrays, jnp.ones(len(history)))


@jax.jit(static_argnums=0)
def _run(structure, params, batch):
    return join_model(structure, params)(batch)


def run(structure, params, batch):
    return np.asarray(_run(structure, params, batch))


def test_numbers_of_gaps_by_hand():
    # 1 + floor(ln(t) / 0.301), at most 1 + 127: ln 100 = 4.605 -> 15, ln 86400 = 11.367 -> 37, ln 3 = 1.099 -> 3
    time = np.array([[-86_504, -86_503, -86_403, -3, 0, 77], [5, 5, 5 + 1e25, 0, 0, 0]], np.float32)
    items = np.array([[3, 3, 4, 5, 6, 0], [7, 8, 9, 0, 0, 0]], np.int32)
    assert np.asarray(gap_numbers(jnp.asarray(time), jnp.asarray(items))).tolist() == [
        [0, 1, 16, 38, 4, 0],
        [0, 1, 128, 0, 0, 0],
    ]


@every_model
def test_a_model_has_a_vector_more_for_each_bucket_and_begins_as_without(options):
    plain = split_model(build(replace(options, time_features="none")))[1]
    timed = split_model(build(options))[1]
    assert count_parameters(timed) - count_parameters(plain) == WIDTH * (N_BUCKETS + 1) == 129 * WIDTH
    for path, leaf in jax.tree_util.tree_leaves_with_path(plain):
        same = timed
        for key in path:
            same = same[key.key]
        np.testing.assert_array_equal(leaf, same)
    assert timed.keys() - plain.keys() == {"time_features"}


@every_model
def test_a_position_knows_the_gap_before_it_and_no_later_time(options):
    assert needs_time(options) and needs_time(build(options))
    structure, params = make_params(options)
    later = np.where(np.arange(LENGTH) >= 3, TIME * 50 + 7, TIME) * (HISTORY > 0)
    from_the_newest = TIME - TIME.max(axis=1, keepdims=True)
    before, after, moved = (run(structure, params, make_batch(time=t)) for t in (TIME, later, from_the_newest))
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert (np.abs(after[:2, 3] - before[:2, 3]) > 1e-4).any(axis=1).all()
    for row, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(moved[row, :length], before[row, :length])  # differences alone count


@every_model
def test_padding_and_its_times_change_nothing(options):
    structure, params = make_params(options)
    before = run(structure, params, make_batch())
    filled = np.where(HISTORY > 0, TIME, -1e6)
    wider = [np.pad(array, ((0, 0), (0, 3))) for array in (HISTORY, TIME)]
    others = [run(structure, params, make_batch(time=filled)), run(structure, params, make_batch(*wider))]
    for other in others:
        for row, length in enumerate(LENGTHS):
            np.testing.assert_allclose(other[row, :length], before[row, :length], atol=1e-5)


@every_model
def test_the_gradient_reaches_the_vectors_of_the_gaps_that_there_are(options):
    structure, params = make_params(options)
    cotangent = np.random.default_rng(2).standard_normal((3, LENGTH, WIDTH), np.float32)

    def loss(params):
        model, batch = join_model(structure, params), make_batch()
        gaps = gap_numbers(batch["time"], batch["history"])
        masked = jnp.zeros(HISTORY.shape, bool).at[0, 5].set(True)
        vectors = model.fill(batch["history"], masked, gaps=gaps) if isinstance(model, FillsMasks) else model(batch)
        return (jnp.where(HISTORY[..., None] > 0, vectors, 0) * cotangent).sum()

    table = np.asarray(jax.jit(jax.grad(loss))(params)["time_features"]["embedding"])
    numbers = np.asarray(gap_numbers(*(make_batch()[name] for name in ("time", "history"))))
    expected = set(numbers.ravel().tolist()) - ({int(numbers[0, 5])} if isinstance(options, BERT4Rec) else set())
    assert set(np.flatnonzero(np.abs(table).max(axis=1) > 1e-7).tolist()) == expected


@every_model
def test_growth_in_depth_preserves_the_function(options):
    old, new = (nnx.eval_shape(partial(build, options, depth)) for depth in (1, 2))
    structure, params = make_params(options)
    growth, optimizer = DepthGrowth(map=Interleave(), blocks=Gated()), AdamW()(10)
    assert growth.preserves_function(old, new)
    grown, _ = growth(params, optimizer.init(params), old=old, new=new)
    after = run(split_model(new)[0], grown, make_batch())
    np.testing.assert_allclose(after, run(structure, params, make_batch()), atol=1e-5)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "dnn"])
def test_growth_in_width_preserves_the_function(name):
    options = MODELS[name]
    wider = replace(options, width=2 * WIDTH)
    old, new = (nnx.eval_shape(partial(build, each)) for each in (options, wider))
    structure, params = make_params(options)
    rules = dict.fromkeys(("stream", "hidden", "head", "heads"), Copies(share=0.5, choice="cyclic"))
    growth, optimizer = ComposedGrowth(units=rules, depth=None), AdamW()(10)
    grown, _ = growth(params, optimizer.init(params), old=old, new=new)
    assert grown["time_features"]["embedding"].shape == (129, 2 * WIDTH)
    scores = [
        np.asarray(model(make_batch()) @ model.item_vectors().T)
        for model in (join_model(structure, params), join_model(split_model(new)[0], grown))
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)


def test_nobody_knows_when_a_masked_item_comes():
    options = MODELS["bert4rec"]
    model = join_model(*make_params(options))
    masked = jnp.asarray(np.arange(LENGTH) == np.array([3, LENGTH, LENGTH])[:, None])
    fill = jax.jit(lambda gaps: model.fill(jnp.asarray(HISTORY), masked, gaps=gaps))
    gaps = np.asarray(gap_numbers(*(make_batch()[name] for name in ("time", "history"))))
    other = np.where(np.asarray(masked), 99, gaps)
    np.testing.assert_array_equal(fill(other), fill(gaps))
    beside = np.where(np.arange(LENGTH) == 4, 99, gaps)
    assert (np.abs(fill(beside) - fill(gaps))[0, 3] > 1e-5).any()
    with pytest.raises(OptionError, match="model.time_features=none"):
        model.fill(jnp.asarray(HISTORY), masked)


def test_what_follows_a_history_is_what_stands_at_a_mask_behind_it():
    model = join_model(*make_params(MODELS["bert4rec"]))
    batch = make_batch()
    vectors = np.asarray(jax.jit(lambda arrays: user_vectors(model, arrays))(batch.arrays))
    by_position = np.asarray(jax.jit(model)(batch))
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(by_position[row, length - 1], vectors[row], atol=1e-5)


def with_targets():
    target = np.concatenate([HISTORY[:, 1:], np.zeros((3, 1), np.int32)], axis=1)
    target[np.arange(3), np.array(LENGTHS) - 1] = 7
    batch = make_batch()
    return replace(batch, arrays={**batch.arrays, "target": jnp.asarray(target)})


def losses(objective, model):
    rng = BatchRng.for_rows(jax.random.key(0), jnp.arange(3, dtype=jnp.int32))
    return jax.jit(lambda batch: objective(model, batch, rng).per_example)


def test_masked_items_are_guessed_from_the_gaps_of_the_others():
    model, batch = join_model(*make_params(MODELS["bert4rec"])), with_targets()
    slower = replace(batch, arrays={**batch.arrays, "time": batch["time"] * 60})
    ask = losses(MaskedItem(Softmax(), share=0.3, last=0.0), model)
    before, after = (np.asarray(ask(each)) for each in (batch, slower))
    assert not np.allclose(after[:2], before[:2])
    np.testing.assert_array_equal(after[2], before[2])  # of an item and what follows it no gap is known


@pytest.mark.parametrize("views", [Crop(), Reorder()])
def test_changed_histories_carry_their_times(views):
    model, batch = join_model(*make_params(MODELS["sasrec"])), with_targets()
    slower = replace(batch, arrays={**batch.arrays, "time": batch["time"] * 60})
    ask = losses(Contrastive(Softmax(), views=views, weight=100.0), model)
    before, after = (np.asarray(ask(each)) for each in (batch, slower))
    assert np.isfinite(before).all() and not np.allclose(after, before)


def test_histories_without_times_are_refused_but_for_single_items():
    options = MODELS["sasrec"]
    model = join_model(*make_params(options))
    with pytest.raises(OptionError, match="no array 'time'.*model.time_features=none"):
        model(Batch({"history": jnp.asarray(HISTORY)}, jnp.ones(3)))
    twins = jnp.asarray(np.pad(HISTORY, ((0, 0), (0, 1))))[:, :, None]
    batch = with_targets()
    with pytest.raises(OptionError, match="leave out what makes histories of its own"):
        losses(DuoRec(Softmax()), model)(replace(batch, arrays={**batch.arrays, "twins": twins}))
    assert hard_lists(model, 3).shape == (N_ITEMS + 1, 3)
    with pytest.raises(OptionError, match="model.time_features=age"):
        SASRec(time_features="age")


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, 12, 30)
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(30), lengths),
            "item": rng.integers(0, N_ITEMS, lengths.sum()),
            "timestamp": np.concatenate([np.cumsum(rng.integers(0, 400_000, n)) for n in lengths]),
        }
    )
    return LeaveOneOut()(clean(frame, {}, source="synthetic data"))


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "gru4rec"])
def test_recommendations_are_scored_as_evaluation_does(split, name):
    """Both lay times out by themselves, in batches of their own; training's are of the same histories."""
    structure, params = make_params(MODELS[name])
    rows, placed = split.rows(Part.TEST), Placement("jit", 1).place()
    lengths = {"max_length": LENGTH, "lengths": (4,)}
    evaluation = Evaluation(FullRanking(filter_seen=False), rows, placed=placed, **lengths)
    timestamp = split.interactions.timestamp
    ask = partial(history_vectors, structure, params, rows.items, rows.start, rows.stop, **lengths)
    model = join_model(structure, params)
    scores = ask(timestamp=timestamp) @ np.asarray(model.item_vectors())[1 : N_ITEMS + 1].T
    own = scores[np.arange(len(rows.target)), rows.target - 1]
    ranks = evaluation.ranks(structure, placed.replicate(params))
    np.testing.assert_array_equal(ranks, 1 + (scores > own[:, None]).sum(axis=1))
    shuffled = ask(timestamp=timestamp[::-1].copy())
    assert not np.allclose(shuffled @ np.ones(WIDTH), ask(timestamp=timestamp) @ np.ones(WIDTH))


def test_examples_ask_as_evaluation_does(split):
    """The vector behind a training history is that which a recommendation after the same history gets."""
    structure, params = make_params(MODELS["sasrec"])
    examples = SequenceExamples(max_length=LENGTH, bucket_lengths=(), positions_per_batch=64)(split).with_times()
    items, offsets = split.training()
    timestamp = split.interactions.timestamp[split.part == Part.TRAIN]
    (bucket,) = examples.buckets
    hidden = run(structure, params, make_batch(bucket.arrays["history"], bucket.arrays["time"]))
    last = (bucket.arrays["history"] > 0).sum(axis=1) - 1
    stop = offsets[examples.origin.user[bucket.example] + 1] - 1
    asked = history_vectors(
        structure, params, items, stop - last - 1, stop, timestamp=timestamp, max_length=LENGTH, lengths=()
    )
    np.testing.assert_allclose(hidden[np.arange(len(last)), last], asked, atol=1e-5)
