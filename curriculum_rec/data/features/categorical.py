"""Values without order (host): one code a value, with codes for what is unknown and what is rare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from curriculum_rec.data.features.contract import Fitted, fit_each
from curriculum_rec.data.features.schema import Field, Schema
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.data.values import column_of, numbers_of
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.ranges import at_least, check_ranges, one_of

Encoding = Literal["codes", "multi_hot"]


@dataclass(frozen=True)
class Vocabulary:
    """Values and their codes. 0 is unknown; with rare values, 1 stands for all of them; then the values in order.

    Attributes:
        values: The values of more than one code, as text.
        has_rare: Whether values that are none of these have the code 1. A value that was never seen is one of the
            rarest, and so has a code that was trained.
    """

    values: tuple[str, ...]
    has_rare: bool

    @classmethod
    def of(cls, values: pl.Series, min_count: int) -> Vocabulary:
        """Number the values that occur often enough, in sorted order."""
        counts = values.drop_nulls().value_counts(name="n")
        often = counts.filter(pl.col("n") >= min_count)[values.name]
        return cls(tuple(IdMap.from_column(often).ids.to_list()), min_count > 1)

    @property
    def first(self) -> int:
        """The code of the first value."""
        return 1 + self.has_rare

    @property
    def size(self) -> int:
        """How many codes there are, 0 among them."""
        return self.first + len(self.values)

    def encode(self, values: pl.Series) -> np.ndarray:
        """Give int32 codes.

        >>> Vocabulary(("a", "b"), has_rare=True).encode(pl.Series(["b", "never seen", None])).tolist()
        [3, 1, 0]
        """
        code = IdMap(pl.Series("id", self.values, dtype=pl.String)).encode(values)
        code = np.where(code > 0, code + self.first - 1, int(self.has_rare))
        return np.where(values.is_null().to_numpy(), 0, code).astype(np.int32)


@dataclass(frozen=True)
class Categorical:
    """One code a value. Code 0 is missing, or a value that training did not have.

    Args:
        columns: The columns, each with codes of its own; None takes that of the feature's name.
        min_count: Values with fewer training rows share a code, which also stands for values that training did not
            have; 1 gives every value its own.
    """

    columns: tuple[str, ...] | None = None
    min_count: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"min_count": at_least(1)})

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Number the training values."""

        def fit_one(column: str, called: str) -> FittedCategorical:
            return FittedCategorical(called, column, Vocabulary.of(as_text(frame, column), self.min_count))

        return fit_each(self.columns, name, fit_one)


@dataclass(frozen=True)
class FittedCategorical:
    """See :class:`Categorical`."""

    name: str
    column: str
    vocabulary: Vocabulary

    @property
    def fields(self) -> Schema:
        """One categorical field."""
        return (Field(self.name, "categorical", self.vocabulary.size, 1),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give int32 codes ``[n, 1]``."""
        return self.vocabulary.encode(as_text(frame, self.column))[:, None]


@dataclass(frozen=True)
class MultiCategorical:
    """Several values a row, such as genres: codes filled up with 0, or a number 0 or 1 for each value.

    Args:
        columns: One column of lists, or of texts with a separator; or, with ``flags``, a column for each value, which
            is 1 where the row has it. None takes that of the feature's name.
        separator: What stands between values in a text.
        flags: Whether columns are flags.
        min_count: As :class:`Categorical` has it.
        encoding: ``codes`` for embeddings, ``multi_hot`` for numbers, in which unknown values do not show.
    """

    columns: tuple[str, ...] | None = None
    separator: str = "|"
    flags: bool = False
    min_count: int = 1
    encoding: Encoding = "codes"

    def __post_init__(self) -> None:
        check_ranges(self, "features", {"min_count": at_least(1), "encoding": one_of(*get_args(Encoding))})
        if not self.separator:
            raise OptionError("features: the separator of a multi-valued feature must not be empty")
        if self.flags and self.columns is None:
            raise OptionError("features: flags=true needs columns, one for each value")
        if not self.flags and self.columns is not None and len(self.columns) != 1:
            raise OptionError("features: a multi-valued feature has one column, or flags=true and one for each value")

    def fit(self, frame: pl.DataFrame, *, name: str) -> Fitted:
        """Number the training values, and see how many a row has at most."""
        columns = self.columns or (name,)
        lists = value_lists(frame, columns, self.separator, flags=self.flags)
        vocabulary = Vocabulary.of(lists.explode().alias("value"), self.min_count)
        length = max(1, *lists.list.len().to_list())
        return FittedMultiCategorical(name, columns, self.separator, self.flags, vocabulary, length, self.encoding)


@dataclass(frozen=True)
class FittedMultiCategorical:
    """See :class:`MultiCategorical`; a row with more values than any in training keeps the first."""

    name: str
    columns: tuple[str, ...]
    separator: str
    flags: bool
    vocabulary: Vocabulary
    length: int
    encoding: str

    @property
    def fields(self) -> Schema:
        """One multi-valued field, or a dense one."""
        if self.encoding == "codes":
            return (Field(self.name, "multi_categorical", self.vocabulary.size, self.length),)
        return (Field(self.name, "dense", self.vocabulary.size - 1, self.vocabulary.size - 1),)

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """Give int32 codes ``[n, length]``, or float32 zeros and ones ``[n, values]``."""
        lists = value_lists(frame, self.columns, self.separator, flags=self.flags)
        long = pl.DataFrame({"row": np.arange(len(frame)), "value": lists}).explode("value").drop_nulls()
        row, code = long["row"].to_numpy(), self.vocabulary.encode(long["value"])
        if self.encoding == "multi_hot":
            hot = np.zeros((len(frame), self.vocabulary.size), np.float32)
            hot[row, code] = 1
            return hot[:, 1:]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        codes = np.zeros((len(frame), self.length), np.int32)
        fits = place < self.length
        codes[row[fits], place[fits]] = code[fits]
        return codes


def as_text(frame: pl.DataFrame, column: str) -> pl.Series:
    """Read a column as text; empty texts are missing.

    Raises:
        DataError: There is no such column, or it holds lists.
    """
    values = column_of(frame, column, wanted_by="features")
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise DataError(f"features: column '{column}' holds {values.dtype}, and single values are wanted")
    text = values.cast(pl.String)
    return text.set(text == "", None)


def value_lists(frame: pl.DataFrame, columns: tuple[str, ...], separator: str, *, flags: bool) -> pl.Series:
    """Give each row's values as a list of texts.

    >>> value_lists(pl.DataFrame({"g": ["a|b", None, ""]}), ("g",), "|", flags=False).to_list()
    [['a', 'b'], [], []]
    """
    if flags:
        # An expression for each value: the name where the flag is set.
        named = [
            pl.when(numbers_of(frame, column, wanted_by="features").fill_null(0) > 0).then(pl.lit(column)).alias(column)
            for column in columns
        ]
        return frame.select(pl.concat_list(named).list.drop_nulls().alias("value"))["value"]
    values = column_of(frame, columns[0], wanted_by="features")
    if isinstance(values.dtype, pl.List | pl.Array):
        lists = values.cast(pl.List(pl.String))
    elif values.dtype == pl.String:
        lists = values.str.split(separator)
    else:
        raise DataError(f"features: column '{columns[0]}' holds {values.dtype}, and lists or texts are wanted")
    stripped = lists.fill_null([]).list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).alias("value")
