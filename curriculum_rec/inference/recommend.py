"""Top-k recommendations (host and device): the highest scores after each user's whole history."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Float, Int32, Shaped

from curriculum_rec.data.examples import USER, bucket_lengths
from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.padded import by_width, pad_left_aligned
from curriculum_rec.data.times import TIME, history_times
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.evaluator import fold
from curriculum_rec.models.contract import Recommender, ScoresItems, needs_time
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.structure import Tree, join_model
from curriculum_rec.models.top import top_of_rows

BATCH = 256


def recommend(
    structure: nnx.GraphDef,
    params: Tree,
    interactions: Interactions,
    *,
    k: int,
    max_length: int,
    lengths: tuple[int, ...],
    users: list[str] | None = None,
    filter_seen: bool = True,
) -> pl.DataFrame:
    """Recommend items after each user's whole history.

    Args:
        structure: The model's static structure.
        params: Its parameters.
        interactions: The histories and the id maps.
        k: Items a user, at most; fewer where fewer are candidates.
        max_length: Longest history that the model takes; of longer ones the most recent part is used.
        lengths: Lengths to which histories are padded.
        users: Original ids, in the wanted order; None means all users.
        filter_seen: Whether items of the history are left out.

    Returns:
        Columns ``user``, ``rank`` (from 1), ``item`` (original ids) and ``score``, user by user.

    Raises:
        OptionError: ``k`` is larger than the catalogue.
        DataError: A user is unknown.
    """
    codes, start, stop, n_seen = asked_users(interactions, users, k=k, filter_seen=filter_seen)
    if not len(codes):
        return no_lists(interactions)
    vectors = None
    if not isinstance(join_model(structure, params), ScoresItems):
        vectors = history_vectors(
            structure,
            params,
            interactions.item,
            start,
            stop,
            timestamp=interactions.timestamp,
            max_length=max_length,
            lengths=lengths,
            users=codes.astype(np.int32),
        )
    score, item = np.empty((len(codes), k), np.float32), np.empty((len(codes), k), np.int32)
    for _, chosen in by_width(stop - start, (max_length,)):
        begin, end = start[chosen], stop[chosen]
        if vectors is None:
            queries = pad_left_aligned(interactions.item, begin, end, int((end - begin).max()))
        else:
            queries = vectors[chosen]
        found = _top_k(structure, params, fold(queries, BATCH), _seen(interactions.item, begin, n_seen[chosen]), k=k)
        score[chosen], item[chosen] = (np.asarray(array).reshape(-1, k)[: len(chosen)] for array in found)
    return list_frame(interactions, codes, score, item)


class AskedUsers(NamedTuple):
    """Whom lists are for: int32 or int64 ``[n]`` each.

    Attributes:
        codes: The users.
        start: Where the history of each begins among all rows.
        stop: One past its end.
        n_seen: How many items of it, from its first on, are no candidates.
    """

    codes: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    n_seen: np.ndarray


def asked_users(interactions: Interactions, users: list[str] | None, *, k: int, filter_seen: bool) -> AskedUsers:
    """Find the users who are asked for.

    Args:
        interactions: The histories and the id maps.
        users: Original ids; None means all users.
        k: Items a user, at most.
        filter_seen: Whether items of the history are left out.

    Raises:
        OptionError: ``k`` is larger than the catalogue.
        DataError: A user is unknown.
    """
    if not 1 <= k <= interactions.n_items:
        raise OptionError(f"k={k}: it must lie between 1 and the {interactions.n_items} items of the catalogue")
    codes, offsets = user_codes(interactions, users), interactions.user_offsets()
    start, stop = offsets[codes], offsets[codes + 1]
    return AskedUsers(codes, start, stop, stop - start if filter_seen else np.zeros(len(codes), np.int64))


def list_frame(interactions: Interactions, codes: np.ndarray, score: np.ndarray, item: np.ndarray) -> pl.DataFrame:
    """Give lists in a person's own words.

    Args:
        interactions: The id maps.
        codes: The users, ``[n]``.
        score: ``[n, k]``, highest first; what is not finite is none.
        item: int32 ``[n, k]``.
    """
    k = item.shape[1]
    frame = pl.DataFrame(
        {
            "user": interactions.users.decode(np.repeat(codes, k)),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), len(codes)),
            "item": interactions.items.decode(item.reshape(-1)),
            "score": score.reshape(-1),
        }
    )
    return frame.filter(pl.col("score").is_finite())


def history_vectors(
    structure: nnx.GraphDef,
    params: Tree,
    items: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    *,
    timestamp: np.ndarray | None,
    max_length: int,
    lengths: tuple[int, ...],
    users: np.ndarray | None = None,
) -> np.ndarray:
    """Give the vector after each history, whose product with an item's is its score.

    Args:
        structure: The model's static structure.
        params: Its parameters.
        items: int32 ``[n]``, the histories' items, in any order of histories.
        start: int64 ``[m]``, where each begins among them; at least one.
        stop: int64 ``[m]``, one past its last item; at least one more than ``start``.
        timestamp: ``[n]``, the items' times; None where nobody knows.
        max_length: Longest history that the model takes; of longer ones the most recent part is used.
        lengths: Lengths to which histories are padded.
        users: int32 ``[m]``, whose they are; None where nobody says.

    Returns:
        float32 ``[m, width]``.
    """
    used = np.minimum(stop - start, max_length)
    all_lengths = bucket_lengths(lengths, max_length)
    bucket_of = np.searchsorted(all_lengths, used)
    timed = needs_time(join_model(structure, params))
    order, vectors = [], []
    for number, length in enumerate(all_lengths):
        chosen = np.flatnonzero(bucket_of == number)
        if len(chosen):
            ends = stop[chosen] - used[chosen], stop[chosen]
            arrays = {"history": pad_left_aligned(items, *ends, length)}
            if timed:
                arrays[TIME] = history_times(timestamp, *ends, length)
            if users is not None:
                arrays[USER] = users[chosen]
            folded = {name: fold(array, BATCH) for name, array in arrays.items()}
            order.append(chosen)
            vectors.append(_user_vectors(structure, params, folded)[: len(chosen)])
    return np.asarray(jnp.concatenate(vectors))[np.argsort(np.concatenate(order))]


@partial(jax.jit, static_argnames="structure")
def _user_vectors(structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array]) -> Float[Array, "users width"]:
    model: Recommender = join_model(structure, params)
    vectors = jax.lax.map(lambda batch: user_vectors(model, batch), arrays)
    return vectors.reshape(-1, vectors.shape[-1])


@partial(jax.jit, static_argnames=("structure", "k"))
def _top_k(
    structure: nnx.GraphDef,
    params: Tree,
    queries: Shaped[Array, "batches batch width"],
    seen: Int32[Array, "batches pairs two"],
    *,
    k: int,
) -> tuple[Float[Array, "batches batch k"], Int32[Array, "batches batch k"]]:
    model: Recommender = join_model(structure, params)
    score = model.score_items if isinstance(model, ScoresItems) else partial(_products, model.item_vectors())

    def one_batch(batch: tuple[Array, Array]) -> tuple[Array, Array]:
        queries, seen = batch
        scores = score(queries)
        scores = jnp.where(is_candidate(scores.shape[1], model.n_items)[None, :], scores, -jnp.inf)
        return top_of_rows(scores.at[seen[:, 0], seen[:, 1]].set(-jnp.inf, mode="drop"), k)

    return jax.lax.map(one_batch, (queries, seen))


def _products(vectors: Float[Array, "rows width"], queries: Float[Array, "batch width"]) -> Float[Array, "batch rows"]:
    return queries @ vectors.T


def _seen(items: np.ndarray, start: np.ndarray, n_seen: np.ndarray) -> np.ndarray:
    """List what users have seen: int32 ``[batches, pairs, 2]``, row in the batch and item; no such row past the end."""
    total = np.add.reduceat(n_seen, np.arange(0, len(n_seen), BATCH))
    user = np.repeat(np.arange(len(n_seen)), n_seen)
    begin = np.cumsum(n_seen) - n_seen
    row = np.repeat(start - begin, n_seen) + np.arange(n_seen.sum())
    batch = user // BATCH
    place = np.arange(len(user)) - (np.cumsum(total) - total)[batch]
    pairs = np.full((len(total), max(int(total.max()), 1), 2), BATCH, np.int32)
    pairs[batch, place] = np.stack([user % BATCH, items[row]], axis=1)
    return pairs


def no_lists(interactions: Interactions) -> pl.DataFrame:
    """Give the lists of nobody."""
    ids = {"user": interactions.users.ids.dtype, "item": interactions.items.ids.dtype}
    return pl.DataFrame(schema={"user": ids["user"], "rank": pl.Int32, "item": ids["item"], "score": pl.Float32})


def user_codes(interactions: Interactions, users: list[str] | None) -> np.ndarray:
    """Give the codes of users by their ids, of all users where none are named.

    Raises:
        DataError: A user is unknown.
    """
    if users is None:
        return np.arange(1, interactions.n_users + 1)
    codes = interactions.users.encode(pl.Series(users, dtype=pl.String))
    if not codes.all():
        unknown = users[int(np.flatnonzero(codes == 0)[0])]
        known = ", ".join(map(str, interactions.users.ids[:3]))
        raise DataError(f"user '{unknown}' does not occur in the data (after cleaning); its users are such as {known}")
    return codes.astype(np.int64)
