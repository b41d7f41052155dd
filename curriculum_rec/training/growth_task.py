"""The run's loss and batches for growth that learns how to grow (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.examples import Examples
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.objectives.losses import Objective
from curriculum_rec.streams import device_stream, host_stream
from curriculum_rec.training.placement import Placed


@dataclass(frozen=True)
class RunTask:
    """What growth learns from when a stage is entered; it is the same again after a crash.

    Batches are drawn from all examples, each bucket as often as it has batches, whatever the curriculum shows.

    Attributes:
        objective: The run's loss.
        examples: What it is trained on.
        structure: The model without its arrays: the new one, or where sizes are decided the old one.
        placed: The devices; each computes all of a batch.
        seed: The run's seed.
        progress: Fraction of the run that has been trained.
        memory: What the objective remembers.
    """

    objective: Objective
    examples: Examples
    structure: nnx.GraphDef
    placed: Placed
    seed: int
    progress: float
    memory: Mapping[str, Array]

    def batch(self, step: int) -> Tree:
        """Draw a batch and its randomness, on every device; how far the run is goes with them, to be no constant."""
        draw = host_stream(self.seed, "growth batches", step)
        buckets = self.examples.whole
        n_batches = np.array([len(bucket.example) / bucket.batch_size for bucket in buckets])
        bucket = buckets[draw.choice(len(buckets), p=n_batches / n_batches.sum())]
        size = min(bucket.batch_size, len(bucket.example))
        rows = draw.choice(len(bucket.example), size, replace=False)
        arrays = {name: array[rows] for name, array in bucket.arrays.items()}
        key = device_stream(jax.random.key(self.seed), "growth batches", step)
        return self.placed.replicate((arrays, key, jnp.float32(self.progress)))

    def arrays(self, batch: Tree) -> Mapping[str, Array]:
        """Give what a model sees of a batch."""
        arrays: Mapping[str, Array] = batch[0]
        return arrays

    def loss(self, params: Tree, batch: Tree) -> Float[Array, ""]:
        """Compute the mean loss of a batch, every target counting the same."""
        arrays, key, progress = batch
        size = len(next(iter(arrays.values())))
        rng = BatchRng.for_rows(key, jnp.arange(size, dtype=jnp.int32))
        rows = Batch(arrays, jnp.ones(size), progress=progress, memory=self.memory)
        losses = self.objective(join_model(self.structure, params), rows, rng)
        counts = jnp.ones_like(losses.per_example) if losses.mask is None else losses.mask.astype(jnp.float32)
        return (losses.per_example * counts).sum() / jnp.maximum(counts.sum(), 1)
