"""Paths in trees of parameters (device): which leaves are stacked by layer, what stands at a path."""

from __future__ import annotations

from functools import reduce
from typing import Any

from curriculum_rec.models.structure import Tree

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


def at_path(tree: Tree, path: tuple[str, ...]) -> Any:
    """Give what stands at a path of nested dicts.

    >>> at_path({"a": {"b": 1}}, ("a", "b"))
    1
    """
    return reduce(lambda below, name: below[name], path, tree)


def with_at_path(tree: Tree, path: tuple[str, ...], value: Any) -> Tree:
    """Copy nested dicts with another value at a path.

    >>> with_at_path({"a": {"b": 1, "c": 2}}, ("a", "b"), 3)
    {'a': {'b': 3, 'c': 2}}
    """
    if not path:
        return value
    return {**tree, path[0]: with_at_path(tree[path[0]], path[1:], value)}
