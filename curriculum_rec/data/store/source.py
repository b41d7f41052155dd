"""A prepared store as the data of a run (host)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.data.splits import Splitter
from curriculum_rec.data.store.manifest import Manifest, describe
from curriculum_rec.data.store.stored import Reading, StoredExamples, StoredSplit, open_split, stored_examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges


@dataclass(frozen=True)
class ExampleStore:
    """A folder that ``curriculum-rec data prepare`` made: cleaned, split and sorted interactions, which stay on disk.

    Every host maps it into memory, and reads the rows of its own part of each batch when they are needed.

    Args:
        path: The folder.
        threads: How many threads read ahead (by Grain); 0 reads when a batch is needed, without Grain.
        ahead: Steps that they read ahead.
        evaluated_users: How many users of the validation and of the test part are asked for, the same in all runs; None
            takes all, whose histories must then fit into memory.
        verify: Whether every file is read and compared with its digest before it is used.
    """

    path: str
    threads: int = 2
    ahead: int = 16
    evaluated_users: int | None = None
    verify: bool = False

    def __post_init__(self) -> None:
        ranges = {"threads": at_least(0), "ahead": at_least(1), "evaluated_users": at_least(1).or_null()}
        check_ranges(self, "data", ranges)

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return self.path

    def manifest(self) -> Manifest:
        """Read what is in the store.

        Raises:
            DataError: It is no store, or damaged.
        """
        manifest = Manifest.read(Path(self.path))
        if self.verify:
            manifest.verify(Path(self.path))
        return manifest

    def open(self, split: Splitter, examples: SequenceExamples) -> tuple[StoredSplit, StoredExamples]:
        """Map the store into memory.

        Args:
            split: That of the run, which must be the store's.
            examples: How examples are cut.

        Raises:
            DataError: The store is damaged, or has nothing to learn from.
            OptionError: It was split in another way.
        """
        manifest = self.manifest()
        if describe(split) != dict(manifest.split):
            raise OptionError(
                f"{self.path} was split by {_words(manifest.split)}, and the run asks for {_words(describe(split))}: "
                "set split to the former, or prepare another store"
            )
        opened = open_split(Path(self.path), manifest, evaluated_users=self.evaluated_users)
        return opened, stored_examples(examples, opened, Reading(self.threads, self.ahead))

    def read(self) -> pl.DataFrame:
        """Read all rows into memory, user by user, as other sources do."""
        data = open_split(Path(self.path), self.manifest(), evaluated_users=None).interactions
        columns = {USER: data.users.decode(data.user[:]), ITEM: data.items.decode(data.item[:])}
        return pl.DataFrame(columns | ({} if data.timestamp is None else {TIMESTAMP: data.timestamp[:]}))


def _words(description: object) -> str:
    options = dict(description)  # type: ignore[call-overload]
    name = options.pop("name")
    return name + (f"({', '.join(f'{key}={value}' for key, value in options.items())})" if options else "")
