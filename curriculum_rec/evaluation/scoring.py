"""Scores of all items after histories (device): ranks of targets by counting, the items on top, whole or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.models.contract import Recommender, ScoresItems
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.spread import n_shards, over_shards
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.models.top import top_of_rows

Carry = TypeVar("Carry")


def scorer(model: Recommender | ScoresItems) -> Callable[[Mapping[str, Array]], Float[Array, "batch rows"]]:
    """Say how a model scores all items after each history of a batch; what all batches share is computed once."""
    if isinstance(model, ScoresItems):
        return lambda batch: model.score_items(batch["history"])
    vectors = model.item_vectors()
    return lambda batch: user_vectors(model, batch) @ vectors.T


@jax.jit(static_argnums=(0, 3))
def rank_batches(
    structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array], item_chunk: int | None
) -> Float[Array, "batches batch"]:
    """Rank the targets of batches.

    Args:
        structure: The model's static structure.
        params: Its parameters.
        arrays: ``history``, ``target``, ``seen`` and what else the model asks for, ``[n_batches, batch, ...]``.
        item_chunk: Items that are scored at once; None takes all.
    """
    model = join_model(structure, params)
    if item_chunk is not None:
        return jax.lax.map(_Chunked(model, item_chunk).ranks, arrays)
    score = scorer(model)

    def one_batch(batch: dict[str, Array]) -> Float[Array, " batch"]:
        scores = score(batch)
        return target_ranks(scores, batch["target"], batch["seen"], n_items=model.n_items)

    return jax.lax.map(one_batch, arrays)


@jax.jit(static_argnums=(0, 3, 4))
def list_batches(
    structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array], k: int, item_chunk: int | None
) -> Int32[Array, "batches batch k"]:
    """List the items with the highest scores after each history, of equal ones the lower id first.

    Args:
        structure: The model's static structure.
        params: Its parameters.
        arrays: As in :func:`rank_batches`; ``target`` is not looked at.
        k: Length of the lists; 0 stands where there are fewer candidates.
        item_chunk: As there.
    """
    model = join_model(structure, params)
    if item_chunk is not None:
        chunks = _Chunked(model, item_chunk)
        return jax.lax.map(lambda batch: chunks.lists(batch, k), arrays)
    score = scorer(model)

    def one_batch(batch: dict[str, Array]) -> Int32[Array, "batch k"]:
        return top_items(score(batch), batch["seen"], n_items=model.n_items, k=k)

    return jax.lax.map(one_batch, arrays)


def target_ranks(
    scores: Float[Array, "batch rows"],
    target: Int32[Array, " batch"],
    seen: Int32[Array, "batch seen"],
    *,
    n_items: int,
) -> Float[Array, " batch"]:
    """Rank targets by counting the candidates above and level with them, in one pass over the scores.

    Args:
        scores: ``[batch, rows]``; columns 0 and those beyond ``n_items`` are no candidates.
        target: int32 ``[batch]``.
        seen: int32 ``[batch, n]``, different items that are no candidates either, 0 where there are fewer; the target
            is not among them.
        n_items: Size of the catalogue.

    Returns:
        float32 ``[batch]``: ``1 + above + level / 2``.

    >>> scores = jnp.array([[9.0, 3.0, 2.0, 2.0, 1.0, 9.0]])
    >>> target_ranks(scores, jnp.array([3]), jnp.array([[1, 0]]), n_items=4).tolist()
    [1.5]
    """
    own = jnp.take_along_axis(scores, target[:, None], axis=1)
    left_out = jnp.concatenate([target[:, None], seen], axis=1)
    less = jnp.where(left_out > 0, _halves(jnp.take_along_axis(scores, left_out, axis=1), own), 0)
    among_all = jnp.where(is_candidate(scores.shape[1], n_items)[None, :], _halves(scores, own), 0)
    return 1 + (among_all.sum(axis=1) - less.sum(axis=1)).astype(jnp.float32) / 2


def _halves(others: Float[Array, "batch n"], own: Float[Array, "batch one"]) -> Int32[Array, "batch n"]:
    """Count 2 for a score above a target's own and 1 for one that is level with it."""
    # "not below or level" rather than "above": a score that is not a number must not win a place for the target.
    return jnp.where(others <= own, (others == own).astype(jnp.int32), 2)


def top_items(
    scores: Float[Array, "batch rows"], seen: Int32[Array, "batch seen"], *, n_items: int, k: int
) -> Int32[Array, "batch k"]:
    """List the candidates with the highest scores, of equal ones the lower id first.

    Args:
        scores: ``[batch, rows]``; columns 0 and those beyond ``n_items`` are no candidates.
        seen: int32 ``[batch, n]``, items that are no candidates either, 0 where there are fewer.
        n_items: Size of the catalogue.
        k: Length of the lists.

    Returns:
        int32 ``[batch, k]``; 0 where there are fewer candidates. A score that is not a number is the lowest.

    >>> top_items(jnp.array([[9.0, 3.0, 2.0, 2.0, 9.0]]), jnp.array([[1]]), n_items=3, k=3).tolist()
    [[2, 3, 0]]
    """
    score, item = top_of_rows(_candidate_scores(scores, seen, first=0, last=n_items), min(k, scores.shape[1]))
    listed = jnp.where(score > -jnp.inf, item, 0)
    return jnp.pad(listed, ((0, 0), (0, k - listed.shape[1])))


def _candidate_scores(
    scores: Float[Array, "batch rows"], seen: Int32[Array, "batch seen"], *, first: Array | int, last: Array | int
) -> Float[Array, "batch rows"]:
    """Put what is no candidate below everything; the columns begin with the item ``first``, none is beyond ``last``."""
    lowest = jnp.finfo(scores.dtype).min
    kept = jnp.where(jnp.isnan(scores), lowest, jnp.maximum(scores, lowest))
    item = first + jnp.arange(scores.shape[1], dtype=jnp.int32)
    kept = jnp.where(((item > 0) & (item <= last))[None, :], kept, -jnp.inf)
    column = jnp.where(seen >= first, seen - first, scores.shape[1])  # a negative one would count from the end
    return kept.at[jnp.arange(len(seen), dtype=jnp.int32)[:, None], column].set(-jnp.inf, mode="drop")


class _Chunk(NamedTuple):
    """Some rows of a shard: their vectors, their first item, and the last item of the shard.

    Behind the last row of a shard stand zeros, in the places of the next shard's items.
    """

    vectors: Array
    first: Array
    last: Array | int


class _Chunked:
    """Scores of a catalogue some items at a time, equally many of every shard: ``[batch, n_items]`` is never held."""

    def __init__(self, model: Recommender | ScoresItems, size: int) -> None:
        if isinstance(model, ScoresItems):
            raise OptionError(
                f"evaluation.item_chunk has no effect on {type(model).__name__}, which scores all items at once: leave "
                "it out"
            )
        vectors = model.item_vectors()
        self.model, self.n_items, self.n_shards = model, model.n_items, n_shards(vectors)
        self.n_own, self.size = len(vectors) // self.n_shards, -(-size // self.n_shards)
        shape = -1, self.size, vectors.shape[1]

        def cut(own: Array) -> Array:
            return jnp.pad(own, ((0, -len(own) % self.size), (0, 0))).reshape(shape)

        self.chunks = over_shards(cut, vectors, shards=self.n_shards, join=lambda chunks: chunks.reshape(shape))
        of_shard = jnp.arange(len(self.chunks) // self.n_shards, dtype=jnp.int32) * self.size
        self.first = jnp.add.outer(jnp.arange(self.n_shards, dtype=jnp.int32) * self.n_own, of_shard).reshape(-1)

    def ranks(self, batch: dict[str, Array]) -> Float[Array, " batch"]:
        """Rank targets in two passes: their own scores must be those of the products that they are compared with."""
        users = user_vectors(self.model, batch)
        left_out = jnp.concatenate([batch["target"][:, None], batch["seen"]], axis=1)

        def gather(found: Array, chunk: _Chunk) -> Array:
            place = left_out - chunk.first
            inside = (place >= 0) & (place < self.size)
            scores = jnp.take_along_axis(users @ chunk.vectors.T, jnp.clip(place, 0, self.size - 1), axis=1)
            return jnp.where(inside, scores, found)

        def of_its_shard(found: Array) -> Array:
            return jnp.take_along_axis(found, (left_out // self.n_own)[None], axis=0)[0]

        nothing = jnp.zeros(left_out.shape, jnp.result_type(users, self.chunks))
        found = self._scan(gather, nothing, join=of_its_shard)
        own = found[:, :1]

        def count(total: Array, chunk: _Chunk) -> Array:
            item = chunk.first + jnp.arange(self.size, dtype=jnp.int32)
            candidate = ((item > 0) & (item <= chunk.last))[None, :]
            return total + jnp.where(candidate, _halves(users @ chunk.vectors.T, own), 0).sum(axis=1)

        among_all = self._scan(count, jnp.zeros(len(users), jnp.int32), join=lambda total: total.sum(axis=0))
        less = jnp.where(left_out > 0, _halves(found, own), 0).sum(axis=1)
        return 1 + (among_all - less).astype(jnp.float32) / 2

    def lists(self, batch: dict[str, Array], k: int) -> Int32[Array, "batch k"]:
        """List the highest; the best of a chunk join the best before it, and those of a shard the best of lower ids."""
        users = user_vectors(self.model, batch)

        def highest(scores: Array, items: Array) -> tuple[Array, Array]:
            score, place = jax.lax.top_k(scores, k)  # of equal ones the first: a lower id
            return score, jnp.take_along_axis(items, place, axis=1)

        def merge(best: tuple[Array, Array], chunk: _Chunk) -> tuple[Array, Array]:
            scores = _candidate_scores(users @ chunk.vectors.T, batch["seen"], first=chunk.first, last=chunk.last)
            score, column = top_of_rows(scores, min(k, self.size))
            return highest(
                *(jnp.concatenate(pair, axis=1) for pair in zip(best, (score, chunk.first + column), strict=True))
            )

        def join(best: tuple[Array, Array]) -> tuple[Array, Array]:
            return highest(*(each.swapaxes(0, 1).reshape(len(users), -1) for each in best))

        nothing = jnp.full((len(users), k), -jnp.inf, jnp.result_type(users, self.chunks))
        score, item = self._scan(merge, (nothing, jnp.zeros((len(users), k), jnp.int32)), join=join)
        return jnp.where(score > -jnp.inf, item, 0)

    def _scan(self, fold: Callable[[Carry, _Chunk], Carry], start: Carry, *, join: Callable[[Carry], Carry]) -> Carry:
        """Fold over the chunks of each shard."""

        def of_shard(chunks: Array, first: Array) -> Carry:
            last = self.n_items if self.n_shards == 1 else jnp.minimum(first[0] + self.n_own - 1, self.n_items)

            def step(carry: Carry, chunk: tuple[Array, Array]) -> tuple[Carry, None]:
                return fold(carry, _Chunk(*chunk, last)), None

            return jax.lax.scan(step, start, (chunks, first))[0]

        return over_shards(of_shard, self.chunks, self.first, shards=self.n_shards, join=join)


def fold(array: np.ndarray, size: int) -> np.ndarray:
    """Cut a leading axis into batches, the last one filled up with zeros.

    >>> fold(np.array([1, 2, 3]), 2).tolist()
    [[1, 2], [3, 0]]
    """
    missing = -len(array) % size
    filled = np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
    return filled.reshape(len(filled) // size, size, *array.shape[1:])
