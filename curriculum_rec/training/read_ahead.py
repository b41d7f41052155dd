"""Grain (host): threads that read the batches to come from a store, while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from curriculum_rec.curriculum.sampling import EpochPlan
from curriculum_rec.data.store.stored import Reading
from curriculum_rec.errors import OptionError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Steps:
    """The batches of a dynamic epoch, any of which can be read by its number: a data source in Grain's words.

    Args:
        plan: The epoch's.
        read: Reads a batch, given its bucket and its rows.
    """

    plan: EpochPlan
    read: Callable[[int, np.ndarray], Arrays] = field(repr=False)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Arrays:
        bucket, rows = self.plan.take(int(step), int(step) + 1)
        return self.read(int(bucket[0]), rows[0])


@dataclass
class ReadAhead:
    """Reads the batches that a plan says will come.

    Which these are is a function of the plan and a step, so that nothing is stored: a run that goes on begins to read
    where it stands.

    Args:
        reading: How many threads read how far ahead.
        read: Reads a batch, given its bucket and its rows.
    """

    reading: Reading
    read: Callable[[int, np.ndarray], Arrays]
    _plan: EpochPlan | None = field(default=None, init=False, repr=False)
    _next: int = field(default=0, init=False)
    _batches: Iterator[Arrays] | None = field(default=None, init=False, repr=False)

    def __call__(self, plan: EpochPlan, begin: int, stop: int) -> list[Arrays]:
        """Give the batches ``begin`` to ``stop - 1`` of a plan."""
        if self._plan is not plan or self._next != begin or self._batches is None:
            self._plan, self._batches = plan, self._start(Steps(plan, self.read), begin)
        self._next = stop
        return [next(self._batches) for _ in range(begin, stop)]

    def _start(self, steps: Steps, begin: int) -> Iterator[Arrays]:
        if not self.reading.threads:
            return (steps[step] for step in range(begin, len(steps)))
        try:
            import grain  # noqa: PLC0415 - optional
        except ImportError as error:
            raise OptionError(
                "data.threads needs the package grain: pip install 'curriculum-rec[store]', or set data.threads=0"
            ) from error
        options = grain.ReadOptions(num_threads=self.reading.threads, prefetch_buffer_size=self.reading.ahead)
        return iter(grain.MapDataset.source(steps)[begin:].to_iter_dataset(options))
