"""Rows of tables that a step looks up: their gradient is the table's, and an optimizer leaves the others alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.structure import split_model
from curriculum_rec.negatives import Hardest, candidates
from curriculum_rec.objectives import BinaryCrossEntropy, Nested, SampledSoftmax, Softmax
from curriculum_rec.training.fit import fit
from curriculum_rec.training.freezing import Frozen
from curriculum_rec.training.optimizers import (
    LAMB,
    SGD,
    Adagrad,
    AdamW,
    Lion,
    RowwiseAdagrad,
    TouchedRows,
)
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.pruning import Pruned
from curriculum_rec.training.row_gradients import RowGradient, summed
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import local_gradient, make_step

N_ITEMS, WIDTH, BATCH, LENGTH = 50, 4, 8, 3
TABLE = "items.embedding"


class Mean(nnx.Module):
    """The mean of the history through one matrix: the smallest model with a table and something besides."""

    def __init__(self, n_items=N_ITEMS):
        self.items = ItemTable(n_items, WIDTH, cosine_scale=None, rngs=nnx.Rngs(0))
        self.mix = nnx.Param(jnp.eye(WIDTH) + 0.1)

    def __call__(self, batch, rng=None):
        total = jnp.cumsum(self.items.embed(batch["history"]), axis=1)
        return total @ self.mix[...]

    def item_vectors(self, items=None):
        return self.items.vectors(items)

    @property
    def n_items(self):
        return self.items.n_items


def make_batch(seed=0, n_items=N_ITEMS):
    items = np.random.default_rng(seed).integers(1, n_items + 1, (BATCH, LENGTH + 1)).astype(np.int32)
    items[0, 2:] = 0  # a short history
    history = np.where(items[:, 1:] > 0, items[:, :-1], 0)
    weight = jnp.asarray(np.linspace(0.5, 1.5, BATCH), jnp.float32)
    rng = BatchRng.for_rows(jax.random.key(seed), jnp.arange(BATCH, dtype=jnp.int32))
    return Batch({"history": jnp.asarray(history), "target": jnp.asarray(items[:, 1:])}, weight), rng


def begin(optimizer, model=None):
    transformation = optimizer(10)
    return transformation, TrainState.create(model or Mean(), transformation)


def steps(optimizer, objective, n_steps=4, n_items=N_ITEMS):
    transformation, state = begin(optimizer, Mean(n_items))
    step, states, norms = jax.jit(make_step(objective, transformation)), [], []
    for number in range(n_steps):
        state, metrics = step(state, *make_batch(number, n_items))
        states.append(state)
        norms.append(float(metrics.gradient_norm))
    return states, norms


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **{"rtol": 2e-5, "atol": 1e-7, **tolerance}), a, b)


@pytest.mark.parametrize(
    "objective",
    [SampledSoftmax(7), BinaryCrossEntropy(2, negatives=Hardest(candidates=4))],
    ids=["sampled_softmax", "hardest"],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradient_of_rows_is_that_of_the_table(objective, accumulate, monkeypatch):
    monkeypatch.setattr(candidates, "VECTORS_AT_ONCE", 24)  # candidates are scored in a loop, which notes no rows
    _, state = begin(SGD(momentum=0.0))
    take = partial(local_gradient, objective, state, *make_batch(), accumulate=accumulate)
    dense, by_rows = take(), take(tables=(TABLE,))
    total = summed(by_rows.rows[TABLE], len(state.params["items"]["embedding"]))
    table = jnp.zeros_like(state.params["items"]["embedding"]).at[total.rows].add(total.values, mode="drop")
    np.testing.assert_allclose(table, dense.gradient["items"]["embedding"], rtol=1e-5, atol=1e-6)
    assert_close(by_rows.gradient["mix"], dense.gradient["mix"])
    assert by_rows.gradient["items"]["embedding"] is None
    np.testing.assert_array_equal(by_rows.losses, dense.losses)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(momentum=0.0),
        SGD(momentum=0.0, clip_norm=0.01),
        Adagrad(),
        RowwiseAdagrad(),
        RowwiseAdagrad(schedule="linear"),
    ],
    ids=["sgd", "clipped", "adagrad", "rowwise_adagrad", "scheduled"],
)
def test_touched_rows_take_the_dense_steps_where_a_row_without_a_gradient_stands_still(optimizer):
    objective = SampledSoftmax(7)
    (dense, dense_norms), (touched, touched_norms) = (
        steps(each, objective) for each in (optimizer, TouchedRows(optimizer))
    )
    np.testing.assert_allclose(touched_norms, dense_norms, rtol=1e-5)
    assert_close(touched[-1].params, dense[-1].params)
    assert_close(touched[-1].opt_state, dense[-1].opt_state, rtol=2e-4)


@pytest.mark.parametrize("optimizer", [AdamW(), AdamW(weight_decay=0.1), Lion(), SGD()], ids=str)
def test_lazy_updates_are_the_dense_ones_where_every_row_is_looked_up_in_every_step(optimizer):
    n_items, objective = 6, SampledSoftmax(200)
    dense, touched = (steps(each, objective, n_items=n_items)[0] for each in (optimizer, TouchedRows(optimizer)))
    table = [states[-1].params["items"]["embedding"][1 : n_items + 1] for states in (dense, touched)]
    np.testing.assert_allclose(*table, rtol=2e-4, atol=1e-5)
    assert_close(dense[-1].params["mix"], touched[-1].params["mix"], rtol=1e-3, atol=1e-5)


def test_what_no_step_looked_up_stays_as_it_is_and_rows_count_their_own_steps():
    transformation, state = begin(TouchedRows(AdamW(weight_decay=0.5)))
    before = state
    step = jax.jit(make_step(SampledSoftmax(3), transformation))
    looked_up = []
    for number in range(3):
        batch, rng = make_batch(number)
        drawn = jax.random.randint(rng.named("shared negatives").key(), (3,), 1, N_ITEMS + 1, jnp.int32)
        looked_up.append({*np.ravel(batch["history"]).tolist(), *np.ravel(batch["target"]).tolist(), *drawn.tolist()})
        state, _ = step(state, batch, rng)
    n_rows = len(state.params["items"]["embedding"])
    times = np.array([sum(row in each for each in looked_up) for row in range(n_rows)])
    counts = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
        if path_names(path)[-3:] == ("count", "items", "embedding")
    ]
    np.testing.assert_array_equal(counts[0], times)
    assert 0 < (times == 0).sum() < n_rows
    assert (times > 1).any()
    old, new = (np.asarray(each.params["items"]["embedding"]) for each in (before, state))
    np.testing.assert_array_equal(old[times == 0], new[times == 0])
    assert (old[1:][times[1:] > 0] != new[1:][times[1:] > 0]).any(axis=1).all()


def test_rowwise_adagrad_by_hand():
    params = {"items": {"embedding": jnp.ones((2, 2))}, "mix": jnp.ones((2, 2))}
    gradient = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    transformation = RowwiseAdagrad(learning_rate=1.0)(10)
    state = transformation.init(params)
    for number in (1, 2):
        updates, state = transformation.update({"items": {"embedding": gradient}, "mix": gradient}, state, params)
        row = -gradient[0] / np.sqrt(number * 12.5)
        np.testing.assert_allclose(updates["items"]["embedding"], [row, [0, 0]], rtol=1e-5)
        np.testing.assert_allclose(updates["mix"], [[-1 / number**0.5] * 2, [0, 0]], rtol=1e-5)


def test_sums_of_rows_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    rows, values = rng.integers(0, 9, 40).astype(np.int32), rng.standard_normal((40, 2), np.float32)
    total = summed(RowGradient(jnp.asarray(rows), jnp.asarray(values)), 7)  # 7 and 8 lie beyond the table
    expected = {row: values[rows == row].sum(axis=0) for row in range(7)}
    assert (np.diff(total.rows) > 0).all()
    got = {int(row): value for row, value in zip(total.rows, total.values, strict=True) if row < 7}
    assert got.keys() == expected.keys()
    for row, value in got.items():
        np.testing.assert_allclose(value, expected[row], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "placement",
    [
        Placement("pmap", devices=2),
        Placement("shard_map", devices=4, table=2),
        Placement("shard_map", devices=2, table=2),
    ],
    ids=["pmap", "mesh", "table alone"],
)
def test_rows_are_gathered_from_all_devices_and_tables_that_are_spread_are_updated(placement):
    rng = np.random.default_rng(1)
    items = rng.integers(1, N_ITEMS + 1, (64, LENGTH + 1)).astype(np.int32)
    examples = Examples.from_arrays({"history": items[:, :-1], "target": items[:, 1:]}, batch_size=16)

    def run(placement):
        optimizer = TouchedRows(AdamW(clip_norm=0.5))(6)
        return fit(Mean(), SampledSoftmax(5), examples, optimizer=optimizer, steps=6, placement=placement)

    one, several = run(Placement("jit")), run(placement)
    np.testing.assert_allclose(several.loss, one.loss, rtol=1e-5)
    # Adam divides by roots of tiny squares, which carry rounding on.
    assert_close(several.state.params, one.state.params, rtol=1e-2, atol=1e-4)


def test_a_frozen_table_stays_as_it_is_and_so_does_what_is_remembered_of_it():
    transformation, state = begin(TouchedRows(AdamW()))
    state = state.freeze(Frozen(leaves=frozenset({("items", "embedding")})))
    new, _ = jax.jit(make_step(SampledSoftmax(3), transformation))(state, *make_batch())
    np.testing.assert_array_equal(new.params["items"]["embedding"], state.params["items"]["embedding"])
    assert (new.params["mix"] != state.params["mix"]).all()
    for (path, old), leaf in zip(
        jax.tree_util.tree_leaves_with_path(state.opt_state), jax.tree.leaves(new.opt_state), strict=True
    ):
        assert path_names(path)[-2:] != ("items", "embedding") or (old == leaf).all()


def test_all_that_the_state_remembers_is_known_to_growth():
    for optimizer in (AdamW(), Adagrad(), RowwiseAdagrad(), SGD(), Lion()):
        _, state = begin(TouchedRows(optimizer))
        leaves = jax.tree_util.tree_leaves_with_path(state.params)
        paths = frozenset(path_names(path) for path, _ in leaves)
        for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state):
            state_kind(path, paths)


@pytest.mark.parametrize("objective", [Softmax(), Nested(SampledSoftmax(3))], ids=["softmax", "nested"])
def test_what_touches_every_row_is_refused(objective):
    transformation, state = begin(TouchedRows(AdamW()))
    with pytest.raises(OptionError, match="takes the whole item table, of which every row is touched"):
        make_step(objective, transformation)(state, *make_batch())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TouchedRows(LAMB()), "optimizer.optimizer=LAMB: rows of a table can be updated by themselves under"),
        (lambda: TouchedRows(AdamW(weight_average=0.9)), "an average of the weights moves every row"),
        (lambda: TouchedRows(TouchedRows(AdamW())), "optimizer.optimizer=TouchedRows"),
        (lambda: Pruned(TouchedRows(AdamW()))(10), "optimizer=pruned looks at every weight"),
        (lambda: TouchedRows(AdamW())(10).init({"mix": jnp.ones(2)}), "this model has none"),
        (
            lambda: TouchedRows(AdamW())(10).update(
                split_model(Mean())[1], begin(TouchedRows(AdamW()))[1].opt_state, split_model(Mean())[1]
            ),
            "must be the outermost optimizer",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_buckets_of_all_lengths_make_gradients_of_one_shape(tiny_examples):
    def run(optimizer):
        return fit(Mean(40), SampledSoftmax(5), tiny_examples, optimizer=optimizer(8), steps=8, placement="jit")

    dense, touched = run(SGD(momentum=0.0)), run(TouchedRows(SGD(momentum=0.0)))
    np.testing.assert_allclose(touched.loss, dense.loss, rtol=1e-5)
    assert_close(touched.state.params, dense.state.params, rtol=1e-4, atol=1e-6)


def test_a_step_holds_no_second_table_however_long_it_is():
    """Table and moments are updated in place: what is needed meanwhile does not grow with the catalogue."""
    needed = []
    for n_items in (10_000, 1_000_000):
        transformation = TouchedRows(AdamW(clip_norm=1.0))(10)
        model = nnx.eval_shape(lambda n=n_items: Mean(n))
        state = jax.eval_shape(lambda m=model, t=transformation: TrainState.create(m, t))
        step = jax.jit(make_step(SampledSoftmax(7), transformation), donate_argnums=0)
        memory = step.lower(state, *make_batch()).compile().memory_analysis()
        needed.append(memory.temp_size_in_bytes)
        assert memory.alias_size_in_bytes > 3 * 4 * WIDTH * n_items  # the table and two moments stay where they are
    assert needed[1] <= needed[0] + 4096
