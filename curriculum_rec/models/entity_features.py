"""Features of items, users and positions inside a recommender (device): vectors that are added to what ids say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.data.examples import USER
from curriculum_rec.data.features.groups import Encoded
from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.features.schema import dense_width
from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import STREAM, Axis
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.constants import Constant
from curriculum_rec.models.fields import FieldVectors
from curriculum_rec.models.time_features import GapVectors, TimeFeatures
from curriculum_rec.ranges import check_ranges, one_of

Joins = Literal["add", "none"]
"""Whether features that the data declare are added to vectors, or left out."""

DenseVectors = Literal["frozen", "trained"]
"""Whether the numbers that describe items stay those of the data, or are where a trained table begins."""

SCALE = 0.02
"""Standard deviation of the vectors of ids, and of what features add to them, when training begins."""


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Options of all recommenders that know what to do with features.

    Each table of features that joins has the parameters of :class:`EntityVectors` besides those that a model's
    docstring counts, and ``time_features=gap`` has ``129 width`` more.

    Args:
        item_features: ``add`` makes an item's vector that of its id plus a projection of its features, in histories and
            among the candidates, where the data declare some; ``none`` leaves them out.
        user_features: ``add`` adds a projection of the user's features to every position of the history; ``none``
            leaves them out.
        dense_vectors: ``frozen`` takes the numbers that describe items as they are; ``trained`` begins with them and
            trains them.
        time_features: ``gap`` adds to each position a vector of how long after the item before its item came, whose
            logarithm is rounded; the data must have timestamps. ``none`` does not ask for times.
    """

    item_features: Joins = "add"
    user_features: Joins = "add"
    dense_vectors: DenseVectors = "frozen"
    time_features: TimeFeatures = "none"

    @property
    def needs_time(self) -> bool:
        """Whether the model asks when items came."""
        return self.time_features != "none"

    def check_features(self) -> None:
        """Refuse wrong values."""
        joins = one_of(*get_args(Joins))
        ranges = {
            "item_features": joins,
            "user_features": joins,
            "dense_vectors": one_of(*get_args(DenseVectors)),
            "time_features": one_of(*get_args(TimeFeatures)),
        }
        check_ranges(self, "model", ranges)


def takes_features(options: object) -> bool:
    """Say whether options build a model that features can be given to."""
    return isinstance(options, FeatureOptions)


def reads_users(model: object) -> bool:
    """Say whether a model reads users' features, and so wants to know whose histories it sees."""
    return getattr(model, "user_features", None) is not None


class EntityVectors(nnx.Module):
    """A vector for each row of a table of features: a projection of its numbers plus a vector for each of its codes.

    A multi-valued feature has the mean of the vectors of its codes. Rows beyond the table have zeros.
    Parameters: ``width`` times the number of dense columns and codes; with ``dense=trained`` the table's numbers, too.

    Args:
        known: The table; row 0 is padding.
        width: Size of a vector.
        dense: Whether numbers are the data's or trained.
        label: Whose features they are, in the names of axes.
        rngs: Random streams for the initial values.
    """

    numbers: Constant | nnx.Param | None = None
    codes: Constant | None = None

    def __init__(
        self, known: Encoded, width: int, *, label: str, dense: DenseVectors = "frozen", rngs: nnx.Rngs
    ) -> None:
        self.n_rows = len(known)
        self.width = width
        self.label = label
        if columns := dense_width(known.schema):
            trained = dense == "trained"
            self.numbers = nnx.Param(jnp.asarray(known.dense)) if trained else constant_of(known, "dense")
            begin = nnx.initializers.normal(SCALE / columns**0.5)
            self.projection = nnx.Linear(columns, width, use_bias=False, kernel_init=begin, rngs=rngs)
        if known.codes.shape[1]:
            self.codes = constant_of(known, "codes")
            self.values = FieldVectors(known.schema, width, scale=SCALE, rngs=rngs)

    @jax.named_scope("features")
    def __call__(self, rows: Int32[Array, "*shape"]) -> Float[Array, "*shape width"]:
        """Give the vectors of some rows; where these are more than the table has, of all, among which they are found.

        Args:
            rows: Numbers of rows.
        """
        flat = rows.reshape(-1)
        inside = (flat < self.n_rows)[:, None]
        flat = jnp.where(inside[:, 0], flat, 0)
        vectors = self.all()[flat] if flat.size >= self.n_rows else self._vectors(flat)
        return jnp.where(inside, vectors, jnp.zeros((), vectors.dtype)).reshape(*rows.shape, self.width)

    def all(self, n_rows: int | None = None) -> Float[Array, "rows width"]:
        """Give the vectors of all rows, and of zeros up to ``n_rows``."""
        vectors = self._vectors(None)
        return vectors if n_rows is None else jnp.pad(vectors, ((0, n_rows - self.n_rows), (0, 0)))

    def _vectors(self, rows: Array | None) -> Array:
        parts = []
        if self.numbers is not None:
            numbers = self.numbers.read() if isinstance(self.numbers, Constant) else self.numbers[...]
            kernel = self.projection.kernel[...]
            parts.append((numbers if rows is None else numbers[rows]).astype(kernel.dtype) @ kernel)
        if self.codes is not None:
            codes = self.codes.read()
            parts.append(self.values.total(codes if rows is None else codes[rows]))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def axes(self) -> dict[str, Any]:
        """Name the axes of the parameters: features stay as many as they are, and make units of the stream."""
        stream = Axis(STREAM, self.width)
        axes: dict[str, Any] = {}
        if self.numbers is not None:
            columns = Axis(f"{self.label} numbers", self.projection.in_features)
            axes["projection"] = {"kernel": (columns, stream)}
            if isinstance(self.numbers, nnx.Param):
                axes["numbers"] = (Axis(f"{self.label} rows", self.n_rows), columns)
        if self.codes is not None:
            axes["values"] = {"embedding": (Axis(f"{self.label} codes", self.values.embedding.shape[0]), stream)}
        return axes


def constant_of(known: Encoded, name: Literal["dense", "codes"]) -> Constant:
    """Give one array of a table of features to a model."""
    return Constant(getattr(known, name), f"{name} {known.digest}")


class KnowsItems(Protocol):
    """A model with an item table."""

    items: Any


def join_features(
    model: KnowsItems, options: FeatureOptions, features: FeatureSet | None, *, width: int, rngs: nnx.Rngs
) -> None:
    """Give a model what it adds for the features of items, of users and of positions, where its options want that.

    Models call it last, so that their other initial values are those without features.

    Args:
        model: Gets ``items.features``, ``user_features``, ``time_features`` and ``needs_time``.
        options: The model's.
        features: What the data declare; None for nothing.
        width: Size of the stream.
        rngs: Random streams for the initial values.

    Raises:
        OptionError: Features, or the wish to train them, would have no effect.
    """
    item = None if features is None or options.item_features == "none" else features.item
    user = None if features is None or options.user_features == "none" else features.user
    trained = options.dense_vectors == "trained"
    if trained and (item is None or not dense_width(item.schema)):
        raise OptionError(
            "model.dense_vectors=trained has no effect: no numbers describe items here; declare some in features.item, "
            "or leave it out"
        )
    if features is not None and item is user is None:
        raise OptionError(
            "features has no effect: the model leaves all of them out; set model.item_features=add or "
            "model.user_features=add, or take features=none"
        )
    holder: Any = model
    if item is not None:
        holder.items.features = EntityVectors(item, width, label="item", dense=options.dense_vectors, rngs=rngs)
    if user is not None:
        holder.user_features = EntityVectors(user, width, label="user", rngs=rngs)
    if options.time_features == "gap":
        holder.time_features = GapVectors(width, scale=SCALE, rngs=rngs)
    holder.needs_time = options.needs_time


def add_user(
    x: Float[Array, "batch length width"], features: EntityVectors | None, users: Int32[Array, " batch"] | None
) -> Float[Array, "batch length width"]:
    """Add each user's vector to every position.

    Source: SSE-PT (Wu et al., 2020) lets a vector of the user join every position, ours is of features, and is added.

    Args:
        x: What histories look like.
        features: The users'; None leaves everything as it is.
        users: Whose histories they are.

    Raises:
        OptionError: Nobody says whose histories they are.
    """
    if features is None:
        return x
    if users is None:
        raise OptionError(
            "the model knows users by their features, and here histories come without users: set "
            "model.user_features=none, or leave out what makes histories of its own"
        )
    return x + features(users)[:, None, :].astype(x.dtype)


def users_of(batch: Batch) -> Int32[Array, " batch"] | None:
    """Give the users' codes, where a batch has them."""
    return batch.arrays.get(USER)
