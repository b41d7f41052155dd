"""Transformers (device): the block, and the options that all models of such blocks share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.attention import attention, attention_map
from curriculum_rec.models.axes import HEAD, HEADS, ROTARY, STREAM, Axis, Joined, Product, linear_axes
from curriculum_rec.models.batch import BatchRng, dropout
from curriculum_rec.models.blocks import FeedForward, FeedForwardKind
from curriculum_rec.models.gates import Gate, Gating, make_stream_gate, project, stream_gate_axes
from curriculum_rec.models.norms import make_norm, norm_axes
from curriculum_rec.models.positions import Positions, RelativeBias, rotate
from curriculum_rec.models.recommender import StackOptions
from curriculum_rec.models.residual import BranchParts, add_branch
from curriculum_rec.ranges import at_least, check_ranges, one_of


@dataclass(frozen=True)
class TransformerOptions(StackOptions):
    """Options that all Transformers share; those not named here are every stack's.

    Parameters of a block: ``4 width (width + 1)`` for attention, ``2 factor width^2 + (factor + 1) width`` for the
    feed-forward layer (``swiglu``: ``3 factor width^2 + (2 factor + 1) width``), ``2 width`` a layer norm (``width`` an
    RMS norm), 2 for the gates, with ``ligr`` ``2 width (width + 1)`` more, and with relative positions ``n_heads`` a
    distance and direction.

    Args:
        n_heads: Attention heads; must divide ``width``. On a CPU one head is fastest.
        feed_forward_factor: The feed-forward layer is this many times as wide.
        positions: How the model knows where items stand: ``learnt`` vectors, ``rotary`` or ``relative`` (a learnt bias
            of scores a distance).
        feed_forward: ``gelu``, or ``swiglu``, gated by a SiLU, which has a third matrix.
        gating: ``scalar`` gives each branch one learnt factor, ``ligr`` also one a unit that depends on the stream.
    """

    n_heads: int = 1
    feed_forward_factor: int = 4
    positions: Positions = "learnt"
    feed_forward: FeedForwardKind = "gelu"
    gating: Gating = "scalar"

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "feed_forward_factor": at_least(1),
            "positions": one_of(*get_args(Positions)),
            "feed_forward": one_of(*get_args(FeedForwardKind)),
            "gating": one_of(*get_args(Gating)),
        }
        check_ranges(self, "model", ranges)
        check_heads(self.n_heads, self.width, "model.width")
        if self.positions == "rotary" and self.width // self.n_heads % 2:
            raise OptionError(
                f"model.positions=rotary turns pairs of entries, and a head has {self.width // self.n_heads} of them: "
                "choose model.width and model.n_heads so that it has an even number"
            )


def check_heads(n_heads: int, width: int, option: str) -> None:
    """Check a number of heads.

    Raises:
        OptionError: It does not divide the width, which the option says.
    """
    if n_heads < 1 or width % n_heads:
        raise OptionError(f"model.n_heads={n_heads}: it must divide {option}={width}")


class TransformerBlock(nnx.Module):
    """Attention, then feed-forward, each a gated residual branch.

    Args:
        options: The model's.
        max_length: Positions of the longest sequence.
        causal: Whether positions look at themselves and the earlier ones only.
        rngs: Random streams for the initial values.
    """

    BRANCH: ClassVar[BranchParts] = BranchParts(norm="norm", output="out", gate="residual")

    def __init__(self, options: TransformerOptions, *, max_length: int, causal: bool, rngs: nnx.Rngs) -> None:
        width = options.width
        self.norm = make_norm(options.norm, width, rngs)
        self.query_key_value = nnx.Linear(width, 3 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.residual = Gate()
        self.feed_forward = FeedForward(
            width,
            factor=options.feed_forward_factor,
            dropout=options.dropout,
            norm=options.norm,
            norm_position=options.norm_position,
            kind=options.feed_forward,
            gating=options.gating,
            rngs=rngs,
        )
        self.stream_gate = make_stream_gate(options.gating, width, rngs)
        relative = options.positions == "relative"
        self.bias = RelativeBias(options.n_heads, max_length, both_ways=not causal, rngs=rngs) if relative else None
        self.is_rotary = options.positions == "rotary"
        self.n_heads = options.n_heads
        self.causal = causal
        self.rate = options.dropout
        self.norm_position = options.norm_position

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        rng: BatchRng | None,
        n_keys: Int32[Array, " batch"] | None = None,
    ) -> Float[Array, "batch length width"]:
        """Run the block.

        Args:
            x: The stream.
            rng: The block's randomness.
            n_keys: How many positions of each sequence may be looked at; None means all.
        """

        def attend(normed: Array) -> Array:
            branch = project(self.out, self._attend(normed, n_keys))
            branch = self.residual(dropout(branch, self.rate, None if rng is None else rng.named("attention")))
            return branch if self.stream_gate is None else self.stream_gate(branch, x)

        with jax.named_scope("attention"):
            x = add_branch(x, attend, norm=self.norm, position=self.norm_position)
        return self.feed_forward(x, rng)

    def attention_map(
        self, x: Float[Array, "batch length width"], n_keys: Int32[Array, " batch"] | None = None
    ) -> Float[Array, "batch length length"]:
        """Say how the positions of what goes into the block look at each other, the mean of its heads."""
        query, key, _, bias = self._looks(self.norm(x) if self.norm_position == "pre" else x)
        return attention_map(query, key, causal=self.causal, bias=bias, n_keys=n_keys)

    def _attend(self, x: Array, n_keys: Array | None) -> Array:
        query, key, value, bias = self._looks(x)
        return attention(query, key, value, causal=self.causal, bias=bias, n_keys=n_keys).reshape(x.shape)

    def _looks(self, x: Array) -> tuple[Array, Array, Array, Array | None]:
        """Give queries, keys, values and what is added to scores."""
        batch, length, width = x.shape
        parts = jnp.split(project(self.query_key_value, x), 3, axis=-1)
        query, key, value = (part.reshape(batch, length, self.n_heads, width // self.n_heads) for part in parts)
        if self.is_rotary:
            query, key = rotate(query), rotate(key)
        return query, key, value, None if self.bias is None else self.bias(length)

    def axes(self) -> dict[str, Any]:
        """Name the axes of one block's parameters.

        A key is consumed by its query. The heads of both are only looked through, one by one. The speed at which a unit
        of a turned head turns depends on how many there are, so that such heads keep their size.
        """
        width = self.out.in_features
        stream, heads = Axis(STREAM, width), Axis(HEADS, self.n_heads)
        head = Axis(ROTARY if self.is_rotary else HEAD, width // self.n_heads)
        query = replace(head, kind="attention")
        value = Product((heads, head))
        made = Joined((Product((heads, query)), Product((heads, replace(query, role="consumes"))), value))
        return {
            "norm": norm_axes(self.norm, STREAM),
            "query_key_value": linear_axes(stream, made),
            "out": linear_axes(value, stream),
            "residual": {"gate": ()},
            "feed_forward": self.feed_forward.axes(),
            **stream_gate_axes(self.stream_gate),
            **({} if self.bias is None else {"bias": self.bias.axes()}),
        }
