"""The cache of named data sets (host): downloaded once, kept as Parquet, taken only with their digests.

::

    ROOT/NAME/ml-100k.zip          as published
    ROOT/NAME/prepared/            interactions.parquet, users.parquet, items.parquet, manifest.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from curriculum_rec.data.catalogue.archives import extract, is_archive
from curriculum_rec.data.catalogue.downloading import download, sha256_of
from curriculum_rec.data.catalogue.entries import Entry, Layout
from curriculum_rec.data.catalogue.reading import READERS, Tables, find_files, read_layout
from curriculum_rec.data.catalogue.reporting import Reporter, Silent, size, terms
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.files import whole_folder
from curriculum_rec.locks import FileLock

ROOT = "CURRICULUM_REC_DATA"
"""The environment variable that names the cache folder."""
FORMAT = 1
"""Of what is prepared; another number has it made anew from what was downloaded."""
MANIFEST = "manifest.json"
State = Literal["in the package", "prepared", "prepared from a copy", "downloaded", "begun", "absent"]


def data_root() -> Path:
    """Give the cache folder: that of the environment, or the platform's."""
    if given := os.environ.get(ROOT):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/curriculum_rec/data").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "curriculum_rec" / "data"


@dataclass(frozen=True)
class Manifest:
    """What is prepared.

    Args:
        source: SHA-256 of the file that it was made of; None if that was a folder.
        tables: SHA-256 of each table's file.
    """

    source: str | None
    tables: dict[str, str]


@dataclass(frozen=True)
class Place:
    """Where a data set lies in the cache.

    Args:
        entry: The data set.
        root: The cache folder.
    """

    entry: Entry
    root: Path

    @property
    def folder(self) -> Path:
        """The data set's own."""
        return self.root / self.entry.name

    @property
    def published(self) -> Path:
        """The file as it was downloaded."""
        assert self.entry.remote is not None  # noqa: S101 - what is in the package has no place in the cache
        return self.folder / self.entry.remote.file_name

    @property
    def prepared(self) -> Path:
        """The Parquet files."""
        return self.folder / "prepared"

    def state(self) -> State:
        """Say how much of it is here."""
        if self.entry.remote is None:
            return "in the package"
        if (manifest := self.manifest()) is not None:
            return "prepared" if manifest.source == self.entry.remote.sha256 else "prepared from a copy"
        if self.published.is_file():
            return "downloaded"
        return "begun" if self.published.with_name(self.published.name + ".part").is_file() else "absent"

    def manifest(self) -> Manifest | None:
        """Give what is prepared; None if nothing is, or in another format."""
        try:
            record = json.loads((self.prepared / MANIFEST).read_text())
            if record["format"] != FORMAT:
                return None
            tables = {str(name): str(table["sha256"]) for name, table in record["tables"].items()}
            return Manifest(record["source"]["sha256"], tables)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def prepare(entry: Entry, *, path: Path | None = None, reporter: Reporter | None = None) -> Place:
    """Have a data set ready in the cache, downloading it if it is not there.

    Processes that do it at once wait for each other.

    Args:
        entry: The data set.
        path: A copy of the published files, to be taken instead of downloading them.
        reporter: Is told what happens; None tells nobody.

    Raises:
        DataError: It cannot be downloaded or read.
    """
    reporter = reporter or Silent()
    place = Place(entry, data_root())
    if path is None and place.manifest() is not None:
        return place
    lock = FileLock(place.folder / ".lock")
    if not lock.acquire(wait=False):
        reporter.say(f"another process is preparing {entry.name}: waiting for it")
        lock.acquire(wait=True)
    try:
        if path is not None or place.manifest() is None:
            if path is None:
                _bring(place, reporter)
            _write(place, read_copy(entry, path or place.published), of=path or place.published)
    finally:
        lock.release()
    return place


def read_table(place: Place, name: str) -> pl.DataFrame | None:
    """Read a prepared table.

    Args:
        place: Where it is prepared.
        name: ``interactions``, ``users`` or ``items``.

    Returns:
        The table, or None where the data set has none of this name.

    Raises:
        DataError: It is not what was written.
    """
    manifest = place.manifest()
    if manifest is None or name not in manifest.tables:
        return None
    file = place.prepared / f"{name}.parquet"
    if not file.is_file() or sha256_of(file) != manifest.tables[name]:
        raise DataError(f"{file} is not what was prepared: delete {place.prepared} and it is made anew")
    return pl.read_parquet(file)


def read_copy(entry: Entry, path: Path) -> Tables:
    """Read a copy of the published files.

    Args:
        entry: The data set.
        path: The published archive, a folder with what it holds, or the file of interactions itself.

    Raises:
        OptionError: The data set is inside the package.
        DataError: It cannot be read.
    """
    if entry.layout is None:
        raise OptionError(
            f"data.path={path}: {entry.name} is inside the package and takes no copy; leave data.path out"
        )
    reader = READERS[entry.layout]
    if path.is_dir():
        return read_layout(entry.layout, find_files(reader, path), where=str(path))
    if not path.is_file():
        raise DataError(f"{path} does not exist: set data.path to an archive, a folder or a file (from {Path.cwd()})")
    if is_archive(path):
        return _read_archive(entry.layout, path)
    beside = {file.name: file for file in path.parent.iterdir() if file.name in reader.others and file.is_file()}
    return read_layout(entry.layout, beside | {f"/{reader.interactions}": path}, where=str(path))


def _read_archive(layout: Layout, path: Path) -> Tables:
    with tempfile.TemporaryDirectory(prefix="curriculum-rec-") as folder:
        extract(path, Path(folder), wanted=READERS[layout].wants)
        return read_layout(layout, find_files(READERS[layout], Path(folder)), where=str(path))


def _bring(place: Place, reporter: Reporter) -> None:
    """Download the published file unless it is here, and say before it what may be done with it."""
    remote = place.entry.remote
    if remote is None:
        raise OptionError(f"{place.entry.name} is inside the package: there is nothing to prepare")
    if place.published.is_file() and sha256_of(place.published) == remote.sha256:
        return
    about = "" if remote.exact else "about "
    reporter.say(terms(place.entry))
    reporter.say(f"  from: {remote.url} ({about}{size(remote.n_bytes)})\n  to: {place.published}")
    download(remote, place.published, reporter=reporter)


def _write(place: Place, tables: Tables, *, of: Path) -> None:
    """Write tables and a manifest of them, all of it or nothing."""
    with whole_folder(place.prepared) as folder:
        record = {}
        for name, table in tables.named().items():
            file = folder / f"{name}.parquet"
            table.write_parquet(file)
            record[name] = {"sha256": sha256_of(file), "rows": len(table)}
        source = {"file": of.name, "sha256": sha256_of(of) if of.is_file() else None}
        (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "source": source, "tables": record}, indent=2))
