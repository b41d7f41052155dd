"""Two towers (device): one layers users, the other items, and only their last vectors meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.task import Task
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.blocks import FeedForward, Remat, apply_blocks, count_matrix_entries, stack_blocks
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.entity_features import EntityVectors, add_user, join_features, users_of
from curriculum_rec.models.items import ItemTable, normalise
from curriculum_rec.models.norms import NormName, make_norm
from curriculum_rec.models.recommender import SequenceOptions
from curriculum_rec.models.time_features import GapVectors, add_gaps, gaps_of
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges

CHUNK = 2**16
"""Items that go through their tower at once, where it is asked for the whole catalogue."""


@dataclass(frozen=True)
class TwoTower(SequenceOptions):
    """Options of two towers; those not named here are every stack's.

    The user's tower maps the mean of the vectors of the history, plus the user's features, to a vector; the item's
    tower maps the item's vector, that of its id plus its features, to another. Both are residual feed-forward layers
    and a norm; ``depth`` is that of each, so that both grow together. It is made for
    ``objective=sampled_softmax objective/negatives=in_batch objective.correct=true``: negatives of the batch, whose
    scores are corrected by how often items are in batches.

    Parameters: ``rows width``, ``2 width`` for the last layer norm of each tower (``width`` for an RMS norm), and
    ``2 depth`` times ``2 factor width^2 + (factor + 1) width + 2 width + 1``, in which an RMS norm has ``width`` fewer.
    ``rows`` is ``n_items + 2`` rounded up to a multiple of 128; features have those of
    :class:`~curriculum_rec.models.entity_features.FeatureOptions`.

    Args:
        feed_forward_factor: The hidden layers are this many times as wide.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.

    Source: Yi et al. (2019), "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", whose
    towers are plain layers with ReLU, and whose temperature is ``1 / cosine_scale``; one table of ids serves both
    towers. Dropout acts in the user's tower alone, since an item's vector does not depend on who asks.
    """

    TASK: ClassVar[Task] = "next_item"

    feed_forward_factor: int = 4
    cosine_scale: float | None = 14.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {"feed_forward_factor": at_least(1), "cosine_scale": POSITIVE.or_null()}
        check_ranges(self, "model", ranges)

    def __call__(
        self,
        *,
        n_items: int,
        max_length: int,
        depth: int | None = None,
        features: FeatureSet | None = None,
        rngs: nnx.Rngs,
    ) -> TwoTowerModel:
        """Build the model; a mean has no positions, so ``max_length`` does not matter."""
        del max_length
        depth = self.depth if depth is None else depth
        return TwoTowerModel(self, n_items=n_items, depth=depth, features=features, rngs=rngs)


class TwoTowerModel(nnx.Module):
    """The network; see :class:`TwoTower` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("user_features", "time_features")
    user_features: EntityVectors | None = None
    time_features: GapVectors | None = None

    def __init__(
        self, options: TwoTower, *, n_items: int, depth: int, features: FeatureSet | None, rngs: nnx.Rngs
    ) -> None:
        self.items = ItemTable(n_items, options.width, cosine_scale=None, rngs=rngs)
        self.blocks = _layers(options, depth, rngs)
        self.norm = make_norm(options.norm, options.width, rngs)
        self.item_tower = ItemTower(_layers(options, depth, rngs), norm=options.norm, width=options.width, rngs=rngs)
        self.cosine_scale = options.cosine_scale
        self.rate = options.dropout
        self.remat: Remat = options.remat
        self.drop: BlockDrop | None = options.drop
        join_features(self, options, features, width=options.width, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        history = batch["history"]
        total = jnp.cumsum(self.items.embed(history), axis=1)
        mean = total / jnp.arange(1, history.shape[1] + 1, dtype=total.dtype)[None, :, None]
        x = add_user(mean, self.user_features, users_of(batch))
        x = add_gaps(x, self.time_features, gaps_of(self.time_features, batch))
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        x = self.norm(apply_blocks(self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=batch.progress))
        return x if self.cosine_scale is None else self.cosine_scale * normalise(x)

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all, chunk by chunk."""
        below = self.items.all() if items is None else self.items.embed(items)
        flat = below.reshape(-1, below.shape[-1])
        vectors = self._of_chunk(flat) if len(flat) <= CHUNK else _by_chunks(self._of_chunk, flat)
        return vectors.reshape(below.shape)

    def _of_chunk(self, x: Float[Array, "rows width"]) -> Float[Array, "rows width"]:
        vectors = self.item_tower(x, remat=self.remat)
        return vectors if self.cosine_scale is None else normalise(vectors)

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass of the user's tower, which are those of the layers."""
        return 2 * count_matrix_entries(self.blocks) * np.asarray(lengths, np.float64)


class ItemTower(nnx.Module):
    """Layers over item vectors, and a norm.

    Args:
        blocks: The layers, stacked.
        norm: The norm's name.
        width: Size of a vector.
        rngs: Random streams for the initial values.
    """

    def __init__(self, blocks: nnx.Module, *, norm: NormName, width: int, rngs: nnx.Rngs) -> None:
        self.blocks = blocks
        self.norm = make_norm(norm, width, rngs)

    @jax.named_scope("item tower")
    def __call__(self, x: Float[Array, "rows width"], *, remat: Remat = "none") -> Float[Array, "rows width"]:
        """Map item vectors to those that users meet."""
        return self.norm(apply_blocks(self.blocks, x[None], None, remat=remat))[0]


def _layers(options: TwoTower, depth: int, rngs: nnx.Rngs) -> nnx.Module:
    def make(rngs: nnx.Rngs) -> nnx.Module:
        return FeedForward(
            options.width,
            factor=options.feed_forward_factor,
            dropout=options.dropout,
            norm=options.norm,
            norm_position=options.norm_position,
            rngs=rngs,
        )

    return stack_blocks(make, depth, rngs)


def _by_chunks(function: Callable[[Array], Array], x: Array) -> Array:
    filled = jnp.pad(x, ((0, -len(x) % CHUNK), (0, 0)))
    return jax.lax.map(function, filled.reshape(-1, CHUNK, x.shape[-1])).reshape(filled.shape)[: len(x)]
