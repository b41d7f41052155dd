"""Archives: what is inside comes out, and nothing hostile does."""

import gzip
import io
import stat
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.catalogue.archives import Limits, extract
from curriculum_rec.errors import DataError

TEXT = b"1\t2\t3\n" * 50


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def make_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            member = tarfile.TarInfo(info) if isinstance(info, str) else info
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_is_inside_comes_out(tmp_path, folder, kind):
    members = [("ml/u.data", TEXT), ("ml/deep/u.item", b"x"), ("README", b"")]
    extract((make_zip if kind == "zip" else make_tar)(tmp_path / f"a.{kind}", members), folder)
    assert tree(folder) == dict(members)


def test_only_what_is_wanted_comes_out(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [("ml/", b""), ("ml/u.data", TEXT), ("ml/big", b"0" * 9999)])
    extract(archive, folder, wanted=lambda name: name == "u.data")
    assert tree(folder) == {"ml/u.data": TEXT}


def test_a_gzip_file_loses_its_ending(tmp_path, folder):
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(TEXT))
    extract(tmp_path / "ratings.csv.gz", folder)
    assert tree(folder) == {"ratings.csv": TEXT}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "..", "/"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_no_path_leads_outside(tmp_path, folder, name, kind):
    archive = (make_zip if kind == "zip" else make_tar)(tmp_path / f"a.{kind}", [("good", TEXT), (name, b"evil")])
    with pytest.raises(DataError, match="would lie outside the folder"):
        extract(archive, folder)
    assert set(tree(tmp_path)) == {archive.name, "out/good"}
    with pytest.raises(DataError, match="would lie outside the folder"):
        extract(archive, folder, wanted=lambda _: False)  # what is not wanted is looked at, too


@pytest.mark.parametrize(
    "info",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "good"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
)
def test_tar_links_and_devices_are_refused(tmp_path, folder, info):
    with pytest.raises(DataError, match="is a link or a device"):
        extract(make_tar(tmp_path / "a.tar.gz", [("good", TEXT), (info, b"")]), folder)


def test_zip_links_are_refused(tmp_path, folder):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(DataError, match="is a link or a device"):
        extract(make_zip(tmp_path / "a.zip", [(link, "/etc/passwd")]), folder)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_a_bomb_is_stopped_at_the_ratio(tmp_path, folder, kind):
    zeros = b"\0" * 20_000_000
    archive = tmp_path / f"a.{kind}"
    if kind == "gz":
        archive.write_bytes(gzip.compress(zeros))
    else:
        (make_zip if kind == "zip" else make_tar)(archive, [("zeros", zeros)])
    with pytest.raises(DataError, match="is refused: unpacked, it is larger than"):
        extract(archive, folder)
    written = sum(len(content) for content in tree(folder).values())
    assert written <= 100 * archive.stat().st_size


def test_the_total_is_limited_over_all_members(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [(str(n), bytes([n]) * 400) for n in range(10)])
    extract(archive, folder, limits=Limits(total_bytes=4000))
    with pytest.raises(DataError, match=r"larger than 3,999 bytes"):
        (tmp_path / "again").mkdir()
        extract(archive, tmp_path / "again", limits=Limits(total_bytes=3999))


def test_names_that_collide_are_refused(tmp_path, folder):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = make_zip(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])
    with pytest.raises(DataError, match="holds 'a' twice"):
        extract(twice, folder)
    with pytest.raises(DataError, match="where another one's folder is"):
        (tmp_path / "b").mkdir()
        extract(make_zip(tmp_path / "b.zip", [("a", b"1"), ("a/b", b"2")]), tmp_path / "b")


def test_too_many_members(tmp_path, folder):
    archive = make_zip(tmp_path / "a.zip", [(str(n), b"") for n in range(11)])
    with pytest.raises(DataError, match="more than 10 files"):
        extract(archive, folder, limits=Limits(members=10))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_damage_is_one_sentence(tmp_path, kind):
    whole = tmp_path / f"whole.{kind}"
    content = bytes(range(256)) * 40
    if kind == "gz":
        whole.write_bytes(gzip.compress(content))
    else:
        (make_zip if kind == "zip" else make_tar)(whole, [("a", content)])
    data = whole.read_bytes()
    for number, broken in enumerate(
        (data[: len(data) // 2], data[:-3], b"", b"PK\x03\x04 no", data[:60] + b"\xff" * 40 + data[100:])
    ):
        path, out = tmp_path / f"{number}.{kind}", tmp_path / f"out-{number}"
        path.write_bytes(broken)
        out.mkdir()
        try:
            extract(path, out)
        except DataError as error:
            said = str(error)
        else:  # what was cut or changed held nothing of the file
            said = "bring it here again" if set(tree(out).values()) == {content} else "other content"
        assert "bring it here again" in said or "refused" in said


def test_an_empty_archive_is_damaged(tmp_path, folder):
    for name in ("a.zip", "a.tar.gz", "a.gz"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match="bring it here again"):
            extract(tmp_path / name, folder)


@given(st.lists(st.text(alphabet="a./\\\0é ", min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
def test_whatever_the_names_nothing_lies_outside(tmp_path_factory, names):
    base = tmp_path_factory.mktemp("names")
    (base / "in" / "out").mkdir(parents=True)
    archive = base / "in" / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as written, not as the library would mend it
            opened.writestr(info, b"content")
    with suppress(DataError):
        extract(archive, base / "in" / "out")
    outside = [path for path in base.rglob("*") if path.is_file() and (base / "in" / "out") not in path.parents]
    assert outside == [archive]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz"])
def test_changed_bytes_never_end_in_a_traceback(tmp_path, kind):
    whole, content = tmp_path / f"whole.{kind}", bytes(range(256)) * 4
    if kind == "gz":
        whole.write_bytes(gzip.compress(content))
    else:
        (make_zip if kind == "zip" else make_tar)(whole, [("ml/a", content), ("ml/b", TEXT)])
    data, rng = whole.read_bytes(), np.random.default_rng(0)
    refused = 0
    for number in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[place] = rng.integers(256)
        path, out = tmp_path / f"{number}.{kind}", tmp_path / f"out-{number}"
        path.write_bytes(changed[: rng.integers(len(data) // 2, len(data) + 1)])
        out.mkdir()
        try:
            extract(path, out)
        except DataError:
            refused += 1
    assert refused > 100
