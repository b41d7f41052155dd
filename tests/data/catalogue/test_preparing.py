"""The cache: prepared once, by one process, and only what was written is read."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from data.catalogue.loopback import Behaviour, serving
from data.catalogue.test_reading import lay_out

from curriculum_rec.data.catalogue import NamedSet, NamedTable, entries, preparing
from curriculum_rec.data.catalogue.entries import Remote, find
from curriculum_rec.data.catalogue.preparing import Place, data_root, prepare, read_table
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.locks import FileLock


@pytest.fixture
def archive(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted(lay_out(tmp_path / "published", "movielens_100k").rglob("*")):
            opened.write(file, file.relative_to(tmp_path / "published"))
    return content.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CURRICULUM_REC_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(archive, monkeypatch):
    """MovieLens-100K as a tiny archive on loopback."""
    told = Behaviour(archive)
    with serving(told) as url:
        remote = Remote(f"{url}/ml-100k.zip", hashlib.sha256(archive).hexdigest(), len(archive))
        changed = [
            replace(entry, remote=remote) if entry.name == "movielens_100k" else entry for entry in entries.ENTRIES
        ]
        monkeypatch.setattr(entries, "ENTRIES", tuple(changed))
        yield told


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_named_set_is_downloaded_once_and_its_licence_shown_before(server, cache, capsys):
    assert Place(find("movielens_100k"), cache).state() == "absent"
    frame = NamedSet("movielens_100k").read()
    said = capsys.readouterr().err
    assert frame.rows() == [(1, 2, 3.0, 881250949), (2, 1, 5.0, 881250949)]
    assert said.index("licence: of GroupLens") < said.index("from: http://127")
    assert "cite: F. Maxwell Harper" in said
    assert Place(find("movielens_100k"), cache).state() == "prepared"
    assert NamedTable("movielens_100k", "items").read()["genres"].to_list() == [["Action"], ["unknown", "Action"]]
    assert NamedSet("movielens_100k").read().equals(frame)
    assert len(server.requests) == 1
    assert capsys.readouterr().err == ""
    tables = [
        f"prepared/{name}" for name in ("interactions.parquet", "items.parquet", "manifest.json", "users.parquet")
    ]
    assert files(cache / "movielens_100k") == [".lock", "ml-100k.zip", *tables]


def test_the_manifest_names_what_it_was_made_of(server, cache, archive):
    place = prepare(find("movielens_100k"))
    record = json.loads((place.prepared / "manifest.json").read_text())
    assert record["source"] == {"file": "ml-100k.zip", "sha256": hashlib.sha256(archive).hexdigest()}
    for name, table in record["tables"].items():
        content = (place.prepared / f"{name}.parquet").read_bytes()
        assert table == {"sha256": hashlib.sha256(content).hexdigest(), "rows": 2}


def test_a_changed_cache_is_not_read(server, cache):
    place = prepare(find("movielens_100k"))
    pl.DataFrame({"user": [1]}).write_parquet(place.prepared / "interactions.parquet")
    with pytest.raises(DataError, match=r"interactions.parquet is not what was prepared: delete .*prepared and it is"):
        NamedSet("movielens_100k").read()


def test_what_another_version_prepared_is_made_anew_without_a_download(server, cache, monkeypatch):
    prepare(find("movielens_100k"))
    monkeypatch.setattr(preparing, "FORMAT", preparing.FORMAT + 1)
    assert Place(find("movielens_100k"), cache).state() == "downloaded"
    assert read_table(prepare(find("movielens_100k")), "interactions").height == 2
    assert len(server.requests) == 1


def test_a_broken_download_in_the_cache_is_brought_again(server, cache, archive):
    published = Place(find("movielens_100k"), cache).published
    published.parent.mkdir(parents=True)
    published.write_bytes(archive[:-5])
    assert NamedSet("movielens_100k").read().height == 2
    assert len(server.requests) == 1


def test_a_tampered_archive_leaves_nothing(server, cache):
    server.content = server.content[:-1] + b"!"
    with pytest.raises(DataError, match="is not the file that was pinned"):
        NamedSet("movielens_100k").read()
    assert files(cache / "movielens_100k") == [".lock"]


def test_a_hostile_archive_leaves_no_tables_even_with_the_right_digest(cache, monkeypatch, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        opened.writestr("ml-100k/u.data", "1\t2\t3\t4\n")
        opened.writestr("../../evil", "evil")
    remote = Remote("", hashlib.sha256(content.getvalue()).hexdigest(), len(content.getvalue()))
    with serving(Behaviour(content.getvalue())) as url:
        entry = replace(find("movielens_100k"), remote=replace(remote, url=f"{url}/ml-100k.zip"))
        with pytest.raises(DataError, match="would lie outside the folder"):
            prepare(entry)
    assert files(cache / "movielens_100k") == [".lock", "ml-100k.zip"]
    assert not list(tmp_path.rglob("evil"))


def test_an_interrupted_download_is_seen_and_goes_on(server, cache, archive):
    part = cache / "movielens_100k" / "ml-100k.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive[:100])
    assert Place(find("movielens_100k"), cache).state() == "begun"
    assert NamedSet("movielens_100k").read().height == 2
    assert server.requests[0]["Range"] == "bytes=100-"


def test_a_copy_can_be_prepared_and_is_called_one(server, cache, tmp_path):
    place = prepare(find("movielens_100k"), path=tmp_path / "published")
    assert place.state() == "prepared from a copy"
    assert NamedSet("movielens_100k").read().height == 2
    assert server.requests == []


def test_what_is_in_the_package_needs_no_preparation():
    with pytest.raises(OptionError, match="online_retail is inside the package"):
        prepare(find("online_retail"))


def test_a_second_process_waits_and_downloads_nothing(server, cache, tmp_path):
    lock = FileLock(cache / "movielens_100k" / ".lock")
    assert lock.acquire(wait=False)
    remote = find("movielens_100k").remote
    code = f"""
from dataclasses import replace
from curriculum_rec.data.catalogue.entries import Remote, find
from curriculum_rec.data.catalogue.preparing import prepare
from curriculum_rec.data.catalogue.reporting import OnStandardError
prepare(replace(find("movielens_100k"), remote={remote!r}), reporter=OnStandardError())
"""
    waiting = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert "another process is preparing movielens_100k" in waiting.stderr.readline()
    lock.release()
    prepare(find("movielens_100k"))
    assert waiting.wait(60) == 0
    waiting.stderr.close()
    assert len(server.requests) == 1


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    assert data_root() == tmp_path / "cache"
    monkeypatch.delenv("CURRICULUM_REC_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert data_root() == Path("/somewhere/curriculum_rec/data")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_root() == Path("~/Library/Caches/curriculum_rec/data").expanduser()
