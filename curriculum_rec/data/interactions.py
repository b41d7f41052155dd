"""The table of interactions (host): contiguous ids, stable time order, and a ledger of what cleaning removed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.ledger import CleaningRule, LedgerEntry, apply_rules, describe_ledger
from curriculum_rec.errors import DataError

__all__ = ["CleaningRule", "IdMap", "Interactions", "LedgerEntry", "clean", "describe_ledger"]

USER, ITEM, TIMESTAMP, SOURCE = "user", "item", "timestamp", "source"
NEEDED = (USER, ITEM, TIMESTAMP, SOURCE)
"""Columns of which no value may be missing, where a source has them. All others are carried along."""


@dataclass(frozen=True)
class IdMap:
    """Original ids and their contiguous int32 codes; code 0 is padding and has no id.

    Args:
        ids: The distinct original ids in code order, code 1 first.
    """

    ids: pl.Series

    @classmethod
    def from_column(cls, column: pl.Series) -> IdMap:
        """Number the distinct values of a column in sorted order.

        Ids that are all integers sort by value, others as text, so that the codes depend on the set of ids alone
        and not on the order of the rows.

        >>> IdMap.from_column(pl.Series(["10", "9", "9"])).ids.to_list()
        ['9', '10']
        >>> IdMap.from_column(pl.Series(["10", "9", "a"])).ids.to_list()
        ['10', '9', 'a']
        """
        distinct = column.drop_nulls().unique()
        if distinct.dtype != pl.String:
            return cls(distinct.sort())
        value = distinct.cast(pl.Int64, strict=False)
        if not value.has_nulls() and (value.cast(pl.String) == distinct).all():
            return cls(value.sort().cast(pl.String))
        return cls(distinct.sort())

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, column: pl.Series) -> np.ndarray:
        """Turn original ids into int32 codes; an unknown id becomes 0.

        >>> IdMap(pl.Series(["a", "b"])).encode(pl.Series(["b", "?"])).tolist()
        [2, 0]
        """
        # Numbers are found by their text and not texts by their number: "01" is not the id 1.
        ids = self.ids.cast(pl.String) if column.dtype == pl.String else self.ids
        codes = pl.DataFrame({"id": ids, "code": np.arange(1, len(ids) + 1, dtype=np.int32)})
        wanted = pl.DataFrame({"id": column.cast(ids.dtype, strict=False)})
        joined = wanted.join(codes, on="id", how="left", maintain_order="left")
        return joined["code"].fill_null(0).to_numpy().astype(np.int32)

    def decode(self, codes: np.ndarray) -> pl.Series:
        """Turn int32 codes back into the original ids; 0 becomes null.

        >>> IdMap(pl.Series(["a", "b"])).decode(np.array([2, 0])).to_list()
        ['b', None]
        """
        index = pl.Series(codes.astype(np.int64)) - 1
        return self.ids.gather(index.set(index < 0, None))

    def digest(self) -> str:
        """Hash the ids in code order: two catalogues with the same digest agree on every code."""
        text = "\x1f".join(self.ids.cast(pl.String))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Interactions:
    """Cleaned interactions sorted by user, then time, equal times in file order.

    Attributes:
        user: int32 ``[n]``, codes from 1.
        item: int32 ``[n]``, codes from 1.
        timestamp: int64 or float64 ``[n]`` in the file's own unit, or None where the file has only an order.
        users: The map of user ids.
        items: The map of item ids.
        ledger: What each cleaning rule removed.
        source: int16 ``[n]``, number of the source of each; None where there is one source.
        source_names: The sources' names.
        columns: What else the source says of each interaction (a rating, a label, a price, a device), ``n`` rows in the
            same order; values may be missing. None where it says nothing else.
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray | None
    users: IdMap
    items: IdMap
    ledger: tuple[LedgerEntry, ...]
    source: np.ndarray | None = None
    source_names: tuple[str, ...] = ()
    columns: pl.DataFrame | None = None

    @property
    def n_users(self) -> int:
        """Number of users, padding not counted."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items, padding not counted."""
        return len(self.items)

    def __len__(self) -> int:
        return len(self.user)

    def user_offsets(self) -> np.ndarray:
        """Give int64 ``[n_users + 2]``: the rows of user ``u`` are ``offsets[u]:offsets[u + 1]``."""
        counts = np.bincount(self.user, minlength=self.n_users + 1)
        return np.concatenate([[0], np.cumsum(counts)])


def clean(frame: pl.DataFrame, rules: Mapping[str, CleaningRule], *, source: str) -> Interactions:
    """Apply the cleaning rules in order, number the ids and sort.

    Args:
        frame: Columns ``user``, ``item`` and perhaps ``timestamp``, ``source`` and others, in file order.
        rules: Named rules; the names stand in the ledger.
        source: What the data is called in error messages.

    Returns:
        The interactions, with one ledger entry a rule.

    Raises:
        DataError: Nothing is left, a rule left missing values behind, or there is only one user or item.
    """
    frame, ledger = apply_rules(frame, rules, source=source)
    for column in (name for name in NEEDED if name in frame.columns):
        if missing := frame[column].null_count():
            raise DataError(
                f"column '{column}' of {source} has {missing:,} missing values: keep the cleaning rule 'missing', "
                "which removes such rows"
            )
    users, items = IdMap.from_column(frame[USER]), IdMap.from_column(frame[ITEM])
    for what, ids in (("user", users), ("item", items)):
        if len(ids) < 2:
            raise DataError(f"{source} has only one {what} ('{ids.ids[0]}'); a recommender needs at least two")
    user, item = users.encode(frame[USER]), items.encode(frame[ITEM])
    timestamp = frame[TIMESTAMP].to_numpy() if TIMESTAMP in frame.columns else None
    # Both sorts are stable: rows with equal times keep the file's order, or the test set would change.
    order = np.argsort(timestamp, kind="stable") if timestamp is not None else np.arange(len(user))
    order = order[np.argsort(user[order], kind="stable")]
    source_names = tuple(frame[SOURCE].unique(maintain_order=True)) if SOURCE in frame.columns else ()
    label = IdMap(pl.Series(source_names)).encode(frame[SOURCE]) - 1 if source_names else None
    further = frame.drop(NEEDED, strict=False)
    return Interactions(
        user=user[order],
        item=item[order],
        timestamp=None if timestamp is None else timestamp[order],
        users=users,
        items=items,
        ledger=ledger,
        source=None if label is None else label[order].astype(np.int16),
        source_names=source_names,
        columns=further[order] if further.width else None,
    )
