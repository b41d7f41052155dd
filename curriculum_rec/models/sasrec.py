"""SASRec (device): a causal Transformer over the history with tied item vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.task import Task
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
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.residual import BranchParts, NormPosition, add_branch


@dataclass(frozen=True)
class SASRec:
    """Options of SASRec.

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
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream. New blocks preserve
            the function of ``pre`` alone.
        drop: How probably each block is left out of a step, in training; None keeps all.

    Source: Kang and McAuley (2018); pre-norm blocks, GELU, and a learnt gate on each residual branch are ours.
    """

    TASK: ClassVar[Task] = "next_item"

    width: int = 64
    depth: int = 2
    n_heads: int = 1
    feed_forward_factor: int = 4
    dropout: float = 0.2
    cosine_scale: float | None = None
    norm: NormName = "layer"
    remat: Remat = "none"
    norm_position: NormPosition = "pre"
    drop: BlockDrop | None = None

    def __post_init__(self) -> None:
        check_network_options(
            width=self.width,
            feed_forward_factor=self.feed_forward_factor,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
            norm_position=self.norm_position,
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

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("positions",)

    def __init__(self, options: SASRec, *, n_items: int, max_length: int, depth: int, rngs: nnx.Rngs) -> None:
        self.items = ItemTable(n_items, options.width, cosine_scale=options.cosine_scale, rngs=rngs)
        self.positions = nnx.Embed(max_length, options.width, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.blocks = stack_blocks(lambda rngs: TransformerBlock(options, rngs=rngs), depth, rngs)
        self.norm = make_norm(options.norm, options.width, rngs)
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        history = batch["history"]
        x = self.items.embed(history) + self.positions(recency_positions(history, self.positions.num_embeddings))
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.items.queries(self.norm(hidden))

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
    """Attention, then feed-forward, each a gated residual branch."""

    BRANCH: ClassVar[BranchParts] = BranchParts(norm="norm", output="out", gate="residual")

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
            norm_position=options.norm_position,
            rngs=rngs,
        )
        self.n_heads = options.n_heads
        self.rate = options.dropout
        self.norm_position = options.norm_position

    def __call__(
        self, x: Float[Array, "batch length width"], rng: BatchRng | None
    ) -> Float[Array, "batch length width"]:
        """Run the block."""

        def attend(x: Array) -> Array:
            branch = project(self.out, self._attend(x))
            return self.residual(dropout(branch, self.rate, None if rng is None else rng.named("attention")))

        with jax.named_scope("attention"):
            x = add_branch(x, attend, norm=self.norm, position=self.norm_position)
        return self.feed_forward(x, rng)

    def _attend(self, x: Array) -> Array:
        batch, length, width = x.shape
        parts = jnp.split(project(self.query_key_value, x), 3, axis=-1)
        heads = (part.reshape(batch, length, self.n_heads, width // self.n_heads) for part in parts)
        return causal_attention(*heads).reshape(x.shape)

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
