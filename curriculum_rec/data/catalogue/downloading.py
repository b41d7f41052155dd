"""Downloads that go on where they stopped and are accepted by their digest alone (host)."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curriculum_rec.data.catalogue.entries import Remote
from curriculum_rec.data.catalogue.reporting import Reporter, Silent
from curriculum_rec.errors import DataError
from curriculum_rec.files import write_text

CHUNK = 1 << 18
PATIENT = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server after which it is asked again."""
MOST_BYTES = 1 << 34
"""Of a file whose length is not known to the byte."""


@dataclass(frozen=True)
class Retries:
    """How a server that fails is asked again.

    Args:
        most: Failures in a row without a byte in between after which we give up.
        first_seconds: The first pause; every next one is twice as long, up to a minute.
        timeout_seconds: How long a server may be silent.
        sleep: Waits.
    """

    most: int = 5
    first_seconds: float = 1.0
    timeout_seconds: float = 30.0
    sleep: Callable[[float], None] = time.sleep


class _FailureError(Exception):
    """A failure that may pass."""


def download(remote: Remote, target: Path, *, reporter: Reporter | None = None, retries: Retries = Retries()) -> None:
    """Bring a file here, from where an earlier attempt stopped.

    What has come lies in ``TARGET.part``; the file takes its name once its digest is right.

    Args:
        remote: The file.
        target: Where it goes.
        reporter: Is told how far it is; None tells nobody.
        retries: What to do if the server fails.

    Raises:
        DataError: The server cannot be reached, has no such file, or gives another one.
    """
    part, reporter = _Part(target, remote), reporter or Silent()
    target.parent.mkdir(parents=True, exist_ok=True)
    went_on = part.length > 0
    _fetch(part, reporter, retries)
    if went_on and _wrong(part.path, remote):
        reporter.say(f"what an earlier download left of {remote.file_name} does not fit: starting anew")
        part.discard()
        _fetch(part, reporter, retries)
    if reason := _wrong(part.path, remote):
        part.discard()
        raise DataError(f"{remote.url} is not the file that was pinned: {reason}; it was deleted")
    part.path.replace(target)
    part.forget()


def sha256_of(path: Path) -> str:
    """Give the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(path: Path, remote: Remote) -> str | None:
    """Say in what a whole file differs from the pinned one."""
    length = path.stat().st_size
    if remote.exact and length != remote.n_bytes:
        return f"it has {length:,} bytes instead of {remote.n_bytes:,}"
    found = sha256_of(path)
    return None if found == remote.sha256 else f"its SHA-256 is {found} instead of {remote.sha256}"


class _Part:
    """What has come of a file, and the version that the server said it is of."""

    def __init__(self, target: Path, remote: Remote) -> None:
        self.remote = remote
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")

    @property
    def length(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str | None:
        """The tag or the date by which the server can tell whether the file is still the same."""
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return None
        return note.get("version") if isinstance(note, dict) and note.get("url") == self.remote.url else None

    def begin(self, version: str | None) -> None:
        """Start anew with a version."""
        self.path.write_bytes(b"")
        write_text(self._note, json.dumps({"url": self.remote.url, "version": version}))

    def discard(self) -> None:
        """Throw away what is here."""
        self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Throw away the note."""
        self._note.unlink(missing_ok=True)


def _fetch(part: _Part, reporter: Reporter, retries: Retries) -> None:
    """Fill the part to its end, asking again as often as it pays."""
    failures = 0
    with reporter.bar(part.remote) as shown:
        while True:
            before = part.length
            try:
                _ask(part, shown, retries.timeout_seconds)
            except _FailureError as failed:
                failures = 1 if part.length > before else failures + 1
                if failures >= retries.most:
                    raise DataError(
                        f"{part.remote.url} could not be downloaded ({failed}); {part.length:,} bytes are kept and the "
                        "next attempt goes on there; or set data.path to a copy of your own"
                    ) from failed
                pause = min(retries.first_seconds * 2 ** (failures - 1), 60.0)
                reporter.say(f"{part.remote.file_name}: {failed}; asking again in {pause:.0f} s")
                retries.sleep(pause)
            else:
                return


def _ask(part: _Part, shown: Callable[[int], None], timeout_seconds: float) -> None:
    """Ask once for the rest.

    Raises:
        _FailureError: The server failed in a way that may pass.
        DataError: It failed for good.
    """
    have = part.length
    headers = {"User-Agent": "curriculum-rec", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if (version := part.version) is not None:
            headers["If-Range"] = version
    request = urllib.request.Request(part.remote.url, headers=headers)  # noqa: S310 - the addresses are our own
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310
            _receive(part, answer, have, shown)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _is_whole(part, error.headers.get("Content-Range", "")):
                return
            part.discard()
            raise _FailureError("what is here is longer than the file") from error
        reason = f"the server says {error.code} {error.reason}"
        if error.code in PATIENT:
            raise _FailureError(reason) from error
        raise DataError(
            f"{part.remote.url} cannot be downloaded: {reason}; set data.path to a copy of your own"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _FailureError(_in_words(error)) from error


def _is_whole(part: _Part, content_range: str) -> bool:
    """Whether nothing is missing, by the length that a server names when there is no rest (``bytes */LENGTH``)."""
    return content_range.rpartition("/")[2] == str(part.length)


def _receive(part: _Part, answer: Any, have: int, shown: Callable[[int], None]) -> None:
    """Write what the server sends, behind what is here or instead of it."""
    goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.discard()
        raise _FailureError("the server sent another part than was asked for")
    if not goes_on:  # it does not know ranges, or the file has changed
        part.begin(_version(answer.headers))
        have = 0
    announced = answer.headers.get("Content-Length")
    end = have + int(announced) if announced is not None and announced.isdecimal() else None
    limit = part.remote.n_bytes if part.remote.exact else MOST_BYTES
    if end is not None and end > limit:
        part.discard()
        raise DataError(
            f"{part.remote.url} is not the file that was pinned: {end:,} bytes are sent instead of {limit:,}"
        )
    with part.path.open("ab") as file:
        while chunk := answer.read(CHUNK):
            have += len(chunk)
            if have > limit:
                break
            file.write(chunk)
            shown(have)
    if have > limit:
        part.discard()
        raise DataError(f"{part.remote.url} is not the file that was pinned: more than {limit:,} bytes are sent")
    expected = end if end is not None else part.remote.n_bytes if part.remote.exact else have
    if have < expected:
        raise _FailureError(f"the connection ended after {have:,} of {expected:,} bytes")


def _version(headers: Any) -> str | None:
    """Give a strong tag or a date; a weak tag does not promise the same bytes."""
    tag = headers.get("ETag")
    return tag if tag is not None and not tag.startswith("W/") else headers.get("Last-Modified")


def _in_words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
