"""Compressed parameters as named arrays and JSON (host), and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from curriculum_rec.compression.codebooks import Codes
from curriculum_rec.compression.contract import Form
from curriculum_rec.compression.factored import Factors
from curriculum_rec.compression.pruned import FirstColumns, Sparse
from curriculum_rec.compression.quantised import AffineRows, ScaledRows
from curriculum_rec.compression.shared_rows import Hashed, Products
from curriculum_rec.errors import CheckpointError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree

FORMS: dict[str, type[Form]] = {
    form.__name__: form for form in (ScaledRows, AffineRows, Factors, Products, Hashed, Codes, Sparse, FirstColumns)
}
"""Every form, by the name under which a checkpoint knows it."""

Description = Mapping[str, Mapping[str, Any]]
"""Of every compressed parameter, by its path with dots, the name of its form and the form's facts."""


def pack(params: Tree) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Take the forms in a tree apart; what is not compressed is left out.

    Args:
        params: What a method gave.

    Returns:
        The forms' arrays, named by the parameter's path and the field, and their description.

    >>> from curriculum_rec.compression.quantised import scaled_rows
    >>> arrays, description = pack({"items": {"embedding": scaled_rows(np.ones((2, 3), np.float32))}})
    >>> list(arrays), description
    (['items.embedding.codes', 'items.embedding.scale'], {'items.embedding': {'form': 'ScaledRows', 'axis': -1}})
    """
    arrays: dict[str, np.ndarray] = {}
    description: dict[str, dict[str, Any]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if isinstance(leaf, Form):
            name = ".".join(path_names(path))
            arrays |= {f"{name}.{field}": array for field, array in leaf.arrays().items()}
            description[name] = {"form": type(leaf).__name__, **leaf.facts()}
    return arrays, description


def unpack(arrays: Mapping[str, np.ndarray], description: Description) -> dict[str, np.ndarray]:
    """Undo :func:`pack`, and make every parameter dense.

    Returns:
        float32 arrays by the parameters' paths.

    Raises:
        CheckpointError: A form is none that this version knows.
    """
    dense = {}
    for name, facts in description.items():
        if facts["form"] not in FORMS:
            raise CheckpointError(
                f"'{name}' is stored as {facts['form']}, which this version of the program cannot read"
            )
        own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
        plain = {key: tuple(fact) if isinstance(fact, list) else fact for key, fact in facts.items() if key != "form"}
        dense[name] = FORMS[facts["form"]](**own, **plain).dense()
    return dense


def dense(params: Tree) -> Tree:
    """Make every leaf of a tree dense."""
    return jax.tree.map(lambda leaf: leaf.dense() if isinstance(leaf, Form) else leaf, params)
