"""What a model says of every training target (host and device), in one pass with the whole catalogue as candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.curriculum.difficulty.workshop import STATISTICS
from curriculum_rec.data.examples import BATCH_MULTIPLE, USER, Examples
from curriculum_rec.data.times import TIME
from curriculum_rec.evaluation.contract import DeviceSplit
from curriculum_rec.evaluation.evaluator import fold
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.structure import Tree, join_model

ASKED = ("history", "target", TIME, USER)
"""Arrays that a question is made of; the last two where the examples have them."""


@dataclass
class TargetScorer:
    """Asks any state of a model about all targets; compiled once a bucket and depth.

    Args:
        examples: Sequences with targets.
        placed: Puts arrays on the devices.
        batch_size: Sequences asked at once, one position after the other; memory grows with it, not the result.
    """

    examples: Examples
    placed: DeviceSplit
    batch_size: int = 128

    @cached_property
    def _batches(self) -> list[dict[str, Array]]:
        """Per bucket arrays ``[n_batches, batch, length]`` on the devices."""
        multiple, batches = math.lcm(BATCH_MULTIPLE, self.placed.n_shards), []
        for bucket in self.examples.buckets:
            size = -(-min(self.batch_size, len(bucket.example)) // multiple) * multiple
            arrays = {name: fold(np.asarray(bucket.arrays[name]), size) for name in ASKED if name in bucket.arrays}
            batches.append({name: self.placed.split(array, 1) for name, array in arrays.items()})
        return batches

    def __call__(self, structure: nnx.GraphDef, params: Tree) -> dict[str, np.ndarray]:
        """Ask a model.

        Args:
            structure: The model's static structure.
            params: Its parameters.

        Returns:
            float32 ``[n_targets]`` for each of ``STATISTICS``, in the order of ``examples.targets``.
        """
        pending = [_ask_batches(structure, params, arrays) for arrays in self._batches]
        answers: dict[str, np.ndarray] = {}
        for name in STATISTICS:
            grids = []
            for bucket, answer in zip(self.examples.buckets, pending, strict=True):
                by_position = self.placed.fetch(answer[name])  # [n_batches, length, batch]
                grid = by_position.transpose(0, 2, 1).reshape(-1, by_position.shape[1])
                grids.append(grid[: len(bucket.example)])
            answers[name] = self.examples.collect_targets(grids)
        return answers


@jax.jit(static_argnums=0)
def _ask_batches(
    structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array]
) -> dict[str, Float[Array, "batches length batch"]]:
    model: Recommender = join_model(structure, params)
    vectors = model.item_vectors()

    def one_batch(batch: dict[str, Array]) -> dict[str, Array]:
        hidden = model(Batch(batch, jnp.ones(len(batch["history"]))))

        def one_position(asked: tuple[Array, Array]) -> dict[str, Array]:
            return target_statistics(*asked, vectors, n_items=model.n_items)

        return jax.lax.map(one_position, (hidden.transpose(1, 0, 2), batch["target"].T))

    return jax.lax.map(one_batch, arrays)


def target_statistics(
    hidden: Float[Array, "batch width"],
    target: Int32[Array, " batch"],
    vectors: Float[Array, "rows width"],
    *,
    n_items: int,
) -> dict[str, Float[Array, " batch"]]:
    """Compute the ``STATISTICS`` of targets.

    Args:
        hidden: ``[batch, width]``.
        target: int32 ``[batch]``; what is said of padding, 0, means nothing.
        vectors: ``[rows, width]``; rows 0 and beyond ``n_items`` are no candidates.
        n_items: Size of the catalogue.

    Returns:
        float32 ``[batch]`` a name.
    """
    candidate = is_candidate(len(vectors), n_items)[None, :]
    scores = jnp.matmul(hidden, vectors.T, preferred_element_type=jnp.float32)
    own = jnp.take_along_axis(scores, target[:, None], axis=1)
    other = candidate & (jnp.arange(len(vectors), dtype=jnp.int32)[None, :] != target[:, None])
    others = jnp.where(other, scores, -jnp.inf)
    total = jax.nn.logsumexp(jnp.where(candidate, scores, -jnp.inf), axis=1)
    loss = jnp.maximum(total - own[:, 0], 0)
    # "not below or level" rather than "above": a score that is not a number must not win a place for the target.
    halves = jnp.where(other, jnp.where(others <= own, (others == own).astype(jnp.int32), 2), 0)
    likelihood = jnp.exp(others - total[:, None])
    missing = -jnp.expm1(-loss)  # one less the target's probability, without cancellation
    return {
        "loss": loss,
        "probability": jnp.exp(-loss),
        "rank": 1 + halves.sum(axis=1).astype(jnp.float32) / 2,
        "margin": own[:, 0] - others.max(axis=1),
        "error_norm": jnp.sqrt((likelihood**2).sum(axis=1) + missing**2),
        "hidden_norm": jnp.sqrt((hidden.astype(jnp.float32) ** 2).sum(axis=1)),
    }
