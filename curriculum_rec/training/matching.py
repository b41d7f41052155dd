"""Rows of another run's tables that belong to the same ids (host)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import IdMap


@dataclass(frozen=True)
class Matched:
    """What two runs' ids have in common.

    Attributes:
        rows: For every code of this run the row of the other's table, int32 ``[n + 1]``; -1 for an id that the other
            does not have, 0 for padding.
        new: The ids that the other run does not have, in the order of their codes.
        left: Those that only the other run has, in the order of theirs.
    """

    rows: np.ndarray
    new: pl.Series
    left: pl.Series

    @classmethod
    def of(cls, ours: IdMap, theirs: IdMap) -> Matched:
        """Look every id up.

        >>> matched = Matched.of(IdMap(pl.Series(["a", "b"])), IdMap(pl.Series(["b", "c"])))
        >>> matched.rows.tolist(), matched.new.to_list(), matched.left.to_list()
        ([0, -1, 1], ['a'], ['c'])
        """
        found, wanted = theirs.encode(ours.ids), ours.encode(theirs.ids)
        rows = np.concatenate([np.zeros(1, np.int32), np.where(found > 0, found, -1)])
        return cls(rows, ours.ids.filter(pl.Series(found == 0)), theirs.ids.filter(pl.Series(wanted == 0)))

    @property
    def n_found(self) -> int:
        """How many ids both runs have."""
        return int((self.rows > 0).sum())

    def counts(self) -> dict[str, int]:
        """Say how many ids were found, are new, and were left behind."""
        return {"found": self.n_found, "new": len(self.new), "left": len(self.left)}

    def describe(self, kind: str) -> str:
        """Say the same in words.

        Args:
            kind: What the ids are of, such as ``items``.
        """
        return f"{self.n_found:,} {kind} found by their ids, {len(self.new):,} new, {len(self.left):,} left behind"

    def unmatched(self) -> pl.DataFrame:
        """List the ids that only one run has: ``id`` as text, and ``fate``, ``new`` or ``left``."""
        return pl.concat(
            [
                pl.DataFrame(
                    {"id": ids.cast(pl.String), "fate": [fate] * len(ids)}, schema_overrides={"fate": pl.String}
                )
                for fate, ids in (("new", self.new), ("left", self.left))
            ]
        )
