"""Matrix factorisation (device): one vector a user and one an item, without any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng, dropout
from curriculum_rec.models.items import ItemTable
from curriculum_rec.models.touched import rows_of
from curriculum_rec.ranges import BELOW_ONE, at_least, check_ranges


@dataclass(frozen=True)
class BPRMF:
    """Options of matrix factorisation, which ``objective=bpr`` makes BPR-MF.

    Every target of a user's example is predicted by the user's own vector. Of users who train with nothing the vector
    stays as it began, and says nothing. Parameters: ``(n_users + 1 + rows) width``, where ``rows`` is ``n_items + 2``
    rounded up to a multiple of 128.

    Args:
        width: Size of a vector, at least 1.
        dropout: Rate in [0, 1) on the user's vector.
        cosine_scale: None scores by the inner product; a number scores by that number times the cosine.
        n_users: How many users there are; None takes those of the data.

    Source: Rendle et al. (2009), without biases; their prior is ``optimizer/penalty=elastic_net``.
    """

    TASK: ClassVar[Task] = "next_item"

    width: int = 64
    dropout: float = 0.0
    cosine_scale: float | None = None
    n_users: int | None = None

    def __post_init__(self) -> None:
        ranges = {"width": at_least(1), "dropout": BELOW_ONE, "n_users": at_least(1).or_null()}
        check_ranges(self, "model", ranges)

    def __call__(self, *, n_items: int, max_length: int, depth: int | None = None, rngs: nnx.Rngs) -> BPRMFModel:
        """Build the model.

        Raises:
            OptionError: Nobody said how many users there are, or a stage wants blocks.
        """
        del max_length
        if depth is not None:
            raise OptionError("model=bprmf has no blocks, so no stage can give it a depth: leave depth out")
        if self.n_users is None:
            raise OptionError("model.n_users=null: matrix factorisation needs the number of users here; give it")
        return BPRMFModel(self, n_users=self.n_users, n_items=n_items, rngs=rngs)


class UserTable(nnx.Module):
    """One vector a user; row 0 is nobody's."""

    def __init__(self, n_users: int, width: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), (n_users + 1, width)))

    def embed(self, users: Int32[Array, " batch"]) -> Float[Array, "batch width"]:
        """Give the users' vectors."""
        return rows_of(self.embedding[...], users)


class BPRMFModel(nnx.Module):
    """The two tables; see :class:`BPRMF`."""

    def __init__(self, options: BPRMF, *, n_users: int, n_items: int, rngs: nnx.Rngs) -> None:
        self.users = UserTable(n_users, options.width, rngs)
        self.items = ItemTable(n_items, options.width, cosine_scale=options.cosine_scale, rngs=rngs)
        self.rate = options.dropout

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Give every position its user's vector.

        Raises:
            OptionError: The batch does not say whose histories it has.
        """
        if "user" not in batch.arrays:
            raise OptionError("model=bprmf knows users by their numbers alone, and here histories come without them")
        vector = dropout(self.users.embed(batch["user"]), self.rate, None if rng is None else rng.named("user"))
        queries = self.items.queries(vector)
        return jnp.broadcast_to(queries[:, None, :], (*batch["history"].shape, queries.shape[-1]))

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give the vectors of some items, or of all."""
        return self.items.vectors(items)

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        return self.items.n_items
