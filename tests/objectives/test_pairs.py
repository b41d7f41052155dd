"""Every objective with sampled negatives, with every rule that draws them: the formula, or a refusal that says why."""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.models import BERT4Rec, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.negatives import (
    Adaptive,
    Asked,
    CachedHard,
    Hardest,
    InBatch,
    Mixed,
    Popularity,
    Quantile,
    SoftmaxNegatives,
    Uniform,
)
from curriculum_rec.objectives import (
    BPR,
    BinaryCrossEntropy,
    Contrastive,
    GeneralisedBCE,
    MaskedItem,
    Nested,
    SampledSoftmax,
)

BATCH, LENGTH, WIDTH, N_ITEMS, N = 3, 4, 5, 30, 6
OBJECTIVES = (BinaryCrossEntropy, GeneralisedBCE, BPR, SampledSoftmax)
KNOWN = (Uniform(), Popularity(), InBatch())
"""Rules whose probabilities are known, and which a batch can share."""
BY_POSITION = (
    Hardest(candidates=4),
    SoftmaxNegatives(candidates=4),
    Quantile(candidates=4),
    Adaptive(candidates=4),
    Mixed(candidates=4),
    CachedHard(size=5),
)
NAMES = {"ids": lambda rule: type(rule).__name__}


@dataclass
class FixedModel:
    """User vectors and item vectors that are given; a user vector follows from the item alone where lists ask."""

    hidden: jax.Array
    table: jax.Array

    def __call__(self, batch, rng=None):
        return self.hidden if batch["history"].shape == (BATCH, LENGTH) else self.table[batch["history"]]

    def item_vectors(self, items=None):
        return self.table if items is None else self.table[items]

    @property
    def n_items(self):
        return len(self.table) - 1


def make_case():
    rng = np.random.default_rng(5)
    model = FixedModel(
        jnp.asarray(rng.standard_normal((BATCH, LENGTH, WIDTH), np.float32)),
        jnp.asarray(rng.standard_normal((N_ITEMS + 1, WIDTH), np.float32)),
    )
    items = rng.integers(1, N_ITEMS + 1, (BATCH, LENGTH + 1)).astype(np.int32)
    arrays = {"history": jnp.asarray(items[:, :-1]), "target": jnp.asarray(items[:, 1:])}
    return model, Batch(arrays, jnp.ones(BATCH), progress=jnp.float32(0.4))


def make_rng(seed=2):
    return BatchRng.for_rows(jax.random.key(seed), jnp.arange(BATCH, dtype=jnp.int32))


def reminded(objective, model, batch):
    counts = np.arange(N_ITEMS + 1) + 1
    memory = objective.begin(n_items=N_ITEMS, item_counts=counts)
    memory = objective.remember(memory, model, batch, make_rng(), step=jnp.int32(0), axis_name=None)
    return replace(batch, memory=memory)


def drawn_by_hand(objective, model, batch):
    """Give scores, what is allowed and log q of the negatives, position by position, and the targets' scores."""
    target = np.asarray(batch["target"])
    scores = np.asarray(model.hidden, np.float64) @ np.asarray(model.table, np.float64).T
    positive = np.take_along_axis(scores, target[..., None], -1)[..., 0]
    if objective.sharing == "batch":
        drawn = objective.negatives.shared(batch, N, make_rng().named("shared negatives"), n_items=N_ITEMS)
        items = np.broadcast_to(np.asarray(drawn.items), (BATCH, LENGTH, N))
        mix, fits = np.zeros(items.shape), np.ones(items.shape, bool)
    else:
        asked = Asked(model, model.hidden, jnp.asarray(positive, jnp.float32), batch, objective.avoid)
        drawn = objective.negatives.per_position(asked, N, make_rng().named("negatives"))
        items, fits = np.asarray(drawn.items), np.asarray(drawn.allowed)
        mix = np.zeros(items.shape) if drawn.mix is None else np.asarray(drawn.mix)
    allowed = fits & (items > 0)
    for row, position, place in np.ndindex(items.shape):
        own = {int(target[row, position])}
        if objective.avoid == "known":
            own |= {*target[row].tolist(), int(batch["history"][row, 0])}
        allowed[row, position, place] &= int(items[row, position, place]) not in own
    negative = mix * positive[..., None] + (1 - mix) * np.take_along_axis(scores, items, -1)
    return positive, negative, allowed, probabilities(objective.negatives, batch)[items]


def probabilities(rule, batch):
    """Give the probability with which each item is drawn, where it is known."""
    if isinstance(rule, Popularity):
        power = 0.75 * min(0.4 / 0.5, 1)
        weight = np.concatenate([[0], (np.arange(1, N_ITEMS + 1) + 1.0) ** power])
        return weight / weight.sum()
    if isinstance(rule, InBatch):
        counts = np.bincount(np.asarray(batch["target"]).ravel(), minlength=N_ITEMS + 1)
        return counts / counts.sum()
    return np.full(N_ITEMS + 1, 1 / N_ITEMS)


def expected_losses(objective, model, batch):
    positive, negative, allowed, q = drawn_by_hand(objective, model, batch)
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731 - scores are small
    losses = np.zeros((BATCH, LENGTH))
    for at in np.ndindex(BATCH, LENGTH):
        s, others = positive[at], [(negative[at][j], q[at][j]) for j in range(N) if allowed[at][j]]
        count, correct = max(len(others), 1), objective.correct
        importance = [1 / (N_ITEMS * p) if correct else 1.0 for _, p in others]
        if isinstance(objective, SampledSoftmax):
            shifted = [n - (math.log(N * p) if correct else 0) for n, p in others]
            losses[at] = math.log(sum(math.exp(x) for x in [s, *shifted])) - s
        elif isinstance(objective, BPR):
            losses[at] = sum(w * softplus(n - s) for (n, _), w in zip(others, importance, strict=True)) / count
        else:
            mean = sum(w * softplus(n) for (n, _), w in zip(others, importance, strict=True)) / count
            if isinstance(objective, GeneralisedBCE):
                share = N / (N_ITEMS - 1)
                beta = share * (objective.t * (1 - 1 / share) + 1 / share)  # as the paper writes it
                losses[at] = (beta * softplus(-s) + N * mean) / (N + 1)
            else:
                losses[at] = softplus(-s) + mean
    return losses


@pytest.mark.parametrize("avoid", ["target", "known"])
@pytest.mark.parametrize("rule", [*KNOWN, *BY_POSITION], **NAMES)
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_takes_every_rule_position_by_position(kind, rule, avoid):
    model, batch = make_case()
    objective = kind(N, negatives=rule, sharing="position", avoid=avoid)
    batch = reminded(objective, model, batch)
    losses = objective(model, batch, make_rng()).per_example  # unjitted: kernels are shared by the cases
    np.testing.assert_allclose(losses, expected_losses(objective, model, batch), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("sharing", ["position", "batch"])
@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("rule", KNOWN, **NAMES)
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_known_probabilities_correct_the_loss_and_batches_share(kind, rule, correct, sharing):
    if correct and isinstance(rule, Uniform) and kind is not SampledSoftmax:
        with pytest.raises(OptionError, match=f"correct=true has no effect on {kind.__name__} with negatives that are"):
            kind(N, negatives=rule, sharing=sharing, correct=True)
        return
    model, batch = make_case()
    objective = kind(N, negatives=rule, sharing=sharing, correct=correct)
    batch = reminded(objective, model, batch)
    losses = objective(model, batch, make_rng()).per_example  # unjitted: kernels are shared by the cases
    np.testing.assert_allclose(losses, expected_losses(objective, model, batch), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("rule", BY_POSITION, **NAMES)
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_what_follows_a_positions_scores_can_be_neither_shared_nor_corrected(kind, rule):
    name = type(rule).__name__
    with pytest.raises(OptionError, match=f"negatives={name} chooses for each position by itself"):
        kind(N, negatives=rule, sharing="batch")
    with pytest.raises(OptionError, match=f"correct=true with objective.negatives={name}: with what probability"):
        kind(N, negatives=rule, sharing="position", correct=True)


AROUND = {
    "masked bce": (BERT4Rec, lambda rule: MaskedItem(BinaryCrossEntropy(2, negatives=rule), share=0.5)),
    "masked softmax": (
        BERT4Rec,
        lambda rule: MaskedItem(SampledSoftmax(4, negatives=rule, sharing="position"), share=0.5),
    ),
    "nested": (SASRec, lambda rule: Nested(BPR(2, negatives=rule))),
    "contrastive": (SASRec, lambda rule: Contrastive(GeneralisedBCE(4, negatives=rule))),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "masked bce")) for name in AROUND]
)
def test_what_goes_around_an_objective_takes_every_rule(name):
    """One program for all rules; every sum of losses is above 0."""
    kind, around = AROUND[name]
    sizes = {"width": 4, "depth": 1, "n_heads": 1, "feed_forward_factor": 1, "dropout": 0.0}
    model = kind(**sizes)(n_items=N_ITEMS, max_length=LENGTH, rngs=nnx.Rngs(0))
    structure, params = split_model(model)
    batch = make_case()[1]

    def loss(params, objective):
        model = join_model(structure, params)
        losses = objective(model, reminded(objective, model, batch), make_rng())
        return jnp.where(losses.mask, losses.per_example, 0).sum()

    objectives = [around(rule) for rule in (*KNOWN, *BY_POSITION)]
    for value in jax.jit(lambda params: [loss(params, objective) for objective in objectives])(params):
        assert 0 < value < 1e3


def test_corrected_losses_estimate_those_of_uniform_negatives():
    model, batch = make_case()
    for kind in (BinaryCrossEntropy, BPR):
        corrected, uniform = (
            kind(20_000, negatives=Popularity(0.75), correct=True, avoid="target"),
            kind(20_000, avoid="target"),
        )
        plain = replace(corrected, correct=False)
        got, expected, biased = (
            np.asarray(f(model, reminded(f, model, batch), make_rng()).per_example) for f in (corrected, uniform, plain)
        )
        assert np.abs(got / expected - 1).max() < 0.05 < np.abs(biased / expected - 1).max()


def test_a_calibration_of_0_is_plain_and_one_of_1_makes_positives_as_rare_as_they_are():
    assert GeneralisedBCE(16, t=0.0).beta(101) == 1
    assert GeneralisedBCE(16, t=1.0).beta(101) == pytest.approx(0.16)
    assert GeneralisedBCE(500, t=1.0).beta(101) == 1  # more negatives than items: nothing is missing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralisedBCE(t=1.5), "t=1.5"),
        (lambda: BPR(0), "n_negatives=0"),
        (lambda: BPR(sharing="user"), "sharing=user: it must be one of position, batch"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
