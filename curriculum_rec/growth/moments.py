"""Which parts of an optimizer's state grow how (device): they follow the parameters that they belong to."""

from __future__ import annotations

from typing import Any, Literal

import jax

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree

Kind = Literal["parameter", "first", "second", "row", "count", "whole"]
"""What a leaf of an optimizer's state is: a copy of the parameter's own kind (an average of weights), a first moment,
which scales like a gradient, a second one, which scales like its square, a mean of squares for each row of a table,
which stays when rows get longer, a count of steps, or one number for the whole model, which does not grow."""

FIELDS: dict[str, Kind] = {
    "mu": "first",
    "trace": "first",
    "momentum": "first",
    "nu": "second",
    "sum_of_squares": "second",
    "count": "count",
    "row_squares": "row",
    "average": "parameter",
    "z": "parameter",
}
"""Names under which optimizers, optax's and ours, keep something parameter by parameter."""


def state_kind(path: tuple[Any, ...], parameters: frozenset[tuple[str, ...]]) -> tuple[Kind, tuple[str, ...]]:
    """Say what a leaf of an optimizer's state is, and to which parameter it belongs.

    Args:
        path: The leaf's key path in the state.
        parameters: Paths of all parameters, as plain names.

    Returns:
        The kind, and the parameter's path; an empty one for ``whole``.

    Raises:
        OptionError: It belongs to a parameter, and nobody knows how.

    >>> import jax, jax.numpy as jnp, optax
    >>> params = {"blocks": {"up": jnp.ones((2, 3))}}
    >>> state = optax.adam(0.1).init(params)
    >>> [state_kind(path, frozenset({("blocks", "up")}))[0] for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    ['whole', 'first', 'second']
    """
    names, parameter = path_names(path), owner(path, parameters)
    if not parameter:
        return "whole", ()
    for name in reversed(names[: -len(parameter)]):
        if name in FIELDS:
            return FIELDS[name], parameter
    raise OptionError(
        f"growth does not know what '{'.'.join(names)}' of this optimizer's state is: use an optimizer of this package"
    )


def owner(path: tuple[Any, ...], parameters: frozenset[tuple[str, ...]]) -> tuple[str, ...]:
    """Give the parameter to which a leaf of an optimizer's state belongs; an empty path if to none.

    Args:
        path: The leaf's key path in the state.
        parameters: Paths of all parameters, as plain names.

    >>> owner(("mu", "blocks", "up"), frozenset({("blocks", "up"), ("up",)}))
    ('blocks', 'up')
    """
    names = path_names(path)
    return next((names[start:] for start in range(1, len(names)) if names[start:] in parameters), ())


def counts_together(opt_state: Tree) -> bool:
    """Whether second moments of all layers are corrected by one count of steps, which is wrong for a new layer.

    >>> import jax.numpy as jnp, optax
    >>> params = {"blocks": {"up": jnp.ones((2, 3))}}
    >>> [counts_together(tx.init(params)) for tx in (optax.adam(0.1), optax.lion(0.1), optax.sgd(0.1))]
    [True, False, False]
    """
    paths = [path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(opt_state)]
    moments = {names[: names.index("nu")] for names in paths if "nu" in names}
    return any(names[-1:] == ("count",) and names[:-1] in moments for names in paths)
