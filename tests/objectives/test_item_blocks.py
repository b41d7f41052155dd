"""The softmax over items block by block: the same numbers, and the memory that a large catalogue leaves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.dnn import DNN
from curriculum_rec.objectives import Softmax
from curriculum_rec.objectives.softmax import Candidates, Positions, cross_entropy
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState, count_parameters
from curriculum_rec.training.step import make_step

N, ROWS, WIDTH = 11, 16, 4


@pytest.mark.parametrize(
    ("chunk", "item_chunk", "table"),
    [(4, 1, 1), (4, 5, 1), (11, 12, 1), (3, 13, 1), (64, 64, 1), (4, 1, 2), (11, 10, 2), (4, 12, 4), (64, 64, 4)],
)
def test_blocks_change_neither_losses_nor_gradients(chunk, item_chunk, table):
    rng = np.random.default_rng(2)
    hidden, vectors = (jnp.asarray(3 * rng.standard_normal((n, WIDTH)), jnp.float32) for n in (N, ROWS))
    if table > 1:
        spread = Placement("shard_map", 4, table).place().place_state({"items": {"embedding": vectors}})
        vectors = spread["items"]["embedding"]
    candidate = jnp.asarray([False, *[True] * 10, *[False] * 5])  # a last block and a last shard without any
    target, needed = jnp.asarray(rng.integers(1, 11, N), jnp.int32), jnp.asarray(np.arange(N) % 3 != 1)
    weight, other = (jnp.asarray(rng.random(N), jnp.float32) for _ in range(2))

    def total(h, v, given, size):
        losses = cross_entropy(
            Positions(h, target, given, needed), Candidates(v, candidate), chunk=chunk, item_chunk=size
        )
        return (weight * losses).sum(), losses

    def reference(h, v):
        scores = jnp.where(candidate[None, :], h @ v.T, -jnp.inf)
        losses = needed * -jnp.take_along_axis(jax.nn.log_softmax(scores, axis=-1), target[:, None], -1)[:, 0]
        return (weight * losses).sum(), losses

    (_, losses), gradient = jax.value_and_grad(reference, argnums=(0, 1), has_aux=True)(hidden, vectors)
    for given in (weight, other):  # foreseen, and computed anew
        take = jax.jit(jax.value_and_grad(partial(total, given=given, size=item_chunk), argnums=(0, 1), has_aux=True))
        (_, got), got_gradient = take(hidden, vectors)
        np.testing.assert_allclose(got, losses, rtol=1e-5, atol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got_gradient, gradient)
    forward = cross_entropy(
        Positions(hidden, target, weight, needed), Candidates(vectors, candidate), chunk=chunk, item_chunk=item_chunk
    )
    np.testing.assert_allclose(forward, losses, rtol=1e-5, atol=1e-6)


def test_a_million_items_take_less_than_two_gigabytes_beyond_the_parameters():
    n_items, batch, length = 1_000_000, 64, 32
    model = nnx.eval_shape(lambda: DNN(width=64, depth=1)(n_items=n_items, max_length=length, rngs=nnx.Rngs(0)))
    optimizer = AdamW()(10)
    state = jax.eval_shape(lambda: TrainState.create(model, optimizer))
    items = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    rows = Batch({"history": items, "target": items}, jax.ShapeDtypeStruct((batch,), jnp.float32))
    rng = jax.eval_shape(lambda: BatchRng.for_rows(jax.random.key(0), jnp.arange(batch, dtype=jnp.int32)))
    step = jax.jit(make_step(Softmax(), optimizer), donate_argnums=0)
    memory = step.lower(state, rows, rng).compile().memory_analysis()
    # What comes in, moments of 512 MB among it, and what is needed meanwhile; what goes out takes the same place.
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    needed += memory.temp_size_in_bytes - 4 * count_parameters(state.params)
    assert 0.5e9 < needed < 2e9


def test_blocks_of_nothing_are_refused():
    with pytest.raises(OptionError, match="item_chunk=0"):
        Softmax(item_chunk=0)


@pytest.mark.parametrize("item_chunk", [None, 64])
def test_no_loss_is_below_0(item_chunk):
    """Of a target that all scores speak for; its own score is added up in another order than those of all."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((256, 64), np.float32)
    vectors *= 6 / np.linalg.norm(vectors, axis=1, keepdims=True)
    target = np.arange(1, 256, dtype=np.int32)
    hidden, weight = jnp.asarray(vectors[target]), jnp.ones(len(target))
    losses = cross_entropy(
        Positions(hidden, jnp.asarray(target), weight, jnp.ones(len(target), bool)),
        Candidates(jnp.asarray(vectors), jnp.arange(256) > 0),
        chunk=64,
        item_chunk=item_chunk,
    )
    assert 0 <= float(losses.min()) < 1e-5
