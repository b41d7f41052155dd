"""What a model says of whole histories (device): the vectors that predict what comes next."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import PredictsNext, Recommender


def user_vectors(
    model: Recommender, arrays: Mapping[str, Array], rng: BatchRng | None = None, progress: Array | None = None
) -> Float[Array, "batch width"]:
    """Give the vector after the last item of each history.

    Args:
        model: The model.
        arrays: ``history`` int32 ``[batch, length]``, and what else the model asks for.
        rng: Randomness; None at inference.
        progress: Steps trained as a fraction of the run.
    """
    history = arrays["history"]
    batch = Batch(arrays, jnp.ones(len(history)), progress=progress)
    if isinstance(model, PredictsNext):
        return model.next_vectors(batch, rng)
    last = jnp.maximum((history > 0).sum(axis=1) - 1, 0)
    return jnp.take_along_axis(model(batch, rng), last[:, None, None], axis=1)[:, 0]
