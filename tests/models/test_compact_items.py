"""Item tables smaller than the catalogue: against the forms of compression, their size, growth, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from curriculum_rec.compression.shared_rows import Products
from curriculum_rec.errors import OptionError
from curriculum_rec.growth import ComposedGrowth, Copies, MaskedGrowth, NewUnits
from curriculum_rec.models import HSTU, BERT4Rec, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.compact_items import Hashed, QuotientRemainder, probes
from curriculum_rec.models.items import ItemTable, n_rows
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives import SampledSoftmax
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.state import TrainState, count_parameters
from curriculum_rec.training.step import make_step

N_ITEMS, WIDTH, LENGTH = 300, 8, 5
ROWS = n_rows(N_ITEMS)
ITEMS = np.array([[3, 300, 17], [1, 2, 0]], np.int32)
OPTIONS = {
    "sasrec": SASRec(width=WIDTH, depth=1, norm="rms", dropout=0.0),
    "bert4rec": BERT4Rec(width=WIDTH, depth=1, norm="rms", dropout=0.0),
    "hstu": HSTU(width=WIDTH, depth=1, norm="rms", bias="position", dropout=0.0),
}
TABLES = {"hashed": Hashed(), "quotient and remainder": QuotientRemainder()}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def build(options, table):
    """A model with parameters away from their initial values."""
    make = nnx.eval_shape(
        lambda: replace(options, item_table=table)(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0))
    )
    structure, abstract = split_model(make)
    rng = np.random.default_rng(1)
    return structure, jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), abstract
    )


def make_batch():
    history = np.array([[3, 299, 17, 40, 0], [1, 2, 0, 0, 0]], np.int32)
    target = np.array([[299, 17, 40, 8, 0], [2, 150, 0, 0, 0]], np.int32)
    return Batch({"history": jnp.asarray(history), "target": jnp.asarray(target)}, jnp.ones(2))


def make_rng():
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(2, dtype=jnp.int32))


@pytest.mark.parametrize("name", OPTIONS)
@every_table
def test_a_model_has_one_set_of_vectors_in_and_out_and_the_documented_size(name, table):
    model = join_model(*build(OPTIONS[name], table))
    every = np.asarray(model.item_vectors())
    assert every.shape == (ROWS, WIDTH)
    np.testing.assert_allclose(model.item_vectors(jnp.asarray(ITEMS)), every[ITEMS], rtol=1e-6)
    np.testing.assert_allclose(model.items.embed(jnp.asarray(ITEMS)), every[ITEMS], rtol=1e-6)
    sizes = {Hashed(): (ROWS // 4) * WIDTH + 2 * ROWS, QuotientRemainder(): (20 + 20) * WIDTH}  # ROWS = 384 < 20 * 20
    full = count_parameters(build(OPTIONS[name], None)[1])
    assert full - count_parameters(split_model(model)[1]) == ROWS * WIDTH - sizes[table]


@pytest.mark.parametrize("remainders", [None, 50])
def test_products_are_those_of_compression_and_no_two_items_share_both_rows(remainders):
    table = QuotientRemainder(remainders=remainders)(N_ITEMS, WIDTH, cosine_scale=None, rngs=nnx.Rngs(0))
    quotient, remainder = (np.asarray(leaf[...]) for leaf in (table.quotient, table.remainder))
    expected = Products(quotient, remainder, ROWS).dense()
    np.testing.assert_allclose(table.vectors(), expected, rtol=1e-6)
    assert len({(i // len(remainder), i % len(remainder)) for i in range(ROWS)}) == ROWS
    assert expected.std() == pytest.approx(0.02, rel=0.25)
    full = ItemTable(N_ITEMS, WIDTH, cosine_scale=None, rngs=nnx.Rngs(0)).vectors()[1 : N_ITEMS + 1]
    assert expected.std() == pytest.approx(float(full.std()), rel=0.25)


def test_sums_are_those_of_the_hashed_rows():
    table = Hashed(share=0.5, n_probes=3)(N_ITEMS, WIDTH, cosine_scale=None, rngs=nnx.Rngs(0))
    assert np.asarray(table.vectors()).std() == pytest.approx(0.02, rel=0.15)
    table.weight[...] = jnp.asarray(np.random.default_rng(0).standard_normal((ROWS, 3), np.float32))
    chosen = np.asarray(probes(jnp.arange(ROWS, dtype=jnp.int32), 3, n_buckets=ROWS // 2))
    rows, weight = np.asarray(table.table[...]), np.asarray(table.weight[...])
    expected = [sum(weight[i, k] * rows[chosen[i, k]] for k in range(3)) for i in range(ROWS)]
    np.testing.assert_allclose(table.vectors(), expected, rtol=1e-4, atol=1e-6)


def test_hashes_are_spread_evenly_and_stay_what_they_are():
    chosen = np.asarray(probes(jnp.arange(20000, dtype=jnp.int32), 2, n_buckets=50))
    counts = np.bincount(chosen.ravel(), minlength=50)
    assert ((counts - 800) ** 2 / 800).sum() < 94  # chi-square of 49 degrees, p of 1e-4
    assert (chosen[:, 0] == chosen[:, 1]).mean() == pytest.approx(1 / 50, abs=0.004)
    assert np.asarray(probes(jnp.array([1, 2, 1000], jnp.int32), 2, n_buckets=1000)).tolist() == STORED


STORED = [[813, 470], [488, 991], [588, 479]]


@every_table
def test_a_step_reaches_all_that_a_batch_looks_up(table):
    structure, params = build(OPTIONS["sasrec"], table)
    tx = optax.sgd(0.1)
    state = TrainState(params, tx.init(params), jnp.int32(0), structure)
    after, metrics = jax.jit(make_step(SampledSoftmax(n_negatives=20), tx))(state, make_batch(), make_rng())
    assert np.isfinite(float(metrics.loss))
    for name, leaf in after.params["items"].items():
        assert (np.asarray(leaf) != np.asarray(params["items"][name])).any(axis=-1).sum() >= 8, name


UNEQUAL = Copies(share=0.3)
COPIES = ComposedGrowth({"stream": Copies(), "hidden": UNEQUAL, "head": UNEQUAL}, allow_lossy=True)
GROWTHS = {
    "copies": (COPIES, 16),
    "new units": (ComposedGrowth({"stream": NewUnits(), "hidden": NewUnits(), "head": NewUnits()}), 11),
    "masked": (MaskedGrowth(), 11),
}


@pytest.mark.slow
@every_table
@pytest.mark.parametrize("growth", GROWTHS)
def test_wider_vectors_begin_as_copies_or_zeros_and_all_of_them_learn(table, growth):
    growth, width = GROWTHS[growth]
    structure, params = build(OPTIONS["sasrec"], table)
    old = join_model(structure, jax.eval_shape(lambda: params))
    wider = replace(OPTIONS["sasrec"], width=width, item_table=table)
    new = nnx.eval_shape(lambda: wider(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)))
    tx = AdamW(learning_rate=0.01)(10)
    grown, opt_state = growth(params, tx.init(params), old=old, new=new, seed=0)
    seen = growth.masks(old, new).of(grown, jnp.int32(0)) if isinstance(growth, MaskedGrowth) else grown

    def vectors_of(items, width):
        made = replace(OPTIONS["sasrec"], width=width, item_table=table)
        table_of = nnx.eval_shape(lambda: made(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)).items)
        return np.asarray(join_model(split_model(table_of)[0], items).vectors())

    before, after = vectors_of(params["items"], WIDTH), vectors_of(seen["items"], width)
    np.testing.assert_allclose(after[:, :WIDTH], before, rtol=1e-5, atol=1e-6)
    copied = width == 2 * WIDTH
    np.testing.assert_allclose(after[:, WIDTH:], before if copied else 0, rtol=1e-5, atol=1e-6)
    state = TrainState(grown, opt_state, jnp.int32(0), split_model(new)[0])
    step = jax.jit(make_step(SampledSoftmax(n_negatives=20), tx))
    for _ in range(2):
        state, _ = step(state, make_batch(), make_rng())
    for name, leaf in state.params["items"].items():
        new_part = np.asarray(leaf)[:, WIDTH:]
        assert (new_part != np.asarray(grown["items"][name])[:, WIDTH:]).any() or not new_part.size, name


def test_what_needs_a_row_of_its_own_for_each_item_is_refused():
    from curriculum_rec.compression import LowRank
    from curriculum_rec.objectives.nested import narrowed
    from curriculum_rec.training.placement import Placement

    structure, params = build(OPTIONS["sasrec"], Hashed())
    host = jax.tree.map(np.asarray, params)
    with pytest.raises(OptionError, match=r"no parameter items\.embedding"):
        LowRank()(host, seed=0)
    with pytest.raises(OptionError, match=r"no parameter items\.embedding"):
        narrowed(join_model(structure, params), 0.5)
    with pytest.raises(OptionError, match=r"no parameter items\.embedding"):
        Placement("shard_map", table=2).place().check_table(params)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Hashed(share=0.0), "model.item_table.share=0"),
        (lambda: Hashed(n_probes=0), "model.item_table.n_probes=0"),
        (lambda: QuotientRemainder(remainders=1), "model.item_table.remainders=1"),
    ],
)
def test_options_out_of_range_are_refused(make, sentence):
    with pytest.raises(OptionError, match=sentence):
        make()
