"""HSTU (device): pointwise gated attention over the history, with biases by distance and by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.task import Task
from curriculum_rec.models.axes import BUCKETS, INNER, INNER_HEADS, SINGLE, STREAM, Axis, Joined, Product, linear_axes
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.compact_items import CompactItems
from curriculum_rec.models.entity_features import users_of
from curriculum_rec.models.gates import Gate, project
from curriculum_rec.models.norms import EPSILON, make_norm, norm_axes
from curriculum_rec.models.pointwise import pointwise_attention
from curriculum_rec.models.positions import RelativeBias
from curriculum_rec.models.recommender import SequenceOptions, SequenceRecommender
from curriculum_rec.models.residual import BranchParts, add_branch
from curriculum_rec.models.time_features import gaps_of, log_buckets, times_of
from curriculum_rec.models.transformer import check_heads
from curriculum_rec.ranges import at_least, check_ranges, one_of

Bias = Literal["position", "position_and_time"]


@dataclass(frozen=True)
class HSTU(SequenceOptions):
    """Options of HSTU; those not named here are every stack's.

    Parameters: ``rows width``, ``2 width`` for the last layer norm, and ``depth`` times
    ``4 inner (width + 1) + (inner + 1) width + 2 width + 1 + max_length + time_buckets``, the last with
    ``bias=position_and_time`` alone; an RMS norm has ``width`` fewer than a layer norm. ``rows`` is ``n_items + 2``
    rounded up to a multiple of 128, and ``inner`` is ``inner_width``.

    Args:
        n_heads: Attention heads; must divide ``inner_width``. On a CPU one head is fastest.
        inner_width: Size of queries, keys, values and their factor, all heads together; None takes ``width``.
        bias: What is learnt to be added to scores: by ``position`` a number a distance, by ``position_and_time`` also
            one for how long before an item the other came, whose logarithm is rounded; the data must have timestamps.
        time_buckets: How many such numbers there are; longer times share the last.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        item_table: How items share rows of smaller tables, which changes the first term of the parameters; None gives
            each its own.

    Source: Zhai et al. (2024), "Actions Speak Louder than Words", equations 1 to 3. Their sum over keys is divided by
    the longest history's length; ours is by the number of keys that a position sees, which the norm behind it takes
    out but for a constant. They measure time up to the item that follows, we up to the position's own, which is known
    when a recommendation is made; and a learnt gate on each residual branch is ours.
    """

    TASK: ClassVar[Task] = "next_item"

    n_heads: int = 1
    inner_width: int | None = None
    bias: Bias = "position_and_time"
    time_buckets: int = 128
    cosine_scale: float | None = None
    item_table: CompactItems | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "inner_width": at_least(1).or_null(),
            "bias": one_of(*get_args(Bias)),
            "time_buckets": at_least(1),
        }
        check_ranges(self, "model", ranges)
        check_heads(self.n_heads, self.inner, "model.width" if self.inner_width is None else "model.inner_width")

    @property
    def inner(self) -> int:
        """Size of queries, keys, values and their factor."""
        return self.width if self.inner_width is None else self.inner_width

    @property
    def needs_time(self) -> bool:
        """Whether the model asks when items came."""
        return self.has_time_bias or super().needs_time

    @property
    def has_time_bias(self) -> bool:
        """Whether scores have a bias by time."""
        return self.bias == "position_and_time"

    def __call__(
        self,
        *,
        n_items: int,
        max_length: int,
        depth: int | None = None,
        features: FeatureSet | None = None,
        rngs: nnx.Rngs,
    ) -> HSTUModel:
        """Build the model."""
        return HSTUModel(
            self,
            lambda rngs: HSTUBlock(self, max_length=max_length, rngs=rngs),
            n_items=n_items,
            n_positions=None,
            depth=self.depth if depth is None else depth,
            cosine_scale=self.cosine_scale,
            item_table=self.item_table,
            features=features,
            rngs=rngs,
        )


class HSTUModel(SequenceRecommender):
    """The network; see :class:`HSTU` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("user_features", "time_features")

    def __init__(self, options: HSTU, make_block: Any, **sizes: Any) -> None:
        super().__init__(options, make_block, **sizes)
        self.has_time_bias = options.has_time_bias
        self.inner = options.inner
        self.n_buckets = options.time_buckets

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]``, and perhaps their times, to user vectors."""
        history = batch["history"]
        time = times_of(batch, without="model.bias=position") if self.has_time_bias else None
        buckets = None if time is None else time_buckets(time, self.n_buckets)
        x, users, gaps = self.items.embed(history), users_of(batch), gaps_of(self.time_features, batch)
        return self.encode(x, history, rng, progress=batch.progress, users=users, gaps=gaps, context=buckets)

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass; of the attention, the half that the causal mask leaves."""
        lengths = np.asarray(lengths, np.float64)
        return self.layer_operations(lengths, lengths * (lengths + 1) / 2 * self.inner / self.width)


class HSTUBlock(nnx.Module):
    """One gated residual branch, which is attention and feed-forward at once.

    Args:
        options: The model's.
        max_length: Positions of the longest sequence.
        rngs: Random streams for the initial values.
    """

    BRANCH: ClassVar[BranchParts] = BranchParts(norm="norm", output="out", gate="residual")

    def __init__(self, options: HSTU, *, max_length: int, rngs: nnx.Rngs) -> None:
        width, inner = options.width, options.inner
        self.norm = make_norm(options.norm, width, rngs)
        self.factor_value_query_key = nnx.Linear(width, 4 * inner, rngs=rngs)
        self.out = nnx.Linear(inner, width, rngs=rngs)
        self.residual = Gate()
        self.distance = RelativeBias(1, max_length, both_ways=False, rngs=rngs)
        timed = options.has_time_bias
        self.time = nnx.Param(0.02 * jax.random.normal(rngs.params(), (options.time_buckets,))) if timed else None
        self.n_buckets = options.time_buckets
        self.n_heads = options.n_heads
        self.rate = options.dropout
        self.norm_position = options.norm_position

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        rng: BatchRng | None,
        buckets: Int32[Array, "batch length length"] | None = None,
    ) -> Float[Array, "batch length width"]:
        """Run the block.

        Args:
            x: The stream.
            rng: The block's randomness.
            buckets: For every position and every earlier one, the bucket of the time between.
        """

        def branch(normed: Array) -> Array:
            mixed = self._mix(normed, buckets)
            mixed = dropout(mixed, self.rate, None if rng is None else rng.named("attention"))
            return self.residual(project(self.out, mixed))

        with jax.named_scope("attention"):
            return add_branch(x, branch, norm=self.norm, position=self.norm_position)

    def _mix(self, x: Array, buckets: Array | None) -> Array:
        batch, length, _ = x.shape
        parts = jnp.split(nnx.silu(project(self.factor_value_query_key, x)), 4, axis=-1)
        factor, *others = parts
        value, query, key = (part.reshape(batch, length, self.n_heads, -1) for part in others)
        bias = self.distance(length)
        if self.time is not None and buckets is not None:
            bias = bias + self.time[...][buckets][:, None]
        mixed = pointwise_attention(query, key, value, bias=bias).reshape(factor.shape)
        return standardise(mixed) * factor

    def axes(self) -> dict[str, Any]:
        """Name the axes of one block's parameters; the norm inside it has no gain by which new units could be 0."""
        inner = self.out.in_features
        made = Product((Axis(INNER_HEADS, self.n_heads), Axis(INNER, inner // self.n_heads)))
        stream = Axis(STREAM, self.out.out_features)
        axes = {
            "norm": norm_axes(self.norm, STREAM),
            "factor_value_query_key": linear_axes(stream, Joined((made,) * 4)),
            "out": linear_axes(made, stream),
            "residual": {"gate": ()},
            "distance": self.distance.axes(SINGLE),
        }
        return axes if self.time is None else axes | {"time": (Axis(BUCKETS, self.n_buckets),)}


def time_buckets(time: Float[Array, "batch length"], n: int) -> Int32[Array, "batch length length"]:
    """Number the logarithms of the times between every two items of a history.

    Args:
        time: float32 ``[batch, length]``.
        n: Buckets; longer times share the last.

    >>> time_buckets(jnp.array([[0.0, 1.0, 100.0]]), 128)[0, 2].tolist()
    [15, 15, 0]
    """
    return log_buckets(jnp.abs(time[:, :, None] - time[:, None, :]), n)


def standardise(x: Float[Array, "*shape width"]) -> Float[Array, "*shape width"]:
    """Take the mean and the variance out of vectors, in float32.

    >>> standardise(jnp.array([1.0, 3.0])).round(3).tolist()
    [-1.0, 1.0]
    """
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + jnp.float32(EPSILON))).astype(x.dtype)
