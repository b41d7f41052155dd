"""The manifest of a store (host): what is in it, what it came from, and the digest of every file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curriculum_rec.data.interactions import LedgerEntry
from curriculum_rec.data.store.arrow import digest_of_file
from curriculum_rec.errors import DataError

NAME, KIND, VERSION = "manifest.json", "curriculum-rec example store", 1
USERS, ITEMS = "users.arrow", "items.arrow"


@dataclass(frozen=True)
class File:
    """A file of the store.

    Attributes:
        name: Its name in the folder.
        bytes: Its size.
        digest: Of its content.
        rows: How many it has.
    """

    name: str
    bytes: int
    digest: str
    rows: int

    @classmethod
    def of(cls, path: Path, rows: int) -> File:
        """Describe a file that is written."""
        return cls(path.name, path.stat().st_size, digest_of_file(path), rows)


@dataclass(frozen=True)
class Manifest:
    """What is in a store.

    Attributes:
        origin: Hash of all that the store came from: files, columns, cleaning rules and split.
        source: The source's name, options and files.
        cleaning: The rules, in order.
        split: The split.
        split_hash: As :attr:`~curriculum_rec.data.splits.Split.hash` of the same data in memory.
        interactions: Rows.
        users: Users.
        items: Items.
        schema: Columns of the shards and their types.
        ledger: What the rules removed.
        shards: Files of interactions, sorted by user and time, one after the other.
        tables: The files of users and items.
    """

    origin: str
    source: Mapping[str, Any]
    cleaning: Mapping[str, Any]
    split: Mapping[str, Any]
    split_hash: str
    interactions: int
    users: int
    items: int
    schema: Mapping[str, str]
    ledger: tuple[LedgerEntry, ...]
    shards: tuple[File, ...]
    tables: tuple[File, ...]

    def text(self) -> str:
        """Write it as JSON, with a digest of its own."""
        content = {"kind": KIND, "version": VERSION, **asdict(self)}
        return json.dumps(content | {"digest": hash_of(content)}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read it, and check that every file is there in its full size.

        Raises:
            DataError: The folder is no store, of another version, or damaged.
        """
        path = folder / NAME
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise DataError(
                f"{folder} is no store: it has no {NAME}; make one by 'curriculum-rec data prepare'"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}): prepare the store anew") from error
        digest = content.pop("digest", None) if isinstance(content, dict) else None
        if not isinstance(content, dict) or content.get("kind") != KIND or digest != hash_of(content):
            raise DataError(f"{path} is damaged, or not a store's: prepare the store anew")
        if content.pop("version") != VERSION:
            raise DataError(f"{folder} is a store of another version of this package: prepare it anew")
        del content["kind"]
        content["ledger"] = tuple(
            LedgerEntry(entry["rule"], entry["rows_in"], entry["rows_out"]) for entry in content["ledger"]
        )
        files = {name: tuple(File(**entry) for entry in content[name]) for name in ("shards", "tables")}
        manifest = cls(**(content | files))
        for file in (*manifest.shards, *manifest.tables):
            place = folder / file.name
            size = place.stat().st_size if place.is_file() else None
            if size != file.bytes:
                there = "is missing" if size is None else f"has {size:,} bytes instead of {file.bytes:,}"
                raise DataError(f"{place} {there}: prepare the store anew")
        return manifest

    def verify(self, folder: Path) -> None:
        """Read every file and compare its digest.

        Raises:
            DataError: One is not what was written.
        """
        for file in (*self.shards, *self.tables):
            if digest_of_file(folder / file.name) != file.digest:
                raise DataError(f"{folder / file.name} is damaged (its digest is another): prepare the store anew")


def hash_of(content: Any) -> str:
    """Hash plain data."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def describe(component: Any) -> dict[str, Any]:
    """Describe a component by its class's name and its options, as plain data.

    >>> from curriculum_rec.data.cleaning import KCore
    >>> describe(KCore())
    {'name': 'KCore', 'min_user_interactions': 5, 'min_item_interactions': 5}
    """
    is_component = dataclasses.is_dataclass(component) and not isinstance(component, type)
    options = dataclasses.asdict(component) if is_component else {"repr": repr(component)}
    return {"name": type(component).__name__, **json.loads(json.dumps(options, default=str))}
