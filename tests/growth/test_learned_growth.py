"""Learnt growth (LiGO): the formula, by loops; that learning learns; that it is the same again."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import OPTIONS, TX, leaves, make_batch, model_of, trained

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import LearnedGrowth
from curriculum_rec.growth.contract import FitsGrowth
from curriculum_rec.growth.learned import LinearMap
from curriculum_rec.models.structure import join_model, split_model

SMALL, LARGE = OPTIONS["dnn"], replace(OPTIONS["dnn"], width=12)
OLD, NEW = model_of(SMALL), model_of(LARGE, depth=3)
GROWTH = LearnedGrowth(steps=40, learning_rate=0.01, allow_lossy=True)


class Task:
    """Stands for a run: two batches, and a loss of the model's own."""

    def batch(self, step):
        return make_batch(step % 2)

    def loss(self, params, batch):
        model, target = join_model(split_model(NEW)[0], params), batch["target"]
        logits = model(batch) @ model.item_vectors()[:13].T
        losses = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
        return jnp.where(target > 0, losses, 0).mean()


@cache
def fitted(seed=0):
    params = trained(SMALL)
    return GROWTH.fit(params, TX.init(params), old=OLD, new=NEW, seed=seed, task=Task())


def test_the_map_by_loops():
    linear = LinearMap.between(OLD, NEW)
    learnt, params = linear.begin(0), trained(SMALL)
    grown = jax.jit(linear.grow)(learnt, params)
    mixing = np.asarray(learnt["mixing"]["blocks.up.kernel"])
    assert mixing.shape == (3, 2)
    np.testing.assert_allclose(mixing.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixing, np.eye(2)[[0, 1, 0]], atol=0.03)
    stream, hidden = (
        np.concatenate([np.eye(n), np.asarray(learnt["rows"][label])]) for label, n in (("stream", 8), ("hidden", 16))
    )
    np.testing.assert_allclose(np.linalg.norm(stream, axis=1), 1, rtol=1e-6)
    up = np.asarray(params["blocks"]["up"]["kernel"])
    for layer in range(3):
        mixed = sum(mixing[layer, k] * up[k] for k in range(2))
        np.testing.assert_allclose(grown["blocks"]["up"]["kernel"][layer], stream @ mixed @ hidden.T, atol=1e-5)
    table = np.asarray(params["items"]["embedding"])
    np.testing.assert_allclose(grown["items"]["embedding"], table @ stream.T, atol=1e-5)


def test_heads_of_queries_keys_and_values_grow_each_by_its_own():
    options = OPTIONS["sasrec"]
    old, new = model_of(options), model_of(replace(options, width=16, n_heads=4))
    learnt = LinearMap.between(old, new).begin(0)
    assert learnt["rows"].keys() == {"stream", "hidden", "heads x head (attention)", "heads x head"}
    assert not learnt["mixing"]
    shapes = jax.eval_shape(LinearMap.between(old, new).grow, learnt, split_model(old)[1])
    assert jax.tree.map(np.shape, shapes) == jax.tree.map(np.shape, split_model(new)[1])


@pytest.mark.slow
def test_learning_lowers_the_loss():
    assert isinstance(GROWTH, FitsGrowth)
    params, task = trained(SMALL), Task()
    begun = GROWTH(params, TX.init(params), old=OLD, new=NEW)[0]
    loss = jax.jit(lambda params: task.loss(params, make_batch(0)) + task.loss(params, make_batch(1)))
    assert loss(fitted()[0]) < 0.95 * loss(begun)


@pytest.mark.slow
def test_a_second_fit_is_the_same_and_another_seed_is_not():
    first, again, other = leaves(fitted()[0]), leaves(fitted.__wrapped__()[0]), leaves(fitted(1)[0])
    for path, leaf in first.items():
        np.testing.assert_array_equal(again[path], leaf)
    path = "['blocks']['up']['kernel']"
    assert (other[path] != first[path]).any()


@pytest.mark.slow
def test_the_optimizer_begins_afresh():
    params, opt_state = fitted()
    fresh = TX.init(params)
    assert jax.tree.structure(opt_state) == jax.tree.structure(fresh)
    jax.tree.map(np.testing.assert_array_equal, opt_state, fresh)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(OptionError, match="allow_lossy=true"):
        LearnedGrowth().check(OLD, NEW)
    with pytest.raises(OptionError, match="'stream' cannot change from 12 to 8"):
        GROWTH.check(NEW, OLD)
    for options in ({"steps": 0}, {"learning_rate": 0.0}):
        with pytest.raises(OptionError, match=next(iter(options))):
            LearnedGrowth(**options)
