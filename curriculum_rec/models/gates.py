"""Factors of residual branches (device): one learnt number, and perhaps one a unit that depends on the stream."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.models.axes import STREAM, Axis, linear_axes

Gating = Literal["scalar", "ligr"]
"""``scalar``: a branch has one learnt factor. ``ligr``: also ``sigmoid(W x + b)`` of the stream ``x``, unit by unit."""


class Gate(nnx.Module):
    """A learnt factor of a residual branch; at 0 the block is the identity.

    Source: ReZero (Bachlechner et al., 2021), here beginning at 1.
    """

    def __init__(self) -> None:
        self.gate = nnx.Param(jnp.ones(()))

    def __call__(self, branch: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Scale the branch."""
        return self.gate[...] * branch


class StreamGate(nnx.Module):
    """The factor ``sigmoid(W x + b)`` of a branch, from the stream ``x`` that the branch is added to.

    Args:
        width: Size of the residual stream.
        rngs: Random streams for the initial values.

    Source: LiGR (Borisyuk et al., 2025), section 3.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(width, width, rngs=rngs)

    def __call__(
        self, branch: Float[Array, "batch length width"], x: Float[Array, "batch length width"]
    ) -> Float[Array, "batch length width"]:
        """Scale the branch."""
        return branch * jax.nn.sigmoid(project(self.linear, x))

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        stream = Axis(STREAM, self.linear.in_features)
        return {"linear": linear_axes(stream, stream)}


def make_stream_gate(gating: Gating, width: int, rngs: nnx.Rngs) -> StreamGate | None:
    """Make the gate that depends on the stream, if there is one."""
    return StreamGate(width, rngs=rngs) if gating == "ligr" else None


def stream_gate_axes(gate: StreamGate | None) -> dict[str, Any]:
    """Name the axes of the gate, if there is one, under the name that blocks give it."""
    return {} if gate is None else {"stream_gate": gate.axes()}


def project(layer: nnx.Linear, x: Float[Array, "batch length width"]) -> Float[Array, "batch length out"]:
    """Apply a linear layer as one matrix product over all positions.

    The gradient of a product over ``[batch, length]`` contracts two axes, at half the rate on XLA's CPU backend.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)
