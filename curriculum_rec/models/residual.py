"""Residual branches (device): where their norm stands, and which of their leaves is which, so that growth can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.ranges import check_value, one_of

NormPosition = Literal["pre", "post"]
"""Whether what goes into a branch is normalised, ``x + f(norm(x))``, or its sum with the stream, ``norm(x + f(x))``."""

Role = Literal["gate", "norm_gain", "norm_bias", "weight", "bias", "output", "output_bias"]
"""What a leaf is to its branch: the factor of the branch, a part of its norm, a part of its last linear layer, or a
weight or a bias before that."""


@dataclass(frozen=True)
class BranchParts:
    """Names of the parts of a module that adds a residual branch to its stream; the module has them as ``BRANCH``.

    Attributes:
        norm: The norm.
        output: The branch's last linear layer.
        gate: The branch's factor.
    """

    norm: str
    output: str
    gate: str


@dataclass(frozen=True)
class Branch:
    """A residual branch of a model.

    Attributes:
        path: Where its module stands in the model.
        parts: Names of the module's parts.
        norm_position: Where its norm stands.
    """

    path: tuple[str, ...]
    parts: BranchParts
    norm_position: NormPosition


def add_branch(
    x: Float[Array, "*shape"],
    branch: Callable[[Array], Array],
    *,
    norm: Callable[[Array], Array],
    position: NormPosition,
) -> Float[Array, "*shape"]:
    """Add a residual branch to the stream.

    Args:
        x: The stream.
        branch: The branch, without its norm.
        norm: The norm.
        position: Where it stands.
    """
    return x + branch(norm(x)) if position == "pre" else norm(x + branch(x))


def check_norm_position(position: str) -> None:
    """Check the option ``norm_position`` of a model.

    Raises:
        OptionError: There is no such position.
    """
    check_value("model.norm_position", position, one_of(*get_args(NormPosition)))


def branches_of(model: nnx.Module) -> tuple[Branch, ...]:
    """Find the residual branches of a model, those of its modules that have a ``BRANCH`` and a ``norm_position``.

    Args:
        model: The model; it may hold shapes alone.
    """
    found = []
    for path, module in nnx.iter_modules(model):
        parts: Any = getattr(module, "BRANCH", None)
        if isinstance(parts, BranchParts):
            found.append(Branch(tuple(map(str, path)), parts, getattr(module, "norm_position", "pre")))
    return tuple(found)


def leaf_roles(branches: tuple[Branch, ...], paths: tuple[tuple[str, ...], ...]) -> Mapping[tuple[str, ...], Role]:
    """Say what leaves are to their branches; leaves of no branch are left out.

    Args:
        branches: The branches; a leaf belongs to the innermost.
        paths: The leaves' paths, as plain names.

    >>> branch = Branch(("blocks",), BranchParts(norm="norm", output="down", gate="residual"), "pre")
    >>> leaf_roles((branch,), (("blocks", "down", "kernel"), ("blocks", "norm", "scale"), ("norm", "scale")))
    {('blocks', 'down', 'kernel'): 'output', ('blocks', 'norm', 'scale'): 'norm_gain'}
    """
    innermost_first = sorted(branches, key=lambda branch: -len(branch.path))
    roles: dict[tuple[str, ...], Role] = {}
    for path in paths:
        for branch in innermost_first:
            if path[: len(branch.path)] == branch.path:
                roles[path] = _role(path[len(branch.path) :], branch.parts)
                break
    return roles


def _role(path: tuple[str, ...], parts: BranchParts) -> Role:
    part, is_bias = path[0], path[-1] == "bias"
    if part == parts.gate:
        return "gate"
    if part == parts.norm:
        return "norm_bias" if is_bias else "norm_gain"
    if part == parts.output:
        return "output_bias" if is_bias else "output"
    return "bias" if is_bias else "weight"
