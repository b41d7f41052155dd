"""What a person sees of a download (host): the licence before it, a bar or a line while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from curriculum_rec.data.catalogue.entries import Entry, Remote


@runtime_checkable
class Reporter(Protocol):
    """Is told what happens."""

    def say(self, sentence: str) -> None:
        """Something a person should know."""
        ...

    @contextmanager
    def bar(self, remote: Remote) -> Iterator[Callable[[int], None]]:
        """Give what is told how many bytes of a file are here."""
        ...


class Silent:
    """Says nothing."""

    def say(self, sentence: str) -> None:
        """Say nothing."""

    @contextmanager
    def bar(self, remote: Remote) -> Iterator[Callable[[int], None]]:
        """Show nothing."""
        yield lambda _: None


class OnStandardError:
    """Writes to standard error: a bar in a terminal, lines elsewhere."""

    def say(self, sentence: str) -> None:
        """Write a line."""
        print(sentence, file=sys.stderr)

    @contextmanager
    def bar(self, remote: Remote) -> Iterator[Callable[[int], None]]:
        """Show a bar with speed and time left, in a terminal."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(remote.file_name, total=remote.n_bytes)
            yield lambda done: progress.update(task, completed=done)


def terms(entry: Entry) -> str:
    """Say what may be done with a data set and what to cite.

    >>> from curriculum_rec.data.catalogue.entries import find
    >>> print(terms(find("online_retail")).splitlines()[1])
      licence: Creative Commons Attribution 4.0, https://creativecommons.org/licenses/by/4.0/
    """
    return f"{entry.title}\n  licence: {entry.terms}\n  cite: {entry.citation}"


def size(n_bytes: int) -> str:
    """Write a number of bytes.

    >>> size(261_978_986), size(978), size(1_500)
    ('262 MB', '978 B', '1.5 kB')
    """
    number = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
