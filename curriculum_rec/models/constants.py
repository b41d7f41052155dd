"""Arrays of the data inside a model (device): read by its programs, and no parameters."""

from __future__ import annotations

import hashlib
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class Constant:
    """An array that a model reads, and that nothing trains, decays, saves, grows or compresses.

    It is a part of the model's static structure, so that whatever maps parameters to parameters does not see it. Two
    are equal where their numbers are. It is compiled into every program that reads it, which so holds a copy on each of
    its devices.

    Args:
        array: The numbers; nobody may change them.
        digest: Identifies them; None computes it when it is asked for.

    >>> Constant(np.ones(3)) == Constant(np.ones(3)), Constant(np.ones(3)) == Constant(np.ones(4))
    (True, False)
    """

    def __init__(self, array: np.ndarray, digest: str | None = None) -> None:
        self._array = array
        self._known = digest

    def read(self) -> Array:
        """Give it to a program."""
        return jnp.asarray(self._array)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self._array.shape

    @cached_property
    def _digest(self) -> str:
        if self._known is not None:
            return self._known
        head = f"{self._array.dtype}{self._array.shape}".encode()
        return hashlib.blake2b(head + np.ascontiguousarray(self._array).tobytes(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant):
            return NotImplemented
        return self._array is other._array or self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Constant({self._array.dtype}{list(self.shape)}, {self._digest})"
