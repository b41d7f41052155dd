"""Looking ahead (device): how each loss of a batch bears on the loss of examples that are held out for this.

The derivative of the held-out loss by the weight of one loss is the product of two gradients, that of the held-out loss
and that of the one. All these products together are the change of the batch's losses along the former gradient, so that
two more forward passes give them, as a central difference, without any second derivative: objectives may define their
gradients as they like.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from curriculum_rec.data.examples import Examples, hold_out
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree
from curriculum_rec.objectives.losses import Objective
from curriculum_rec.streams import device_stream
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import Precision, local_gradient, losses_of, reduction
from curriculum_rec.weighting.contract import Seen, Weighting
from curriculum_rec.weighting.learned import BEARING, MetaLearned

DISTANCE = 0.01
"""How far apart from the parameters, in Euclidean norm, the losses are taken whose difference is a derivative."""


def hold_out_meta(examples: Examples, weighting: Weighting | None, *, seed: int) -> tuple[Examples, Examples | None]:
    """Hold examples out of training, where a weighting learns from them (host).

    Returns:
        What is trained on, and what the weighting looks at; None where it looks at nothing.
    """
    if not isinstance(weighting, MetaLearned):
        return examples, None
    return hold_out(examples, weighting.meta_share, seed=seed)


@dataclass(frozen=True)
class LookAhead:
    """What a step needs for it.

    Attributes:
        weighting: The rule.
        objective: Per-example losses.
        batch: This device's rows of the held-out examples that the step looks at.
        rng: Their randomness.
        axis_name: The mapped axis over which batches are spread; None on one device.
        precision: What gradients are computed in; differences of losses always take float32.
        accumulate: Parts into which the training batch is cut.
        at_once: As in :func:`reduction`.
    """

    weighting: MetaLearned
    objective: Objective
    batch: Batch
    rng: BatchRng
    axis_name: str | None
    precision: Precision = "float32"
    accumulate: int = 1
    at_once: bool = True

    def __call__(self, seen: Seen, count: Array, state: TrainState, batch: Batch, rng: BatchRng) -> Seen:
        """Add to what the rule sees how each loss bears on the held-out ones."""
        held_out = replace(self.batch, progress=batch.progress, memory=batch.memory)
        direction = self._meta_gradient(self._ahead(seen, count, state, batch, rng), held_out)
        norm = optax.tree.norm(direction)
        step = DISTANCE / jnp.maximum(norm, 1e-30)
        there, back = (self._losses_along(direction, distance, state, batch, rng) for distance in (step, -step))
        return replace(seen, all_facts={**seen.all_facts, BEARING: seen.gather((there - back) / (2 * step))})

    def _ahead(self, seen: Seen, count: Array, state: TrainState, batch: Batch, rng: BatchRng) -> TrainState:
        """Take the step that is taken for a look only."""
        rate = self.weighting.look_ahead_rate
        if rate == 0:
            return state
        weight = count * self.weighting.preview(seen, state.memory.get("weighting", {}))
        weighted = replace(batch, weight=weight)
        local = local_gradient(
            self.objective, state, weighted, rng, precision=self.precision, accumulate=self.accumulate
        )
        gradient, total = self._reduce((local.gradient, count.sum()))
        scale = rate / jnp.maximum(total, 1e-9)
        return replace(state, params=jax.tree.map(lambda leaf, g: leaf - scale * g, state.params, gradient))

    def _meta_gradient(self, state: TrainState, held_out: Batch) -> Tree:
        local = local_gradient(self.objective, state, held_out, self.rng, precision=self.precision)
        gradient, total = self._reduce((local.gradient, local.weight))
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(total, 1e-9), gradient)

    def _losses_along(
        self, direction: Tree, distance: Array, state: TrainState, batch: Batch, rng: BatchRng
    ) -> Float[Array, "batch *length"]:
        params = jax.tree.map(lambda leaf, g: leaf + distance * g, state.params, direction)
        moved = replace(state, params=params)
        return losses_of(self.objective, moved, batch, rng, accumulate=self.accumulate)

    def _reduce(self, tree: tuple[Tree, Array]) -> tuple[Tree, Array]:
        return reduction(self.axis_name, at_once=self.at_once)(tree)


def draw_meta_batch(
    arrays: dict[str, Array], key: Array, step: Array, *, size: int, n_shards: int, axis_name: str | None
) -> tuple[Batch, BatchRng]:
    """Draw a device's part of a step's held-out examples, with replacement, the same on any number of devices.

    Args:
        arrays: From :meth:`Examples.in_one_shape`.
        key: The run's key.
        step: Steps trained.
        size: Examples of all devices together.
        n_shards: Into how many parts a batch is cut.
        axis_name: The mapped axis; None where every device sees the whole batch.
    """
    own = size // n_shards
    first = 0 if axis_name is None else own * jax.lax.axis_index(axis_name)
    n_examples = len(next(iter(arrays.values())))
    rows = jax.random.randint(device_stream(key, "meta batch", step), (size,), 0, n_examples)
    rows = jax.lax.dynamic_slice_in_dim(rows, first, own)
    rng = BatchRng.for_rows(device_stream(key, "meta step", step), first + jnp.arange(own, dtype=jnp.int32))
    return Batch({name: array[rows] for name, array in arrays.items()}, jnp.ones(own, jnp.float32)), rng


def check_meta_batch(weighting: Weighting | None, meta: Examples | None, n_shards: int) -> None:
    """Refuse a rule without the examples that it learns from, or a batch of these that devices cannot share.

    Raises:
        OptionError: Something does not fit.
    """
    if not isinstance(weighting, MetaLearned):
        return
    if meta is None:
        raise OptionError(f"{type(weighting).__name__} learns from held-out examples, and there are none")
    if weighting.meta_batch % n_shards:
        raise OptionError(
            f"weighting.meta_batch={weighting.meta_batch} cannot be cut equally for {n_shards} devices: change one of "
            "them"
        )
