"""What training, evaluation and inference ask of a recommender (device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import scipy.sparse
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.inputs import Columns
from curriculum_rec.models.axes import Axes
from curriculum_rec.models.batch import Batch, BatchRng


@runtime_checkable
class Recommender(Protocol):
    """A model that scores items by the inner product of a user vector and an item vector."""

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch length width"]:
        """Map every position of ``batch["history"]`` to the vector that predicts what follows.

        Without ``rng`` nothing is random (inference).
        """
        ...

    def item_vectors(self, items: Int32[Array, "*shape"] | None = None) -> Float[Array, "*rows width"]:
        """Give vectors of some items, ``[*shape, width]``, or of all, ``[rows, width]``.

        Row 0 is padding, and there may be more rows than ``n_items + 1``; neither are candidates.
        """
        ...

    @property
    def n_items(self) -> int:
        """Size of the catalogue, padding not counted."""
        ...


@runtime_checkable
class PredictsNext(Protocol):
    """A recommender that predicts what follows a whole history more cheaply than what follows every position."""

    def next_vectors(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch width"]:
        """Give the vector that predicts what follows each history."""
        ...


@runtime_checkable
class FillsMasks(Protocol):
    """A recommender that guesses items that are masked out of a sequence."""

    def fill(
        self,
        items: Int32[Array, "batch length"],
        masked: Bool[Array, "batch length"],
        rng: BatchRng | None = None,
        *,
        progress: Float[Array, ""] | None = None,
    ) -> Float[Array, "batch length width"]:
        """Give the vectors whose products with the items' say what stands at each position."""
        ...


@runtime_checkable
class ShowsAttention(Protocol):
    """A recommender of softmax attention that can say how its positions look at each other."""

    def with_attention(
        self, batch: Batch, rng: BatchRng | None = None
    ) -> tuple[Float[Array, "batch length width"], Float[Array, "depth batch length keys"]]:
        """Give what a call of the model gives, and the maps of its blocks from the lowest on, the mean of their heads.

        Entry ``[..., position, key]`` of a map is the share of ``key`` in what the vector of ``position`` is made of,
        0 where it may not look; each row adds up to 1.
        """
        ...


def fills_masks(options: object) -> bool:
    """Say whether options build a model that guesses masked items, as they say in ``FILLS_MASKS``."""
    return bool(getattr(options, "FILLS_MASKS", False))


def needs_time(model: object) -> bool:
    """Say whether a model, or the options that build it, asks for the array ``time`` beside ``history``.

    It holds when each item of the history came, float32 ``[batch, length]``, from any origin and in the unit of the
    data's timestamps.
    """
    return bool(getattr(model, "needs_time", False))


def asks_of_nobody(part: object) -> bool:
    """Say whether an objective, or its negatives, has a model look at histories that come without their users."""
    return bool(getattr(part, "asks_of_nobody", False))


def needs_age(model: object) -> bool:
    """Say whether a model, or the options that build it, asks in training for the array ``age``.

    It holds how old each target is, float32 ``[batch, length]``, from 0, the end of training, to 1.
    """
    return bool(getattr(model, "needs_age", False))


@runtime_checkable
class RowModel(Protocol):
    """A model that predicts the label of a row from its features."""

    def __call__(self, batch: Batch, rng: BatchRng | None = None) -> Float[Array, "batch outputs"]:
        """Map ``batch["dense"]`` and ``batch["categorical"]`` to logits: one for two classes, else one a class."""
        ...


@runtime_checkable
class CountsOperations(Protocol):
    """A model that knows what it computes; without it a run's log has no share of the peak."""

    def operations(self, lengths: np.ndarray) -> np.ndarray:
        """Count the operations of the matrix products of one forward pass, a multiplication and an addition being two.

        Args:
            lengths: ``[n]``, items of each history, padding not counted.

        Returns:
            float64 ``[n]``, for each history; scores of candidates are the objective's.
        """
        ...


@runtime_checkable
class HasAxes(Protocol):
    """A model that says what the axes of its parameters mean; only such a one can grow in width."""

    def axes(self) -> Axes:
        """Give a tuple of axes for every parameter, nested like the parameters."""
        ...


@runtime_checkable
class ModelFactory(Protocol):
    """Options that build a model once the catalogue is known.

    One that reads features (``takes_features``) gets them as the argument ``features``, where the data declare some.
    """

    def __call__(self, *, n_items: int, max_length: int, depth: int | None, rngs: nnx.Rngs) -> nnx.Module:
        """Build the model, with another depth than the options' own if ``depth`` is given."""
        ...


@runtime_checkable
class RowModelFactory(Protocol):
    """Options that build a model of labels once the features are known."""

    def __call__(self, *, inputs: Columns, depth: int | None, rngs: nnx.Rngs) -> nnx.Module:
        """Build the model, with another depth than the options' own if ``depth`` is given."""
        ...


@runtime_checkable
class CountsUsers(Protocol):
    """Options of a model that has something for every user; such a one finds their codes in ``batch["user"]``."""

    @property
    def n_users(self) -> int | None:
        """How many there are; None until the data are known."""
        ...


@runtime_checkable
class ScoresItems(Protocol):
    """A model that scores items by itself, not as the inner product of two vectors."""

    def score_items(self, history: Int32[Array, "batch length"]) -> Float[Array, "batch rows"]:
        """Score all items after each history, from the left, 0 where nothing follows; entry 0 is padding's."""
        ...


@dataclass(frozen=True)
class Known:
    """What a model is fitted to.

    Attributes:
        items: int32, the users' items one after the other, each in order.
        offsets: int64 ``[n_users + 2]``, where those of each user begin; user 0 is padding.
        n_items: Size of the catalogue.
    """

    items: np.ndarray
    offsets: np.ndarray
    n_items: int

    def matrix(self) -> scipy.sparse.csr_matrix:
        """Say who has which item: 0 or 1, float32 ``[n_users + 1, n_items + 1]``."""
        n_users = len(self.offsets) - 1
        user = np.repeat(np.arange(n_users), np.diff(self.offsets))
        pairs = np.unique(user * np.int64(self.n_items + 1) + self.items)
        user, item = np.divmod(pairs, self.n_items + 1)
        shape = n_users, self.n_items + 1
        return scipy.sparse.csr_matrix((np.ones(len(pairs), np.float32), (user, item)), shape=shape)


FitOn = Literal["training", "known"]
"""The interactions that a model is fitted to: those of the training part, or all before what is predicted."""


@runtime_checkable
class FitsModel(ModelFactory, Protocol):
    """Options of a model that is computed from the data at once, without steps."""

    @property
    def fit_on(self) -> FitOn:
        """Which interactions it is fitted to."""
        ...

    def fit(self, known: Known) -> dict[str, np.ndarray]:
        """Compute the parameters."""
        ...
