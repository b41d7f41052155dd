"""Recommenders of stacked blocks over sequences (device): what they share, so that a model says only what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.models.axes import POSITIONS, STREAM, Axis
from curriculum_rec.models.batch import BatchRng, dropout
from curriculum_rec.models.blocks import (
    Read,
    Remat,
    check_network_options,
    count_matrix_entries,
    read_blocks,
    stack_axes,
    stack_blocks,
    stack_depth,
)
from curriculum_rec.models.compact_items import CompactItems
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.entity_features import (
    EntityVectors,
    FeatureOptions,
    add_user,
    join_features,
)
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.positions import recency_positions
from curriculum_rec.models.residual import NormPosition
from curriculum_rec.models.time_features import GapVectors, add_gaps

MakeBlock = Callable[[nnx.Rngs], nnx.Module]


@dataclass(frozen=True)
class StackOptions:
    """Options that all models of stacked residual blocks share.

    Args:
        width: Size of the residual stream.
        depth: Number of blocks, unless a stage says otherwise.
        dropout: Rate in [0, 1) on what goes into the blocks and on every branch of a block.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each) and let a model
            grow by units that begin at 0.
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` (all but matrix
            products) or ``block`` (everything inside a block). It trades time for memory.
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream. New blocks preserve
            the function of ``pre`` alone.
        drop: How probably each block is left out of a step, in training; None keeps all.
    """

    width: int = 64
    depth: int = 2
    dropout: float = 0.2
    norm: NormName = "layer"
    remat: Remat = "none"
    norm_position: NormPosition = "pre"
    drop: BlockDrop | None = None

    def __post_init__(self) -> None:
        check_network_options(
            width=self.width,
            feed_forward_factor=1,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
            norm_position=self.norm_position,
        )


@dataclass(frozen=True)
class SequenceOptions(StackOptions, FeatureOptions):
    """Options that all stacks over sequences share; they are every stack's, and those of features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_features()


class SequenceRecommender(nnx.Module):
    """Items, positions, blocks and the last norm, with tied item vectors; a model says what it runs them on.

    Args:
        options: The model's.
        make_block: Builds one of its blocks.
        n_items: Size of the catalogue.
        n_positions: Positions of the longest sequence, which get a learnt vector each; None for no such vectors.
        depth: Number of blocks.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        item_table: How items share rows of a smaller table; None gives each its own.
        features: What is known of items and users; None for nothing.
        rngs: Random streams for the initial values.
    """

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("positions", "user_features", "time_features")
    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm",)
    user_features: EntityVectors | None = None
    time_features: GapVectors | None = None

    def __init__(
        self,
        options: SequenceOptions,
        make_block: MakeBlock,
        *,
        n_items: int,
        n_positions: int | None,
        depth: int,
        cosine_scale: float | None,
        item_table: CompactItems | None,
        features: FeatureSet | None,
        rngs: nnx.Rngs,
    ) -> None:
        width = options.width
        make_items: CompactItems = ItemTable if item_table is None else item_table
        self.items = make_items(n_items, width, cosine_scale=cosine_scale, rngs=rngs)
        self.positions = None if n_positions is None else _position_vectors(n_positions, width, rngs)
        self.blocks = stack_blocks(make_block, depth, rngs)
        self.norm = make_norm(options.norm, width, rngs)
        self.width = width
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop
        self.join(options, features, rngs)

    def join(self, options: SequenceOptions, features: FeatureSet | None, rngs: nnx.Rngs) -> None:
        """Take features in, after all else that begins at random."""
        join_features(self, options, features, width=self.width, rngs=rngs)

    def encode(
        self,
        x: Float[Array, "batch length width"],
        items: Int32[Array, "batch length"],
        rng: BatchRng | None,
        *,
        progress: Float[Array, ""] | None,
        users: Int32[Array, " batch"] | None = None,
        gaps: Int32[Array, "batch length"] | None = None,
        context: Any = None,
    ) -> Float[Array, "batch length width"]:
        """Run the blocks on embedded sequences; arguments as in :meth:`encode_and_read`."""
        return self.encode_and_read(x, items, rng, progress=progress, users=users, gaps=gaps, context=context)[0]

    def encode_and_read(
        self,
        x: Float[Array, "batch length width"],
        items: Int32[Array, "batch length"],
        rng: BatchRng | None,
        *,
        progress: Float[Array, ""] | None,
        users: Int32[Array, " batch"] | None = None,
        gaps: Int32[Array, "batch length"] | None = None,
        context: Any = None,
        read: Read | None = None,
    ) -> tuple[Float[Array, "batch length width"], Float[Array, "depth *shape"] | None]:
        """Run the blocks on embedded sequences, and read something of each.

        Args:
            x: The sequences' vectors.
            items: Something above 0 where there is one.
            rng: Randomness; None at inference.
            progress: Steps trained as a fraction of the run.
            users: Whose they are, for a model that reads users' features.
            gaps: The numbers of the gaps before the items, for a model that has vectors for these.
            context: What all blocks get besides the stream.
            read: Reads an array off a block and what goes into it; None reads nothing.
        """
        x = add_gaps(add_user(x, self.user_features, users), self.time_features, gaps)
        if self.positions is not None:
            x += self.positions(recency_positions(items, self.positions.num_embeddings))
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        hidden, found = read_blocks(
            self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=progress, context=context, read=read
        )
        return self.items.queries(self.norm(hidden)), found

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all; the table is both input and output."""
        return self.items.vectors(items)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        axes = {
            "items": self.items.axes(),
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM, role="consumes"),
        }
        if self.positions is not None:
            n, width = self.positions.num_embeddings, self.positions.features
            axes["positions"] = {"embedding": (Axis(POSITIONS, n), Axis(STREAM, width))}
        if self.user_features is not None:
            axes["user_features"] = self.user_features.axes()
        if self.time_features is not None:
            axes["time_features"] = self.time_features.axes()
        return axes

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def layer_operations(self, lengths: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Count the operations of the blocks.

        Args:
            lengths: Positions of each sequence.
            pairs: Pairs of a query and a key that may meet in it.
        """
        return 2 * count_matrix_entries(self.blocks) * lengths + stack_depth(self.blocks) * 4 * self.width * pairs


def _position_vectors(n: int, width: int, rngs: nnx.Rngs) -> nnx.Embed:
    return nnx.Embed(n, width, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
