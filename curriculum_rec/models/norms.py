"""Norms over the residual stream (device)."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.models.axes import Axis, Role

NormName = Literal["layer", "rms"]
"""``layer`` takes mean and variance out of a vector, ``rms`` its length alone."""

EPSILON = 1e-6
"""Added to a vector's squared length by :class:`RMSNorm`."""


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
        square = (x.astype(jnp.float32) ** 2).sum(axis=-1, keepdims=True)
        inverse = jax.lax.rsqrt((square + jnp.float32(EPSILON)) / self.num_features)
        gain = self.scale[...]
        return x * inverse.astype(x.dtype) * gain.reshape(*(1,) * (x.ndim - 1), -1)


Norm = nnx.LayerNorm | RMSNorm


def make_norm(name: NormName, width: int, rngs: nnx.Rngs) -> Norm:
    """Make a norm with its gain at 1 and, where it has one, its bias at 0."""
    return nnx.LayerNorm(width, rngs=rngs) if name == "layer" else RMSNorm(width)


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
