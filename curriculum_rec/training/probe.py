"""A look at the losses of a few fixed examples between two steps (device), which changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from curriculum_rec.data.examples import Examples
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.objectives.losses import Objective
from curriculum_rec.streams import device_stream
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.state import TrainState


@dataclass
class Probe:
    """Computes mean losses of groups of examples.

    All looks use the same random numbers, so that only the model makes a difference between two of them.

    Args:
        objective: The loss.
        examples: Where they are.
        groups: int ``[n_groups, n_each]``, their numbers.
        placed: The devices; each computes all of it.
        seed: The run's seed.
    """

    objective: Objective
    examples: Examples
    groups: np.ndarray
    placed: Placed
    seed: int
    _key: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._key = self.placed.replicate(device_stream(jax.random.key(self.seed), "probe"))

    @cached_property
    def _arrays(self) -> dict[str, Array]:
        return self.placed.replicate(gather(self.examples, self.groups.reshape(-1)))

    def __call__(self, state: TrainState) -> np.ndarray:
        """Give each group's mean loss, float64 ``[n_groups]``."""
        losses = self._losses(state.structure, state.params, self._arrays, self._key)
        return np.asarray(self.placed.fetch(losses), np.float64).reshape(self.groups.shape).mean(axis=1)

    @cached_property
    def _losses(self) -> jax.stages.Wrapped:
        def losses(structure: Tree, params: Tree, arrays: dict[str, Array], key: Array) -> Float[Array, " batch"]:
            size = len(next(iter(arrays.values())))
            rng = BatchRng.for_rows(key, jnp.arange(size, dtype=jnp.int32))
            result = self.objective(join_model(structure, params), Batch(arrays, jnp.ones(size)), rng)
            if result.per_example.ndim == 1:
                return result.per_example
            mask = jnp.ones(result.per_example.shape, bool) if result.mask is None else result.mask
            inner = tuple(range(1, mask.ndim))
            return jnp.where(mask, result.per_example, 0).sum(inner) / jnp.maximum(mask.sum(inner), 1)

        return jax.jit(losses, static_argnums=0)


def gather(examples: Examples, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Bring examples of all buckets into arrays of the widest shape, filled up with zeros.

    Args:
        examples: All examples.
        numbers: int ``[m]``.

    Returns:
        Named arrays ``[m, ...]``.
    """
    arrays = {}
    for name in examples.whole[0].arrays:
        parts = [bucket.arrays[name] for bucket in examples.whole]
        shape = tuple(max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
        joined = np.zeros((len(examples), *shape), parts[0].dtype)
        for bucket, part in zip(examples.whole, parts, strict=True):
            joined[(bucket.example, *(slice(size) for size in part.shape[1:]))] = part
        arrays[name] = joined[numbers]
    return arrays
