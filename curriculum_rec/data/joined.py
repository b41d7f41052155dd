"""Several sources as one (host), each interaction labelled with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.interactions import ITEM, SOURCE, TIMESTAMP, USER
from curriculum_rec.data.sources import Source
from curriculum_rec.data.sources.ids import warn_of_look_alikes
from curriculum_rec.errors import DataError, OptionError


@dataclass(frozen=True)
class Joined:
    """Sources or domains below each other, for training on a mixture of them.

    Args:
        sources: Named sources.
        same_users: Whether equal user ids mean the same user; else ids become ``NAME:ID``.
        same_items: Whether equal item ids mean the same item.
    """

    sources: Mapping[str, Source]
    same_users: bool = False
    same_items: bool = False

    def __post_init__(self) -> None:
        if len(self.sources) < 2:
            raise OptionError("data.sources needs at least two named sources")

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return " + ".join(source.name for source in self.sources.values())

    def read(self) -> pl.DataFrame:
        """Read all rows, source after source.

        Raises:
            DataError: One source has timestamps and another has none, a further column is of different types, or a
                source cannot be read.
        """
        frames = {name: source.read() for name, source in self.sources.items()}
        timed = {name: TIMESTAMP in frame.columns for name, frame in frames.items()}
        if len(set(timed.values())) > 1:
            without = next(name for name, has_time in timed.items() if not has_time)
            raise DataError(
                f"data.sources.{without} has no timestamps and others have: give it some, or set timestamp=null for all"
            )
        labelled = [self._labelled(name, frame) for name, frame in frames.items()]
        try:
            joined = pl.concat(labelled, how="diagonal_relaxed")  # what only some sources say is missing elsewhere
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{self.name}: a column is of different types in them ({str(error).splitlines()[0]}): give it other "
                "names by data.sources.NAME.others"
            ) from error
        for column, same in ((USER, self.same_users), (ITEM, self.same_items)):
            if same:
                warn_of_look_alikes(joined[column], f"{column}s of {self.name}")
        return joined

    def _labelled(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        ids = {USER: self.same_users, ITEM: self.same_items}
        columns = [
            pl.col(column).cast(pl.String) if same else pl.format("{}:{}", pl.lit(name), pl.col(column)).alias(column)
            for column, same in ids.items()
        ]
        return frame.with_columns(*columns, pl.lit(name).alias(SOURCE))
