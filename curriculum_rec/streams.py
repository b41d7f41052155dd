"""Random streams named by (seed, name, step): never stored, never reused, so that a resumed run needs no random state.

Host code draws from a numpy generator, device code from a JAX key; both are pure functions of the three values.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax


def host_stream(seed: int, name: str, step: int = 0) -> np.random.Generator:
    """Make the numpy generator of one named stream at one step.

    Args:
        seed: The run's seed, a non-negative integer.
        name: What the numbers are for, for example ``"order"``.
        step: When they are drawn, in whatever unit the stream counts.

    Returns:
        A generator whose draws depend on the three arguments only.

    >>> bool(host_stream(0, "order", 3).random() == host_stream(0, "order", 3).random())
    True
    >>> bool(host_stream(0, "order", 3).random() == host_stream(0, "order", 4).random())
    False
    """
    return np.random.default_rng(np.random.SeedSequence([seed, name_hash(name), step]))


def device_stream(key: jax.Array, name: str, step: jax.Array | int = 0) -> jax.Array:
    """Derive the JAX key of one named stream at one step, inside or outside ``jit``.

    Args:
        key: The run's key, ``jax.random.key(seed)``.
        name: What the numbers are for.
        step: When they are drawn; may be traced.

    Returns:
        A typed JAX key.
    """
    import jax  # noqa: PLC0415 - host code must be importable without JAX

    return jax.random.fold_in(jax.random.fold_in(key, name_hash(name)), step)


def name_hash(name: str) -> int:
    """Hash a stream's name to 32 bits, the same in every process (Python's own ``hash`` is salted).

    >>> name_hash("order")
    4113142680
    """
    return zlib.crc32(name.encode())
