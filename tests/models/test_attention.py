from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from curriculum_rec.models import attention as module
from curriculum_rec.models.attention import attention


def make_inputs(batch, length, heads=2, head=4, seed=0):
    return jax.random.normal(jax.random.key(seed), (3, batch, length, heads, head))


def naive(query, key, value):
    """The formula, one position of one head at a time, in float64."""
    query, key, value = (np.asarray(a, np.float64) for a in (query, key, value))
    out = np.zeros_like(query)
    for b, q, h in np.ndindex(query.shape[:3]):
        scores = key[b, : q + 1, h] @ query[b, q, h] / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max())
        out[b, q, h] = weights / weights.sum() @ value[b, : q + 1, h]
    return out


@pytest.mark.parametrize(("batch", "length", "heads", "head"), [(3, 7, 2, 4), (1, 1, 1, 3), (2, 150, 2, 2)])
def test_equals_the_formula(batch, length, heads, head):
    inputs = make_inputs(batch, length, heads, head)
    np.testing.assert_allclose(jax.jit(attention)(*inputs), naive(*inputs), atol=2e-6)


@pytest.mark.parametrize("block", [1, 7, 40])
def test_the_form_by_blocks_equals_that_of_other_devices_in_value_and_gradient(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    inputs, cotangent = make_inputs(2, 20), make_inputs(2, 20, seed=1)[0]
    by_blocks, whole = (
        jax.jit(jax.value_and_grad(lambda x, form=form: (form(True, *x) * cotangent).sum()))(inputs)
        for form in (module._by_blocks, module._whole)
    )
    np.testing.assert_allclose(by_blocks[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(by_blocks[1], whole[1], atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_with_bias_and_padding_equal_the_whole_in_value_and_gradient(monkeypatch, causal):
    monkeypatch.setattr(module, "BLOCK", 7)
    inputs, cotangent = make_inputs(2, 20), make_inputs(2, 20, seed=1)[0]
    look = jax.random.normal(jax.random.key(2), (1, 2, 20, 20)), jnp.array([20, 9], jnp.int32)

    def weighed(inputs, bias, form):
        return (form(causal, *inputs, (bias, look[1])) * cotangent).sum()

    by_blocks, whole = (
        jax.jit(jax.value_and_grad(partial(weighed, form=form), argnums=(0, 1)))(inputs, look[0])
        for form in (module._by_blocks, module._whole)
    )
    np.testing.assert_allclose(by_blocks[0], whole[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), by_blocks[1], whole[1])


@pytest.mark.skipif(not module._has_fused_kernel(), reason="cuDNN's fused kernel needs an NVIDIA GPU")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("length", "heads", "head"), [(8, 2, 8), (50, 2, 24), (50, 1, 64), (200, 1, 128)])
def test_the_fused_kernel_equals_the_other_form_in_value_and_gradient(length, heads, head, causal):
    inputs = make_inputs(3, length, heads, head).astype(jnp.bfloat16)
    cotangent = make_inputs(3, length, heads, head, seed=1)[0]
    n_keys = None if causal else jnp.array([length, -(-length // 2), 1])

    def weighed(inputs):
        return (attention(*inputs, causal=causal, n_keys=n_keys) * cotangent).sum()

    assert "cudnn" in jax.jit(weighed).lower(inputs).as_text()
    fused, gradient = jax.jit(lambda x: (attention(*x, causal=causal, n_keys=n_keys), jax.grad(weighed)(x)))(inputs)
    exact = inputs.astype(jnp.float32)
    same, slopes = jax.jit(lambda x: (attention(*x, causal=causal, n_keys=n_keys), jax.grad(weighed)(x)))(exact)
    np.testing.assert_allclose(fused.astype(jnp.float32), same, atol=0.03)  # a bfloat16 has 8 bits
    np.testing.assert_allclose(gradient.astype(jnp.float32), slopes, atol=0.03 * np.abs(slopes).max())


@pytest.mark.parametrize("length", [1, 51])
def test_an_odd_length_does_not_go_to_the_fused_kernel_which_refuses_it(monkeypatch, length):
    monkeypatch.setattr(module, "_has_fused_kernel", lambda: True)
    inputs = make_inputs(2, length, 1, 64).astype(jnp.bfloat16)
    traced = jax.jit(jax.grad(lambda x: attention(*x).astype(jnp.float32).sum())).trace(inputs)
    assert "cudnn" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_a_program_for_another_platform_takes_the_form_for_accelerators():
    inputs = make_inputs(1, 20)
    traced = jax.jit(lambda x: attention(*x)).trace(inputs)
    texts = {platform: traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "cuda", "tpu")}
    assert texts["cuda"] != texts["cpu"] != texts["tpu"]


@pytest.mark.parametrize(("batch", "length"), [(2, 9), (8, 70)])
def test_no_position_sees_a_later_one(batch, length):
    inputs, cut = make_inputs(batch, length), length // 2
    changed = inputs.at[:, :, cut:].set(make_inputs(batch, length, seed=1)[:, :, cut:])
    attend = jax.jit(attention)
    before, after = attend(*inputs), attend(*changed)
    np.testing.assert_array_equal(np.asarray(before)[:, :cut], np.asarray(after)[:, :cut])
    assert (np.asarray(before)[:, cut:] != np.asarray(after)[:, cut:]).any()


def test_annotations_are_checked_while_the_tests_run():
    with pytest.raises(TypeCheckError):
        attention(*make_inputs(2, 5)[:, 0])
