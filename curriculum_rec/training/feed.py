"""The way of the examples to the step: rows of data that lie on the devices, or arrays that the hosts send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from curriculum_rec.curriculum.sampling import PADDING
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.curriculum.state import CurriculumState, Draw
from curriculum_rec.data.padded import Rows
from curriculum_rec.data.store.stored import StoredExamples
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.read_ahead import ReadAhead

RANKS = "target ranks"
"""The name under which the targets' ranks travel with the examples' own arrays."""


@dataclass
class Feed:
    """Gets each batch's arrays to where the step reads them.

    With ``placement.examples=device`` all arrays are put on every device once, and row numbers follow with every chunk.
    With ``host`` they stay in the hosts' memory, and a host sends its devices the rows of their part of the batches.

    Args:
        scheduler: Owns the examples and the targets' ranks.
        placed: The devices.
        steps: Most steps of a chunk.
    """

    scheduler: Scheduler
    placed: Placed
    steps: int
    _ranks: tuple[int, list[np.ndarray] | None, Tree] | None = field(default=None, init=False, repr=False)

    def send(self, position: CurriculumState, draw: Draw) -> tuple[Tree, Tree]:
        """Send what a chunk needs (host).

        Args:
            position: Where the run stands after the draw.
            draw: What is trained on.

        Returns:
            What all devices share, and what each has for itself, for :meth:`take`.
        """
        own = {"rows": self._share_out(draw, draw.rows, PADDING)}
        if draw.weight is not None:
            own["weight"] = self._share_out(draw, draw.weight, 0)
        host_ranks, device_ranks = self._current_ranks(position)
        if self.placed.examples == "device":
            return {"data": self._data, "ranks": device_ranks}, self.placed.hand_out(own)
        return {}, self.placed.hand_out(own | {"sent": self._gather(position, draw, host_ranks)})

    def take(self, number: int, shared: Tree, own: Tree, step: Array) -> tuple[Int32[Array, " size"], dict[str, Array]]:
        """Take a device's part of a batch (device).

        Args:
            number: The bucket.
            shared: From :meth:`send`.
            own: From :meth:`send`.
            step: The number of the batch in the chunk.

        Returns:
            Row numbers ``[size]``, ``PADDING`` where the batch is short, and the named arrays of these rows.
        """
        size, shapes = self._size(number), self._shapes[number]
        rows = own["rows"][step][:size]
        if "sent" in own:
            flat = {name: array[step] for name, array in own["sent"].items()}
            return rows, {
                name: flat[name][: size * math.prod(shape)].reshape(size, *shape) for name, shape in shapes.items()
            }
        arrays = dict(shared["data"][number])
        if shared["ranks"] is not None:
            arrays[RANKS] = shared["ranks"][number]
        chosen = jnp.maximum(rows, 0)
        return rows, {name: array[chosen] for name, array in arrays.items()}

    @cached_property
    def _data(self) -> Tree:
        return self.placed.replicate([dict(bucket.arrays) for bucket in self.scheduler.examples.buckets])

    @cached_property
    def _shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Shape of one row of each array of each bucket."""
        shapes = [
            {name: array.shape[1:] for name, array in bucket.arrays.items()}
            for bucket in self.scheduler.examples.buckets
        ]
        if self.scheduler.curriculum.ordered_unit == "target":
            shapes = [named | {RANKS: named["target"]} for named in shapes]
        return shapes

    def _size(self, number: int) -> int:
        return self.scheduler.examples.buckets[number].batch_size // self.placed.n_shards

    def _current_ranks(self, position: CurriculumState) -> tuple[list[np.ndarray] | None, Tree]:
        """Lay the targets' ranks out once, or whenever a difficulty that feeds on losses changes them."""
        epoch = position.epoch if self.scheduler.feeds_on_losses else 0
        if self._ranks is None or self._ranks[0] != epoch:
            ranks = self.scheduler.target_ranks(position)
            on_device = self.placed.replicate(ranks) if self.placed.examples == "device" else None
            self._ranks = epoch, ranks, on_device
        return self._ranks[1:]

    def _share_out(self, draw: Draw, values: np.ndarray, padding: int) -> np.ndarray:
        """Share values of each batch's rows out: ``[n_shards, steps, widest batch / n_shards]``."""
        n_shards = self.placed.n_shards
        shares = np.full((n_shards, self.steps, values.shape[1] // n_shards), padding, values.dtype)
        for number in range(len(self._shapes)):
            steps, size = np.flatnonzero(draw.bucket == number), self._size(number)
            shared_out = values[steps, : n_shards * size].reshape(-1, n_shards, size)
            shares[:, steps, :size] = shared_out.transpose(1, 0, 2)
        return shares

    def _gather(self, position: CurriculumState, draw: Draw, ranks: list[np.ndarray] | None) -> dict[str, np.ndarray]:
        """Read this host's rows: ``[n_shards, steps, entries]`` for each array, a batch's part flat and in front."""
        n_shards = self.placed.n_shards
        arrays = [dict(bucket.arrays) for bucket in self.scheduler.examples.buckets]
        if ranks is not None:
            arrays = [named | {RANKS: rank} for named, rank in zip(arrays, ranks, strict=True)]
        sent = {
            name: np.zeros((n_shards, self.steps, self._widest[name]), array.dtype) for name, array in arrays[0].items()
        }
        if self._ahead is not None:
            plan, stop = self.scheduler.plan(position), position.cursor
            for step, batch in enumerate(self._ahead(plan, stop - len(draw), stop)):
                for name, values in batch.items():
                    sent[name][list(self.placed.local_shards), step, : values.shape[1]] = values
            return sent
        for number in np.unique(draw.bucket):
            steps = np.flatnonzero(draw.bucket == number)
            for name, values in self._read(arrays[number], int(number), draw.rows[steps]).items():
                for mine, shard in enumerate(self.placed.local_shards):
                    sent[name][shard, steps, : values.shape[2]] = values[mine]
        return sent

    @cached_property
    def _ahead(self) -> ReadAhead | None:
        """What reads examples that are not in memory."""
        examples = self.scheduler.examples
        if not isinstance(examples, StoredExamples) or examples.reading is None:
            return None

        def read(number: int, rows: np.ndarray) -> dict[str, np.ndarray]:
            values = self._read(self.scheduler.examples.buckets[number].arrays, number, rows[None])
            return {name: array[:, 0] for name, array in values.items()}

        return ReadAhead(examples.reading, read)

    def _read(self, arrays: Mapping[str, Rows], number: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Read this host's rows of batches of one bucket: ``[local shards, steps, entries]`` for each array."""
        n_shards, size = self.placed.n_shards, self._size(number)
        chosen = np.maximum(rows[:, : n_shards * size], 0).reshape(-1, n_shards, size)
        chosen = chosen[:, list(self.placed.local_shards)].transpose(1, 0, 2)
        return {name: array[chosen].reshape(*chosen.shape[:2], -1) for name, array in arrays.items()}

    @cached_property
    def _widest(self) -> dict[str, int]:
        """Entries of each array in a device's part of the largest batch."""
        return {
            name: max(self._size(number) * math.prod(named[name]) for number, named in enumerate(self._shapes))
            for name in self._shapes[0]
        }
