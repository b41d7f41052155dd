"""BERT4Rec (device): a Transformer that looks both ways and guesses the items that are masked out of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.task import Task
from curriculum_rec.models.axes import SINGLE, STREAM, Axis
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.blocks import Read
from curriculum_rec.models.compact_items import CompactItems
from curriculum_rec.models.entity_features import users_of
from curriculum_rec.models.recommender import SequenceOptions, SequenceRecommender
from curriculum_rec.models.time_features import UNKNOWN_GAP, gaps_of
from curriculum_rec.models.transformer import TransformerBlock, TransformerOptions


@dataclass(frozen=True)
class BERT4Rec(TransformerOptions, SequenceOptions):
    """Options of BERT4Rec; those not named here are every Transformer's, and those of features.

    It is trained by ``objective=masked_item``.

    Parameters: ``rows width``, ``width`` for the mask, ``(max_length + 1) width`` with learnt positions, ``2 width``
    for the last layer norm (``width`` for an RMS norm), and ``depth`` times those of a block
    (:class:`TransformerOptions`), whose relative positions have two directions. ``rows`` is ``n_items + 2`` rounded up
    to a multiple of 128.

    Args:
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        item_table: How items share rows of smaller tables, which changes the first term of the parameters; None gives
            each its own.

    Source: Sun et al. (2019). Scores are products of the last layer with the items' vectors, without the original's
    projection and bias an item; pre-norm blocks and a learnt gate on each residual branch are ours.
    """

    TASK: ClassVar[Task] = "next_item"
    FILLS_MASKS: ClassVar[bool] = True

    cosine_scale: float | None = None
    item_table: CompactItems | None = None

    def __call__(
        self,
        *,
        n_items: int,
        max_length: int,
        depth: int | None = None,
        features: FeatureSet | None = None,
        rngs: nnx.Rngs,
    ) -> BERT4RecModel:
        """Build the model; a history of ``max_length`` items has one more position, that of the mask."""
        length = max_length + 1
        return BERT4RecModel(
            self,
            lambda rngs: TransformerBlock(self, max_length=length, causal=False, rngs=rngs),
            n_items=n_items,
            n_positions=length if self.positions == "learnt" else None,
            depth=self.depth if depth is None else depth,
            cosine_scale=self.cosine_scale,
            item_table=self.item_table,
            features=features,
            rngs=rngs,
        )


class BERT4RecModel(SequenceRecommender):
    """The network; see :class:`BERT4Rec` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("positions", "mask", "user_features", "time_features")

    def join(self, options: SequenceOptions, features: FeatureSet | None, rngs: nnx.Rngs) -> None:
        """Make the mask, then take features in."""
        self.mask = nnx.Embed(1, options.width, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        super().join(options, features, rngs)

    def fill(
        self,
        items: Int32[Array, "batch length"],
        masked: Bool[Array, "batch length"],
        rng: BatchRng | None = None,
        *,
        progress: Float[Array, ""] | None = None,
        users: Int32[Array, " batch"] | None = None,
        gaps: Int32[Array, "batch length"] | None = None,
    ) -> Float[Array, "batch length width"]:
        """Give the vectors whose products with the items' say what stands at each position.

        Args:
            items: Sequences filled from the left, 0 where nothing follows.
            masked: Positions whose item the model does not see; one of no item counts as one of the sequence.
            rng: Randomness; None at inference.
            progress: Steps trained as a fraction of the run.
            users: Whose they are, for a model that reads users' features.
            gaps: The numbers of the gaps before the items, for a model that has vectors for these; those of masked
                positions are not read, since nobody knows when an item will come that is asked for.
        """
        return self._fill(items, masked, rng, progress=progress, users=users, gaps=gaps)[0]

    def _fill(
        self,
        items: Array,
        masked: Array,
        rng: BatchRng | None,
        *,
        progress: Array | None,
        users: Array | None,
        gaps: Array | None,
        read: Read | None = None,
    ) -> tuple[Array, Array | None]:
        present = jnp.where(masked, 1, items)
        x = jnp.where(masked[..., None], self.mask.embedding[...][0][None, None, :], self.items.embed(items))
        # A row that only fills a batch up looks at its own padding: a fused kernel may know no mean of nothing.
        n_keys = jnp.maximum((present > 0).sum(axis=1, dtype=jnp.int32), 1)
        gaps = None if gaps is None else jnp.where(masked, UNKNOWN_GAP, gaps)
        return self.encode_and_read(
            x, present, rng, progress=progress, users=users, gaps=gaps, context=n_keys, read=read
        )

    def next_vectors(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch width"]:
        """Give the vector that predicts what follows each history, at a mask that is appended to it."""
        return self._next(batch, rng)[0]

    def _next(self, batch: Batch, rng: BatchRng | None, *, read: Read | None = None) -> tuple[Array, Array | None]:
        """Give what stands at the mask: the vector, and of maps ``[depth, batch, queries, keys]`` its row."""
        history = jnp.pad(batch["history"], ((0, 0), (0, 1)))
        last = (history > 0).sum(axis=1, dtype=jnp.int32)
        masked = jnp.arange(history.shape[1], dtype=jnp.int32)[None, :] == last[:, None]
        gaps = gaps_of(self.time_features, batch, asks_behind=True)
        hidden, maps = self._fill(
            history, masked, rng, progress=batch.progress, users=users_of(batch), gaps=gaps, read=read
        )
        rows = None if maps is None else jnp.take_along_axis(maps, last[None, :, None, None], axis=2)[:, :, 0]
        return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0], rows

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map every position to the vector that predicts what follows it, from it and the earlier items alone.

        Each position takes a pass of its own; :meth:`next_vectors` gives that of the last item in one.
        """
        return self._at_each(batch, rng)[0]

    def with_attention(
        self, batch: Batch, rng: BatchRng | None = None
    ) -> tuple[Float[Array, "batch length width"], Float[Array, "depth batch length keys"]]:
        """Do the same, and say how the mask behind each position looks at all that stands before it, and itself."""
        hidden, maps = self._at_each(batch, rng, read=TransformerBlock.attention_map)
        return hidden, cast("Array", maps)

    def _at_each(self, batch: Batch, rng: BatchRng | None, *, read: Read | None = None) -> tuple[Array, Array | None]:
        history = batch["history"]
        place = jnp.arange(history.shape[1], dtype=jnp.int32)

        def at(position: Array) -> tuple[Array, Array | None]:
            begun = jnp.where(place[None, :] <= position, history, 0)
            return self._next(replace(batch, arrays={**batch.arrays, "history": begun}), rng, read=read)

        hidden, maps = jax.lax.map(at, place)
        return hidden.transpose(1, 0, 2), None if maps is None else maps.transpose(1, 2, 0, 3)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        return super().axes() | {"mask": {"embedding": (Axis(SINGLE, 1), Axis(STREAM, self.width))}}

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a pass over histories and what follows them, all of whose positions may meet."""
        lengths = np.asarray(lengths, np.float64)
        whole = np.where(lengths > 0, lengths + 1, 0)
        return self.layer_operations(whole, whole**2)
