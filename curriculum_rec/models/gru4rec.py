"""GRU4Rec (device): recurrent layers over the history with tied item vectors."""

from __future__ import annotations

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
from curriculum_rec.models.blocks import Remat, apply_blocks, count_matrix_entries, stack_blocks
from curriculum_rec.models.dropping import BlockDrop
from curriculum_rec.models.entity_features import (
    EntityVectors,
    FeatureOptions,
    add_user,
    join_features,
    users_of,
)
from curriculum_rec.models.gates import Gate, project
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.norms import NormName, make_norm
from curriculum_rec.models.residual import BranchParts, NormPosition, add_branch, check_norm_position
from curriculum_rec.models.time_features import GapVectors, add_gaps, gaps_of
from curriculum_rec.ranges import BELOW_ONE, at_least, check_ranges, one_of


@dataclass(frozen=True)
class GRU4Rec(FeatureOptions):
    """Options of GRU4Rec.

    Parameters: ``rows width + 2 width + depth (3 hidden (width + hidden + 1) + (hidden + 1) width + 2 width + 1)``,
    where ``rows`` is ``n_items + 2`` rounded up to a multiple of 128; features have those of
    :class:`~curriculum_rec.models.entity_features.FeatureOptions`.

    Args:
        width: Size of item and user vectors.
        hidden: Size of a layer's state.
        depth: Number of layers, unless a stage says otherwise.
        dropout: Rate in [0, 1) on the embedded history and on every layer's branch.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        norm: ``layer`` norms, or ``rms`` norms, which have no bias (``width`` parameters fewer each).
        remat: What the backward pass computes again instead of keeping it: ``none``, ``dots`` or ``block``.
        norm_position: ``pre`` normalises what goes into a branch, ``post`` its sum with the stream. New blocks preserve
            the function of ``pre`` alone.
        drop: How probably each block is left out of a step, in training; None keeps all.

    Source: Hidasi et al. (2016), with whole histories instead of sessions in parallel; layers are gated residual
    branches, as in all models here, and each ends in a linear map from its state back to the stream.
    """

    TASK: ClassVar[Task] = "next_item"

    width: int = 64
    hidden: int = 128
    depth: int = 1
    dropout: float = 0.2
    cosine_scale: float | None = None
    norm: NormName = "layer"
    remat: Remat = "none"
    norm_position: NormPosition = "pre"
    drop: BlockDrop | None = None

    def __post_init__(self) -> None:
        ranges = {
            "width": at_least(1),
            "hidden": at_least(1),
            "dropout": BELOW_ONE,
            "remat": one_of("none", "dots", "block"),
            "norm": one_of("layer", "rms"),
        }
        check_ranges(self, "model", ranges)
        check_norm_position(self.norm_position)
        self.check_features()

    def __call__(
        self,
        *,
        n_items: int,
        max_length: int,
        depth: int | None = None,
        features: FeatureSet | None = None,
        rngs: nnx.Rngs,
    ) -> GRU4RecModel:
        """Build the model; a recurrence has no positions, so ``max_length`` does not matter."""
        del max_length
        depth = self.depth if depth is None else depth
        return GRU4RecModel(self, n_items=n_items, depth=depth, features=features, rngs=rngs)


class GRU4RecModel(nnx.Module):
    """The network; see :class:`GRU4Rec` for its options."""

    BELOW_BLOCKS: ClassVar[tuple[str, ...]] = ("user_features", "time_features")
    ABOVE_BLOCKS: ClassVar[tuple[str, ...]] = ("norm",)
    user_features: EntityVectors | None = None
    time_features: GapVectors | None = None

    def __init__(
        self, options: GRU4Rec, *, n_items: int, depth: int, features: FeatureSet | None, rngs: nnx.Rngs
    ) -> None:
        self.items = ItemTable(n_items, options.width, cosine_scale=options.cosine_scale, rngs=rngs)
        self.blocks = stack_blocks(lambda rngs: RecurrentBlock(options, rngs=rngs), depth, rngs)
        self.norm = make_norm(options.norm, options.width, rngs)
        self.rate = options.dropout
        self.remat = options.remat
        self.drop = options.drop
        join_features(self, options, features, width=options.width, rngs=rngs)

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map histories int32 ``[batch, length]`` to user vectors."""
        x = add_user(self.items.embed(batch["history"]), self.user_features, users_of(batch))
        x = add_gaps(x, self.time_features, gaps_of(self.time_features, batch))
        x = dropout(x, self.rate, None if rng is None else rng.named("embedding"))
        hidden = apply_blocks(self.blocks, x, rng, remat=self.remat, drop=self.drop, progress=batch.progress)
        return self.items.queries(self.norm(hidden))

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all; the table is both input and output."""
        return self.items.vectors(items)

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of a forward pass, which are those of the layers."""
        return 2 * count_matrix_entries(self.blocks) * np.asarray(lengths, np.float64)


class RecurrentBlock(nnx.Module):
    """A gated recurrent unit over the positions, as a gated residual branch."""

    BRANCH: ClassVar[BranchParts] = BranchParts(norm="norm", output="out", gate="residual")

    def __init__(self, options: GRU4Rec, *, rngs: nnx.Rngs) -> None:
        self.norm = make_norm(options.norm, options.width, rngs)
        self.cell = nnx.GRUCell(options.width, options.hidden, rngs=rngs)
        self.out = nnx.Linear(options.hidden, options.width, rngs=rngs)
        self.residual = Gate()
        self.rate = options.dropout
        self.norm_position = options.norm_position

    @jax.named_scope("recurrence")
    def __call__(
        self, x: Float[Array, "batch length width"], rng: BatchRng | None
    ) -> Float[Array, "batch length width"]:
        """Add the branch to the stream."""

        def branch(x: Array) -> Array:
            inner = project(self.out, run_cell(self.cell, x))
            return self.residual(dropout(inner, self.rate, None if rng is None else rng.named("recurrence")))

        return add_branch(x, branch, norm=self.norm, position=self.norm_position)


def run_cell(cell: nnx.GRUCell, x: Float[Array, "batch length width"]) -> Float[Array, "batch length hidden"]:
    """Run a cell over all positions, from a state of 0; inputs are transformed all at once, states one by one."""
    inputs = project(cell.dense_i, x).swapaxes(0, 1)

    def step(state: Array, given: Array) -> tuple[Array, Array]:
        reset, update, new = jnp.split(given, 3, axis=-1)
        of_reset, of_update, of_new = jnp.split(cell.dense_h(state), 3, axis=-1)
        update = jax.nn.sigmoid(update + of_update)
        new = jnp.tanh(new + jax.nn.sigmoid(reset + of_reset) * of_new)
        state = (1 - update) * new + update * state
        return state, state

    start = jnp.zeros((x.shape[0], cell.hidden_features), x.dtype)
    return jax.lax.scan(step, start, inputs)[1].swapaxes(0, 1)
