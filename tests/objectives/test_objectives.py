import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.negatives import (
    Adaptive,
    Hardest,
    InBatch,
    Mixed,
    Popularity,
    Quantile,
    SoftmaxNegatives,
    Uniform,
)
from curriculum_rec.negatives.known import FILL
from curriculum_rec.objectives import BinaryCrossEntropy, SampledSoftmax, Softmax
from curriculum_rec.objectives.softmax import Candidates, Positions, cross_entropy
from curriculum_rec.weighting import Seen, Truncated

BATCH, LENGTH, WIDTH, N_ITEMS = 3, 5, 4, 7
LENGTHS = np.array([5, 3, 1])


@dataclass
class FixedModel:
    """User vectors and item vectors that are given."""

    hidden: jax.Array
    table: jax.Array

    def __call__(self, batch, rng=None):
        return self.hidden

    def item_vectors(self, items=None):
        return self.table if items is None else self.table[items]

    @property
    def n_items(self):
        return len(self.table) - 1


def make_case(n_items=N_ITEMS, weight=None):
    rng = np.random.default_rng(0)
    model = FixedModel(
        jnp.asarray(2 * rng.standard_normal((BATCH, LENGTH, WIDTH), np.float32)),
        jnp.asarray(rng.standard_normal((n_items + 1, WIDTH), np.float32)),
    )
    items = rng.integers(1, n_items + 1, (BATCH, LENGTH + 1)).astype(np.int32)
    present = np.arange(LENGTH) < LENGTHS[:, None]
    arrays = {"history": jnp.asarray(items[:, :-1] * present), "target": jnp.asarray(items[:, 1:] * present)}
    return model, Batch(arrays, jnp.ones(BATCH) if weight is None else jnp.asarray(weight, jnp.float32))


def make_rng(seed=0):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(BATCH, dtype=jnp.int32))


def scores_of(model):
    return np.asarray(model.hidden, np.float64) @ np.asarray(model.table, np.float64).T


def assert_real_losses_equal(losses, expected, batch):
    present = np.asarray(batch["target"]) > 0
    np.testing.assert_array_equal(losses.mask, present)
    assert losses.per_example.shape == present.shape
    np.testing.assert_allclose(np.asarray(losses.per_example)[present], expected[present], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4, 15, 512])
def test_full_softmax_is_the_log_softmax_over_all_items_but_padding(chunk):
    model, batch = make_case()
    log_probability = jax.nn.log_softmax(scores_of(model)[..., 1:], axis=-1)
    target = np.maximum(np.asarray(batch["target"]) - 1, 0)
    expected = -np.take_along_axis(np.asarray(log_probability), target[..., None], -1)[..., 0]
    assert_real_losses_equal(Softmax(chunk=chunk)(model, batch, make_rng()), expected, batch)


@pytest.mark.parametrize("chunk", [1, 4, 5, 11, 64])
@pytest.mark.parametrize("weights", ["ones", "random with zeros", "one only", "zeros"])
def test_gradients_foreseen_or_not_equal_the_reference(chunk, weights):
    rng = np.random.default_rng(1)
    hidden, vectors = (jnp.asarray(2 * rng.standard_normal((n, WIDTH), np.float32)) for n in (11, N_ITEMS))
    target = jnp.asarray(rng.integers(0, N_ITEMS, 11).astype(np.int32))
    weight = {
        "ones": np.ones(11),
        "random with zeros": rng.random(11) * (rng.random(11) > 0.3),
        "one only": np.eye(11)[3],
        "zeros": np.zeros(11),
    }[weights]
    weight = jnp.asarray(weight, jnp.float32)
    every = jnp.ones(11, bool)
    factor = -2.5  # what is sent back is a multiple of the weights, as for a mean or a scaled loss

    def reference(hidden, vectors):
        log_probability = jax.nn.log_softmax(hidden @ vectors.T, axis=-1)
        return factor * (weight * -jnp.take_along_axis(log_probability, target[:, None], -1)[:, 0]).sum()

    def ours(given):
        return lambda h, v: (
            factor
            * (
                weight
                * cross_entropy(Positions(h, target, given, every), Candidates(v, jnp.ones(N_ITEMS, bool)), chunk=chunk)
            ).sum()
        )

    expected = jax.value_and_grad(reference, argnums=(0, 1))(hidden, vectors)
    other = jnp.asarray(rng.random(11), jnp.float32)  # weights that are not those the losses are summed with
    for given in (weight, other):
        got = jax.jit(jax.value_and_grad(ours(given), argnums=(0, 1)))(hidden, vectors)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, expected)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 6, 64])
def test_only_what_is_needed_is_computed_and_only_candidates_take_part(chunk):
    rng = np.random.default_rng(3)
    hidden, vectors = (jnp.asarray(rng.standard_normal((n, WIDTH), np.float32)) for n in (11, N_ITEMS))
    needed, candidate = jnp.asarray(np.arange(11) % 3 != 1), jnp.asarray([False, *[True] * 5, False])
    target, weight = jnp.asarray(rng.integers(1, 6, 11), jnp.int32), jnp.asarray(rng.random(11), jnp.float32)

    def ours(h, v):
        losses = cross_entropy(Positions(h, target, weight, needed), Candidates(v, candidate), chunk=chunk)
        return (weight * losses).sum(), losses

    def reference(h, v):
        log_probability = jax.nn.log_softmax(h @ v[1:6].T, axis=-1)
        losses = needed * -jnp.take_along_axis(log_probability, target[:, None] - 1, -1)[:, 0]
        return (weight * losses).sum(), losses

    poisoned = jnp.where(needed[:, None], hidden, jnp.nan), vectors.at[6].set(1e6)
    got, expected = (
        jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True))(*operands)
        for f, operands in ((ours, poisoned), (reference, (hidden, vectors)))
    )
    assert np.isfinite(got[0][1]).all()
    np.testing.assert_allclose(got[0][1], expected[0][1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1][0], expected[1][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize(
    "reweigh", [lambda loss: 1.0, lambda loss: jax.nn.sigmoid(2 - loss)], ids=["as given", "by loss"]
)
def test_the_objective_has_the_gradient_of_its_losses_however_they_are_weighted(per_target, reweigh):
    weight = np.random.default_rng(2).random((BATCH, LENGTH)) if per_target else np.array([0.5, 0.0, 2.0])
    model, batch = make_case(weight=weight)
    weight = batch.weight if per_target else batch.weight[:, None]
    target = np.maximum(np.asarray(batch["target"]) - 1, 0)

    def ours(hidden, table):
        losses = Softmax(chunk=4)(FixedModel(hidden, table), batch, make_rng())
        again = jax.lax.stop_gradient(reweigh(losses.per_example))
        return (weight * losses.mask * again * losses.per_example).sum()

    def reference(hidden, table):
        log_probability = jax.nn.log_softmax(hidden @ table[1:].T, axis=-1)
        loss = -jnp.take_along_axis(log_probability, target[..., None], -1)[..., 0]
        again = jax.lax.stop_gradient(reweigh(loss))
        return (weight * (batch["target"] > 0) * again * loss).sum()

    got, expected = (jax.jit(jax.grad(f, argnums=(0, 1)))(model.hidden, model.table) for f in (ours, reference))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)
    assert np.abs(got[1][0]).max() == 0  # padding is no candidate


@pytest.mark.parametrize(("n_items", "n_negatives"), [(7, 20), (50, 3), (2, 30)])
@pytest.mark.parametrize("correct", [False, True])
def test_sampled_softmax_equals_a_loop_over_its_negatives(n_items, n_negatives, correct):
    model, batch = make_case(n_items)
    key = make_rng().named("shared negatives").key()
    negatives = np.asarray(jax.random.randint(key, (n_negatives,), 1, n_items + 1, jnp.int32))
    scores, shift = scores_of(model), np.log(n_items / n_negatives) if correct else 0
    expected = np.zeros((BATCH, LENGTH))
    for row, position in np.ndindex(BATCH, LENGTH):
        target, s = int(batch["target"][row, position]), scores[row, position]
        others = [s[n] + shift for n in negatives if n != target]
        expected[row, position] = np.log(sum(np.exp([s[target], *others]))) - s[target]
    losses = SampledSoftmax(n_negatives, correct=correct)(model, batch, make_rng())
    assert_real_losses_equal(losses, expected, batch)


def test_sampled_softmax_with_collisions_only_is_zero_with_a_finite_gradient():
    model, batch = make_case(n_items=1)

    def loss(hidden):
        return SampledSoftmax(4)(FixedModel(hidden, model.table), batch, make_rng()).per_example[0].sum()

    value, gradient = jax.value_and_grad(loss)(model.hidden)
    assert value == 0
    assert np.isfinite(gradient).all()


def test_corrected_sampled_softmax_estimates_the_full_one():
    model, batch = make_case(n_items=200)
    full = Softmax()(model, batch, make_rng()).per_example[0]
    sampled = SampledSoftmax(20_000, correct=True)(model, batch, make_rng()).per_example[0]
    np.testing.assert_allclose(sampled, full, rtol=0.05)
    popular = SampledSoftmax(50_000, correct=True, negatives=Popularity(beta=0.5))
    memory = popular.begin(n_items=200, item_counts=np.arange(201) ** 2)
    sampled = jax.jit(lambda: popular(model, replace(batch, memory=memory), make_rng()).per_example[0])()
    np.testing.assert_allclose(sampled, full, rtol=0.05)


def test_sampled_softmax_leaves_out_what_the_user_knows_where_it_should():
    model, batch = make_case(n_items=12)
    known = jnp.array([[1, 2, 3, 4], [5, FILL, FILL, FILL], [6, 7, 8, FILL]], jnp.int32)
    batch = replace(batch, arrays={**batch.arrays, "positives": known})
    drawn = make_rng().named("shared negatives").key()
    negatives = np.asarray(jax.random.randint(drawn, (60,), 1, 13, jnp.int32))
    scores, expected = scores_of(model), np.zeros((BATCH, LENGTH))
    for row, position in np.ndindex(BATCH, LENGTH):
        target, s = int(batch["target"][row, position]), scores[row, position]
        others = [s[n] for n in negatives if n != target and n not in np.asarray(known[row])]
        expected[row, position] = np.log(sum(np.exp([s[target], *others]))) - s[target]
    objective = SampledSoftmax(60, avoid="known")
    assert objective.needs_positives
    assert not SampledSoftmax(60).needs_positives
    assert_real_losses_equal(objective(model, batch, make_rng()), expected, batch)


def test_in_batch_negatives_are_corrected_by_their_frequency():
    model, batch = make_case()
    for correct in (False, True):
        objective = SampledSoftmax(6, correct=correct, negatives=InBatch())
        memory = objective.begin(n_items=N_ITEMS, item_counts=None)
        memory = objective.remember(memory, model, batch, make_rng(), step=jnp.int32(0), axis_name=None)
        counts, negatives = np.bincount(np.asarray(batch["target"]).ravel(), minlength=N_ITEMS + 1), memory["items"]
        q, scores, expected = counts / counts[1:].sum(), scores_of(model), np.zeros((BATCH, LENGTH))
        for row, position in np.ndindex(BATCH, LENGTH):
            target, s = int(batch["target"][row, position]), scores[row, position]
            others = [s[n] - correct * np.log(6 * q[n]) for n in np.asarray(negatives) if n != target]
            expected[row, position] = np.log(sum(np.exp([s[target], *others]))) - s[target]
        losses = objective(model, replace(batch, memory=memory), make_rng())
        assert_real_losses_equal(losses, expected, batch)


def test_the_gradient_flows_through_the_chosen_candidates_alone():
    model, batch = make_case(n_items=200)
    objective = BinaryCrossEntropy(negatives=Hardest(candidates=16))

    def loss(table, hidden):
        losses = objective(FixedModel(hidden, table), batch, make_rng())
        return jnp.where(losses.mask, losses.per_example, 0).sum()

    table, hidden = jax.jit(jax.grad(loss, argnums=(0, 1)))(model.table, model.hidden)
    touched = np.flatnonzero(np.abs(table).sum(axis=1))
    n_targets = int((batch["target"] > 0).sum())
    assert n_targets < len(touched) <= 2 * n_targets
    expected = np.zeros((BATCH, LENGTH, WIDTH))
    bits = np.asarray(make_rng().named("negatives").bits(LENGTH, 1, 16))[:, :, 0]
    scores = scores_of(model)
    for row, position in zip(*np.nonzero(np.asarray(batch["target"])), strict=True):
        own = {*np.asarray(batch["target"][row]).tolist(), *np.asarray(batch["history"][row]).tolist()}
        target = int(batch["target"][row, position])
        negative = max(
            (1 + b % 200 for b in bits[row, position] if 1 + b % 200 not in own), key=scores[row, position].item
        )
        s, vectors = scores[row, position], np.asarray(model.table)
        expected[row, position] = -vectors[target] / (1 + np.exp(s[target])) + vectors[negative] / (
            1 + np.exp(-s[negative])
        )
    np.testing.assert_allclose(hidden, expected, rtol=1e-4, atol=1e-5)


def test_mixed_negatives_send_their_gradient_to_the_target_too():
    model, batch = make_case(n_items=200)
    objective = BinaryCrossEntropy(negatives=Mixed(candidates=1))
    mix = np.asarray(make_rng().named("negatives").named("mix").bits(LENGTH, 1, 1))[..., 0, 0] / 2**32
    bits = np.asarray(make_rng().named("negatives").bits(LENGTH, 1, 1))[..., 0, 0]
    own = [
        {*np.asarray(batch["target"][row]).tolist(), *np.asarray(batch["history"][row]).tolist()} for row in range(3)
    ]

    def by_hand(hidden):
        at = jnp.arange(BATCH)[:, None], jnp.arange(LENGTH)[None, :]
        scores = hidden @ model.table.T
        positive, negative = (scores[*at, items] for items in (batch["target"], (1 + bits % 200).astype(np.int32)))
        allowed = jnp.array([[1 + b % 200 not in own[row] for b in line] for row, line in enumerate(bits)])
        return jax.nn.softplus(-positive) + allowed * jax.nn.softplus(mix * positive + (1 - mix) * negative)

    def total(f):
        return jax.jit(jax.value_and_grad(lambda hidden: jnp.where(batch["target"] > 0, f(hidden), 0).sum()))(
            model.hidden
        )

    got = total(lambda hidden: objective(FixedModel(hidden, model.table), batch, make_rng()).per_example)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, total(by_hand))


def test_what_negatives_report_is_averaged_over_the_targets_that_count():
    model, batch = make_case(n_items=9, weight=[1.0, 0.0, 0.5])
    drawn_bits = np.asarray(make_rng().named("negatives").bits(LENGTH, 1, 4))[:, :, 0]
    metrics = jax.jit(lambda: BinaryCrossEntropy(negatives=Hardest(candidates=4))(model, batch, make_rng()).metrics)()
    avoided = weights = 0.0
    for row, position in zip(*np.nonzero(np.asarray(batch["target"])), strict=True):
        own = {*np.asarray(batch["target"][row]).tolist(), *np.asarray(batch["history"][row]).tolist()}
        avoided += float(batch.weight[row]) * np.mean([1 + b % 9 in own for b in drawn_bits[row, position]])
        weights += float(batch.weight[row])
    assert float(metrics["false_negatives_avoided"]) == pytest.approx(avoided / weights, rel=1e-5)
    assert 0.5 < float(metrics["negative_hardness"]) < 1
    assert set(BinaryCrossEntropy()(model, batch, make_rng()).metrics) == {"false_negatives_avoided"}


@pytest.mark.parametrize(("n_items", "n_negatives"), [(7, 1), (7, 6), (12, 60)])
def test_binary_cross_entropy_equals_the_formula_without_the_examples_own_items(n_items, n_negatives):
    model, batch = make_case(n_items)
    bits = np.asarray(make_rng().named("negatives").bits(LENGTH, n_negatives))
    negatives, scores = 1 + bits % n_items, scores_of(model)
    expected, left_out = np.zeros((BATCH, LENGTH)), 0
    for row, position in np.ndindex(BATCH, LENGTH):
        own = {*np.asarray(batch["target"][row]).tolist(), *np.asarray(batch["history"][row]).tolist()}
        s = scores[row, position]
        kept = [s[n] for n in negatives[row, position] if n not in own]
        left_out += n_negatives - len(kept)
        penalty = np.mean([-np.log(1 - 1 / (1 + np.exp(-score))) for score in kept]) if kept else 0
        expected[row, position] = -np.log(1 / (1 + np.exp(-s[int(batch["target"][row, position])]))) + penalty
    assert left_out > 0
    assert_real_losses_equal(BinaryCrossEntropy(n_negatives)(model, batch, make_rng()), expected, batch)


@pytest.mark.parametrize("reweight", [0.0, 0.3, 2.0])
def test_reweighted_cross_entropy_and_its_gradient_by_hand(reweight):
    """Positives weigh p^reweight and negatives (1 - p)^reweight, and the gradient takes both for constants."""
    n_items, n_negatives = 12, 4
    model, batch = make_case(n_items)
    objective, present = BinaryCrossEntropy(n_negatives, reweight=reweight), np.asarray(batch["target"]) > 0
    negatives = 1 + np.asarray(make_rng().named("negatives").bits(LENGTH, n_negatives)) % n_items
    scores, table = scores_of(model), np.asarray(model.table, np.float64)
    expected, gradient = np.zeros((BATCH, LENGTH)), np.zeros((BATCH, LENGTH, WIDTH))
    for row, position in zip(*np.nonzero(present), strict=True):
        target = int(batch["target"][row, position])
        own = {*np.asarray(batch["target"][row]).tolist(), *np.asarray(batch["history"][row]).tolist()}
        p = 1 / (1 + np.exp(-scores[row, position]))
        kept = [n for n in negatives[row, position] if n not in own]
        expected[row, position] = -np.log(p[target]) * p[target] ** reweight
        gradient[row, position] = -(1 - p[target]) * p[target] ** reweight * table[target]
        for n in kept:
            expected[row, position] += -np.log(1 - p[n]) * (1 - p[n]) ** reweight / len(kept)
            gradient[row, position] += p[n] * (1 - p[n]) ** reweight * table[n] / len(kept)
    losses = objective(model, batch, make_rng())
    assert_real_losses_equal(losses, expected, batch)
    if reweight == 0:
        plain = BinaryCrossEntropy(n_negatives)(model, batch, make_rng())
        np.testing.assert_array_equal(losses.per_example, plain.per_example)

    def total(hidden):
        return (present * objective(FixedModel(hidden, model.table), batch, make_rng()).per_example).sum()

    np.testing.assert_allclose(jax.grad(total)(model.hidden), gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_negatives", [1, 4])
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
def test_truncation_leaves_as_many_targets_out_whatever_the_number_of_negatives(n_negatives, rate):
    """ADT counts positives and negatives but leaves out positives only: with 4 negatives a rate of 0.2 takes all."""
    model, batch = make_case(12)
    losses = BinaryCrossEntropy(n_negatives)(model, batch, make_rng())
    rule = Truncated(max_rate=rate, full_at=0.5)
    weight, _ = rule(Seen.of(losses.per_example, losses.mask, progress=jnp.float32(1.0), axis_name=None), {})
    n_targets = int(losses.mask.sum())
    assert int((losses.mask & (weight == 0)).sum()) == math.floor(rate * n_targets + 1e-4)


@pytest.mark.parametrize("objective", [SampledSoftmax(3), BinaryCrossEntropy(2)])
def test_negatives_follow_the_randomness(objective):
    model, batch = make_case(n_items=500)
    first, again, other = (np.asarray(objective(model, batch, make_rng(s)).per_example) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


BY_SCORE = [Hardest(candidates=4), Hardest(candidates=4, top=2, schedule="growing", margin=1.0, top_share=0.25)]
BY_SCORE += [rule(candidates=4) for rule in (SoftmaxNegatives, Quantile, Adaptive, Mixed)]


@pytest.mark.parametrize(
    "objective",
    [
        Softmax(chunk=4),
        SampledSoftmax(3),
        SampledSoftmax(3, correct=True, avoid="known"),
        *[BinaryCrossEntropy(2, negatives=negatives) for negatives in (Uniform(), *BY_SCORE)],
    ],
    ids=str,
)
def test_losses_and_gradients_keep_the_type_of_their_inputs(objective):
    model, batch = make_case()
    with jax.numpy_dtype_promotion("strict"):
        losses = objective(model, batch, make_rng())
        gradient = jax.grad(lambda h: objective(FixedModel(h, model.table), batch, make_rng()).per_example.sum())
        assert losses.per_example.dtype == gradient(model.hidden).dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Softmax(chunk=0), "chunk=0"),
        (lambda: SampledSoftmax(0), "n_negatives=0"),
        (lambda: SampledSoftmax(avoid="all"), "avoid=all: it must be one of target, known"),
        (lambda: BinaryCrossEntropy(0), "n_negatives=0"),
        (lambda: BinaryCrossEntropy(reweight=-0.1), "reweight=-0.1"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
