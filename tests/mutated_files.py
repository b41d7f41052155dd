"""Good files of every kind that readers know, broken at random: what may come of one is a frame or one sentence."""

import gzip
import io
import random
import sqlite3
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.data.sources import EntityTable, FileTable, LogFile, SequencesFile, SqliteQuery, TableFile
from curriculum_rec.errors import DataError, DataWarning, OptionError

CSV = (
    b'user,item,timestamp,rating,title\nu1,a,1,4.5,"x, y"\nu2,"b ""q""",2,,\r\n01,c,3.5,nan,"two\nlines"\n'
    b"1,d,4,1e3,\xc3\xa9\n"
)
TSV = b"\xef\xbb\xbfuser\titem\ttimestamp\n1\t2\t2024-01-02T03:04:05Z\n2\t3\t2024-01-02 03:04\n3\t4\t2024-12-31\n"
SEMICOLON = b"u;a;1\nv;b;2\nw;c;3\n"
JSON = (
    b'{"user": {"id": 1}, "item": "a", "at": "2024-01-02T03:04:05+02:00", "tags": ["x"]}\n\n'
    b'{"user": {"id": 9007199254740993}, "item": null, "at": "2024-01-02", "tags": []}\n'
    b'{"user": {"id": -1}, "item": "\\u00e9"}\n'
)
LOG = (
    b'1.2.3.4 - ann [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 23 "http://x/" "Agent \\"q\\""\n'
    b'5.6.7.8 - - [10/Oct/2000:13:55:37 -0700] "-" 408 - "-" "-"\n'
)
SEQUENCES = b"u a b c\nv d\n\nw e f\n01 1 2\n"
SPECIAL = [
    *(
        b'"',
        b"'",
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b";",
        b"\t",
        b"\x00",
        b"\xe2",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xf0\x9f\x98\x80",
    ),
    *(
        b"nan",
        b"inf",
        b"-",
        b"1e999",
        b"9007199254740993",
        b"99999999999999999999",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"\\",
    ),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80", b"\x7f", b"(", b")", b"%", b"\x1f"),
]

Reader = Callable[[str], object]


def frame() -> pl.DataFrame:
    """Rows of many types."""
    return pl.DataFrame(
        {
            "user": ["u1", "u2", "01", None],
            "item": [1.0, 2.0, None, 4.0],
            "timestamp": pl.Series([0, 1, 2, None]).cast(pl.Datetime("ns")),
            "rating": [1, 2, 3, 4],
            "tags": [["x"], [], None, ["y", "z"]],
        }
    )


def parquet(**options: object) -> bytes:
    """The rows as Parquet."""
    buffer = io.BytesIO()
    frame().write_parquet(buffer, **options)
    return buffer.getvalue()


def arrays(save: Callable[..., None], *values: object, **named: object) -> bytes:
    """Arrays as NumPy writes them."""
    buffer = io.BytesIO()
    save(buffer, *values, **named)
    return buffer.getvalue()


def database() -> bytes:
    """A small SQLite database."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        with sqlite3.connect(path) as connection:
            connection.execute("create table events (user text, item integer, timestamp real)")
            connection.executemany("insert into events values (?, ?, ?)", [(f"u{n}", n % 7, n / 2) for n in range(40)])
        connection.close()
        return path.read_bytes()


def seeds() -> list[tuple[str, bytes, list[Reader]]]:
    """List the good files: the ending, the content, and the readers that take it."""
    others = ("rating", "title")
    structured = np.array([(1, b"a", 2.5), (2, b"b", 3.5)], [("user", "i8"), ("item", "S4"), ("timestamp", "f4")])
    dates = np.array(["2024-01-01", "NaT"], "datetime64[s]")
    return [
        (".csv", CSV, [TableFile, lambda p: TableFile(p, others=others), lambda p: TableFile(p, separator="\t")]),
        (
            ".csv",
            CSV,
            [lambda p: TableFile(p, quote=None, timestamp=None), lambda p: EntityTable(FileTable(p), "user")],
        ),
        (".tsv", TSV, [TableFile, lambda p: TableFile(p, timestamp_format="iso8601", time_zone="Europe/Berlin")]),
        (
            ".csv",
            SEMICOLON,
            [
                lambda p: TableFile(p, separator=";", columns=("user", "item", "timestamp"), timestamp_format="ms"),
                lambda p: TableFile(p, separator=";", columns=("user", "item", "timestamp"), timestamp_format="%Y%m%d"),
            ],
        ),
        (".csv.gz", gzip.compress(CSV, mtime=0), [TableFile]),
        (".jsonl", JSON, [lambda p: TableFile(p, user="user.id", timestamp="at", others={"tags": "labels"})]),
        (".jsonl.gz", gzip.compress(JSON, mtime=0), [lambda p: TableFile(p, user="user.id", timestamp=None)]),
        (".parquet", parquet(), [lambda p: TableFile(p, others=("rating", "tags"))]),
        (".parquet", parquet(compression="snappy", statistics=False), [lambda p: EntityTable(FileTable(p), "rating")]),
        (".npy", arrays(np.save, structured), [TableFile]),
        (".npy", arrays(np.save, np.arange(12.0).reshape(4, 3)), [TableFile]),
        (".npz", arrays(np.savez, user=np.arange(2), item=np.array(["a", "é"]), timestamp=dates), [TableFile]),
        (".npz", arrays(np.savez_compressed, user=np.arange(2), item=np.arange(2), timestamp=dates), [TableFile]),
        (".log", LOG, [LogFile, lambda p: LogFile(p, max_unmatched=3, others=("agent", "status"))]),
        (".txt", SEQUENCES, [SequencesFile, lambda p: SequencesFile(p, ","), lambda p: SequencesFile(p, " ")]),
        (".txt.gz", gzip.compress(SEQUENCES, mtime=0), [SequencesFile]),
        (
            ".db",
            database(),
            [lambda p: SqliteQuery(p, table="events"), lambda p: SqliteQuery(p, query="SELECT * FROM events")],
        ),
    ]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Change one to six places, mostly one; the inside of a gzip file in every other case."""
    if content.startswith(b"\x1f\x8b") and chance.random() < 0.5:
        return gzip.compress(mutate(gzip.decompress(content), chance), mtime=0)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        place, length = chance.randint(0, len(changed)), chance.choice((0, 1, 1, 2, 4, 16))
        kind = chance.randrange(6)
        if kind == 0 and changed:
            place = min(place, len(changed) - 1)
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + length] = chance.choice(SPECIAL)
        elif kind == 2:
            changed[place : place + length] = chance.randbytes(length)
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[place : place + 64]
        elif chance.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def read_mutated(folder: Path, n_files: int, *, seed: int) -> Iterator[tuple[str, Path, str | None]]:
    """Break files and read them.

    Yields:
        The ending, the file, and the sentence that refuses it; None where it was read.

    Raises:
        AssertionError: A sentence has several lines, or a frame lacks its columns.
        Exception: Whatever else a reader lets through.
    """
    chance, good = random.Random(seed), seeds()
    for number in range(n_files):
        ending, content, readers = good[number % len(good)]
        if number and number % 1000 == 0:
            print(f"{number:,} files", file=sys.stderr, flush=True)
        path = folder / f"mutated-{number % 16}{ending}"
        path.write_bytes(mutate(content, chance))
        for reader in readers:
            yield ending, path, read_one(reader(str(path)))


def read_one(source: object) -> str | None:
    """Read a file; give the sentence of a refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            read = source.read()
    except (DataError, OptionError) as error:
        sentence = str(error)
        assert len(sentence.splitlines()) == 1, sentence
        assert "Traceback" not in sentence
        return sentence
    wanted = {"id"} if isinstance(source, EntityTable) else {"user", "item"}
    assert wanted <= set(read.columns)
    assert not read.is_empty()
    return None


def tally(results: Iterator[tuple[str, Path, str | None]]) -> Counter:
    """Count what was read and what was refused, by ending."""
    return Counter((ending, "read" if sentence is None else "refused") for ending, _, sentence in results)
