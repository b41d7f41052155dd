"""Published files as tables (host): one function a layout, and the same columns whatever the publisher calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curriculum_rec.data.catalogue.embedded import ID
from curriculum_rec.data.catalogue.entries import Layout
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.errors import DataError

RATING, TAG = "rating", "tag"
OCCUPATIONS = (
    *("other", "educator", "artist", "clerical", "student", "customer service", "doctor", "executive", "farmer"),
    *("homemaker", "student at school", "lawyer", "programmer", "retired", "sales", "scientist", "self-employed"),
    *("engineer", "craftsman", "unemployed", "writer"),
)
"""MovieLens-1M's codes, from 0."""
NO_GENRE = "(no genres listed)"


@dataclass(frozen=True)
class Tables:
    """A data set.

    Attributes:
        interactions: In file order; ``user``, ``item``, ``timestamp`` and what else is said of each.
        users: ``id`` and what is known of users; None where nothing is, or the file is not there.
        items: ``id`` and what is known of items; likewise.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None

    def named(self) -> dict[str, pl.DataFrame]:
        """Give the tables that there are."""
        tables = {"interactions": self.interactions, "users": self.users, "items": self.items}
        return {name: table for name, table in tables.items() if table is not None}


Files = Mapping[str, Path]
"""The published files that are there, by name."""


@dataclass(frozen=True)
class Reader:
    """How a layout is read.

    Args:
        interactions: Ending of the name of the file that must be there.
        others: Names of files that may be there.
        read: Makes tables of the files.
    """

    interactions: str
    others: tuple[str, ...]
    read: Callable[[Path, Files], Tables]

    def wants(self, name: str) -> bool:
        """Whether a file is one of the layout's."""
        return name in self.others or name.endswith(self.interactions)


def find_files(reader: Reader, folder: Path) -> Files:
    """Find a layout's files in a folder or in the folders inside it; of equal names the first in the alphabet."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: (len(path.parts), path)):
        if path.is_file() and reader.wants(path.name):
            found.setdefault(path.name, path)
    return found


def read_layout(layout: Layout, files: Files, *, where: str) -> Tables:
    """Make tables of the files of a layout.

    Args:
        layout: The layout.
        files: What is there.
        where: What holds them, for errors.

    Raises:
        DataError: The interactions are not there, or a file is not laid out as its publisher does it.
    """
    reader = READERS[layout]
    mains = [path for name, path in files.items() if name.endswith(reader.interactions)]
    if not mains:
        raise DataError(
            f"{where} holds no file '{_shown(reader)}': set data.path to it, to its folder or to its archive"
        )
    if len(mains) > 1:
        raise DataError(f"{where} holds {', '.join(path.name for path in mains)}: set data.path to one of them")
    main = mains[0]
    return reader.read(main, files)


def _shown(reader: Reader) -> str:
    return reader.interactions if reader.interactions[0] != "." else f"...{reader.interactions}"


def _table(path: Path, separator: str, columns: Mapping[str, Any], *, header: bool) -> pl.DataFrame:
    """Read a text table without quotes, whose columns get our names and types, in UTF-8 or, failing that, Latin-1.

    Args:
        path: The file.
        separator: What stands between fields.
        columns: Name and type of every column.
        header: Whether the first line is one.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if len(separator) > 1:
        text, separator = text.replace(separator, "\x1f"), "\x1f"
    try:
        table = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=header,
            quote_char=None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0].rstrip('.')}") from error
    if table.width != len(columns):
        raise DataError(f"{path} has {table.width} columns where its publisher has {len(columns)}: is it whole?")
    table.columns = list(columns)
    return _typed(path, table, columns)


def _typed(path: Path, table: pl.DataFrame, types: Mapping[str, Any]) -> pl.DataFrame:
    """Give columns their types; an empty field is missing, and one of another type is refused."""
    table = table.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep())
    cast = table.with_columns(pl.col(name).cast(kind, strict=False) for name, kind in types.items())
    for name in types:
        wrong = (cast[name].is_null() & table[name].is_not_null()).arg_true()
        if len(wrong):
            raise DataError(
                f"row {wrong[0] + 1} of {path}: its {name} is '{table[name][wrong[0]]}', which its publisher's files "
                "never have: bring the file here again"
            )
    return cast


RATINGS = {USER: pl.Int64, ITEM: pl.Int64, RATING: pl.Float64, TIMESTAMP: pl.Int64}


def _title(frame: pl.DataFrame) -> pl.DataFrame:
    """Take the year out of titles such as ``Heat (1995)``."""
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64).alias("year")
    return frame.with_columns(year, pl.col("title").str.strip_chars())


def _movielens_100k(main: Path, files: Files) -> Tables:
    users = items = None
    if "u.user" in files:
        columns = {ID: pl.Int64, "age": pl.Int64, "gender": pl.String, "occupation": pl.String, "zip": pl.String}
        users = _table(files["u.user"], "|", columns, header=False)
    if {"u.item", "u.genre"} <= set(files):
        genres = _table(files["u.genre"], "|", {"genre": pl.String, "code": pl.Int64}, header=False)
        names = genres.drop_nulls().sort("code")["genre"].to_list()
        films = {ID: pl.Int64, "title": pl.String, "released": pl.String, "video": pl.String, "address": pl.String}
        wide = _table(files["u.item"], "|", films | dict.fromkeys(names, pl.Int64), header=False)
        marked = [pl.when(pl.col(name) == 1).then(pl.lit(name)) for name in names]
        items = _title(wide.select(ID, "title", pl.concat_list(marked).list.drop_nulls().alias("genres")))
    return Tables(_table(main, "\t", RATINGS, header=False), users, items)


def _movielens_1m(main: Path, files: Files) -> Tables:
    users = items = None
    if "users.dat" in files:
        columns = {ID: pl.Int64, "gender": pl.String, "age": pl.Int64, "occupation": pl.Int64, "zip": pl.String}
        users = _table(files["users.dat"], "::", columns, header=False)
        words = pl.Series(OCCUPATIONS).gather(users["occupation"])
        users = users.with_columns(words.alias("occupation"))
    if "movies.dat" in files:
        films = _table(files["movies.dat"], "::", {ID: pl.Int64, "title": pl.String, "genres": pl.String}, header=False)
        items = _title(films.with_columns(pl.col("genres").str.split("|")))
    return Tables(_table(main, "::", RATINGS, header=False), users, items)


def _movielens_csv(main: Path, files: Files) -> Tables:
    names = {"userId": USER, "movieId": ITEM, RATING: RATING, TIMESTAMP: TIMESTAMP}
    ratings = _csv(main, {"userId": pl.Int64, "movieId": pl.Int64, RATING: pl.Float64, TIMESTAMP: pl.Int64})
    items = None
    if "movies.csv" in files:
        films = _csv(files["movies.csv"], {"movieId": pl.Int64, "title": pl.String, "genres": pl.String})
        genres = pl.col("genres").str.split("|").list.set_difference([NO_GENRE])
        items = _title(films.rename({"movieId": ID}).with_columns(genres))
    return Tables(ratings.rename(names), None, items)


def _csv(path: Path, columns: dict[str, Any]) -> pl.DataFrame:
    try:
        return pl.read_csv(path, schema_overrides=columns).select(list(columns))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0].rstrip('.')}") from error


def _amazon_ratings(main: Path, _: Files) -> Tables:
    columns = {USER: pl.String, ITEM: pl.String, RATING: pl.Float64, TIMESTAMP: pl.Int64}
    return Tables(_table(main, ",", columns, header=False))


def _lastfm(main: Path, files: Files) -> Tables:
    """Read who tagged which artist when (milliseconds); listening counts have no times and are left out."""
    columns = {USER: pl.Int64, ITEM: pl.Int64, "tag_id": pl.Int64, TIMESTAMP: pl.Int64}
    tagged = _table(main, "\t", columns, header=True)
    items = users = None
    if "tags.dat" in files:
        words = _table(files["tags.dat"], "\t", {"tag_id": pl.Int64, TAG: pl.String}, header=True)
        tagged = tagged.join(words, on="tag_id", how="left", maintain_order="left")
    if {"artists.dat", "tags.dat"} <= set(files):
        artist = {ID: pl.Int64, "artist": pl.String, "address": pl.String, "picture": pl.String}
        artists = _table(files["artists.dat"], "\t", artist, header=True).select(ID, "artist")
        counts = tagged.group_by(pl.col(ITEM).alias(ID), TAG).len().sort("len", TAG, descending=[True, False])
        tags = counts.drop_nulls().group_by(ID, maintain_order=True).agg(pl.col(TAG).alias("tags"))
        items = artists.join(tags, on=ID, how="left", maintain_order="left")
    if "user_friends.dat" in files:
        pairs = _table(files["user_friends.dat"], "\t", {ID: pl.Int64, "friend": pl.Int64}, header=True)
        users = pairs.sort(ID, "friend").group_by(ID, maintain_order=True).agg(pl.col("friend").alias("friends"))
    return Tables(tagged.drop("tag_id"), users, items)


READERS: dict[Layout, Reader] = {
    "movielens_100k": Reader("u.data", ("u.user", "u.item", "u.genre"), _movielens_100k),
    "movielens_1m": Reader("ratings.dat", ("users.dat", "movies.dat"), _movielens_1m),
    "movielens_csv": Reader("ratings.csv", ("movies.csv",), _movielens_csv),
    "amazon_ratings": Reader(".csv", (), _amazon_ratings),
    "lastfm": Reader("user_taggedartists-timestamps.dat", ("artists.dat", "tags.dat", "user_friends.dat"), _lastfm),
}
