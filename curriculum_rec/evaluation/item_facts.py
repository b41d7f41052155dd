"""What is known of items before a part is predicted (host): counts, the tail, groups, and vectors from who has what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from curriculum_rec.data.features.categorical import value_lists
from curriculum_rec.data.interactions import Interactions
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.list_metrics import in_tail, self_information

WIDTH = 32
"""Size of the vectors by which diversity is measured."""


@dataclass(frozen=True)
class ItemFacts:
    """Facts by item code, each computed when it is first asked for.

    Args:
        split: The data.
        part: The part that is predicted; what comes with it or later counts for nothing but the groups.
        groups_column: The column of the data that names an item's groups, such as genres; None where there is none.
    """

    split: Split
    part: Part
    groups_column: str | None = None

    @cached_property
    def counts(self) -> np.ndarray:
        """Interactions of every item, int64 ``[n_items + 1]``."""
        return self.split.item_counts(self.part)

    @cached_property
    def tail(self) -> np.ndarray:
        """Whether an item is in the long tail, 0 or 1."""
        return in_tail(self.counts).astype(np.float64)

    @cached_property
    def self_information(self) -> np.ndarray:
        """Self-information of every item, in bits."""
        held = self._held
        return self_information(np.diff(held.tocsc().indptr), held.shape[0])

    @cached_property
    def vectors(self) -> np.ndarray:
        """Vectors of length 1 from which users have which items, ``[n_items + 1, width]``; 0 for an item of nobody.

        The leading right singular vectors, times the singular values, of the matrix of users by items with entries 0
        and 1: of the data and not of a model, so that two models are measured by one yardstick.
        """
        held = self._held
        width = min(WIDTH, min(held.shape) - 1)
        if width < 1:
            raise OptionError("diversity_vectors needs at least two users and two items in the known part")
        _, values, right = svds(held, k=width, v0=np.ones(min(held.shape)), random_state=0)
        return _unit((values[:, None] * right).T)

    @cached_property
    def groups(self) -> np.ndarray:
        """Each item's distribution over its groups, ``[n_items + 1, groups]``, all of them alike; 0 without any.

        Raises:
            OptionError: No column is named.
            DataError: The data have no such column.
        """
        if self.groups_column is None:
            raise OptionError(
                "diversity_groups and calibration need to know an item's groups: name the column of the data by "
                "evaluation.groups=COLUMN, such as genres"
            )
        data = self.split.interactions
        has = groups_of_items(data, self.groups_column)
        return has / np.maximum(has.sum(axis=1, keepdims=True), 1)

    @cached_property
    def group_vectors(self) -> np.ndarray:
        """Vectors of length 1, in the direction of the groups."""
        return _unit(self.groups)

    @cached_property
    def _held(self) -> csr_array:
        """Say who has which item in the known part, ``[users with one, n_items + 1]``."""
        data = _in_memory(self.split.interactions)
        known = self.split.part <= self.part if self.part == Part.TRAIN else self.split.part < self.part
        users, row = np.unique(data.user[known], return_inverse=True)
        size = data.n_items + 1
        pairs = np.unique(row * size + data.item[known])
        return csr_array((np.ones(len(pairs)), np.divmod(pairs, size)), shape=(len(users), size))


def groups_of_items(data: Interactions, column: str) -> np.ndarray:
    """Say which groups each item belongs to, float64 ``[n_items + 1, groups]`` of 0 and 1, groups in sorted order.

    Args:
        data: Interactions with a column of lists, of texts with ``|`` between groups, or of one value; the first one of
            an item that says anything counts.
        column: Its name.

    Raises:
        DataError: There is no such column.
    """
    columns = _in_memory(data).columns
    if columns is None or column not in columns.columns:
        there = "none" if columns is None else ", ".join(columns.columns)
        raise DataError(f"evaluation.groups={column}: the data have no such column beside user, item and time: {there}")
    values = columns[column]
    if not isinstance(values.dtype, pl.List | pl.Array | pl.String):
        values = values.cast(pl.String)
    lists = value_lists(pl.DataFrame({column: values}), (column,), "|", flags=False)
    of_item = pl.DataFrame({"item": data.item, "group": lists}).filter(pl.col("group").list.len() > 0)
    pairs = of_item.unique("item", keep="first", maintain_order=True).explode("group")
    names = pairs["group"].unique().sort()
    has = np.zeros((data.n_items + 1, max(len(names), 1)))
    has[pairs["item"].to_numpy(), names.search_sorted(pairs["group"]).to_numpy()] = 1
    return has


def _in_memory(data: Interactions) -> Interactions:
    if not isinstance(data.user, np.ndarray):
        raise OptionError(
            "novelty, diversity and calibration look at all interactions at once, and those of data=store stay on "
            "disk: leave them out"
        )
    return data


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), 0.0)
