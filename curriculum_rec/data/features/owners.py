"""Whose features there are (host): users', items' and those of the interaction itself, fitted to the training part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from curriculum_rec.data.features.contract import Feature
from curriculum_rec.data.features.groups import Encoded, FittedGroup, fit_group
from curriculum_rec.data.features.reduce import Reduction
from curriculum_rec.data.interactions import ITEM, USER, IdMap
from curriculum_rec.data.values import column_of
from curriculum_rec.errors import DataError, OptionError


@runtime_checkable
class Table(Protocol):
    """Where a table is read from; any source of data is one."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        ...

    def read(self) -> pl.DataFrame:
        """Read all rows."""
        ...


@dataclass(frozen=True)
class EntityFeatures:
    """Features of users, or of items, from a table with one row each.

    Args:
        source: The table.
        key: Its column of ids, which are those of the data.
        features: By name.
        reduce: Reductions of some of them, by the name of the feature that takes their place.
    """

    source: Table
    key: str
    features: Mapping[str, Feature]
    reduce: Mapping[str, Reduction] | None = None

    def __post_init__(self) -> None:
        if not self.features:
            raise OptionError(f"features: the table {self.source.name} has no effect without features")


@dataclass(frozen=True)
class InteractionFeatures:
    """Features of the rows themselves, from their own columns.

    Args:
        features: By name.
        reduce: Reductions of some of them, by the name of the feature that takes their place.
    """

    features: Mapping[str, Feature]
    reduce: Mapping[str, Reduction] | None = None

    def __post_init__(self) -> None:
        if not self.features:
            raise OptionError("features.interaction has no effect without features")


@dataclass(frozen=True)
class Features:
    """All features of an experiment.

    Args:
        user: Those of users; None for none.
        item: Those of items.
        interaction: Those of the rows.
    """

    user: EntityFeatures | None = None
    item: EntityFeatures | None = None
    interaction: InteractionFeatures | None = None

    def __post_init__(self) -> None:
        if self.user is self.item is self.interaction is None:
            raise OptionError("features has no effect without user, item or interaction: leave it out, or say some")

    def fit(self, frame: pl.DataFrame, is_training: np.ndarray, labels: np.ndarray | None) -> FittedFeatures:
        """Take statistics of the training part alone.

        Of users and items those count that training rows have, each once.

        Args:
            frame: All rows, with the columns ``user`` and ``item`` where these have features.
            is_training: bool ``[n]``.
            labels: Classes of all rows, int32 ``[n]``; None where rows have none.
        """
        training = frame.filter(pl.Series(is_training))
        ids = {
            owner: column_of(training, owner, wanted_by=f"features.{owner}")
            for owner, own in ((USER, self.user), (ITEM, self.item))
            if own is not None
        }
        fitted = self.fit_entities(ids)
        if self.interaction is None:
            return fitted
        of_training = None if labels is None else labels[is_training]
        own_features, reduce = self.interaction.features, self.interaction.reduce or {}
        return replace(fitted, interaction=fit_group("interaction", own_features, reduce, training, of_training))

    def fit_entities(self, ids: Mapping[str, pl.Series]) -> FittedFeatures:
        """Take statistics of the users and items of the training part, each of which counts once.

        Args:
            ids: Of the owners ``user`` and ``item``, such as training has; one without features may be left out.

        Raises:
            DataError: The table of an owner has none of them.
        """
        groups: dict[str, FittedGroup | None] = {USER: None, ITEM: None}
        for owner, own in ((USER, self.user), (ITEM, self.item)):
            if own is None:
                continue
            known = read_entities(own, owner).filter(pl.col(KEY).is_in(ids[owner].cast(pl.String).unique().implode()))
            if known.is_empty():
                raise DataError(
                    f"features.{owner}: no {owner} of the training part is in column '{own.key}' of "
                    f"{own.source.name}: are these the same ids?"
                )
            groups[owner] = fit_group(owner, own.features, own.reduce or {}, known)
        return FittedFeatures(groups[USER], groups[ITEM])


KEY = "__key__"
"""A column of entity tables while they are read: the ids as text."""


def read_entities(own: EntityFeatures, owner: str) -> pl.DataFrame:
    """Read a table of users or items.

    Raises:
        DataError: An id is missing or stands in two rows.
    """
    table = own.source.read()
    key = column_of(table, own.key, wanted_by=f"features.{owner}.key").cast(pl.String)
    if key.has_nulls():
        raise DataError(f"features.{owner}: row {key.is_null().arg_true()[0] + 1} of {own.source.name} has no id")
    if len(twice := key.filter(key.is_duplicated())):
        raise DataError(f"features.{owner}: {own.source.name} has several rows for {owner} '{twice[0]}'")
    return table.with_columns(key.alias(KEY))


@dataclass(frozen=True)
class FittedFeatures:
    """Features that have seen the training part.

    Attributes:
        user: Those of users; None for none.
        item: Those of items.
        interaction: Those of the rows.
        classes: The values of the label in the order of their numbers; none where rows have no label, or a number.
        label_scale: Mean and standard deviation of the training rows' labels where these are numbers.
    """

    user: FittedGroup | None = None
    item: FittedGroup | None = None
    interaction: FittedGroup | None = None
    classes: tuple[str, ...] = field(default=())
    label_scale: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What is known of users and items, for models that look it up by code.

    Attributes:
        user: Arrays ``[n_users + 1, ...]``, row 0 being padding and all zeros, as are users that the table does not
            have; None where users have no features.
        item: The same of items.
        fitted: How they came about; None where nobody says.
    """

    user: Encoded | None
    item: Encoded | None
    fitted: FittedFeatures | None = field(default=None, repr=False)

    @cached_property
    def digest(self) -> str:
        """Identify all numbers and codes: equal for equal ones, whatever tables they came from."""
        return "-".join("none" if own is None else own.digest for own in (self.user, self.item))

    def __repr__(self) -> str:
        return f"FeatureSet({self.digest})"

    @classmethod
    def of(cls, features: Features, fitted: FittedFeatures, *, users: IdMap, items: IdMap) -> FeatureSet:
        """Lay features out in the order of codes."""
        of_users, of_items = (
            None if own is None or group is None else entity_arrays(own, group, owner, ids)
            for owner, own, group, ids in (
                (USER, features.user, fitted.user, users),
                (ITEM, features.item, fitted.item, items),
            )
        )
        return cls(of_users, of_items, fitted)


def entity_arrays(own: EntityFeatures, group: FittedGroup, owner: str, ids: IdMap) -> Encoded:
    """Give the features of users or items in the order of their codes, a row of zeros first."""
    table = read_entities(own, owner)
    made = group.transform(table)
    where = IdMap(table[KEY]).encode(ids.ids.cast(pl.String))
    rows = np.concatenate([np.zeros(1, np.int32), where])
    empty = [np.zeros((1, array.shape[1]), array.dtype) for array in (made.dense, made.codes)]
    dense, codes = (np.concatenate([zero, array]) for zero, array in zip(empty, (made.dense, made.codes), strict=True))
    return Encoded(made.schema, dense[rows], codes[rows])
