"""Length (host): histories are short at first and grow over the list of buckets, all of which lie in one program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from curriculum_rec.data.examples import BATCH_MULTIPLE, POSITIVES, Bucket, Examples, filling
from curriculum_rec.data.padded import count_filled
from curriculum_rec.data.twins import TWINS
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges, one_of

Longer = Literal["cut", "split"]


@dataclass(frozen=True)
class GrowingLength:
    """Histories of at most ``start + (longest - start) s`` items, rounded down to the length of a bucket.

    ``s`` is the step as a fraction of ``full_at`` of the run. A batch of shorter histories holds more of them, so that
    its positions stay about as many, and the learning rate stays as it is.

    Args:
        start: Length at first; the shortest bucket that is at least so long is the least.
        full_at: Fraction of the run after which histories are whole, above 0.
        longer: What becomes of longer histories: ``cut`` keeps the most recent items, ``split`` makes pieces, each an
            example of its own, so that every item stays a target.

    Source: sequence length warm-up (Li, Zhang and He, 2022).
    """

    start: int = 8
    full_at: float = 0.3
    longer: Longer = "cut"

    def __post_init__(self) -> None:
        check_ranges(
            self, "curriculum.history", {"start": at_least(1), "full_at": POSITIVE, "longer": one_of(*get_args(Longer))}
        )

    def at(self, step: int, total_steps: int, lengths: tuple[int, ...]) -> int | None:
        """Give the greatest length at a step, one of ``lengths``; None once histories are whole.

        >>> growing = GrowingLength(start=8, full_at=0.5)
        >>> [growing.at(step, 100, (4, 8, 16, 32, 50)) for step in (0, 9, 10, 28, 29, 50)]
        [8, 8, 16, 16, 32, None]
        """
        s = step / (self.full_at * total_steps)
        if s >= 1 or self.start >= lengths[-1]:
            return None
        value = self.start + (lengths[-1] - self.start) * s
        return next(length for length in reversed(lengths) if length <= max(value, self._least(lengths)))

    def _least(self, lengths: tuple[int, ...]) -> int:
        return next(length for length in lengths if length >= self.start)

    def prepare(self, examples: Examples) -> Examples:
        """Add a bucket of parts of longer histories for every length that comes before they are whole.

        Raises:
            OptionError: The examples are no sequences, or have one length only.
        """
        if not examples.has_targets:
            raise OptionError("curriculum.history needs sequences, and these examples have no 2-D 'target'")
        if self.longer == "split" and any(TWINS in bucket.arrays for bucket in examples.buckets):
            raise OptionError(
                "curriculum.history.longer=split does not go with objective.pair=same_target, which knows histories "
                "before the last item of whole examples alone: choose longer=cut"
            )
        lengths = bucket_lengths(examples)
        if self.start >= lengths[-1]:
            raise OptionError(
                f"curriculum.history.start={self.start} has no effect: the longest bucket of these examples has "
                f"{lengths[-1]} positions"
            )
        parts = [self._parts(examples, length) for length in lengths[:-1] if length >= self._least(lengths)]
        return replace(examples, buckets=(*examples.buckets, *parts))

    def _parts(self, examples: Examples, length: int) -> Bucket:
        """Cut all longer examples to a length."""
        rows: list[dict[str, np.ndarray]] = []
        of_example, first = [], []
        for bucket in examples.whole:
            if bucket.length <= length:
                continue
            filled = count_filled(bucket.arrays["target"])
            n_pieces = -(-filled // length) if self.longer == "split" else np.ones(len(filled), np.int64)
            row = np.repeat(np.arange(len(filled)), n_pieces)
            piece = np.arange(len(row)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
            begin = piece * length if self.longer == "split" else np.maximum(filled - length, 0)
            start = row * bucket.length + begin
            stop = row * bucket.length + np.minimum(begin + length, filled[row])
            rows.append(
                {
                    name: _slices(np.asarray(array), start, stop, length)
                    if array.shape[1:2] == (bucket.length,) and name != POSITIVES
                    else np.asarray(array[row])
                    for name, array in bucket.arrays.items()
                }
            )
            of_example.append(bucket.example[row])
            first.append(begin)
        arrays = {name: _join([part[name] for part in rows], filling(name)) for name in rows[0]}
        example = np.concatenate(of_example)
        positions = max(bucket.batch_size * bucket.length for bucket in examples.whole)
        size = positions // length // BATCH_MULTIPLE * BATCH_MULTIPLE
        size = max(BATCH_MULTIPLE, min(size, -(-len(example) // BATCH_MULTIPLE) * BATCH_MULTIPLE))
        return Bucket(arrays, example, size, cut_to=length, first=np.concatenate(first).astype(np.int64))


def bucket_lengths(examples: Examples) -> tuple[int, ...]:
    """Give the lengths of the buckets, shortest first."""
    return tuple(sorted({bucket.length for bucket in examples.whole}))


def _slices(array: np.ndarray, start: np.ndarray, stop: np.ndarray, length: int) -> np.ndarray:
    """Copy slices of all positions, row after row, of any type and with any further axes, 0 where one ends."""
    index = start[:, None] + np.arange(length)
    inside = (index < stop[:, None]).reshape(*index.shape, *(1,) * (array.ndim - 2))
    flat = array.reshape(-1, *array.shape[2:])
    return np.where(inside, flat[np.minimum(index, len(flat) - 1)], np.zeros((), array.dtype))


def _join(arrays: list[np.ndarray], padding: int) -> np.ndarray:
    """Put arrays of several buckets below each other, narrower ones filled up."""
    if arrays[0].ndim < 2:
        return np.concatenate(arrays)
    width = max(array.shape[1] for array in arrays)
    joined = np.full((sum(map(len, arrays)), width, *arrays[0].shape[2:]), padding, arrays[0].dtype)
    begin = 0
    for array in arrays:
        joined[begin : begin + len(array), : array.shape[1]] = array
        begin += len(array)
    return joined
