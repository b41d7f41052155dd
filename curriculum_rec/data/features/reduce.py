"""Fewer dimensions (host): projections of a group of features, fitted to the training part by scikit-learn.

scikit-learn fits; what is kept are arrays, and a few lines apply them, so that a run needs no scikit-learn to be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.special import digamma

from curriculum_rec.data.features.needs import needed
from curriculum_rec.data.features.schema import Field
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import at_least, check_ranges


@runtime_checkable
class FittedReduction(Protocol):
    """A projection of some features of a group."""

    @property
    def of(self) -> tuple[str, ...]:
        """Names of the features, whose place it takes."""
        ...

    @property
    def width(self) -> int:
        """Numbers that it makes."""
        ...

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Turn float64 ``[n, d]`` into ``[n, width]``."""
        ...


@runtime_checkable
class Reduction(Protocol):
    """Options of a projection."""

    of: tuple[str, ...]

    def fit(self, values: np.ndarray, labels: np.ndarray | None) -> FittedReduction:
        """Fit to training values float64 ``[n, d]`` and, of labelled rows, their classes int32 ``[n]``."""
        ...


@dataclass(frozen=True)
class Projected:
    """A linear projection ``(x - mean) matrix``.

    Attributes:
        of: Names of the features.
        mean: ``[d]``.
        matrix: ``[d, width]``.
    """

    of: tuple[str, ...]
    mean: np.ndarray
    matrix: np.ndarray

    @property
    def width(self) -> int:
        """Numbers that it makes."""
        return self.matrix.shape[1]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Project."""
        return (values - self.mean) @ self.matrix


@dataclass(frozen=True)
class PCA:
    """Principal components: the directions in which the training values vary most.

    Args:
        of: Names of the features; categorical ones count as zeros and ones.
        n_components: Size of the result.

    Source: Pearson (1901).
    """

    of: tuple[str, ...]
    n_components: int = 8

    def __post_init__(self) -> None:
        check_ranges(self, "features.reduce", {"n_components": at_least(1)})

    def fit(self, values: np.ndarray, labels: np.ndarray | None) -> FittedReduction:
        """Find the components."""
        _check_size("PCA", self.n_components, min(values.shape))
        fitted = needed("sklearn.decomposition", "features").PCA(self.n_components, svd_solver="full").fit(values)
        return Projected(self.of, fitted.mean_, fitted.components_.T)


@dataclass(frozen=True)
class TruncatedSVD:
    """The first singular vectors, without taking the mean away.

    Args:
        of: Names of the features; categorical ones count as zeros and ones.
        n_components: Size of the result.
    """

    of: tuple[str, ...]
    n_components: int = 8

    def __post_init__(self) -> None:
        check_ranges(self, "features.reduce", {"n_components": at_least(1)})

    def fit(self, values: np.ndarray, labels: np.ndarray | None) -> FittedReduction:
        """Find the vectors."""
        _check_size("TruncatedSVD", self.n_components, min(values.shape) - 1)
        decomposition = needed("sklearn.decomposition", "features")
        fitted = decomposition.TruncatedSVD(self.n_components, random_state=0).fit(values)
        return Projected(self.of, np.zeros(values.shape[1]), fitted.components_.T)


@dataclass(frozen=True)
class LinearDiscriminant:
    """Linear discriminant analysis: the directions that tell the classes of training rows apart.

    Args:
        of: Names of the features; categorical ones count as zeros and ones.
        n_components: Size of the result; at most one less than there are classes.

    Source: Fisher (1936), Rao (1948). Features of users and items have no label, so only features of rows can have it.
    """

    of: tuple[str, ...]
    n_components: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, "features.reduce", {"n_components": at_least(1)})

    def fit(self, values: np.ndarray, labels: np.ndarray | None) -> FittedReduction:
        """Find the directions.

        Raises:
            OptionError: There are no classes.
        """
        if labels is None:
            raise OptionError(
                "features.reduce: LinearDiscriminant needs classes, which users, items and numbers have not"
            )
        _check_size("LinearDiscriminant", self.n_components, min(values.shape[1], len(np.unique(labels)) - 1))
        analysis = needed("sklearn.discriminant_analysis", "features").LinearDiscriminantAnalysis
        fitted = analysis(solver="svd", n_components=self.n_components).fit(values, labels)
        return Projected(self.of, fitted.xbar_, fitted.scalings_[:, : self.n_components])


@dataclass(frozen=True)
class TopicModel:
    """Latent Dirichlet allocation: how much of each topic a row has, from counts at least 0.

    Args:
        of: Names of the features; categorical ones count as zeros and ones.
        n_topics: Size of the result, whose entries add up to 1.
        passes: Over the training values.

    Source: Blei, Ng and Jordan (2003), with the variational inference of Hoffman et al. (2010).
    """

    of: tuple[str, ...]
    n_topics: int = 8
    passes: int = 10

    def __post_init__(self) -> None:
        check_ranges(self, "features.reduce", {"n_topics": at_least(2), "passes": at_least(1)})

    def fit(self, values: np.ndarray, labels: np.ndarray | None) -> FittedReduction:
        """Find the topics.

        Raises:
            DataError: A value is below 0.
        """
        _check_counts(values)
        allocation = needed("sklearn.decomposition", "features").LatentDirichletAllocation
        fitted = allocation(self.n_topics, max_iter=self.passes, random_state=0).fit(values)
        return Topics(self.of, fitted.components_, float(fitted.doc_topic_prior_))


@dataclass(frozen=True)
class Topics:
    """See :class:`TopicModel`.

    Attributes:
        of: Names of the features.
        components: What each topic's Dirichlet distribution over entries is, ``[n_topics, d]``.
        prior: Of a row's topics.
    """

    of: tuple[str, ...]
    components: np.ndarray
    prior: float

    @property
    def width(self) -> int:
        """Numbers that it makes."""
        return len(self.components)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Infer each row's topics, until they move by less than 1e-3 or 100 times."""
        _check_counts(values)
        likely = np.exp(digamma(self.components) - digamma(self.components.sum(axis=1, keepdims=True)))
        topics = np.ones((len(values), self.width))
        expected = np.exp(digamma(topics) - digamma(topics.sum(axis=1, keepdims=True)))
        moving = np.arange(len(values))
        for _ in range(100):
            counts, before = values[moving], topics[moving]
            share = counts / (expected[moving] @ likely + np.finfo(np.float64).eps)
            after = expected[moving] * (share @ likely.T) + self.prior
            topics[moving] = after
            expected[moving] = np.exp(digamma(after) - digamma(after.sum(axis=1, keepdims=True)))
            moving = moving[np.abs(after - before).mean(axis=1) >= 1e-3]
            if not len(moving):
                break
        return topics / topics.sum(axis=1, keepdims=True)


def _check_size(what: str, wanted: int, most: int) -> None:
    if wanted > most:
        raise OptionError(
            f"features.reduce: {what} can give at most {most} components here, and {wanted} are asked for"
        )


def _check_counts(values: np.ndarray) -> None:
    if (values < 0).any():
        raise DataError(
            "features.reduce: TopicModel takes counts, and one of its features is below 0: use categorical or "
            "multi-valued features, or numbers with scale=none"
        )


def as_numbers(fields: Sequence[Field], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Put features beside each other as numbers: codes become zeros and ones, of which 0, unknown, has none.

    Args:
        fields: The features.
        arrays: The columns of each, ``[n, length]``.

    Returns:
        float64 ``[n, d]``.

    >>> codes = Field("genres", "multi_categorical", 4, 2)
    >>> as_numbers([codes], [np.array([[1, 3], [0, 0]], np.int32)]).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    parts: list[Any] = []
    for field, array in zip(fields, arrays, strict=True):
        if field.kind == "dense":
            parts.append(array.astype(np.float64))
            continue
        hot = np.zeros((len(array), field.size))
        hot[np.arange(len(array))[:, None], array] = 1
        parts.append(hot[:, 1:])
    return np.concatenate(parts, axis=1)
