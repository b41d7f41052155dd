"""A simulated world as a source of interactions (host)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from curriculum_rec.data.false_positives import FALSE_POSITIVE
from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER
from curriculum_rec.data.simulated.catalogue import Catalogue
from curriculum_rec.data.simulated.histories import (
    BLOCK,
    Behaviour,
    FalseItems,
    Histories,
    block_of_histories,
    lengths_of,
    tastes_of,
)
from curriculum_rec.errors import OptionError
from curriculum_rec.files import whole_file
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, SHARE, at_least, check_ranges, one_of
from curriculum_rec.streams import host_stream

AGES = ("under 25", "25 to 44", "45 to 64", "65 and over")


@dataclass(frozen=True)
class Simulated:
    """A world whose truth is known.

    An item follows either from the one before it (``markov``) or from the user's taste: a distribution over categories,
    within which items are drawn by Zipf's law. The taste drifts from a first to a second one.

    Args:
        n_users: How many users.
        n_items: How many items; rare ones may never occur.
        mean_length: Mean interactions of a user, before the bounds; their logarithms are normal.
        spread: Standard deviation of the logarithm.
        shortest: Fewest interactions of a user.
        longest: Most interactions of a user.
        zipf: The item of rank r is as popular as ``r ** -zipf``.
        n_categories: How many categories; a taste is a distribution over them.
        concentration: Of tastes around the categories' popularity: small, users differ and have few categories each.
        drift: Share of the second taste that ten interactions bring, in [0, 1).
        markov: How often an item follows from the one before, in [0, 1].
        n_successors: How many items may follow an item, each half as often as the one before it.
        false_positives: Share of interactions that are none of the user's own, in [0, 1): put between the others, which
            are the same for any share. A column ``false_positive`` marks them, and only the training part keeps them.
        false_items: ``uniform`` draws their items alike, ``popularity`` by the items' popularity.
        span_days: In which users begin.
        attributes: Whether every row carries ``category``, ``price``, ``age`` and ``country``.
        seed: Decides everything; not the run's seed.
    """

    n_users: int = 1000
    n_items: int = 1000
    mean_length: float = 25.0
    spread: float = 0.8
    shortest: int = 5
    longest: int = 1000
    zipf: float = 0.8
    n_categories: int = 16
    concentration: float = 3.0
    drift: float = 0.1
    markov: float = 0.5
    n_successors: int = 4
    false_positives: float = 0.0
    false_items: FalseItems = "uniform"
    span_days: float = 365.0
    attributes: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = dict.fromkeys(("shortest", "n_categories", "n_successors"), at_least(1))
        ranges |= dict.fromkeys(("mean_length", "concentration", "span_days"), POSITIVE)
        ranges |= {"n_users": at_least(2), "n_items": at_least(2), "spread": at_least(0), "zipf": at_least(0)}
        ranges |= {"drift": BELOW_ONE, "markov": SHARE, "false_positives": BELOW_ONE, "seed": at_least(0)}
        check_ranges(self, "data", {**ranges, "false_items": one_of(*get_args(FalseItems))})
        if self.longest < self.shortest:
            raise OptionError(f"data.longest={self.longest} is below data.shortest={self.shortest}")
        if self.n_items < self.n_categories:
            raise OptionError(f"data.n_items={self.n_items} are fewer than data.n_categories={self.n_categories}")

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return "the simulated world"

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items."""
        return Catalogue.make(
            n_items=self.n_items,
            n_categories=self.n_categories,
            zipf=self.zipf,
            n_successors=self.n_successors,
            seed=self.seed,
        )

    @property
    def behaviour(self) -> Behaviour:
        """How users behave."""
        return Behaviour(**{name: getattr(self, name) for name in Behaviour.__dataclass_fields__})

    @property
    def n_blocks(self) -> int:
        """In how many blocks the users are made."""
        return -(-self.n_users // BLOCK)

    def read(self) -> pl.DataFrame:
        """Make all rows, user after user, oldest first."""
        return pl.concat([self.block(number) for number in range(self.n_blocks)])

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Make the rows block by block, so that only one is held: together the same as :meth:`read`."""
        return (self.block(number) for number in range(self.n_blocks))

    def block(self, number: int) -> pl.DataFrame:
        """Make the rows of a block of users alone, the same as wherever else it is made.

        Args:
            number: From 0.
        """
        made = self._histories(number)
        user = np.repeat(number * BLOCK + np.arange(len(made.lengths)), made.lengths)
        columns = {USER: user, ITEM: self.catalogue.ids[made.item], TIMESTAMP: made.time}
        frame = pl.DataFrame(columns)
        if self.false_positives > 0:
            frame = frame.with_columns(pl.Series(FALSE_POSITIVE, made.false))
        if self.attributes:
            items, users = self.items().drop("vector"), self.users(number)
            frame = frame.join(items, on=ITEM, how="left", maintain_order="left")
            frame = frame.join(users, on=USER, how="left", maintain_order="left")
        return frame

    def _histories(self, number: int) -> Histories:
        lengths = lengths_of(self.behaviour, self._users_in(number), block=number, seed=self.seed)
        return block_of_histories(self.behaviour, self.catalogue, lengths, block=number, seed=self.seed)

    def _users_in(self, number: int) -> int:
        return min(BLOCK, self.n_users - number * BLOCK)

    def tastes(self, number: int) -> np.ndarray:
        """Give the tastes of a block's users, float64 ``[2, users, n_categories]``."""
        return tastes_of(self.behaviour, self.catalogue, self._users_in(number), block=number, seed=self.seed)

    def items(self) -> pl.DataFrame:
        """Describe the items: ``item``, ``category``, ``price``, ``vector``."""
        return self.catalogue.table(seed=self.seed)

    def users(self, number: int | None = None) -> pl.DataFrame:
        """Describe the users: ``user``, ``age`` (it goes with the favourite category) and ``country`` (with nothing).

        Args:
            number: Of a block; None for all.
        """
        if number is None:
            return pl.concat([self.users(each) for each in range(self.n_blocks)])
        stream, n = host_stream(self.seed, "simulated users", number), self._users_in(number)
        age = self.tastes(number)[0].argmax(axis=1) % len(AGES)
        age = np.where(stream.random(n) < 0.3, stream.integers(len(AGES), size=n), age)
        country = stream.choice(6, n, p=np.array([32, 16, 8, 4, 2, 1]) / 63)
        return pl.DataFrame(
            {
                USER: number * BLOCK + np.arange(n),
                "age": pl.Series(AGES)[age],
                "country": pl.Series([f"country {name}" for name in "ABCDEF"])[country],
            }
        )

    def write_csv(self, path: Path) -> int:
        """Write all rows as CSV, block by block, and give their number."""
        n_rows = 0
        with whole_file(path) as temporary, temporary.open("wb") as file:
            for number, frame in enumerate(self.blocks()):
                frame.write_csv(file, include_header=number == 0)
                n_rows += len(frame)
        return n_rows


def simulate(*, rows: int, world: Simulated | None = None) -> pl.DataFrame:
    """Make a world of a given number of rows: as many users as that takes, the last one's history cut.

    Args:
        rows: How many.
        world: Its options; ``n_users`` counts for nothing.
    """
    world = world or Simulated()
    frames, there = [], 0
    whole = replace(world, n_users=2**40)  # every block is full
    for number in range(2**40 // BLOCK):
        frames.append(whole.block(number))
        there += len(frames[-1])
        if there >= rows:
            break
    return pl.concat(frames).head(rows)
