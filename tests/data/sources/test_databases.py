"""Databases: what is read, that nothing is written, and that no password is kept."""

import importlib
import sqlite3
import sys
from pathlib import Path

import polars as pl
import postgres
import pytest

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import (
    EntityTable,
    PostgresQuery,
    PostgresTable,
    SqliteQuery,
    SqliteTable,
    TableFile,
)
from curriculum_rec.errors import CurriculumRecError, DataError, OptionError

pytest.importorskip("adbc_driver_sqlite", reason="the extra 'sql' is not installed")
pytest.importorskip("adbc_driver_postgresql", reason="the extra 'sql' is not installed")

ROWS = [("u1", 7, 30, 1.5), ("u2", 8, 20, None), ("u1", 8, 10, 2.0), (None, 9, 40, 3.0)]


@pytest.fixture
def database(tmp_path):
    """A shop's database, with a name that a URI must not misread."""
    path = tmp_path / "a shop?#%.db"
    connection = sqlite3.connect(path)
    connection.execute('create table events ("user" text, item integer, timestamp integer, price real)')
    connection.executemany("insert into events values (?, ?, ?, ?)", ROWS)
    connection.execute("create table mixed (user, item)")
    connection.executemany("insert into mixed values (?, ?)", [(1, "a"), ("01", "b"), (2.5, "c")])
    connection.commit()
    connection.close()
    return path


def test_a_table_of_sqlite_comes_in_an_order_of_its_own(database):
    assert SqliteQuery(path=str(database), table="events", others=("price",)).read().rows() == [
        ("u1", 7, 30, 1.5),
        ("u1", 8, 10, 2.0),
        ("u2", 8, 20, None),
        (None, 9, 40, 3.0),
    ]


def test_a_query_keeps_its_order_and_may_have_none_of_time(database):
    query = "-- newest first\nWITH e AS (SELECT * FROM events) SELECT user, item FROM e ORDER BY timestamp DESC;"
    assert SqliteQuery(path=str(database), query=query, timestamp=None).read()["item"].to_list() == [9, 7, 8, 8]


def test_attributes_from_a_database(database):
    table = SqliteTable(path=str(database), query="SELECT item, max(price) AS dearest FROM events GROUP BY item")
    assert EntityTable(table, "item").read().sort("id").rows() == [("7", 1.5), ("8", 2.0), ("9", 3.0)]


WRITING = (
    "DELETE FROM events",
    "DROP TABLE events",
    "ATTACH DATABASE 'new.db' AS n",
    "SELECT 1 AS user, 2 AS item; DELETE FROM events",
    "WITH x AS (SELECT 1) DELETE FROM events",
    "PRAGMA journal_mode = DELETE",
)


@pytest.mark.parametrize("query", WRITING)
def test_nothing_is_written_to_sqlite(database, tmp_path, monkeypatch, query):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CurriculumRecError):
        SqliteQuery(path=str(database), query=query, timestamp=None).read()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_connection_itself_to_sqlite_refuses_to_write(database):
    connect = SqliteTable(path=str(database), table="events")._connect
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) AS n FROM events")
        assert cursor.fetch_polars()["n"][0] == 4
        with pytest.raises(Exception, match="readonly database"):
            cursor.execute("DELETE FROM events")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give one of them"),
        ({"query": "SELECT 1", "table": "events"}, "give one of them"),
        ({"table": "events", "timestamp": None}, "no order of rows"),
        ({"query": "DELETE FROM events"}, "begins with 'DELETE FROM': it must begin with SELECT or WITH"),
        ({"table": "nowhere"}, "table nowhere of .*cannot be read: .*no such table: nowhere"),
        ({"query": "SELECT nonsense FROM events"}, "no such column: nonsense"),
        (
            {"query": "SELECT user, item FROM events"},
            r"no column 'timestamp' \(data\.timestamp\); its columns are: 'user'",
        ),
        ({"query": "SELECT *, user FROM events"}, "names two columns alike"),
        (
            {"query": "SELECT *, item AS timestamp FROM mixed"},
            r"column 'user' of .* several types \(integer, real, text\): .*CAST",
        ),
        ({"query": "SELECT * FROM events WHERE user = 'nobody'"}, "has no rows"),
        ({"table": "events", "sha256": "0" * 64}, "changed since its hash was taken"),
    ],
)
def test_mistakes_with_sqlite(database, options, words):
    with pytest.raises(CurriculumRecError, match=words) as caught:
        SqliteQuery(path=str(database), **options).read()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("content", "words"), [(b"nonsense" * 99, "is not a database"), (None, "does not exist")])
def test_no_database(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(DataError, match=words):
        SqliteQuery(path=str(tmp_path / "x.db"), table="events").read()
    assert content is not None or not list(tmp_path.iterdir())


def test_types_that_change_after_the_first_rows_name_a_remedy(tmp_path):
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("create table events (user integer, item integer, timestamp)")
    connection.executemany("insert into events values (?, ?, ?)", [(n, n, n) for n in range(3000)] + [(1, 1, "noon")])
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match=r"several types: write CAST\(column AS TEXT\) AS column in data\.query"):
        SqliteQuery(path=str(tmp_path / "x.db"), table="events").read()


def test_drivers_are_asked_for_when_they_are_missing(database, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite.dbapi", None)
    with pytest.raises(OptionError, match=r"pip install 'curriculum-rec\[sql\]'"):
        SqliteQuery(path=str(database), table="events").read()


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:hunter2@localhost/shop",
        "postgres://me:hunter2@localhost:5432/shop?sslmode=require",
        "postgresql://localhost/shop?user=me&password=hunter2",
        "postgresql://localhost/shop?sslpassword=hunter2",
        "postgresql://me:@localhost/shop?PASSWORD=hunter2",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(uri):
    with pytest.raises(OptionError, match=r"data\.uri says a password.*data\.password_env") as caught:
        PostgresQuery(uri=uri, table="events")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["mysql://x/y", "host=localhost password=hunter2", "postgresql://[::1"])
def test_other_addresses_are_refused(uri):
    with pytest.raises(OptionError, match=r"data\.uri") as caught:
        PostgresQuery(uri=uri, table="events")
    assert "hunter2" not in str(caught.value)


@pytest.fixture(scope="module")
def server():
    with postgres.running() as started:
        started.execute(
            "CREATE SCHEMA shop",
            'CREATE TABLE shop."Events" '
            '("user" text, item bigint, timestamp timestamptz, price numeric(9, 2), key uuid)',
            "INSERT INTO shop.\"Events\" SELECT 'u' || g % 7, 9007199254740993 + g % 5, "
            "timestamptz '2024-01-02 03:04:05+00' + g * interval '1 second', g / 4.0, gen_random_uuid() "
            "FROM generate_series(0, 99) g",
            "CREATE SEQUENCE counter",
            "CREATE TABLE other (a int)",
        )
        yield started


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", postgres.PASSWORD)
    return "SHOP_PASSWORD"


def count(server, password):
    table = PostgresTable(uri=server.uri, password_env=password, query='SELECT count(*) AS n FROM shop."Events"')
    return table.read_table().frame["n"][0]


def test_a_table_of_postgresql_is_read(server, password):
    source = PostgresQuery(uri=server.uri, password_env=password, table="shop.Events", others={"price": "paid"})
    frame = source.read()
    assert frame.shape == (100, 4)
    first = frame.filter(pl.col("timestamp") == frame["timestamp"].min()).row(0, named=True)
    assert first == {"user": "u0", "item": 2**53 + 1, "timestamp": 1_704_164_645_000_000, "paid": "0.00"}
    assert frame.equals(source.read())
    data = clean(frame, {}, source=source.name)
    assert (data.n_users, data.n_items) == (7, 5)


def test_a_query_to_postgresql_keeps_its_order(server, password):
    query = 'SELECT "user", item, price::float8 FROM shop."Events" ORDER BY timestamp DESC LIMIT 3 -- the newest'
    source = PostgresQuery(
        uri=f"{server.uri}?application_name=test&options=-c%20jit%3Doff",
        password_env=password,
        query=query,
        timestamp=None,
        others=("price",),
    )
    assert source.read()["price"].to_list() == [24.75, 24.5, 24.25]


@pytest.mark.parametrize(
    "statement",
    [
        'DELETE FROM shop."Events"',
        'DELETE FROM shop."Events" RETURNING *',
        'WITH gone AS (DELETE FROM shop."Events" RETURNING *) SELECT * FROM gone',
        "SELECT nextval('counter') AS n",
        "SELECT set_config('transaction_read_only', 'off', false) AS n",
        "CREATE TABLE made (a int)",
        "SET transaction_read_only = off; DELETE FROM other",
        'SELECT * INTO made FROM shop."Events"',
    ],
)
def test_nothing_is_written_to_postgresql(server, password, statement):
    table = PostgresTable(uri=server.uri, password_env=password, table="other")
    with table._connect() as connection, connection.cursor() as cursor:
        table._begin(cursor)
        with pytest.raises(Exception, match="read-only transaction|must be set before any query|multiple commands"):
            cursor.execute(statement)
            cursor.fetch_polars()
    with pytest.raises(CurriculumRecError):
        PostgresTable(uri=server.uri, password_env=password, query=statement).read_table()
    assert count(server, password) == 100


@pytest.mark.parametrize("begins", [True, False])
def test_either_guard_of_postgresql_alone_is_enough(server, password, monkeypatch, begins):
    table = PostgresTable(uri=server.uri, password_env=password, table="other")
    module = importlib.import_module("curriculum_rec.data.sources.databases")
    if begins:
        plain = module._with_parameter
        monkeypatch.setattr(
            module, "_with_parameter", lambda uri, name, value: uri if name == "options" else plain(uri, name, value)
        )
    with table._connect() as connection, connection.cursor() as cursor:
        if begins:
            table._begin(cursor)
        with pytest.raises(Exception, match="read-only transaction"):
            cursor.execute("INSERT INTO other VALUES (1)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "nowhere"}, 'relation "nowhere" does not exist'),
        ({"table": "shop.Events", "item": "sku"}, r"no column 'sku' \(data\.item\); its columns are: 'user', 'item'"),
        ({"table": "shop.Events", "item": "key"}, "column 'key' of .* is of type Binary: .* write it as text"),
        ({"query": "SELECT nonsense"}, 'column "nonsense" does not exist'),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "names two columns alike"),
    ],
)
def test_mistakes_with_postgresql(server, password, options, words):
    with pytest.raises(DataError, match=words) as caught:
        PostgresQuery(uri=server.uri, password_env=password, **options).read()
    assert len(str(caught.value).splitlines()) == 1
    assert postgres.PASSWORD not in str(caught.value)


def test_a_wrong_or_missing_password_is_named_by_its_variable_alone(server, monkeypatch):
    monkeypatch.delenv("PGPASSWORD", raising=False)
    source = PostgresQuery(uri=server.uri, password_env="SHOP_PASSWORD", table="shop.Events")
    with pytest.raises(OptionError, match="data.password_env=SHOP_PASSWORD: the environment has no such variable"):
        source.read()
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    with pytest.raises(DataError, match="password authentication failed") as caught:
        source.read()
    assert "hunter2" not in str(caught.value)


def test_no_server_is_one_sentence():
    source = PostgresQuery(uri="postgresql://me@127.0.0.1:1/shop", table="events")
    with pytest.raises(DataError, match="Connection refused") as caught:
        source.read()
    assert len(str(caught.value).splitlines()) == 1


def test_the_same_rows_from_a_file_and_a_database_are_the_same_interactions(server, password, tmp_path):
    source = PostgresQuery(uri=server.uri, password_env=password, table="shop.Events")
    frame = source.read()
    frame.write_csv(tmp_path / "x.csv")
    one, other = (clean(read, {}, source="s") for read in (frame, TableFile(str(tmp_path / "x.csv")).read()))
    assert one.items.digest() == other.items.digest()
    assert one.item.tolist() == other.item.tolist()
    assert one.timestamp.tolist() == other.timestamp.tolist()


def test_no_run_keeps_the_password(server, password, tmp_path, monkeypatch, capsys):
    import warnings

    import runs

    from curriculum_rec.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    words = [word for word in runs.CHEAP if not word.startswith("data=")]
    words = [word if word != "evaluation.k=[10]" else "evaluation.k=[2]" for word in words]
    words += ["evaluation.metric=ndcg@2", "objective.n_negatives=2", "stages.train.epochs=null", "stages.train.steps=2"]
    words += ["data=postgresql", f"data.uri={server.uri}", "data.table=shop.Events", f"data.password_env={password}"]
    assert main(["train", *words, "progress=plain", "run_dir=run"]) == 0
    said = capsys.readouterr()
    written = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert any("password_env: SHOP_PASSWORD" in path.read_text() for path in written if path.name == "config.yaml")
    forms = [postgres.PASSWORD, "s3cret%2Fpw%40x%20y", "s3cret"]
    for text in (said.out, said.err, *(path.read_bytes().decode(errors="replace") for path in written)):
        assert not any(form in text for form in forms)
    assert main(["evaluate", "run=run", "split=validation"]) == 0


@pytest.mark.parametrize("flag", [[], ["-m"]])
def test_a_password_at_the_command_line_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys, flag):
    import warnings

    from curriculum_rec.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    words = ["data=postgresql", "data.uri=postgresql://me:hunter2@localhost/shop", "data.table=events"]
    assert main(["train", *flag, *words]) == 2
    said = capsys.readouterr()
    assert "data.uri says a password" in said.err
    assert "hunter2" not in said.err + said.out
    assert not list(tmp_path.rglob("*"))
