"""Tables in databases (host): SQLite and PostgreSQL by ADBC, read-only, columns as Arrow from end to end."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import polars as pl

from curriculum_rec.data.sources.columns import InteractionColumns
from curriculum_rec.data.sources.contract import Table, by_row, check_columns, first_line
from curriculum_rec.data.sources.files import check_digest, require_file
from curriculum_rec.errors import DataError, OptionError

READS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE | re.DOTALL)
"""How a query begins that reads; that it does nothing else, the connection sees to."""

SECRET = ("password", "sslpassword")
"""Parameters of a URI that say a password."""


@dataclass(frozen=True, kw_only=True)
class _SqlTable:
    """What the two have in common.

    Args:
        query: What is read, in SQL; its ORDER BY is the order of rows, which decides between equal times.
        table: A table that is read instead, its rows ordered by their values.
    """

    query: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        if (self.query is None) == (self.table is None):
            raise OptionError("data.query and data.table: give one of them, a query in SQL or the name of a table")
        if self.query is not None and READS.match(self.query) is None:
            raise OptionError(
                f"data.query begins with '{' '.join(self.query.split()[:2])}': it must begin with SELECT or WITH"
            )

    @property
    @abstractmethod
    def name(self) -> str:
        """What error messages call the table."""

    @abstractmethod
    def _connect(self) -> Any:
        """Open a connection of Python's DB-API that cannot write."""

    def read_table(self, wanted: Mapping[str, str] | None = None) -> Table:
        """Read columns; see :class:`~curriculum_rec.data.sources.contract.TableReader`.

        Raises:
            DataError: The database cannot be reached or read, or there is no such column.
        """
        with self._failures(), self._connect() as connection, connection.cursor() as cursor:
            self._begin(cursor)
            source = _select("*", self.table) if self.query is None else self.query.strip().rstrip(";")
            # One row, not none: Polars refuses names that are alike in words only where there is a row.
            present = self._fetch(cursor, _select("*", within=source) + " LIMIT 1").columns
            check_columns(self.name, present, wanted or {})
            chosen = present if wanted is None else list(wanted)
            self._check_types(cursor, source, chosen, wanted or {})
            if self.table is not None:
                source = _select(", ".join(map(_quoted_name, chosen)), self.table)
            frame = self._fetch(cursor, f"{source}\n").select(chosen)  # which may end with a comment
        if self.table is not None:
            sortable = [name for name, dtype in frame.schema.items() if not dtype.is_nested()]
            frame = frame.sort(sortable, nulls_last=True)
        return Table(frame, self.name, typed=True, place=by_row)

    def _begin(self, cursor: Any) -> None:
        """Do what comes before the first query."""

    def _check_types(self, cursor: Any, source: str, chosen: list[str], wanted: Mapping[str, str]) -> None:
        """Refuse columns that the database may send in more than one type."""

    def _fetch(self, cursor: Any, query: str) -> pl.DataFrame:
        cursor.execute(query)
        return cursor.fetch_polars()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what drivers raise into one sentence, without what it was told in secret."""
        try:
            yield
        except (DataError, OptionError):
            raise
        except pl.exceptions.PanicException as error:
            raise DataError(f"{self.name} cannot be read: Polars fails on it: {first_line(error)}") from None
        except Exception as error:
            if isinstance(error, pl.exceptions.DuplicateError):
                raise self._alike() from error
            if (
                not isinstance(error, pl.exceptions.PolarsError | OSError | ValueError)
                and "adbc" not in type(error).__module__
            ):
                raise
            raise DataError(f"{self.name} cannot be read: {self._reason(error)}") from None

    def _alike(self) -> DataError:
        return DataError(f"the query to {self.name} names two columns alike: rename one by AS")

    def _reason(self, error: Exception) -> str:
        sentence = " ".join(re.split(r"\n\s*Query was:|\nquery:", str(error))[0].split())
        sentence = re.sub(r"^[A-Z_]+: (\[\w+\] )?", "", sentence)
        if "Type mismatch" in sentence:
            sentence += "; one column holds several types: write CAST(column AS TEXT) AS column in data.query"
        return sentence.rstrip(". ")


@dataclass(frozen=True)
class SqliteTable(_SqlTable):
    """A table or a query of a SQLite database.

    Args:
        path: The database's file.
        query: What is read, in SQL; its ORDER BY is the order of rows, which decides between equal times.
        table: A table that is read instead, its rows ordered by their values.
        sha256: The digest that the file must have; None takes any.
    """

    path: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """What error messages call the table."""
        return self.path if self.table is None else f"table {self.table} of {self.path}"

    def _connect(self) -> Any:
        place = require_file(self.path)
        check_digest(place, self.sha256)
        return _driver("sqlite").connect(f"file:{quote(str(place.absolute()))}?mode=ro")

    def _check_types(self, cursor: Any, source: str, chosen: list[str], wanted: Mapping[str, str]) -> None:
        """Refuse ids of several types, which the driver guesses from the first rows."""
        for column in chosen:
            if wanted.get(column) not in ("data.user", "data.item", "id"):
                continue
            name = _quoted_name(column)
            kinds = _select(f"DISTINCT typeof({name}) AS kind", within=source)
            found = self._fetch(cursor, f"{kinds} WHERE {name} IS NOT NULL ORDER BY kind")["kind"]
            if len(found) > 1:
                raise DataError(
                    f"column '{column}' of {self.name} holds values of several types ({', '.join(found)}): "
                    f"write CAST({name} AS TEXT) AS {name} in data.query"
                )


@dataclass(frozen=True)
class PostgresTable(_SqlTable):
    """A table or a query of a PostgreSQL database.

    Args:
        uri: ``postgresql://USER@HOST:PORT/DATABASE``, without a password.
        query: What is read, in SQL; its ORDER BY is the order of rows, which decides between equal times.
        table: A table that is read instead (``events`` or ``schema.events``), its rows ordered by their values.
        password_env: Name of the environment's variable that holds the password; None leaves it to what libpq knows,
            such as PGPASSWORD or ~/.pgpass.
    """

    uri: str
    password_env: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.uri.startswith(("postgresql://", "postgres://")):
            raise OptionError("data.uri must begin with postgresql://, as in postgresql://USER@HOST:PORT/DATABASE")
        try:
            parts = urlsplit(self.uri)
            says_password = parts.password is not None or any(
                key.lower() in SECRET for key, _ in parse_qsl(parts.query)
            )
        except ValueError as error:
            raise OptionError(f"data.uri is no address ({first_line(error)})") from None
        if says_password:
            raise OptionError(
                "data.uri says a password, which would be written into the run's record: leave it out, put it into a "
                "variable of the environment, and name that by data.password_env"
            )

    @property
    def name(self) -> str:
        """What error messages call the table."""
        place = self.uri.partition("?")[0]
        return place if self.table is None else f"table {self.table} of {place}"

    def _connect(self) -> Any:
        # Said twice: the first holds from the first statement on, poolers that do not know it obey the second.
        address = _with_parameter(self.uri, "options", "-c default_transaction_read_only=on")
        if self.password_env is not None:
            address = _with_parameter(address, "password", self._password())
        return _driver("postgresql").connect(address)

    def _begin(self, cursor: Any) -> None:
        cursor.execute("SET TRANSACTION READ ONLY")

    def _password(self) -> str:
        password = os.environ.get(self.password_env or "")
        if not password:
            raise OptionError(
                f"data.password_env={self.password_env}: the environment has no such variable, or it is empty; set it "
                "to the password"
            )
        return password

    def _reason(self, error: Exception) -> str:
        sentence = super()._reason(error)
        password = None if self.password_env is None else os.environ.get(self.password_env)
        for secret in (password, quote(password, safe="")) if password else ():
            sentence = sentence.replace(secret, "***")
        return sentence


@dataclass(frozen=True)
class SqliteQuery(SqliteTable, InteractionColumns):
    """A SQLite database with one interaction a row.

    Its options are those of :class:`SqliteTable`, what is read, and of
    :class:`~curriculum_rec.data.sources.columns.InteractionColumns`, which column is what.
    """

    def __post_init__(self) -> None:
        SqliteTable.__post_init__(self)
        _check_order(self.table, self.timestamp)
        InteractionColumns.__post_init__(self)


@dataclass(frozen=True)
class PostgresQuery(PostgresTable, InteractionColumns):
    """A PostgreSQL database with one interaction a row.

    Its options are those of :class:`PostgresTable`, what is read, and of
    :class:`~curriculum_rec.data.sources.columns.InteractionColumns`, which column is what.
    """

    def __post_init__(self) -> None:
        PostgresTable.__post_init__(self)
        _check_order(self.table, self.timestamp)
        InteractionColumns.__post_init__(self)


def _check_order(table: str | None, timestamp: str | None) -> None:
    """Refuse a table whose rows have no order."""
    if table is not None and timestamp is None:
        raise OptionError("data.table has no order of rows: name data.timestamp, or give data.query with ORDER BY")


def _driver(kind: str) -> Any:
    """Load a driver.

    Raises:
        OptionError: It is not installed.
    """
    try:
        if kind == "sqlite":
            import adbc_driver_sqlite.dbapi  # noqa: PLC0415

            return adbc_driver_sqlite.dbapi
        import adbc_driver_postgresql.dbapi  # noqa: PLC0415
    except ImportError as error:
        raise OptionError("databases need ADBC's drivers: pip install 'curriculum-rec[sql]'") from error
    return adbc_driver_postgresql.dbapi


def _with_parameter(uri: str, name: str, value: str) -> str:
    """Add a parameter to a URI; to options that it has, if it is these.

    >>> _with_parameter("postgresql://me@here/shop?options=-c%20jit%3Doff", "options", "-c x=1")
    'postgresql://me@here/shop?options=-c%20jit%3Doff%20-c%20x%3D1'
    """
    place, _, query = uri.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    given[name] = f"{given[name]} {value}" if given.get(name) else value
    parameters = [f"{key}={quote(text, safe='')}" for key, text in given.items()]
    return f"{place}?{'&'.join(parameters)}"


def _select(columns: str, table: str | None = None, *, within: str | None = None) -> str:
    """Write a query to a table, be it within a schema, or to what another query gives."""
    place = ".".join(map(_quoted_name, str(table).split("."))) if within is None else f"(\n{within}\n) AS q"
    return f"SELECT {columns} FROM {place}"  # noqa: S608 - names are quoted, and the query is the person's own


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
