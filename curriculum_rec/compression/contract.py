"""What compression takes and gives (host): a tree of parameters, some of whose leaves become compact forms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree

TABLE = ("items", "embedding")
"""Where a model keeps its item table, the largest of its parameters."""

Scope = Literal["all", "table"]
"""What a method compresses: the item table and all other matrices, or the table alone."""


@dataclass(frozen=True)
class Form(ABC):
    """One parameter in a compact form; its fields are arrays, which are stored as such, and facts, stored as JSON."""

    @abstractmethod
    def dense(self) -> np.ndarray:
        """Give the parameter as float32, in its own shape."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays by the names of their fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def facts(self) -> dict[str, Any]:
        """Give what is no array."""
        arrays = self.arrays()
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in arrays}

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays().values())


@runtime_checkable
class Compression(Protocol):
    """Options of a method; the call compresses."""

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress a model.

        Args:
            params: Nested dict of float32 arrays; leaves under ``blocks`` have the layer axis first.
            seed: Decides what chance plays a part in.

        Returns:
            The nested dict with a :class:`Form` for each leaf that is compressed. Blocks may be fewer; else the dense
            forms have the shapes of the parameters.

        Raises:
            OptionError: The method does not suit the model.
        """
        ...


def with_table(params: Tree, pack: Callable[[np.ndarray], Form]) -> Tree:
    """Compress the item table, and leave all else as it is.

    Args:
        params: Parameters of a model.
        pack: From the table ``[rows, width]`` to its form.

    Raises:
        OptionError: The model has no item table.
    """

    def change(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray | Form:
        return leaf if path_names(path)[-2:] != TABLE else pack(leaf)

    _require_table(params)
    return jax.tree_util.tree_map_with_path(change, params)


def with_matrices(params: Tree, pack: Callable[[np.ndarray, int], Form], scope: Scope) -> Tree:
    """Compress matrices, each row of a table and each output of a linear layer by itself.

    Biases, norms and gates are left as they are: they are small, and errors of theirs hit every item.

    Args:
        params: Parameters of a model.
        pack: From a matrix and the axis along which numbers share what they share, to the form.
        scope: Which matrices.

    Raises:
        OptionError: The model has no item table, and the scope is that.
    """

    def change(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray | Form:
        names = path_names(path)
        if leaf.ndim - is_stacked(path) < 2 or (scope == "table" and names[-2:] != TABLE):
            return leaf
        return pack(leaf, -2 if names[-1] == "kernel" else -1)  # a kernel is [in, out], an embedding [row, width]

    if scope == "table":
        _require_table(params)
    return jax.tree_util.tree_map_with_path(change, params)


def tree_bytes(tree: Tree) -> int:
    """Count the bytes of a tree whose leaves are arrays or forms."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _require_table(params: Tree) -> None:
    names = (path_names(path)[-2:] for path, _ in jax.tree_util.tree_leaves_with_path(params))
    if TABLE not in names:
        raise OptionError("this model has no parameter items.embedding, the item table that the method compresses")
