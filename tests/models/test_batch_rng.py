import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from curriculum_rec.models.batch import BatchRng, dropout, keep_mask

N, PLACES = 400, 100


def make_rng(seed=0, rows=None):
    rows = jnp.arange(N, dtype=jnp.int32) if rows is None else jnp.asarray(rows, jnp.int32)
    return BatchRng.for_rows(jax.random.key(seed), rows)


def correlation(first, second):
    return abs(np.corrcoef(np.asarray(first, float).ravel(), np.asarray(second, float).ravel())[0, 1])


@pytest.mark.parametrize("shape", [(), (7,), (5, 3)])
def test_a_row_has_the_same_bits_whoever_computes_it(shape):
    whole = make_rng().named("x").bits(*shape)
    assert whole.shape == (N, *shape)
    assert whole.dtype == jnp.uint32
    for rows in (np.arange(100, 200), np.array([399, 3, 17])):
        np.testing.assert_array_equal(make_rng(rows=rows).named("x").bits(*shape), whole[rows])


@pytest.mark.parametrize("kind", ["shard_map", "vmap"])
def test_bits_do_not_depend_on_the_number_of_devices(kind):
    whole = make_rng().bits(5)
    rows = jnp.arange(N, dtype=jnp.int32)

    def body(rows):
        return BatchRng.for_rows(jax.random.key(0), rows).bits(5)

    if kind == "vmap":
        split = jax.vmap(body)(rows.reshape(4, -1)).reshape(N, 5)
    else:
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("data",))
        spec = jax.sharding.PartitionSpec("data")
        split = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=spec))(rows)
    np.testing.assert_array_equal(split, whole)


def test_bits_are_uniform():
    bits = np.asarray(make_rng().bits(PLACES))
    for shift in (0, 8, 16, 24):
        counts = np.bincount(((bits >> shift) & 255).ravel(), minlength=256)
        assert chisquare(counts).pvalue > 1e-4
    assert len(np.unique(bits)) > 0.999 * bits.size


def test_neighbouring_places_and_rows_are_uncorrelated():
    bits = make_rng().bits(PLACES)
    limit = 4 / np.sqrt(N * (PLACES - 1))
    assert correlation(bits[:, 1:], bits[:, :-1]) < limit
    assert correlation(bits[1:], bits[:-1]) < limit


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_rng, lambda: make_rng(seed=1)),
        (lambda: make_rng().named("attention"), lambda: make_rng().named("feed forward")),
        (lambda: make_rng().numbered(0), lambda: make_rng().numbered(1)),
        (make_rng, lambda: make_rng().numbered(0)),
        (lambda: make_rng().named("x").numbered(1), lambda: make_rng().numbered(1).named("x")),
    ],
    ids=["seeds", "names", "numbers", "parent and child", "order of derivation"],
)
def test_different_streams_are_uncorrelated(first, second):
    assert correlation(first().bits(PLACES), second().bits(PLACES)) < 4 / np.sqrt(N * PLACES)


def test_a_traced_number_gives_the_same_stream():
    traced = jax.jit(lambda number: make_rng().numbered(number).bits(3))(2)
    np.testing.assert_array_equal(traced, make_rng().numbered(2).bits(3))


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_dropout_has_its_rate_and_keeps_the_mean(rate):
    kept = np.asarray(keep_mask(make_rng(), rate, (PLACES,)))
    standard_error = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs((1 - kept.mean()) - rate) < 4 * standard_error
    dropped = np.asarray(dropout(jnp.full((N, PLACES), 3.0), rate, make_rng()))
    np.testing.assert_array_equal(dropped != 0, kept)
    np.testing.assert_allclose(dropped[kept], 3 / (1 - rate), rtol=1e-6)
    assert abs(dropped.mean() - 3) < 4 * 3 * standard_error / (1 - rate)


@pytest.mark.parametrize("rng", [None, make_rng])
def test_nothing_is_dropped_at_inference_or_at_rate_zero(rng):
    x = jnp.ones((N, 4))
    assert dropout(x, 0.5 if rng is None else 0.0, rng and rng()) is x


def test_the_shared_key_does_not_depend_on_the_rows():
    keys = [jax.random.key_data(make_rng(rows=rows).named("n").key()) for rows in (np.arange(4), np.arange(4, 8))]
    np.testing.assert_array_equal(*keys)
