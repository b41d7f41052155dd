"""Norms over the residual stream (device)."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.models.axes import Axis, Role

NormName = Literal["layer", "rms"]
"""``layer`` takes mean and variance out of a vector, ``rms`` its length alone."""

EPSILON = 1e-6
"""Added to a vector's squared length by :class:`RMSNorm`."""


WEIGHTS = "weights"
"""The attribute of a norm, and the name of a parameter, with how much each unit counts in its statistics; it is there
while a growth masks units, and no longer."""


class LayerNorm(nnx.LayerNorm):
    """Flax's layer norm, whose mean and variance may weigh units.

    Args:
        width: Size of the vectors.
        rngs: Random streams; nothing is random.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        super().__init__(width, rngs=rngs)

    def __call__(self, x: Float[Array, "*shape width"], *, mask: Array | None = None) -> Float[Array, "*shape width"]:
        """Normalise every vector."""
        weights = getattr(self, WEIGHTS, None)
        if weights is None:
            return super().__call__(x, mask=mask)
        given: tuple[Any, ...] = weights, self.scale, self.bias
        weight, gain, bias = (_laid(each[...], x.ndim) for each in given)
        share, wide = weight / weight.sum(), x.astype(jnp.float32)
        centred = wide - (share * wide).sum(axis=-1, keepdims=True)
        variance = (share * centred**2).sum(axis=-1, keepdims=True)
        return (centred * jax.lax.rsqrt(variance + self.epsilon) * gain + bias).astype(x.dtype)


class RMSNorm(nnx.Module):
    """The root-mean-square norm ``gain * x / sqrt((|x|^2 + epsilon) / width)``.

    The constant stands beside the squared length and not beside its mean, so that a vector that is filled up with
    zeros keeps its direction and length exactly: a model with this norm may grow by units that begin at 0.

    Args:
        width: Size of the vectors.

    Source: Zhang and Sennrich (2019), equation 4.
    """

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jnp.ones(width))
        self.num_features = width

    def __call__(self, x: Float[Array, "*shape width"]) -> Float[Array, "*shape width"]:
        """Scale every vector, by sums in float32."""
        squares, weights = x.astype(jnp.float32) ** 2, getattr(self, WEIGHTS, None)
        count: Array | int = self.num_features
        if weights is not None:
            weight = _laid(weights[...], x.ndim)
            squares, count = squares * weight, weight.sum()
        inverse = jax.lax.rsqrt((squares.sum(axis=-1, keepdims=True) + jnp.float32(EPSILON)) / count)
        return x * inverse.astype(x.dtype) * self.scale[...].reshape(*(1,) * (x.ndim - 1), -1)


def _laid(vector: Array, n_axes: int) -> Array:
    """Give a vector the axes of what it is multiplied with, in float32."""
    return vector.astype(jnp.float32).reshape(*(1,) * (n_axes - 1), -1)


Norm = nnx.LayerNorm | RMSNorm


def make_norm(name: NormName, width: int, rngs: nnx.Rngs) -> Norm:
    """Make a norm with its gain at 1 and, where it has one, its bias at 0."""
    return LayerNorm(width, rngs=rngs) if name == "layer" else RMSNorm(width)


def norm_axes(norm: Norm, label: str, *, role: Role = "produces") -> dict[str, tuple[Axis, ...]]:
    """Name the axes of a norm.

    Args:
        norm: The norm.
        label: The units that it scales.
        role: ``consumes`` for the last norm of a model: what it makes is a query, whose product with the units' values
            elsewhere is a score.
    """
    size = norm.num_features
    if isinstance(norm, RMSNorm):
        return {"scale": (Axis(label, size, role, "rms_norm"),)}
    return {"scale": (Axis(label, size, role, "layer_norm"),), "bias": (Axis(label, size, role),)}
