"""From files to a store (host), in steps of bounded memory, each of whose pieces is kept once it is finished.

Rows are read some at a time and put into parts by a hash of their user; parts are cleaned one by one, a k-core
counting over all of them; ids that are left are numbered; parts are sorted; shards of users that follow each other are
cut out of all parts. What must fit into memory is the ids, one part, and a few numbers a user and an item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.data.cleaning import KCore
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER, CleaningRule, IdMap, LedgerEntry
from curriculum_rec.data.numbering import row_order
from curriculum_rec.data.sources import Source
from curriculum_rec.data.splits import ByUser, Part, Splitter
from curriculum_rec.data.store.arrow import map_columns, pyarrow, write_columns
from curriculum_rec.data.store.core import core_parts
from curriculum_rec.data.store.engines import Engine, Here
from curriculum_rec.data.store.inputs import Streamed, count_rows, describe_files, units
from curriculum_rec.data.store.manifest import ITEMS, NAME, USERS, File, Manifest, describe, hash_of
from curriculum_rec.data.store.parts import check_missing, clean_part, collect_unit, extend_ledger, read_part
from curriculum_rec.data.store.scopes import phases_of
from curriculum_rec.data.store.workbench import Workbench
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.files import write_text

BYTES_A_ROW = 256
"""What a row takes at most while its part is cleaned and sorted."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What a store is made of, and how.

    Args:
        source: Where the interactions come from.
        rules: Named cleaning rules, in order.
        split: Gives every interaction its part, user by user.
        memory_bytes: About how much memory the rows may take at once, ids not counted.
    """

    source: Source
    rules: Mapping[str, CleaningRule]
    split: Splitter
    memory_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        if self.memory_bytes < 2**20:
            raise OptionError("memory_gib must be at least 0.001: a part must hold at least a user's rows")
        if not isinstance(self.split, ByUser):
            raise OptionError(
                f"split {type(self.split).__name__} looks at all users at once, and a store is split part by part: "
                "take one that goes user by user, such as leave_one_out"
            )

    def plan(self, files: list[dict[str, Any]]) -> dict[str, Any]:
        """Describe all that decides what is in the store."""
        options = {name: value for name, value in describe(self.source).items() if name != "path"}
        return {
            "source": {**options, "files": files},
            "cleaning": {name: describe(rule) for name, rule in self.rules.items()},
            "split": describe(self.split),
        }


@dataclass(frozen=True)
class Ids:
    """What is left after cleaning.

    Attributes:
        users: The map of user ids.
        items: The map of item ids.
        time: Type of the timestamps; None where there are none.
    """

    users: IdMap
    items: IdMap
    time: np.dtype | None


def prepare(recipe: Recipe, folder: Path, *, engine: Engine = Here(), say: Say = lambda _: None) -> Manifest:  # noqa: B008 - frozen
    """Make a store, or go on with one that was begun.

    Args:
        recipe: What it is made of.
        folder: The store-to-be; its work is kept in a folder beside it until it is whole.
        engine: Where parts are read and cleaned.
        say: Told what is being done.

    Returns:
        What is in it.

    Raises:
        DataError: The data cannot be used.
        OptionError: A rule or the split cannot be applied part by part.
        RunError: Another process is at it, or something cannot be written.
    """
    pyarrow()
    bench = Workbench(folder.absolute())
    lock = bench.lock()
    try:
        files = units(recipe.source)
        plan = recipe.plan(describe_files(files))
        if (folder / NAME).is_file():
            return _check_same(Manifest.read(folder), plan, folder)
        if folder.exists() and any(folder.iterdir()):
            raise OptionError(f"store={folder} holds something else: name a new folder")
        n_parts = max(1, -(-count_rows(files) * BYTES_A_ROW // recipe.memory_bytes))
        work = plan | {"parts": n_parts, "memory": recipe.memory_bytes, "polars": pl.__version__}
        if bench.begin(work):
            say(f"going on in {bench.folder}")
        return _Preparation(recipe, bench, files, plan, n_parts, engine, say).make()
    finally:
        lock.release()


def _check_same(manifest: Manifest, plan: Mapping[str, Any], folder: Path) -> Manifest:
    if manifest.origin != hash_of(plan):
        raise OptionError(f"store={folder} is a store of other data, rules or split: name a new folder, or remove it")
    return manifest


@dataclass(frozen=True)
class _Preparation:
    """One store in the making."""

    recipe: Recipe
    bench: Workbench
    files: list[Streamed]
    plan: Mapping[str, Any]
    n_parts: int
    engine: Engine
    say: Say

    @property
    def _name(self) -> str:
        return self.recipe.source.name

    @property
    def _rows(self) -> int:
        return max(1000, self.recipe.memory_bytes // BYTES_A_ROW)

    def make(self) -> Manifest:
        last, ledger = self.clean()
        self.say("numbering ids")
        ids = self.number(last)
        self.say("sorting")
        self.encode(last, ids)
        shards, counts = self.cut(ids)
        return self.publish(ids, ledger, shards, counts)

    def clean(self) -> tuple[int, list[LedgerEntry]]:
        """Read and clean; give the number of the last phase, and the ledger."""
        timed = getattr(self.recipe.source, "timestamp", None) is not None
        leading, phases = phases_of(self.recipe.rules, timed=timed)
        self.say(f"reading {len(self.files)} files into {self.n_parts} parts")
        read = self.engine.map(
            collect_unit,
            range(len(self.files)),
            bench=self.bench,
            units=self.files,
            leading=leading,
            n_parts=self.n_parts,
            rows=self._rows,
        )
        of_units = [facts["counts"] for facts in read]
        ledger: list[LedgerEntry] = []
        extend_ledger(ledger, of_units, list(leading), source=self._name)
        for number, phase in enumerate(phases):
            self.say(f"cleaning: {', '.join(phase.rules)}")
            ((name, rule), *_) = phase.rules.items()
            if isinstance(rule, KCore):
                counts = [core_parts(self.bench, self.engine, number, name, rule, n_parts=self.n_parts)]
            else:
                counts = self.engine.map(
                    clean_part, range(self.n_parts), bench=self.bench, phase=number, rules=phase.rules
                )
            extend_ledger(ledger, counts, list(phase.rules), source=self._name)
            if number:  # the pieces that came in stay until the store is whole: they cost most to make again
                self.bench.clear(f"phase-{number}")
        return len(phases), ledger

    def number(self, phase: int) -> Ids:
        """Number the ids that are left, in sorted order."""
        users, items, times = list[pl.Series](), list[pl.Series](), set[pl.DataType]()
        for part in range(self.n_parts):
            frame = read_part(self.bench, phase, part)
            if frame is None:
                continue
            check_missing(frame, source=self._name)
            users.append(frame[USER].unique())
            items = [pl.concat([*items, frame[ITEM].unique()]).unique()]
            times |= {frame[TIMESTAMP].dtype} if TIMESTAMP in frame.columns else set()
        ids = {"user": IdMap.from_column(pl.concat(users)), "item": IdMap.from_column(pl.concat(items))}
        for what, each in ids.items():
            if len(each) < 2:
                raise DataError(f"{self._name} has only one {what} ('{each.ids[0]}'); a recommender needs at least two")
        floats = any(dtype.is_float() for dtype in times)
        time = None if not times else np.dtype(np.float64 if floats else np.int64)
        return Ids(ids["user"], ids["item"], time)

    def encode(self, phase: int, ids: Ids) -> None:
        """Write each part as numbers, sorted by user and time."""
        for part in range(self.n_parts):
            if self.bench.facts(f"encoded-{part:05d}") is not None:
                continue
            frame = read_part(self.bench, phase, part)
            if frame is not None:
                write_columns(self.bench.place("encoded", f"{part:05d}.arrow"), _encoded(frame, ids))
            self.bench.finish(f"encoded-{part:05d}")

    def cut(self, ids: Ids) -> tuple[list[File], np.ndarray]:
        """Cut shards of users that follow each other out of all parts.

        Returns:
            The shards' files, and rows of each part of the split of each user, int64 ``[n_users + 1, 3]``.
        """
        encoded = [map_columns(file) for file in sorted(self.bench.folder.glob("encoded/*.arrow"))]
        n_rows = np.zeros(len(ids.users) + 1, np.int64)
        for columns in encoded:
            n_rows += np.bincount(columns[USER], minlength=len(n_rows))
        ends = np.cumsum(n_rows)
        bounds = np.searchsorted(ends, np.arange(1, self.n_parts) * ends[-1] / self.n_parts)
        first_users = np.unique([1, *(bounds + 1), len(ids.users) + 1])
        sizes, files = self._split(n_rows), list[File]()
        of_item = np.zeros((len(ids.items) + 1, len(Part)), np.int64)
        self.say(f"writing {len(first_users) - 1} shards")
        parts = np.array(list(Part), np.int64)
        for number, (low, high) in enumerate(pairwise(first_users.tolist())):
            columns = _between(encoded, low, high)
            user = columns.pop(USER)
            path = self.bench.place("store", f"interactions-{number:05d}.arrow")
            done = self.bench.facts(path.stem)
            if done is None:
                write_columns(path, columns)
                done = self.bench.finish(path.stem, File.of(path, len(user)).__dict__)
            files.append(File(**done))
            part = np.repeat(np.tile(parts, high - low), sizes[low:high].reshape(-1))
            of_item += np.bincount(columns[ITEM] * len(Part) + part, minlength=of_item.size).reshape(of_item.shape)
        self._write_tables(ids, sizes, of_item)
        return files, sizes

    def _split(self, n_rows: np.ndarray) -> np.ndarray:
        """Give how many rows of each user are of each part, which follow each other, int64 ``[n_users + 1, n_parts]``.

        Raises:
            DataError: Nothing is held out.
        """
        assert isinstance(self.recipe.split, ByUser)  # noqa: S101 - the recipe has seen to it
        validation, test = self.recipe.split.held_out(n_rows)
        sizes = np.zeros((len(n_rows), len(Part)), np.int64)
        sizes[:, [Part.TRAIN, Part.VALIDATION, Part.TEST]] = np.stack([n_rows - validation - test, validation, test], 1)
        for part in (Part.VALIDATION, Part.TEST):
            if not sizes[:, part].any():
                raise DataError(f"no interaction is of the {part.name.lower()} part: give it a greater share")
        return sizes

    def _write_tables(self, ids: Ids, sizes: np.ndarray, of_item: np.ndarray) -> None:
        for name, each, counts in ((USERS, ids.users, sizes), (ITEMS, ids.items, of_item)):
            columns = {part.name.lower(): counts[1:, part] for part in Part}
            pl.DataFrame({"id": each.ids, **columns}).write_ipc(self.bench.place("store", name))

    def publish(self, ids: Ids, ledger: list[LedgerEntry], shards: list[File], sizes: np.ndarray) -> Manifest:
        """Write the manifest, and give the folder its name."""
        folder = self.bench.folder / "store"
        schema = {ITEM: "int32"} | ({} if ids.time is None else {TIMESTAMP: ids.time.name})
        rows = {USERS: len(ids.users), ITEMS: len(ids.items)}
        manifest = Manifest(
            origin=hash_of(self.plan),
            source=self.plan["source"],
            cleaning=self.plan["cleaning"],
            split=self.plan["split"],
            split_hash=_split_hash(ids, [folder / shard.name for shard in shards], sizes),
            interactions=int(sizes.sum()),
            users=len(ids.users),
            items=len(ids.items),
            schema=schema,
            ledger=tuple(ledger),
            shards=tuple(shards),
            tables=tuple(File.of(folder / name, n) for name, n in rows.items()),
        )
        write_text(folder / NAME, manifest.text())
        if self.bench.store.exists():
            self.bench.store.rmdir()
        folder.rename(self.bench.store)
        self.bench.clear("")
        return manifest


def _encoded(frame: pl.DataFrame, ids: Ids) -> dict[str, np.ndarray]:
    """Put codes for ids, and sort by user and time."""
    columns = {USER: ids.users.encode(frame[USER]), ITEM: ids.items.encode(frame[ITEM])}
    if ids.time is not None:
        columns[TIMESTAMP] = frame[TIMESTAMP].to_numpy().astype(ids.time)
    order = row_order(columns[USER], columns.get(TIMESTAMP))
    return columns if order is None else {name: values[order] for name, values in columns.items()}


def _between(encoded: list[dict[str, np.ndarray]], low: int, high: int) -> dict[str, np.ndarray]:
    """Take the rows of users ``low`` to ``high - 1`` out of parts that are sorted by user and time, and sort them."""
    pieces = []
    for columns in encoded:
        begin, stop = np.searchsorted(columns[USER], [low, high])
        pieces.append({name: values[begin:stop] for name, values in columns.items()})
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in encoded[0]}
    order = np.argsort(joined[USER], kind="stable")  # a user's rows are all in one part, in order
    return {name: values[order] for name, values in joined.items()}


def _split_hash(ids: Ids, shards: list[Path], sizes: np.ndarray) -> str:
    """Hash what :attr:`Split.hash` hashes, a shard at a time."""
    digest = hashlib.blake2b(digest_size=16)
    for each in (ids.users, ids.items):
        digest.update(each.digest().encode())
    per_user, block = sizes.sum(axis=1), 2**16
    codes = np.arange(len(sizes), dtype=np.int32)
    for begin in range(0, len(sizes), block):
        digest.update(np.repeat(codes[begin : begin + block], per_user[begin : begin + block]).tobytes())
    for shard in shards:
        digest.update(map_columns(shard)[ITEM].data)
    parts = np.tile(np.array(list(Part), np.int8), len(sizes))
    for begin in range(0, len(parts), block):
        digest.update(np.repeat(parts[begin : begin + block], sizes.reshape(-1)[begin : begin + block]).tobytes())
    return digest.hexdigest()
