"""SASRec (device): a causal Transformer over the history with tied item vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.attention import causal_attention
from curriculum_rec.models.axes import (
    HEAD,
    HEADS,
    POSITIONS,
    STREAM,
    Axis,
    Joined,
    Product,
    linear_axes,
)
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.blocks import (
    FeedForward,
    Gate,
    Remat,
    apply_blocks,
    check_network_options,
    count_matrix_entries,
    project,
    stack_axes,
    stack_blocks,
    stack_depth,
)
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm, norm_axes


@dataclass(frozen=True)
class SASRec:
    """Options of SASRec in its pre-norm form.

    Parameters: ``(rows + max_length) width + 2 width + depth (4 width (width + 1) + 2 factor width^2
    + (factor + 1) width + 4 width + 2)``, where ``rows`` is ``n_items + 1`` rounded up to a multiple of 128.

    Args:
        width: Size of item and user vectors.
        depth: Number of blocks, unless a stage says otherwise.
        n_heads: Attention heads; must divide ``width``. On a CPU one head is fastest.
        feed_forward_factor: The feed-forward layer is this many times as wide.
        dropout: Rate in [0, 1) on the embedded history and on both branches of a block.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each) and let a model
            grow by units that begin at 0.
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` (all but matrix
            products) or ``block`` (everything inside a block). It trades time for memory.

    Source: Kang and McAuley (2018); pre-norm blocks, GELU, and a learnt gate on each residual branch are ours.
    """

    width: int = 64
    depth: int = 2
    n_heads: int = 1
    feed_forward_factor: int = 4
    dropout: float = 0.2
    cosine_scale: float | None = None
    norm: NormName = "layer"
    remat: Remat = "none"

    def __post_init__(self) -> None:
        check_network_options(
            width=self.width,
            feed_forward_factor=self.feed_forward_factor,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
        )
        if self.n_heads < 1 or self.width % self.n_heads:
            raise OptionError(f"model.n_heads={self.n_heads}: it must divide model.width={self.width}")

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> SASRecModel:
        """Build the model."""
        return SASRecModel(
            self, n_items=n_items, max_length=max_length, depth=self.depth if depth is None else depth, rngs=rngs
        )


class SASRecModel(nnx.Module):
    """The network; see :class:`SASRec` for its options."""

    def __init__(self, options: SASRec, *, n_items: int, max_length: int, depth: int, rngs: nnx.Rngs) -> None:
        self.items = ItemTable(n_items, options.width, cosine_scale=options.cosine_scale, rngs=rngs)
        self.positions = nnx.Embed(max_length, options.width, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.blocks = stack_blocks(lambda rngs: TransformerBlock(options, rngs=rngs), depth, rngs)
        self.norm = make_norm(options.norm, options.width, rngs)
        self.rate = options.dropout
        self.remat = options.remat

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        history = batch["history"]
        x = self.items.embed(history) + self.positions(recency_positions(history, self.positions.num_embeddings))
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        return self.items.queries(self.norm(apply_blocks(self.blocks, x, rng, remat=self.remat)))

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all; the table is both input and output."""
        return self.items.vectors(items)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        positions = Axis(POSITIONS, self.positions.num_embeddings), Axis(STREAM, self.positions.features)
        return {
            "items": self.items.axes(),
            "positions": {"embedding": positions},
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM, role="consumes"),
        }

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass; of the attention, the half that the causal mask leaves."""
        depth, width = stack_depth(self.blocks), self.positions.features
        lengths = np.asarray(lengths, np.float64)
        return 2 * count_matrix_entries(self.blocks) * lengths + depth * 4 * width * lengths * (lengths + 1) / 2


class TransformerBlock(nnx.Module):
    """Attention, then feed-forward, each a gated pre-norm residual branch."""

    def __init__(self, options: SASRec, *, rngs: nnx.Rngs) -> None:
        self.norm = make_norm(options.norm, options.width, rngs)
        self.query_key_value = nnx.Linear(options.width, 3 * options.width, rngs=rngs)
        self.out = nnx.Linear(options.width, options.width, rngs=rngs)
        self.residual = Gate()
        self.feed_forward = FeedForward(
            options.width,
            factor=options.feed_forward_factor,
            dropout=options.dropout,
            norm=options.norm,
            rngs=rngs,
        )
        self.n_heads = options.n_heads
        self.rate = options.dropout

    def __call__(
        self, x: Float[Array, "batch length width"], rng: BatchRng | None
    ) -> Float[Array, "batch length width"]:
        """Run the block."""
        return self.feed_forward(self._attend(x, rng), rng)

    @jax.named_scope("attention")
    def _attend(self, x: Array, rng: BatchRng | None) -> Array:
        batch, length, width = x.shape
        parts = jnp.split(project(self.query_key_value, self.norm(x)), 3, axis=-1)
        heads = (part.reshape(batch, length, self.n_heads, width // self.n_heads) for part in parts)
        mixed = causal_attention(*heads).reshape(x.shape)
        branch = dropout(project(self.out, mixed), self.rate, None if rng is None else rng.named("attention"))
        return x + self.residual(branch)

    def axes(self) -> dict[str, Any]:
        """Name the axes of one block's parameters.

        A key is consumed by its query. The heads of both are only looked through, one by one.
        """
        width = self.out.in_features
        stream, heads, head = Axis(STREAM, width), Axis(HEADS, self.n_heads), Axis(HEAD, width // self.n_heads)
        query = replace(head, kind="attention")
        value = Product((heads, head))
        made = Joined((Product((heads, query)), Product((heads, replace(query, role="consumes"))), value))
        return {
            "norm": norm_axes(self.norm, STREAM),
            "query_key_value": linear_axes(stream, made),
            "out": linear_axes(value, stream),
            "residual": {"gate": ()},
            "feed_forward": self.feed_forward.axes(),
        }


def recency_positions(history: Int32[Array, "batch length"], max_length: int) -> Int32[Array, "batch length"]:
    """Number positions from the end, so that the last item always has position ``max_length - 1``.

    >>> recency_positions(jnp.array([[5, 6, 0]]), 10).tolist()
    [[8, 9, 0]]
    """
    length = (history > 0).sum(axis=1, keepdims=True, dtype=jnp.int32)
    index = jnp.arange(history.shape[1], dtype=jnp.int32)[None, :]
    return jnp.where(index < length, max_length - length + index, 0)
