"""Top-k recommendations (host and device): the highest scores after each user's whole history."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.examples import bucket_lengths, pad_left_aligned
from curriculum_rec.data.interactions import Interactions
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.evaluator import user_vectors
from curriculum_rec.models.contract import Recommender
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.structure import Tree, join_model

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
    if not 1 <= k <= interactions.n_items:
        raise OptionError(f"k={k}: it must lie between 1 and the {interactions.n_items} items of the catalogue")
    codes = _user_codes(interactions, users)
    offsets = interactions.user_offsets()
    start, stop = offsets[codes], offsets[codes + 1]
    item = np.zeros((len(codes), k), np.int32)
    score = np.full((len(codes), k), -np.inf, np.float32)
    used = np.minimum(stop - start, max_length)
    all_lengths = bucket_lengths(lengths, max_length)
    bucket_of = np.searchsorted(all_lengths, used)
    for number, length in enumerate(all_lengths):
        chosen = np.flatnonzero(bucket_of == number)
        widest = int((stop - start)[chosen].max(initial=1)) if filter_seen else 0
        for first in range(0, len(chosen), BATCH):
            batch = chosen[first : first + BATCH]
            filled = np.pad(batch, (0, BATCH - len(batch)), mode="edge")
            history = pad_left_aligned(interactions.item, stop[filled] - used[filled], stop[filled], length)
            seen = pad_left_aligned(interactions.item, start[filled], stop[filled], widest)
            top_score, top_item = _top_k(structure, params, history, seen, k=k)
            score[batch] = np.asarray(top_score)[: len(batch)]
            item[batch] = np.asarray(top_item)[: len(batch)]
    frame = pl.DataFrame(
        {
            "user": interactions.users.decode(np.repeat(codes, k)),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), len(codes)),
            "item": interactions.items.decode(item.reshape(-1)),
            "score": score.reshape(-1),
        }
    )
    return frame.filter(pl.col("score").is_finite())


@partial(jax.jit, static_argnames=("structure", "k"))
def _top_k(
    structure: nnx.GraphDef,
    params: Tree,
    history: Int32[Array, "batch length"],
    seen: Int32[Array, "batch n"],
    *,
    k: int,
) -> tuple[Float[Array, "batch k"], Int32[Array, "batch k"]]:
    model: Recommender = join_model(structure, params)
    vectors = model.item_vectors()
    scores = jnp.where(is_candidate(len(vectors), model.n_items), user_vectors(model, history) @ vectors.T, -jnp.inf)
    scores = scores.at[jnp.arange(len(scores))[:, None], seen].set(-jnp.inf)
    score, item = jax.lax.top_k(scores, k)
    return score, item


def _user_codes(interactions: Interactions, users: list[str] | None) -> np.ndarray:
    if users is None:
        return np.arange(1, interactions.n_users + 1)
    codes = interactions.users.encode(pl.Series(users, dtype=pl.String))
    if not codes.all():
        unknown = users[int(np.flatnonzero(codes == 0)[0])]
        known = ", ".join(map(str, interactions.users.ids[:3]))
        raise DataError(f"user '{unknown}' does not occur in the data (after cleaning); its users are such as {known}")
    return codes.astype(np.int64)
