"""Published layouts: small files laid out as their publishers do it, and the real ones where they are."""

import zipfile
from datetime import date

import polars as pl
import pytest

from curriculum_rec.data.catalogue import EshopClothing, NamedSet, NamedTable, OnlineRetail
from curriculum_rec.data.catalogue.entries import ENTRIES, find
from curriculum_rec.data.catalogue.reading import READERS, find_files, read_layout
from curriculum_rec.errors import DataError, OptionError

FLAGS = "|".join("0" * 17)
LAYOUTS = {
    "movielens_100k": {
        "ml-100k/u.data": "1\t2\t3\t881250949\n2\t1\t5\t881250949\n",
        "ml-100k/u.user": "1|24|M|technician|85711\n2|53|F|other|T8H1N\n",
        "ml-100k/u.genre": "unknown|0\nAction|1\n\n",
        "ml-100k/u.item": "1|Café (1995)|01-Jan-1995||http://x|0|1\n2|Nameless||||1|1\n".encode("latin-1"),
        "ml-100k/README": "not read",
    },
    "movielens_1m": {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n",
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "ml-1m/movies.dat": "1193::Léon: The Professional (1994)::Crime|Drama\n661::M: (1931)::Drama\n".encode(
            "latin-1"
        ),
    },
    "movielens_csv": {
        "ml-25m/ratings.csv": "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n",
        "ml-25m/movies.csv": (
            'movieId,title,genres\n296,"Good, the Bad, The (1966)",Action|Western\n306,Red,(no genres listed)\n'
        ),
    },
    "amazon_ratings": {"ratings_Beauty.csv": "A39H,0205616461,5.0,1369699200\nA3JM,0558925278,3.0,1355443200\n"},
    "lastfm": {
        "user_taggedartists-timestamps.dat": (
            "userID\tartistID\ttagID\ttimestamp\r\n2\t52\t13\t1238536800000\r\n2\t52\t15\t1238536800000\r\n"
            "9\t52\t13\t1238536800001\r\n"
        ),
        "artists.dat": 'id\tname\turl\tpictureURL\n52\tDie "Ärzte"\thttp://x\thttp://y\n53\tB\t\t\n',
        "tags.dat": "tagID\ttagValue\n13\tchillout\n15\tm\xfasica\n".encode("latin-1"),
        "user_friends.dat": "userID\tfriendID\n2\t9\n2\t5\n9\t2\n",
    },
}


def lay_out(folder, layout):
    for name, content in LAYOUTS[layout].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder, layout):
    return read_layout(layout, find_files(READERS[layout], lay_out(folder, layout)), where=str(folder))


def test_movielens_100k(tmp_path):
    tables = read(tmp_path, "movielens_100k")
    assert tables.interactions.rows() == [(1, 2, 3.0, 881250949), (2, 1, 5.0, 881250949)]
    assert tables.users.rows() == [(1, 24, "M", "technician", "85711"), (2, 53, "F", "other", "T8H1N")]
    assert tables.items.rows() == [(1, "Café (1995)", ["Action"], 1995), (2, "Nameless", ["unknown", "Action"], None)]


def test_movielens_1m(tmp_path):
    tables = read(tmp_path, "movielens_1m")
    assert tables.interactions.rows() == [(1, 1193, 5.0, 978300760), (1, 661, 3.0, 978302109)]
    assert tables.users.columns == ["id", "gender", "age", "occupation", "zip"]
    assert tables.users["occupation"].to_list() == ["student at school", "self-employed"]
    assert tables.items["title"].to_list() == ["Léon: The Professional (1994)", "M: (1931)"]
    assert tables.items["genres"].to_list() == [["Crime", "Drama"], ["Drama"]]
    assert tables.items["year"].to_list() == [1994, 1931]


def test_movielens_csv(tmp_path):
    tables = read(tmp_path, "movielens_csv")
    assert tables.interactions.rows() == [(1, 296, 5.0, 1147880044), (1, 306, 3.5, 1147868817)]
    assert tables.users is None
    assert tables.items.rows() == [
        (296, "Good, the Bad, The (1966)", ["Action", "Western"], 1966),
        (306, "Red", [], None),
    ]


def test_amazon_keeps_leading_zeros(tmp_path):
    tables = read(tmp_path, "amazon_ratings")
    assert tables.interactions.rows()[0] == ("A39H", "0205616461", 5.0, 1369699200)
    assert tables.users is tables.items is None


def test_lastfm(tmp_path):
    tables = read(tmp_path, "lastfm")
    assert tables.interactions.columns == ["user", "item", "timestamp", "tag"]
    assert tables.interactions.rows()[1] == (2, 52, 1238536800000, "música")
    assert tables.users.rows() == [(2, [5, 9]), (9, [2])]
    assert tables.items.rows() == [(52, 'Die "Ärzte"', ["chillout", "música"]), (53, "B", None)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_a_reader_and_needs_its_interactions(tmp_path, layout):
    assert layout in READERS
    with pytest.raises(DataError, match=r"holds no file .*: set data.path to it, to its folder or to its archive"):
        read_layout(layout, {}, where=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1\t2\t3\n", "has 3 columns where its publisher has 4: is it whole"),
        ("1\t2\t3\tnoon\n", "row 1 of .*: its timestamp is 'noon'"),
        ("1\t2\t3\t5\n1\t2\n1\tx\t3\t4\n", "row 3 of .*: its item is 'x'"),
        ("", "cannot be read"),
    ],
)
def test_files_that_are_laid_out_otherwise_are_refused(tmp_path, content, reason):
    (tmp_path / "u.data").write_text(content)
    with pytest.raises(DataError, match=reason):
        NamedSet("movielens_100k", str(tmp_path / "u.data")).read()


@pytest.mark.parametrize("as_what", ["folder", "archive", "file"])
def test_a_copy_may_be_a_folder_an_archive_or_the_file_itself(tmp_path, as_what):
    folder = lay_out(tmp_path / "copy", "movielens_100k")
    path = {"folder": folder, "archive": tmp_path / "my copy.zip", "file": folder / "ml-100k" / "u.data"}[as_what]
    if as_what == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("u.*"):
                archive.write(file, file.relative_to(folder))
    source = NamedSet("movielens_100k", str(path))
    assert source.read().shape == (2, 4)
    assert set(source.tables()) == {"users", "items"}
    assert NamedTable("movielens_100k", "users", str(path)).read()["age"].to_list() == [24, 53]


def test_several_files_of_interactions_are_not_guessed_between(tmp_path):
    for name in ("ratings_Beauty.csv", "ratings_Toys.csv"):
        (tmp_path / name).write_text("a,b,1,1\n")
    with pytest.raises(DataError, match=r"holds ratings_Beauty.csv, ratings_Toys.csv: set data.path to one of them"):
        NamedSet("amazon_beauty", str(tmp_path)).read()
    assert len(NamedSet("amazon_beauty", str(tmp_path / "ratings_Toys.csv")).read()) == 1


def test_names_that_do_not_exist_and_copies_that_do_not_either(tmp_path):
    with pytest.raises(OptionError, match="there is no data set 'movielens'; there are: online_retail"):
        NamedSet("movielens")
    with pytest.raises(OptionError, match="choose it by data=online_retail"):
        NamedSet("online_retail")
    with pytest.raises(DataError, match="does not exist: set data.path to an archive"):
        NamedSet("movielens_1m", str(tmp_path / "none.zip")).read()
    with pytest.raises(DataError, match="has no table of users"):
        NamedTable("amazon_beauty", "users", str(lay_out(tmp_path, "amazon_ratings") / "ratings_Beauty.csv")).read()


def test_the_entries_are_whole():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert (entry.remote is None) == (entry.layout is None)
        if entry.remote is not None:
            assert entry.remote.url.startswith("https://")
            assert len(entry.remote.sha256) == 64
            assert set(entry.remote.sha256) <= set("0123456789abcdef")


@pytest.mark.parametrize("source", [OnlineRetail(), EshopClothing()], ids=["online_retail", "eshop_clothing"])
def test_tables_inside_the_package_fit_their_interactions(source):
    frame, tables = source.read(), source.tables()
    for column, of in (("user", "users"), ("item", "items")):
        assert tables[of]["id"].is_unique().all()
        assert set(tables[of]["id"]) == set(frame[column])
        assert not any(tables[of].null_count().row(0))


def test_eshop_clothing_is_the_log_that_was_published():
    frame, tables = EshopClothing().read(), EshopClothing().tables()
    assert (frame.height, frame["user"].n_unique(), frame["item"].n_unique()) == (165_474, 24_026, 217)
    first = frame.filter(pl.col("user") == 1)
    assert first["item"].to_list() == ["A13", "A16", "B4", "B17", "B8", "C56", "C57", "P67", "P82"]
    assert (first["timestamp"] - 1_207_008_000).to_list() == list(range(9))
    assert tables["users"].row(2) == (3, "Ireland", date(2008, 4, 1))
    b4 = tables["items"].filter(pl.col("id") == "B4").row(0)  # 2, 10, 2, 1, 52, 1, 1 in the published row
    assert b4 == ("B4", "skirts", "olive", "top middle", "en face", 52, True, 1)


def test_online_retail_says_what_was_sold_where_and_for_how_much():
    frame, items = OnlineRetail().read(), OnlineRetail().tables()["items"]
    assert frame.row(0) == (17850, "21730", 1291191960, 6, 4.25, "United Kingdom")
    assert items.filter(pl.col("id") == "71053")["description"].item() == "WHITE METAL LANTERN"


@pytest.mark.shared
def test_the_real_movielens_100k(shared_data):
    source = NamedSet("movielens_100k", str(shared_data / "ml-100k"))
    frame, tables = source.read(), source.tables()
    entry = find("movielens_100k")
    assert (frame["user"].n_unique(), frame["item"].n_unique(), len(frame)) == (
        entry.n_users,
        entry.n_items,
        entry.n_rows,
    )
    assert tables["users"].row(0) == (1, 24, "M", "technician", "85711")
    assert tables["items"].row(0)[:3] == (1, "Toy Story (1995)", ["Animation", "Children's", "Comedy"])


@pytest.mark.shared
def test_the_real_tables_of_movielens_1m(shared_data, tmp_path):
    for name in ("users.dat", "movies.dat"):
        (tmp_path / name).write_bytes((shared_data / "ml-1m" / name).read_bytes())
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n")
    tables = NamedSet("movielens_1m", str(tmp_path)).tables()
    assert (len(tables["users"]), len(tables["items"])) == (6_040, 3_883)
    assert not any(tables["items"].null_count().row(0))
