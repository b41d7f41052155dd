"""A feed-forward recommender (device): residual layers over the mean of the history's item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.task import Task
from curriculum_rec.models.axes import STREAM
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.blocks import (
    FeedForward,
    Remat,
    apply_blocks,
    check_network_options,
    count_matrix_entries,
    stack_axes,
    stack_blocks,
)
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.residual import NormPosition


@dataclass(frozen=True)
class DNN:
    """Options of the feed-forward recommender.

    Parameters: ``rows width + 2 width + depth (2 factor width^2 + (factor + 1) width + 2 width + 1)``, where
    ``rows`` is ``n_items + 2`` rounded up to a multiple of 128.

    Args:
        width: Size of item and user vectors.
        depth: Number of residual layers, unless a stage says otherwise.
        feed_forward_factor: The hidden layers are this many times as wide.
        dropout: Rate in [0, 1) on the mean vector and on every layer's branch.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each) and let a model
            grow by units that begin at 0.
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` (all but matrix
            products) or ``block`` (everything inside a block). It trades time for memory.
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream. New blocks preserve
            the function of ``pre`` alone.
        drop: How probably each block is left out of a step, in training; None keeps all.

    Source: the averaged-embedding candidate generator of Covington et al. (2016), with residual layers and tied items.
    """

    TASK: ClassVar[Task] = "next_item"

    width: int = 64
    depth: int = 2
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

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> DNNModel:
        """Build the model; the mean has no positions, so ``max_length`` does not matter."""
        del max_length
        return DNNModel(self, n_items=n_items, depth=self.depth if depth is None else depth, rngs=rngs)


class DNNModel(nnx.Module):
    """The network; see :class:`DNN` for its options."""

    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm",)

    def __init__(self, options: DNN, *, n_items: int, depth: int, rngs: nnx.Rngs) -> None:
        self.items = ItemTable(n_items, options.width, cosine_scale=options.cosine_scale, rngs=rngs)
        self.blocks = stack_blocks(
            lambda rngs: FeedForward(
                options.width,
                factor=options.feed_forward_factor,
                dropout=options.dropout,
                norm=options.norm,
                norm_position=options.norm_position,
                rngs=rngs,
            ),
            depth,
            rngs,
        )
        self.norm = make_norm(options.norm, options.width, rngs)
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        length = batch["history"].shape[1]
        total = jnp.cumsum(self.items.embed(batch["history"]), axis=1)
        mean = total / jnp.arange(1, length + 1, dtype=total.dtype)[None, :, None]
        mean = dropout(mean, self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, mean, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.items.queries(self.norm(hidden))

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all; the table is both input and output."""
        return self.items.vectors(items)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        return {
            "items": self.items.axes(),
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM, role="consumes"),
        }

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass, which are those of the layers."""
        return 2 * count_matrix_entries(self.blocks) * np.asarray(lengths, np.float64)
