"""Tables about users or about items (host): one row an id, to be joined with interactions by it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curriculum_rec.data.sources.columns import InteractionColumns, Others, renamed, value_column
from curriculum_rec.data.sources.contract import TableReader
from curriculum_rec.data.sources.ids import clean_ids
from curriculum_rec.errors import DataError, OptionError

ID = "id"


@dataclass(frozen=True)
class EntityTable:
    """What is known of users or of items: attributes by id.

    Args:
        table: Where it is read from: a ``FileTable``, ``LogTable``, ``SqliteTable`` or ``PostgresTable``.
        id: Name of the column of ids, the same as those of the interactions.
        columns: The attributes: names of columns, or a mapping from names to new ones; None takes all others.
    """

    table: TableReader
    id: str
    columns: Others = None

    def __post_init__(self) -> None:
        if isinstance(self.table, InteractionColumns):
            raise OptionError(
                f"an EntityTable reads a {type(self.table).__mro__[1].__name__}, not a {type(self.table).__name__}: "
                "what columns of interactions are called has no effect on it"
            )
        if ID in renamed(self.columns).values():
            raise OptionError(f"columns of an EntityTable call an attribute '{ID}', which the ids are called")

    @property
    def name(self) -> str:
        """What error messages call the table."""
        return self.table.name

    def read(self) -> pl.DataFrame:
        """Read the column ``id``, of text, and the attributes, in the order of the table.

        An id is the text of the id that the interactions have: of a number ``7`` and of a text ``7`` the same.

        Raises:
            DataError: The table cannot be read, is empty, lacks a column, an id is missing or stands there twice.
        """
        columns = renamed(self.columns)
        if self.columns is None:
            table = self.table.read_table()
            columns = {column: column for column in table.frame.columns if column != self.id}
            if self.id not in table.frame.columns:
                table = self.table.read_table({self.id: "id"})  # which says in its own words what is missing
        else:
            table = self.table.read_table({self.id: "id"} | dict.fromkeys(columns, "columns"))
        if table.frame.is_empty():
            raise DataError(f"{table.name} has no rows")
        ids = clean_ids(table, self.id).cast(pl.String)
        if ids.has_nulls():
            row = int(ids.is_null().arg_true()[0])
            raise DataError(f"{table.place(row)} of {table.name}: column '{self.id}' is empty: give each row an id")
        if (twice := ids.is_duplicated()).any():
            again = ids.filter(twice)[0]
            first, second = (table.place(int(row)) for row in (ids == again).arg_true()[:2])
            raise DataError(
                f"{first} and {second} of {table.name} are both about '{again}' (column '{self.id}'): keep one of them"
            )
        return pl.DataFrame([ids.alias(ID), *(value_column(table, old).alias(new) for old, new in columns.items())])
