"""SASRec (device): a causal Transformer over the history with tied item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.task import Task
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.compact_items import CompactItems
from curriculum_rec.models.entity_features import users_of
from curriculum_rec.models.recommender import SequenceOptions, SequenceRecommender
from curriculum_rec.models.time_features import gaps_of
from curriculum_rec.models.transformer import TransformerBlock, TransformerOptions


@dataclass(frozen=True)
class SASRec(TransformerOptions, SequenceOptions):
    """Options of SASRec; those not named here are every Transformer's, and those of features.

    Parameters: ``rows width``, ``max_length width`` with learnt positions, ``2 width`` for the last layer norm
    (``width`` for an RMS norm), and ``depth`` times those of a block (:class:`TransformerOptions`). ``rows`` is
    ``n_items + 2`` rounded up to a multiple of 128.

    Args:
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        item_table: How items share rows of smaller tables, which changes the first term of the parameters; None gives
            each its own.

    Source: Kang and McAuley (2018); pre-norm blocks, GELU, and a learnt gate on each residual branch are ours. With
    ``gating=ligr``, ``feed_forward=swiglu`` and a sampled softmax it is the recipe of eSASRec (Tikhonovich et al.,
    2025).
    """

    TASK: ClassVar[Task] = "next_item"

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
    ) -> SASRecModel:
        """Build the model."""
        return SASRecModel(
            self,
            lambda rngs: TransformerBlock(self, max_length=max_length, causal=True, rngs=rngs),
            n_items=n_items,
            n_positions=max_length if self.positions == "learnt" else None,
            depth=self.depth if depth is None else depth,
            cosine_scale=self.cosine_scale,
            item_table=self.item_table,
            features=features,
            rngs=rngs,
        )


class SASRecModel(SequenceRecommender):
    """The network; see :class:`SASRec` for its options."""

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        history = batch["history"]
        x, users, gaps = self.items.embed(history), users_of(batch), gaps_of(self.time_features, batch)
        return self.encode(x, history, rng, progress=batch.progress, users=users, gaps=gaps)

    def with_attention(
        self, batch: Batch, rng: BatchRng | None = None
    ) -> tuple[Float[Array, "batch length width"], Float[Array, "depth batch length keys"]]:
        """Map histories to user vectors, and say how each block's positions look at each other."""
        history = batch["history"]
        x, users, gaps = self.items.embed(history), users_of(batch), gaps_of(self.time_features, batch)
        read = TransformerBlock.attention_map
        hidden, maps = self.encode_and_read(x, history, rng, progress=batch.progress, users=users, gaps=gaps, read=read)
        return hidden, cast("Array", maps)

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass; of the attention, the half that the causal mask leaves."""
        lengths = np.asarray(lengths, np.float64)
        return self.layer_operations(lengths, lengths * (lengths + 1) / 2)
