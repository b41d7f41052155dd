"""Downloads: whole files or nothing, whatever the server does."""

import hashlib
import json

import numpy as np
import pytest
from data.catalogue.loopback import Behaviour, serving

from curriculum_rec.data.catalogue.downloading import Retries, download
from curriculum_rec.data.catalogue.entries import Remote
from curriculum_rec.errors import DataError

CONTENT = np.random.default_rng(0).bytes(700_000)
PATIENT = Retries(first_seconds=0.0, sleep=lambda _: None, timeout_seconds=5.0)


def remote(url, content=CONTENT, *, exact=True):
    return Remote(f"{url}/file.zip", hashlib.sha256(content).hexdigest(), len(content), exact)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path):
    return tmp_path / "file.zip"


def test_a_good_server(target):
    with serving(Behaviour(CONTENT)) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT
    assert leftovers(target.parent) == ["file.zip"]


@pytest.mark.parametrize("cuts", [[300_000], [1, 250_000, 0, 123_456], [0, 0, 0, 0]])
def test_a_server_that_dies_half_way_is_asked_for_the_rest(target, cuts):
    told = Behaviour(CONTENT, dies_after=list(cuts))
    with serving(told) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT
    asked = [request.get("Range") for request in told.requests]
    here = np.cumsum(cuts)
    assert asked == [None, *(f"bytes={n}-" if n else None for n in here)]
    assert all(request.get("If-Range") == '"one"' for request in told.requests if "Range" in request)


def test_a_later_attempt_goes_on_where_an_earlier_one_stopped(target):
    told = Behaviour(CONTENT, dies_after=[200_000, 0, 0, 0, 0])
    with serving(told) as url:
        with pytest.raises(
            DataError, match=r"the connection ended after 200,000 of 700,000 bytes.*200,000 bytes are kept"
        ):
            download(remote(url), target, retries=PATIENT)
        assert leftovers(target.parent) == ["file.zip.part", "file.zip.part.json"]
        told.requests.clear()
        download(remote(url), target, retries=PATIENT)
    assert [request.get("Range") for request in told.requests] == ["bytes=200000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(target):
    told = Behaviour(CONTENT, knows_ranges=False, dies_after=[650_000, 100_000])
    with serving(told) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT
    assert len(told.requests) == 3


def test_a_file_that_changed_between_attempts_is_begun_anew(target):
    other = CONTENT[::-1]
    with serving(Behaviour(other, tag='"old"', dies_after=[300_000, 0, 0, 0, 0])) as url, pytest.raises(DataError):
        download(remote(url), target, retries=PATIENT)
    with serving(Behaviour(CONTENT, tag='"new"')) as url:
        note = json.loads((target.parent / "file.zip.part.json").read_text())
        (target.parent / "file.zip.part.json").write_text(json.dumps(note | {"url": f"{url}/file.zip"}))
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT


def test_a_part_that_cannot_be_checked_and_does_not_fit_is_thrown_away(target):
    (target.parent / "file.zip.part").write_bytes(b"x" * 1000)  # no tag is known of it
    told = Behaviour(CONTENT, tag=None)
    with serving(told) as url:
        download(remote(url), target, retries=PATIENT)
    assert [request.get("Range") for request in told.requests] == ["bytes=1000-", None]
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(target):
    (target.parent / "file.zip.part").write_bytes(CONTENT)
    with serving(Behaviour(CONTENT)) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(target):
    (target.parent / "file.zip.part").write_bytes(CONTENT + b"more")
    with serving(Behaviour(CONTENT)) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), "its SHA-256 is"),
        (CONTENT[:-1], "it has 699,999 bytes instead of 700,000"),
        (CONTENT + b"!", "700,001 bytes are sent instead of 700,000"),
        (b"<html>not found</html>", "it has 22 bytes"),
        (b"", "it has 0 bytes"),
    ],
)
def test_another_file_is_refused_and_nothing_is_left(target, content, reason):
    with serving(Behaviour(content)) as url, pytest.raises(DataError, match=reason):
        download(remote(url), target, retries=PATIENT)
    assert leftovers(target.parent) == []


def test_a_stream_without_end_is_cut(target):
    with (
        serving(Behaviour(CONTENT * 3, names_length=False)) as url,
        pytest.raises(DataError, match="more than 700,000"),
    ):
        download(remote(url), target, retries=PATIENT)
    assert leftovers(target.parent) == []


def test_an_estimated_length_is_not_checked_but_the_digest_is(target):
    with serving(Behaviour(CONTENT, names_length=False)) as url:
        guessed = Remote(f"{url}/file.zip", hashlib.sha256(CONTENT).hexdigest(), 5, exact=False)
        download(guessed, target, retries=PATIENT)
        assert target.read_bytes() == CONTENT
        wrong = Remote(f"{url}/file.zip", "0" * 64, 5, exact=False)
        with pytest.raises(DataError, match="is not the file that was pinned"):
            download(wrong, target, retries=PATIENT)


def test_busy_servers_are_asked_again_and_pauses_grow(target):
    pauses = []
    with serving(Behaviour(CONTENT, answers=[503, 429, 500])) as url:
        download(remote(url), target, retries=Retries(first_seconds=2.0, sleep=pauses.append))
    assert pauses == [2.0, 4.0, 8.0]
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_twice(target):
    told = Behaviour(CONTENT, answers=[404])
    with serving(told) as url, pytest.raises(DataError, match=r"says 404 Not Found; set data.path"):
        download(remote(url), target, retries=PATIENT)
    assert len(told.requests) == 1


def test_a_wrong_part_is_not_taken(target):
    told = Behaviour(CONTENT, dies_after=[100_000], shifts=7)
    with serving(told) as url:
        download(remote(url), target, retries=PATIENT)
    assert target.read_bytes() == CONTENT
    assert [request.get("Range") for request in told.requests] == [None, "bytes=100000-", None]


def test_nobody_listens(target):
    with serving(Behaviour(CONTENT)) as url:
        pass
    with pytest.raises(DataError, match=r"could not be downloaded \(Connection refused\); 0 bytes are kept"):
        download(remote(url), target, retries=PATIENT)
