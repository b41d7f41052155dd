"""Archives of others (host): nothing leaves the folder, nothing is a link, and nothing swells without end."""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from curriculum_rec.errors import DataError

CHUNK = 1 << 18
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError),
)
"""What the libraries raise at archives that are none."""
Member = tuple[str, Callable[[], IO[bytes] | None]]
"""A name, and what opens the file; the latter gives None for a folder."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    Args:
        total_bytes: Most bytes of all its files.
        ratio: Most bytes of its files for each of its own; text shrinks to a tenth or so.
        members: Most files and folders.
    """

    total_bytes: int = 1 << 34
    ratio: float = 100.0
    members: int = 10_000


def is_archive(path: Path) -> bool:
    """Whether a file is one that :func:`extract` knows."""
    return zipfile.is_zipfile(path) or path.name.endswith((".tar.gz", ".tgz", ".gz"))


def extract(
    archive: Path, folder: Path, *, wanted: Callable[[str], bool] | None = None, limits: Limits = Limits()
) -> None:
    """Unpack a ``.zip``, ``.tar.gz`` or ``.gz`` into a folder.

    Args:
        archive: The archive.
        folder: An empty folder.
        wanted: Whether a file of a name is unpacked; None unpacks all. Others are looked at all the same.
        limits: How much it may hold.

    Raises:
        DataError: It is damaged, or one of its members is not a plain file or folder inside it; then nothing in the
            folder may be used.
    """
    if not archive.stat().st_size:
        raise DataError(f"{archive} is empty: bring it here again")
    try:
        _unpack(archive, folder, wanted, limits)
    except DataError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"{archive} is refused: one of its files lies where another one's folder is") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # the libraries' word for content that makes no sense
            raise _damaged(archive, error) from error
        raise
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _unpack(archive: Path, folder: Path, wanted: Callable[[str], bool] | None, limits: Limits) -> None:
    room = _Room(archive, min(limits.total_bytes, int(limits.ratio * max(archive.stat().st_size, 4096))))
    taken: set[PurePosixPath] = set()
    for number, (name, opened) in enumerate(_members(archive), start=1):
        if number > limits.members:
            raise DataError(f"{archive} is refused: it holds more than {limits.members:,} files")
        place = _inside(archive, name)
        if place in taken and place.parts:
            raise DataError(f"{archive} is refused: it holds '{name}' twice")
        taken.add(place)
        if wanted is not None and not wanted(place.name):
            continue
        content = opened()
        if content is None:  # a folder
            continue
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        with content, (folder / place).open("xb") as file:
            while chunk := content.read(CHUNK):
                room.take(len(chunk))
                file.write(chunk)


@dataclass
class _Room:
    """Bytes that may still be written.

    Args:
        archive: For the error.
        most: All of them.
    """

    archive: Path
    most: int
    taken: int = 0

    def take(self, n_bytes: int) -> None:
        """Count bytes before they are written."""
        self.taken += n_bytes
        if self.taken > self.most:
            raise DataError(
                f"{self.archive} is refused: unpacked, it is larger than {self.most:,} bytes, which is the most for an "
                "archive of its size"
            )


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive} is damaged ({str(error) or type(error).__name__}): bring it here again")


def _inside(archive: Path, name: str) -> PurePosixPath:
    """Give a member's place, which is inside the folder."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name:
        raise DataError(f"{archive} is refused: its member '{name}' would lie outside the folder")
    return place


def _members(archive: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield from _zip_members(archive, opened)
    elif archive.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(archive, "r:gz") as tar:
            yield from _tar_members(archive, tar)
    elif archive.name.endswith(".gz"):
        yield archive.name.removesuffix(".gz"), lambda: cast("IO[bytes]", gzip.GzipFile(archive))
    else:
        raise DataError(f"{archive} is no .zip, .tar.gz or .gz, or it is damaged: bring it here again")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        if not info.filename:
            raise DataError(f"{archive} is refused: one of its members has no name")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{archive} is refused: its member '{info.filename}' is a link or a device")
        if info.flag_bits & 1:
            raise DataError(f"{archive} is refused: its member '{info.filename}' is encrypted")
        yield info.filename, (lambda: None) if info.is_dir() else _zip_opener(opened, info)


def _zip_opener(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: opened.open(info)


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if not (info.isreg() or info.isdir()):
            raise DataError(f"{archive} is refused: its member '{info.name}' is a link or a device")
        yield info.name, _tar_opener(tar, info)


def _tar_opener(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes] | None]:
    return lambda: tar.extractfile(info)
