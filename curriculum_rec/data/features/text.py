"""Texts as vectors (host): the words that tell most, in a few dimensions, or a sentence encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from curriculum_rec.data.features.contract import Fitted, fit_each
from curriculum_rec.data.features.needs import needed
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import DataError
from curriculum_rec.ranges import at_least, check_ranges

WORD = r"\b\w\w+\b"
"""What counts as a word: two or more letters or digits."""


@dataclass(frozen=True)
class Text:
    """TF-IDF, then a truncated singular value decomposition, both of the training texts.

    Args:
        columns: The columns; None takes that of the feature's name.
        n_components: Size of the vectors.
        min_count: Words in fewer training texts are left out.
        max_words: The words in most texts that are kept.

    Source: latent semantic analysis (Deerwester et al., 1990); needs scikit-learn, the extra ``features``.
    """

    columns: tuple[str, ...] | None = None
    n_components: int = 16
    min_count: int = 2
    max_words: int = 20_000

    def __post_init__(self) -> None:
        check_ranges(
            self, "features", {"n_components": at_least(1), "min_count": at_least(1), "max_words": at_least(2)}
        )

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Learn words and components.

        Raises:
            DataError: The training texts have no more words than components.
        """
        text = needed("sklearn.feature_extraction.text", "features")
        decomposition = needed("sklearn.decomposition", "features")

        def fit_one(column: str, called: str) -> FittedText:
            texts = texts_of(frame, column)
            vectorizer = text.TfidfVectorizer(
                min_df=self.min_count, max_features=self.max_words, token_pattern=f"(?u){WORD}"
            )
            try:
                weights = vectorizer.fit_transform(texts)
            except ValueError as error:
                raise DataError(f"features: the training texts of column '{column}' have no words: {error}") from error
            if min(weights.shape) <= self.n_components:
                raise DataError(
                    f"features: column '{column}' has {weights.shape[0]:,} texts of {weights.shape[1]:,} words; "
                    f"n_components={self.n_components} must be less than both: lower it, or min_count"
                )
            svd = decomposition.TruncatedSVD(self.n_components, random_state=0).fit(weights)
            words = tuple(map(str, vectorizer.get_feature_names_out()))
            return FittedText(called, column, words, np.asarray(vectorizer.idf_), svd.components_)

        return fit_each(self.columns, name, fit_one)


@dataclass(frozen=True)
class FittedText:
    """See :class:`Text`.

    Attributes:
        words: In the order of their codes.
        idf: The weight of each, ``[n_words]``.
        components: ``[n_components, n_words]``.
    """

    name: str
    column: str
    words: tuple[str, ...]
    idf: np.ndarray
    components: np.ndarray

    @property
    def fields(self) -> Schema:
        """One dense field."""
        return (Field(self.name, "dense", len(self.components), len(self.components)),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 vectors ``[n, n_components]``; of a text without known words, zeros."""
        code, find = {word: number for number, word in enumerate(self.words)}, re.compile(WORD).findall
        found = [[code[word] for word in find(text.lower()) if word in code] for text in texts_of(frame, self.column)]
        row, word = np.repeat(np.arange(len(found)), list(map(len, found))), [one for text in found for one in text]
        counts = sparse.csr_matrix((np.ones(len(row)), (row, word)), shape=(len(found), len(self.words)))
        weights = counts.multiply(self.idf).tocsr()
        norm = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)))
        return np.asarray((weights @ self.components.T) / np.where(norm > 0, norm, 1), np.float32)


@dataclass(frozen=True)
class SentenceVectors:
    """Vectors of a pretrained sentence encoder; nothing is learnt of the texts.

    Args:
        columns: The columns; None takes that of the feature's name.
        model: A model of the package sentence-transformers, or its folder.
        batch_size: Texts at once.

    Source: Reimers and Gurevych (2019); needs sentence-transformers, the extra ``sentences``.
    """

    columns: tuple[str, ...] | None = None
    model: str = "all-MiniLM-L6-v2"
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"batch_size": at_least(1)})

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Load the encoder to see how long its vectors are."""
        width = int(encoder(self.model).get_sentence_embedding_dimension())

        def fit_one(column: str, called: str) -> FittedSentenceVectors:
            column_of(frame, column, wanted_by="features")
            return FittedSentenceVectors(called, column, self.model, width, self.batch_size)

        return fit_each(self.columns, name, fit_one)


@dataclass(frozen=True)
class FittedSentenceVectors:
    """See :class:`SentenceVectors`."""

    name: str
    column: str
    model: str
    width: int
    batch_size: int

    @property
    def fields(self) -> Schema:
        """One dense field."""
        return (Field(self.name, "dense", self.width, self.width),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give float32 vectors ``[n, width]``."""
        texts = texts_of(frame, self.column)
        encoded = encoder(self.model).encode(texts, batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(encoded, np.float32).reshape(len(texts), self.width)


def encoder(model: str) -> Any:
    """Load a sentence encoder."""
    return needed("sentence_transformers", "sentences").SentenceTransformer(model)


def texts_of(frame: pl.DataFrame, column: str) -> list[str]:
    """Read a column of texts; a missing one is empty."""
    return column_of(frame, column, wanted_by="features").cast(pl.String).fill_null("").to_list()
