"""Which leaves are stacked by layer (device)."""

from __future__ import annotations

from typing import Any

BLOCKS = "blocks"
"""Name of the subtree in which every leaf has a leading layer axis."""


def is_stacked(path: tuple[Any, ...]) -> bool:
    """Whether a leaf at this key path has a leading layer axis, in parameters and optimizer state alike."""
    return BLOCKS in path_names(path)


def path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Turn a JAX key path into plain names.

    >>> import jax
    >>> [path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path({"a": [1, 2]})]
    [('a', '0'), ('a', '1')]
    """
    return tuple(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
