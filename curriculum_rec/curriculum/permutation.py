"""Random permutations (host): any part of one can be computed by itself, so resuming costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDS = 8
HELD_UP_TO = 2**20
"""Permutations of up to so many numbers are computed whole, once: part by part, the calls to NumPy alone would take
longer than an accelerator's steps."""


@dataclass(frozen=True)
class Permutation:
    """A pseudorandom permutation of ``range(n)``.

    A Feistel network permutes the numbers of as many bits as ``n - 1`` has; what falls outside the range is sent
    through it again until it falls inside, which keeps it a permutation.

    Args:
        n: How many numbers, at least 0 and below ``2^62``.
        key: Decides the permutation, below ``2^64``.

    Source: Luby and Rackoff (1988); the walk of Black and Rogaway (2002).

    >>> sorted(Permutation(5, key=7)(np.arange(5)).tolist())
    [0, 1, 2, 3, 4]
    """

    n: int
    key: int

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Give the places of some numbers, int64 of the shape of ``index``, whose entries lie in ``range(n)``."""
        if self.n <= HELD_UP_TO:
            return self._whole[np.asarray(index, np.int64)]
        return self._places(index)

    @cached_property
    def _whole(self) -> np.ndarray:
        return self._places(np.arange(self.n))

    def _places(self, index: np.ndarray) -> np.ndarray:
        flat = np.asarray(index, np.uint64).reshape(-1)
        place = self._network(flat) if len(flat) else flat
        outside = np.flatnonzero(place >= self.n)
        while len(outside):
            place[outside] = self._network(place[outside])
            outside = outside[place[outside] >= self.n]
        return place.astype(np.int64).reshape(np.shape(index))

    def _network(self, value: np.ndarray) -> np.ndarray:
        n_bits = max(2, (self.n - 1).bit_length())
        low_bits = np.uint64(n_bits // 2)
        low_mask, high_mask = (
            (np.uint64(1) << np.uint64(bits)) - np.uint64(1) for bits in (low_bits, n_bits - n_bits // 2)
        )
        low, high = value & low_mask, value >> low_bits
        for number in range(0, ROUNDS, 2):
            high ^= self._round(low, number) & high_mask
            low ^= self._round(high, number + 1) & low_mask
        return (high << low_bits) | low

    def _round(self, half: np.ndarray, number: int) -> np.ndarray:
        """Mix the bits of one half with the key (the finaliser of SplitMix64)."""
        z = half + np.uint64((self.key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
