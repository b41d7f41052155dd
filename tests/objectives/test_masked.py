"""Masked items: which are masked, what is asked of the model, and what its losses are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.models import BERT4Rec, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.objectives import BinaryCrossEntropy, MaskedItem, Nested, SampledSoftmax, Softmax
from curriculum_rec.objectives.masked import draw_masks

N, LENGTH, N_ITEMS = 400, 6, 12


def rng(n=N, seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(n, dtype=jnp.int32))


@pytest.fixture(scope="module")
def model():
    return BERT4Rec(width=8, depth=1, feed_forward_factor=1, dropout=0.0)(
        n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0)
    )


@pytest.fixture(scope="module")
def batch():
    items = np.random.default_rng(0).integers(1, N_ITEMS + 1, (4, LENGTH + 1)).astype(np.int32)
    present = np.arange(LENGTH) < np.array([6, 4, 1, 0])[:, None]
    arrays = {"history": items[:, :-1] * present, "target": items[:, 1:] * present}
    return Batch({name: jnp.asarray(array, jnp.int32) for name, array in arrays.items()}, jnp.ones(4))


LENGTHS = np.arange(N) % (LENGTH + 1)
TARGET = np.where(np.arange(LENGTH) < LENGTHS[:, None], 7, 0).astype(np.int32)


def test_a_share_of_the_targets_is_masked_and_at_least_one_of_a_row():
    masked = np.asarray(draw_masks(jnp.asarray(TARGET), rng(), share=0.3, last=0.0))
    assert not masked[TARGET == 0].any()
    assert masked[LENGTHS > 0].any(axis=1).all()
    full = masked[LENGTHS == LENGTH]
    # the least of six is masked in any case: 0.3 and a sixth of the rows in which none was drawn
    expected = 0.3 + 0.7**LENGTH / LENGTH
    assert abs(full.mean() - expected) < 4 * np.sqrt(0.3 * 0.7 / full.size)
    other = np.asarray(draw_masks(jnp.asarray(TARGET), rng(seed=1), share=0.3, last=0.0))
    assert (other != masked).any()


def test_of_some_rows_the_last_target_alone_is_masked():
    masked = np.asarray(draw_masks(jnp.asarray(TARGET), rng(), share=0.3, last=1.0))
    np.testing.assert_array_equal(masked, np.arange(LENGTH) == LENGTHS[:, None] - 1)
    some = np.asarray(draw_masks(jnp.asarray(TARGET), rng(), share=1.0, last=0.25))
    alone = (some.sum(axis=1) == 1)[LENGTHS > 1]
    assert abs(alone.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / alone.size)


def test_losses_are_those_of_the_guesses_and_the_rest_report_their_rows_mean(model, batch):
    objective = MaskedItem(Softmax(), share=0.5, last=0.0)
    got = objective(model, batch, rng(4))
    target = np.asarray(batch["target"])
    masked = np.asarray(draw_masks(batch["target"], rng(4).named("masked items"), share=0.5, last=0.0))
    np.testing.assert_array_equal(got.mask, masked)
    items = jnp.concatenate([batch["history"][:, :1], batch["target"]], axis=1)
    filled = model.fill(items, jnp.asarray(np.pad(masked, ((0, 0), (1, 0)))))[:, 1:]
    scores = np.asarray(filled @ model.item_vectors()[1 : N_ITEMS + 1].T, np.float64)
    losses = (
        np.log(np.exp(scores).sum(-1)) - np.take_along_axis(scores, np.maximum(target - 1, 0)[..., None], -1)[..., 0]
    )
    np.testing.assert_allclose(np.asarray(got.per_example)[masked], losses[masked], rtol=1e-4)
    for row in range(3):
        rest = np.asarray(got.per_example)[row][~masked[row]]
        np.testing.assert_allclose(rest, losses[row][masked[row]].mean(), rtol=1e-4)
    assert not np.asarray(got.per_example)[3].any()


def test_what_is_masked_is_not_seen(model, batch):
    objective = MaskedItem(SampledSoftmax(n_negatives=5), share=0.5, last=0.0)
    masked = np.asarray(objective(model, batch, rng(4)).mask)
    hidden = jnp.where(jnp.asarray(masked), 1 + batch["target"] % N_ITEMS, batch["target"])
    other = objective(model, Batch({**batch.arrays, "target": hidden}, batch.weight), rng(4))

    def scores(target):
        seen = {}

        def spy(wrapped, asked, own):
            seen["hidden"] = wrapped(asked, own)
            return Softmax()(wrapped, asked, own)

        MaskedItem(spy, share=0.5, last=0.0)(model, Batch({**batch.arrays, "target": target}, batch.weight), rng(4))
        return np.asarray(seen["hidden"])

    np.testing.assert_array_equal(other.mask, masked)
    np.testing.assert_allclose(scores(hidden)[masked], scores(batch["target"])[masked], atol=1e-6)


@pytest.mark.parametrize("inner", [BinaryCrossEntropy(2), SampledSoftmax(5)])
def test_other_losses_of_a_guess(model, batch, inner):
    objective = MaskedItem(inner)
    assert objective.needs_positives == isinstance(inner, BinaryCrossEntropy)
    assert objective.scores_per_target(N_ITEMS) == inner.scores_per_target(N_ITEMS)
    if not objective.needs_positives:
        assert np.isfinite(np.asarray(objective(model, batch, rng(4)).per_example)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskedItem(share=0.0), "objective.share=0.0"),
        (lambda: MaskedItem(last=1.5), "objective.last=1.5"),
        (lambda: MaskedItem(Nested(Softmax())), "put objective=nested around objective=masked_item"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_a_model_that_looks_at_earlier_items_alone_is_refused(batch):
    causal = SASRec(width=4)(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0))
    with pytest.raises(OptionError, match="SASRecModel looks at earlier items alone.*choose model=bert4rec"):
        MaskedItem()(causal, batch, rng(4))
