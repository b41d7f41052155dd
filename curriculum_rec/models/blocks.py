"""Stacked residual blocks (device): every leaf has a leading layer axis, so that growth in depth is an index.

A block keeps its depth out of its static structure; the same code then runs a stack of any depth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import HIDDEN, STREAM, Axis, linear_axes, stacked_axes
from curriculum_rec.models.batch import BatchRng, dropout
from curriculum_rec.models.contract import HasAxes
from curriculum_rec.models.norms import NormName, make_norm, norm_axes

Remat = Literal["none", "dots", "block"]
"""What the backward pass computes again rather than reads back: nothing, all but matrix products, or whole blocks."""

UNROLL_UP_TO = 8
"""Stacks up to this depth are unrolled (faster to run); deeper ones are scanned (faster to compile)."""


def stack_blocks(make_block: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> nnx.Module:
    """Build ``depth`` blocks, each with its own initial values, as one module with a leading layer axis.

    Args:
        make_block: Builds one block.
        depth: Number of blocks, at least 1.
        rngs: Random streams for the initial values.
    """
    if depth < 1:
        raise OptionError(f"model.depth={depth}: it must be at least 1")
    return nnx.split_rngs(splits=depth)(nnx.vmap(make_block, in_axes=0, out_axes=0, axis_size=depth))(rngs)


def apply_blocks(
    blocks: nnx.Module, x: Float[Array, "batch length width"], rng: BatchRng | None, *, remat: Remat = "none"
) -> Float[Array, "batch length width"]:
    """Run the stacked blocks one after the other.

    Args:
        blocks: The stack.
        x: What goes in.
        rng: Randomness of the whole stack; each block gets its own.
        remat: What the backward pass computes again; the numbers are the same, memory for time.
    """
    depth = stack_depth(blocks)
    structure, stacked = nnx.split(blocks)

    def layer(x: Array, weights: nnx.State, number: Array | int) -> Array:
        return nnx.merge(structure, weights)(x, None if rng is None else rng.numbered(number))

    if remat != "none":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
        layer = jax.checkpoint(layer, policy=policy)

    if depth <= UNROLL_UP_TO:
        for number in range(depth):
            x = layer(x, jax.tree.map(lambda leaf: leaf[number], stacked), number)  # noqa: B023 - used at once
        return x
    return jax.lax.scan(lambda x, block: (layer(x, *block), None), x, (stacked, jnp.arange(depth)))[0]


def stack_depth(blocks: nnx.Module) -> int:
    """Say how many blocks a stack has."""
    return len(jax.tree.leaves(nnx.state(blocks))[0])


def stack_axes(blocks: nnx.Module) -> dict[str, Any]:
    """Name the axes of a stack's parameters.

    Raises:
        OptionError: The blocks do not say what theirs mean.
    """
    if not isinstance(blocks, HasAxes):
        raise OptionError(f"{type(blocks).__name__} has no method axes(), so nobody knows what its parameters mean")
    return stacked_axes(blocks.axes(), stack_depth(blocks))


def count_matrix_entries(blocks: nnx.Module) -> int:
    """Count the entries of a stack's weight matrices; each takes two operations a position."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(blocks)) if leaf.ndim == 3)


class Gate(nnx.Module):
    """A learnt factor of a residual branch; at 0 the block is the identity.

    Source: ReZero (Bachlechner et al., 2021), here beginning at 1.
    """

    def __init__(self) -> None:
        self.gate = nnx.Param(jnp.ones(()))

    def __call__(self, branch: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Scale the branch."""
        return self.gate[...] * branch


def project(layer: nnx.Linear, x: Float[Array, "batch length width"]) -> Float[Array, "batch length out"]:
    """Apply a linear layer as one matrix product over all positions.

    The gradient of a product over ``[batch, length]`` contracts two axes, at half the rate on XLA's CPU backend.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


class FeedForward(nnx.Module):
    """The pre-norm residual branch ``gate * W2 gelu(W1 norm(x))`` with dropout at its end.

    Args:
        width: Size of the residual stream.
        factor: The hidden layer is this many times as wide.
        dropout: Rate in [0, 1).
        norm: The norm.
        rngs: Random streams for the initial values.
    """

    def __init__(self, width: int, *, factor: int, dropout: float, norm: NormName, rngs: nnx.Rngs) -> None:
        self.norm = make_norm(norm, width, rngs)
        self.up = nnx.Linear(width, factor * width, rngs=rngs)
        self.down = nnx.Linear(factor * width, width, rngs=rngs)
        self.residual = Gate()
        self.rate = dropout

    @jax.named_scope("feed forward")
    def __call__(
        self, x: Float[Array, "batch length width"], rng: BatchRng | None
    ) -> Float[Array, "batch length width"]:
        """Add the branch to the stream."""
        branch = project(self.down, nnx.gelu(project(self.up, self.norm(x))))
        return x + self.residual(dropout(branch, self.rate, None if rng is None else rng.named("feed forward")))

    def axes(self) -> dict[str, Any]:
        """Name the axes of one block's parameters."""
        stream, hidden = Axis(STREAM, self.up.in_features), Axis(HIDDEN, self.up.out_features)
        return {
            "norm": norm_axes(self.norm, STREAM),
            "up": linear_axes(stream, hidden),
            "down": linear_axes(hidden, stream),
            "residual": {"gate": ()},
        }


def check_network_options(*, width: int, feed_forward_factor: int, dropout: float, remat: str, norm: str) -> None:
    """Check what all deep models share.

    Raises:
        OptionError: A size is not positive, the rate is outside [0, 1), or there is no such ``remat`` or ``norm``.
    """
    for name, value in (("width", width), ("feed_forward_factor", feed_forward_factor)):
        if value < 1:
            raise OptionError(f"model.{name}={value}: it must be at least 1")
    if not 0 <= dropout < 1:
        raise OptionError(f"model.dropout={dropout}: it must lie in [0, 1)")
    for name, choice, allowed in (("remat", remat, get_args(Remat)), ("norm", norm, get_args(NormName))):
        if choice not in allowed:
            raise OptionError(f"model.{name}={choice}: it must be one of {', '.join(allowed)}")
