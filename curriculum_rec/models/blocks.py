"""Stacked residual blocks (device): every leaf has a leading layer axis, so that growth in depth is an index.

A block keeps its depth out of its static structure; the same code then runs a stack of any depth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import HIDDEN, STREAM, Axis, linear_axes, stacked_axes
from curriculum_rec.models.batch import BatchRng, dropout
from curriculum_rec.models.contract import HasAxes
from curriculum_rec.models.dropping import BlockDrop, drop_block
from curriculum_rec.models.gates import Gate, Gating, make_stream_gate, project, stream_gate_axes
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.residual import BranchParts, NormPosition, add_branch, check_norm_position
from curriculum_rec.ranges import BELOW_ONE, at_least, check_value, one_of

Remat = Literal["none", "dots", "block"]
"""What the backward pass computes again rather than reads back: nothing, all but matrix products, or whole blocks."""

FeedForwardKind = Literal["gelu", "swiglu"]
"""``gelu(W1 x)``, or ``silu(V x) * W1 x``, which has a third matrix."""

Read = Callable[..., Array]
"""Reads an array off a block, what goes into it, and the context of all blocks if there is one."""

UNROLL_UP_TO = 8
"""Stacks up to this depth are unrolled (faster to run); deeper ones are scanned (faster to compile)."""


def stack_blocks(make_block: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> nnx.Module:
    """Build ``depth`` blocks, each with its own initial values, as one module with a leading layer axis.

    Args:
        make_block: Builds one block.
        depth: Number of blocks, at least 1.
        rngs: Random streams for the initial values.
    """
    check_value("model.depth", depth, at_least(1))
    blocks = nnx.split_rngs(splits=depth)(nnx.vmap(make_block, in_axes=0, out_axes=0, axis_size=depth))(rngs)
    freeze_blocks(blocks, 0)
    return blocks


def apply_blocks(
    blocks: nnx.Module,
    x: Float[Array, "batch length width"],
    rng: BatchRng | None,
    *,
    remat: Remat = "none",
    drop: BlockDrop | None = None,
    progress: Float[Array, ""] | None = None,
    context: Any = None,
) -> Float[Array, "batch length width"]:
    """Run the stacked blocks one after the other; arguments as in :func:`read_blocks`."""
    return read_blocks(blocks, x, rng, remat=remat, drop=drop, progress=progress, context=context)[0]


def read_blocks(
    blocks: nnx.Module,
    x: Float[Array, "batch length width"],
    rng: BatchRng | None,
    *,
    remat: Remat = "none",
    drop: BlockDrop | None = None,
    progress: Float[Array, ""] | None = None,
    context: Any = None,
    read: Read | None = None,
) -> tuple[Float[Array, "batch length width"], Float[Array, "depth *shape"] | None]:
    """Run the stacked blocks one after the other, and read something of each.

    Args:
        blocks: The stack; no gradient goes into what is frozen of it, nor through it to what lies below.
        x: What goes in.
        rng: Randomness of the whole stack; each block gets its own. Without it no block is dropped.
        remat: What the backward pass computes again; the numbers are the same, memory for time.
        drop: How probably each block is kept; None keeps all.
        progress: Steps trained as a fraction of the run, for ``drop``.
        context: What all blocks get besides the stream, as their third argument; None where they take two.
        read: Reads an array off a block and what goes into it; None reads nothing.

    Returns:
        The stream after the last block, and what was read, block by block.
    """
    depth, frozen = stack_depth(blocks), frozen_blocks(blocks)
    structure, stacked = nnx.split(blocks)
    keep = None if drop is None or rng is None else drop.keep(depth, progress)
    further = () if context is None else (context,)

    def layer(x: Array, weights: nnx.State, number: Array | int) -> tuple[Array, Array | None]:
        own = None if rng is None else rng.numbered(number)

        def block(x: Array) -> Array:
            return nnx.merge(structure, weights)(x, own, *further)

        found = None if read is None else read(nnx.merge(structure, weights), x, *further)
        if drop is None or keep is None or own is None:
            return block(x), found
        return drop_block(x, block, probability=keep[number], scales=drop.scales, rng=own), found

    if remat != "none":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
        layer = jax.checkpoint(layer, policy=policy)

    def run(x: Array, weights: nnx.State, first: int, last: int) -> tuple[Array, list[Array | None]]:
        if last - first <= UNROLL_UP_TO:
            found = []
            for number in range(first, last):
                x, one = layer(x, jax.tree.map(lambda leaf: leaf[number], weights), number)  # noqa: B023 - used at once
                found.append(None if one is None else one[None])
            return x, found
        part = jax.tree.map(lambda leaf: leaf[first:last], weights)
        x, all_found = jax.lax.scan(lambda x, block: layer(x, *block), x, (part, jnp.arange(first, last)))
        return x, [all_found]

    below: list[Array | None] = []
    if frozen:
        # Stopped on the way in, not only on the way out: nothing is then kept for a backward pass in the first place.
        x, below = run(jax.lax.stop_gradient(x), jax.lax.stop_gradient(stacked), 0, frozen)
    x, above = run(x, stacked, frozen, depth)
    found = [part for part in below + above if part is not None]
    return x, jnp.concatenate(found) if found else None


def freeze_blocks(blocks: nnx.Module, number: int) -> None:
    """Freeze the first blocks of a stack, in place, and cut all gradients off there."""
    holder: Any = blocks
    holder.frozen = number


def frozen_blocks(blocks: nnx.Module) -> int:
    """Say how many of the first blocks of a stack are frozen."""
    return getattr(blocks, "frozen", 0)


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
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(blocks)))
    return sum(leaf.size for path, leaf in leaves if path[-1].key == "kernel")


class FeedForward(nnx.Module):
    """The residual branch ``gate * W2 gelu(W1 x)`` with its norm, and dropout at its end.

    ``swiglu`` makes it ``gate * W2 (silu(V x) * W1 x)``.

    Args:
        width: Size of the residual stream.
        factor: The hidden layer is this many times as wide.
        dropout: Rate in [0, 1).
        norm: The norm.
        norm_position: Whether the branch's input or its sum with the stream is normalised.
        kind: What happens in the hidden layer.
        gating: What the branch is multiplied by.
        rngs: Random streams for the initial values.

    Source: Vaswani et al. (2017); the gated form is SwiGLU of Shazeer (2020).
    """

    BRANCH: ClassVar[BranchParts] = BranchParts(norm="norm", output="down", gate="residual")

    def __init__(
        self,
        width: int,
        *,
        factor: int,
        dropout: float,
        norm: NormName = "layer",
        norm_position: NormPosition = "pre",
        kind: FeedForwardKind = "gelu",
        gating: Gating = "scalar",
        rngs: nnx.Rngs,
    ) -> None:
        self.norm = make_norm(norm, width, rngs)
        self.up = nnx.Linear(width, factor * width, rngs=rngs)
        self.down = nnx.Linear(factor * width, width, rngs=rngs)
        self.swish = nnx.Linear(width, factor * width, rngs=rngs) if kind == "swiglu" else None
        self.residual = Gate()
        self.stream_gate = make_stream_gate(gating, width, rngs)
        self.rate = dropout
        self.norm_position = norm_position

    @jax.named_scope("feed forward")
    def __call__(
        self, x: Float[Array, "batch length width"], rng: BatchRng | None
    ) -> Float[Array, "batch length width"]:
        """Add the branch to the stream."""

        def branch(normed: Array) -> Array:
            inner = project(self.down, self._hidden(normed))
            inner = self.residual(dropout(inner, self.rate, None if rng is None else rng.named("feed forward")))
            return inner if self.stream_gate is None else self.stream_gate(inner, x)

        return add_branch(x, branch, norm=self.norm, position=self.norm_position)

    def _hidden(self, x: Array) -> Array:
        up = project(self.up, x)
        return nnx.gelu(up) if self.swish is None else nnx.silu(project(self.swish, x)) * up

    def axes(self) -> dict[str, Any]:
        """Name the axes of one block's parameters."""
        stream, hidden = Axis(STREAM, self.up.in_features), Axis(HIDDEN, self.up.out_features)
        return {
            "norm": norm_axes(self.norm, STREAM),
            "up": linear_axes(stream, hidden),
            "down": linear_axes(hidden, stream),
            "residual": {"gate": ()},
            **({} if self.swish is None else {"swish": linear_axes(stream, hidden)}),
            **stream_gate_axes(self.stream_gate),
        }


def check_network_options(
    *, width: int, feed_forward_factor: int, dropout: float, remat: str, norm: str, norm_position: str
) -> None:
    """Check what all deep models share.

    Raises:
        OptionError: A size is not positive, the rate is outside [0, 1), or there is no such ``remat`` or norm.
    """
    check_value("model.width", width, at_least(1))
    check_value("model.feed_forward_factor", feed_forward_factor, at_least(1))
    check_value("model.dropout", dropout, BELOW_ONE)
    check_value("model.remat", remat, one_of(*get_args(Remat)))
    check_value("model.norm", norm, one_of(*get_args(NormName)))
    check_norm_position(norm_position)
