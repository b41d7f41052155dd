"""The components ``data=NAME`` (host): a named data set as a source, and its tables of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from curriculum_rec.data.catalogue.embedded import EshopClothing, OnlineRetail
from curriculum_rec.data.catalogue.entries import find
from curriculum_rec.data.catalogue.preparing import prepare, read_copy, read_table
from curriculum_rec.data.catalogue.reporting import OnStandardError
from curriculum_rec.errors import DataError, OptionError

EMBEDDED: dict[str, type[OnlineRetail | EshopClothing]] = {
    "online_retail": OnlineRetail,
    "eshop_clothing": EshopClothing,
}


@dataclass(frozen=True)
class NamedSet:
    """A benchmark by its name: from the cache, downloaded if it is not there, or from a copy.

    Args:
        dataset: The name; ``curriculum-rec data list`` shows them.
        path: A copy of the published files: the archive, a folder with its files, or the file of interactions. None
            takes the cache (``CURRICULUM_REC_DATA``).
    """

    dataset: str
    path: str | None = None

    def __post_init__(self) -> None:
        if find(self.dataset).remote is None:
            raise OptionError(f"data.dataset={self.dataset} is inside the package: choose it by data={self.dataset}")

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.dataset if self.path is None else self.path

    def read(self) -> pl.DataFrame:
        """Read all interactions in file order.

        Raises:
            DataError: It cannot be downloaded or read.
        """
        return self._tables(("interactions",))["interactions"]

    def tables(self) -> dict[str, pl.DataFrame]:
        """Give what is known of users and items: tables with the column ``id``, as far as there are any.

        Raises:
            DataError: It cannot be downloaded or read.
        """
        return self._tables(("users", "items"))

    def _tables(self, names: tuple[str, ...]) -> dict[str, pl.DataFrame]:
        entry = find(self.dataset)
        if self.path is not None:
            copy = read_copy(entry, Path(self.path)).named()
            return {name: copy[name] for name in names if name in copy}
        place = prepare(entry, reporter=OnStandardError())
        found = {name: read_table(place, name) for name in names}
        return {name: table for name, table in found.items() if table is not None}


@dataclass(frozen=True)
class NamedTable:
    """The table of users or of items of a data set by its name.

    Args:
        dataset: The name; ``curriculum-rec data list`` shows them.
        of: Which table.
        path: As for :class:`NamedSet`.
    """

    dataset: str
    of: Literal["users", "items"]
    path: str | None = None

    @property
    def name(self) -> str:
        """What error messages call the table."""
        return f"{self.of} of {self.dataset}"

    def read(self) -> pl.DataFrame:
        """Read the table: ``id``, as in the interactions, and a column for each thing that is known.

        Raises:
            DataError: The data set has no such table, or cannot be read.
        """
        if self.dataset in EMBEDDED:
            if self.path is not None:
                raise OptionError(f"path={self.path}: {self.dataset} is inside the package and takes no copy")
            return EMBEDDED[self.dataset]().tables()[self.of]
        tables = NamedSet(self.dataset, self.path).tables()
        if self.of not in tables:
            raise DataError(f"{NamedSet(self.dataset, self.path).name} has no table of {self.of}")
        return tables[self.of]
