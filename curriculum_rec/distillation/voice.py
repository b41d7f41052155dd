"""What teachers say of a batch (device): one of them, or several that speak with one voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.structure import Tree, join_model

How = Literal["mean", "borda"]
"""How several teachers become one: the mean of their standardised scores, or of their ranks."""


@dataclass(frozen=True)
class Voice:
    """Teachers in front of a batch.

    Attributes:
        hidden: ``[batch, length, width]``, the user vectors of each.
        vectors: ``[rows, width]``, the item vectors of each.
        n_items: Size of the catalogue.
        how: How several become one.
        maps: ``[depth, batch, length, keys]`` of each, how its positions look at each other; none where nobody asked.
    """

    hidden: tuple[Float[Array, "batch length _"], ...]
    vectors: tuple[Float[Array, "_ _"], ...]
    n_items: int
    how: How = "mean"
    maps: tuple[Float[Array, "_ batch length _"], ...] = ()

    @classmethod
    def of(
        cls,
        structures: Sequence[nnx.GraphDef],
        params: Sequence[Tree],
        batch: Batch,
        how: How,
        *,
        attention: bool = False,
    ) -> Voice:
        """Ask teachers about a batch, without randomness and without a gradient.

        Args:
            structures: Of each.
            params: Of each.
            batch: The batch.
            how: How several become one.
            attention: Whether they also say how positions look at each other.
        """
        models: list[Recommender] = [
            join_model(structure, jax.lax.stop_gradient(tree))
            for structure, tree in zip(structures, params, strict=True)
        ]
        with jax.named_scope("teacher"):
            said = [jax.lax.stop_gradient(hidden_and_maps(model, batch, attention=attention)) for model in models]
            vectors = tuple(jax.lax.stop_gradient(model.item_vectors()) for model in models)
        maps = tuple(each for _, each in said if each is not None)
        return cls(tuple(hidden for hidden, _ in said), vectors, models[0].n_items, how, maps)

    def scores(self, hidden: Sequence[Float[Array, "rows _"]]) -> Float[Array, "rows items"]:
        """Score the catalogue for some user vectors of each teacher; what is no item gets minus infinity."""
        return voice_scores(hidden, self.vectors, n_items=self.n_items, how=self.how)

    def scores_of(self, items: Int32[Array, " n"]) -> Float[Array, "batch length n"]:
        """Score some items for every target of the batch.

        One teacher scores those alone; several are compared over the catalogue, one position after the other.
        """
        if len(self.hidden) == 1:
            return jnp.matmul(self.hidden[0], self.vectors[0][items].T, preferred_element_type=jnp.float32)
        by_position = tuple(hidden.swapaxes(0, 1) for hidden in self.hidden)
        return jax.lax.map(lambda hidden: self.scores(hidden)[:, items], by_position).swapaxes(0, 1)


def hidden_and_maps(
    model: Any, batch: Batch, rng: BatchRng | None = None, *, attention: bool = False
) -> tuple[Float[Array, "batch length _"], Float[Array, "_ batch length _"] | None]:
    """Compute a model's user vectors and, if asked for, how its positions look at each other, in one pass."""
    return model.with_attention(batch, rng) if attention else (model(batch, rng), None)


def voice_scores(
    hidden: Sequence[Float[Array, "rows _"]],
    vectors: Sequence[Float[Array, "_ _"]],
    *,
    n_items: int,
    how: How,
) -> Float[Array, "rows items"]:
    """Score the catalogue by several teachers as one.

    Scores of one teacher stay what they are. Of several, ``mean`` averages what :func:`standardise` gives, times the
    mean of their standard deviations, so that a temperature means what it means for one of them; ``borda`` gives each
    item the share of the others that it beats, averaged over the teachers.

    Args:
        hidden: ``[rows, width]`` of each teacher.
        vectors: ``[items, width]`` of each; row 0 and rows beyond ``n_items`` are no items.
        n_items: Size of the catalogue.
        how: How several become one.

    Returns:
        float32, minus infinity where there is no item.
    """
    n_rows = max(len(table) for table in vectors)
    candidate = is_candidate(n_rows, n_items)[None, :]
    all_scores = [_scores(h, table, n_rows) for h, table in zip(hidden, vectors, strict=True)]
    if len(all_scores) == 1:
        return jnp.where(candidate, all_scores[0], -jnp.inf)
    if how == "borda":
        total = sum(_share_beaten(scores, candidate) for scores in all_scores)
        return jnp.where(candidate, total / len(all_scores), -jnp.inf)
    standard = [standardise(scores, candidate) for scores in all_scores]
    mean = sum(scores for scores, _ in standard) / len(standard)
    return jnp.where(candidate, mean * (sum(deviation for _, deviation in standard) / len(standard)), -jnp.inf)


def standardise(
    scores: Float[Array, "rows items"], candidate: Array
) -> tuple[Float[Array, "rows items"], Float[Array, "rows one"]]:
    """Give scores a mean of 0 and a standard deviation of 1 in every row, and that deviation.

    Args:
        scores: ``[rows, items]``.
        candidate: bool, broadcast against it; the others take no part.

    >>> scores, deviation = standardise(jnp.array([[9.0, 1.0, 3.0]]), jnp.array([[False, True, True]]))
    >>> scores[0, 1:].tolist(), deviation.tolist()
    ([-1.0, 1.0], [[1.0]])
    """
    count = candidate.sum(axis=-1, keepdims=True).astype(scores.dtype)
    centred = scores - jnp.where(candidate, scores, 0).sum(axis=-1, keepdims=True) / count
    variance = jnp.where(candidate, centred**2, 0).sum(axis=-1, keepdims=True) / count
    deviation = jnp.sqrt(jnp.maximum(variance, 1e-12))
    return centred / deviation, deviation


def _scores(hidden: Array, table: Array, n_rows: int) -> Array:
    scores = jnp.matmul(hidden, table.T, preferred_element_type=jnp.float32)
    return jnp.pad(scores, ((0, 0), (0, n_rows - len(table))))


def _share_beaten(scores: Array, candidate: Array) -> Array:
    """Give each item the share of the other items with lower scores; of equal ones the first counts as better."""
    order = jnp.argsort(jnp.where(candidate, -scores, jnp.inf), axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1)
    return 1 - rank.astype(jnp.float32) / jnp.maximum(candidate.sum() - 1, 1).astype(jnp.float32)
