"""Files with one user's whole history a line (host)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.data.sources.contract import separator_option, shorten
from curriculum_rec.data.sources.files import read_text
from curriculum_rec.data.sources.ids import warn_of_look_alikes
from curriculum_rec.errors import DataError, OptionError


@dataclass(frozen=True)
class SequencesFile:
    """A text file, perhaps packed (.gz, .zst), with one user a line: the user, then the items, oldest first.

    Args:
        path: The file.
        separator: What stands between the ids; None means any white space.
    """

    path: str
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.separator == "":
            raise OptionError("data.separator='': it must be some text, or null for any white space")

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def read(self) -> pl.DataFrame:
        """Read all rows, user by user.

        Raises:
            DataError: The file is missing, empty, not UTF-8, a line has no items, or a user stands on two lines.
        """
        lines = pl.Series("line", re.split(r"\r\n|\r|\n", read_text(self.path)), dtype=pl.String)
        if self.separator is None:
            tokens = lines.str.extract_all(r"\S+")
        else:
            tokens = lines.str.strip_chars(" ").str.split(self.separator)
        frame = pl.DataFrame({"number": np.arange(1, len(lines) + 1), "line": lines, "tokens": tokens})
        frame = frame.filter(pl.col("line").str.strip_chars() != "")
        if frame.is_empty():
            raise DataError(f"{self.path} is empty: it needs one line a user, 'user item item ...'")
        lonely = frame.filter(pl.col("tokens").list.len() < 2)
        if not lonely.is_empty():
            number, line, _ = lonely.row(0)
            hint = next((f"; is {separator_option(s)} missing?" for s in ",;|\t" if s in line), "")
            raise DataError(f"line {number} of {self.path} names a user but no item: '{shorten(line)}'{hint}")
        if self.separator is None:
            joined = frame.filter(pl.col("line").str.contains(r"[,;](\s|$)"))
            if not joined.is_empty():
                number, line = joined.row(0)[:2]
                mark = "," if "," in line else ";"
                raise DataError(
                    f"line {number} of {self.path} has ids that end in '{mark}': '{shorten(line)}'; is "
                    f"{separator_option(mark)} missing?"
                )
        frame = frame.with_columns(pl.col("tokens").list.first().alias(USER))
        twice = frame.filter(pl.col(USER).is_duplicated())
        if not twice.is_empty():
            user = twice[USER][0]
            first, second = twice.filter(pl.col(USER) == user)["number"][:2]
            raise DataError(
                f"user '{user}' stands on lines {first} and {second} of {self.path}: join the two histories"
            )
        items = frame.select(USER, pl.col("tokens").list.slice(1).alias(ITEM)).explode(ITEM)
        items = items.with_columns(pl.when(pl.col(USER, ITEM) != "").then(pl.col(USER, ITEM)))
        for column in (USER, ITEM):
            warn_of_look_alikes(items[column], f"{column}s of {self.path}")
        return items
