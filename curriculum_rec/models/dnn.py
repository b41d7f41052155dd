"""A feed-forward recommender (device): residual layers over the mean of the history's item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.examples import AGE
from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.task import Task
from curriculum_rec.models.axes import AGES, STREAM, Axis
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
from curriculum_rec.models.entity_features import (
    SCALE,
    EntityVectors,
    FeatureOptions,
    add_user,
    join_features,
    users_of,
)
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm, norm_axes
from curriculum_rec.models.residual import NormPosition
from curriculum_rec.models.time_features import GapVectors, add_gaps, gaps_of
from curriculum_rec.ranges import check_ranges, one_of

ExampleAge = Literal["none", "add"]
"""Whether the model is told how long before the end of training a target came."""

AGE_POWERS = (0.5, 1.0, 2.0)
"""Powers of the age that the model gets, as in section 3.4 of Covington et al."""


@dataclass(frozen=True)
class DNN(FeatureOptions):
    """Options of the feed-forward recommender; with users' features and ages of examples it is ``youtube_dnn``.

    Parameters: ``rows width + 2 width + depth (2 factor width^2 + (factor + 1) width + 2 width + 1)``, where
    ``rows`` is ``n_items + 2`` rounded up to a multiple of 128; with ages ``3 width`` more, with features those of
    :class:`~curriculum_rec.models.entity_features.FeatureOptions`.

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
        example_age: ``add`` tells the model in training how old each target is (its age, root and square, from 0, the
            end of training, to 1); recommendations are made at age 0. The data must have timestamps.

    Source: the averaged-embedding candidate generator of Covington et al. (2016), with residual layers and tied items;
    they put what is known of the user beside the mean and project both at once, we add the projections.
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
    example_age: ExampleAge = "none"

    def __post_init__(self) -> None:
        check_network_options(
            width=self.width,
            feed_forward_factor=self.feed_forward_factor,
            dropout=self.dropout,
            remat=self.remat,
            norm=self.norm,
            norm_position=self.norm_position,
        )
        self.check_features()
        check_ranges(self, "model", {"example_age": one_of(*get_args(ExampleAge))})

    @property
    def needs_age(self) -> bool:
        """Whether the model asks how old targets are."""
        return self.example_age == "add"

    def __call__(
        self,
        *,
        n_items: int,
        max_length: int,
        depth: int | None = None,
        features: FeatureSet | None = None,
        rngs: nnx.Rngs,
    ) -> DNNModel:
        """Build the model; the mean has no positions, so ``max_length`` does not matter."""
        del max_length
        depth = self.depth if depth is None else depth
        return DNNModel(self, n_items=n_items, depth=depth, features=features, rngs=rngs)


class DNNModel(nnx.Module):
    """The network; see :class:`DNN` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("user_features", "time_features", "age")
    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm",)
    user_features: EntityVectors | None = None
    time_features: GapVectors | None = None
    age: nnx.Linear | None = None

    def __init__(self, options: DNN, *, n_items: int, depth: int, features: FeatureSet | None, rngs: nnx.Rngs) -> None:
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
        self.width = options.width
        self.needs_age = options.needs_age
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop
        begin = nnx.initializers.normal(SCALE)
        if options.needs_age:
            self.age = nnx.Linear(len(AGE_POWERS), options.width, use_bias=False, kernel_init=begin, rngs=rngs)
        join_features(self, options, features, width=options.width, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        length = batch["history"].shape[1]
        total = jnp.cumsum(self.items.embed(batch["history"]), axis=1)
        mean = total / jnp.arange(1, length + 1, dtype=total.dtype)[None, :, None]
        mean = add_user(mean, self.user_features, users_of(batch))
        mean = add_gaps(mean, self.time_features, gaps_of(self.time_features, batch))
        mean = self._with_age(mean, batch)
        mean = dropout(mean, self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, mean, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.items.queries(self.norm(hidden))

    def _with_age(self, mean: Array, batch: Batch) -> Array:
        """Tell how old targets are; nothing is added at age 0, that of a recommendation."""
        age = batch.arrays.get(AGE)
        if self.age is None or age is None:
            return mean
        return mean + self.age(jnp.stack([age**power for power in AGE_POWERS], axis=-1).astype(mean.dtype))

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all; the table is both input and output."""
        return self.items.vectors(items)

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters."""
        return {
            "items": self.items.axes(),
            "blocks": stack_axes(self.blocks),
            "norm": norm_axes(self.norm, STREAM, role="consumes"),
            **({} if self.user_features is None else {"user_features": self.user_features.axes()}),
            **({} if self.time_features is None else {"time_features": self.time_features.axes()}),
            **(
                {} if self.age is None else {"age": {"kernel": (Axis(AGES, len(AGE_POWERS)), Axis(STREAM, self.width))}}
            ),
        }

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass, which are those of the layers."""
        return 2 * count_matrix_entries(self.blocks) * np.asarray(lengths, np.float64)
