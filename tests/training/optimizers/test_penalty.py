import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.training.optimizers import SGD, AdamW, Penalty, ScheduleFree


def make_params():
    rng = np.random.default_rng(0)
    shapes = {"items": {"embedding": (3, 2)}, "blocks": {"up": {"kernel": (2, 2, 3), "bias": (2, 3)}}, "norm": (2,)}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def test_a_penalty_has_the_gradient_of_its_formula_and_leaves_biases_and_norms_free():
    params, penalty = make_params(), Penalty(l1=0.1, l2=0.2, embedding_l1=0.3, embedding_l2=0.4)

    def loss(params):
        table, kernel = params["items"]["embedding"], params["blocks"]["up"]["kernel"]
        of_table = 0.3 * jnp.abs(table).sum() + 0.2 * (table**2).sum()
        return of_table + 0.1 * jnp.abs(kernel).sum() + 0.1 * (kernel**2).sum()

    optimizer = SGD(learning_rate=1.0, momentum=0.0, penalty=penalty)(10)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    expected = jax.tree.map(jnp.negative, jax.grad(loss)(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), updates, expected)


def test_it_goes_through_the_moments_and_is_clipped_unlike_weight_decay():
    params = make_params()
    nothing = jax.tree.map(jnp.zeros_like, params)
    for make in (AdamW, ScheduleFree):
        optimizer = make(learning_rate=1.0, penalty=Penalty(l2=1e-3, embedding_l2=0.0))(10)
        updates, _ = optimizer.update(nothing, optimizer.init(params), params)
        assert jnp.abs(updates["blocks"]["up"]["kernel"]).min() > 1e-3  # Adam's steps do not follow its size
        assert jnp.abs(updates["items"]["embedding"]).max() < 1e-6
    optimizer = SGD(learning_rate=1.0, momentum=0.0, clip_norm=0.5, penalty=Penalty(l2=100.0))(10)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    assert jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(updates))) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Penalty(l1=-1.0), "l1=-1"),
        (lambda: Penalty(l2=0.0, embedding_l2=0.0), "all factors are 0, so it does nothing"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
