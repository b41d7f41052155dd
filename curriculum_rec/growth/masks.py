"""Masks over what is new in a grown model (device): a pure function of the step, and nothing once they have risen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int32

from curriculum_rec.growth.tree import at_path, path_names, with_at_path
from curriculum_rec.growth.units import UnitMap
from curriculum_rec.models.axes import LAYER, NORMS, STREAM, Axes, Axis, LeafAxis, flat_axes
from curriculum_rec.models.norms import WEIGHTS
from curriculum_rec.models.structure import Tree

Path = tuple[str, ...]


@dataclass(frozen=True)
class Masks:
    """What is masked of a model's parameters, and when.

    A mask is a factor of the parameters by which new units act, so that the parameters themselves are the grown
    model's throughout and there is nothing to undo in the end. Norms weigh each unit of the stream by its mask.

    Attributes:
        first_step: The run's step at which the masks are 0.
        steps: Over so many they rise to 1, linearly; 0 for no masks at all.
        entries: A parameter's name, an axis, and for each entry along it 1 where it is masked, else 0.
        norms: Names of the norms over the stream, whose statistics are weighted, and the same for each of its units.
    """

    first_step: int = 0
    steps: int = 0
    entries: tuple[tuple[str, int, str], ...] = ()
    norms: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return self.steps > 0

    def beginning_at(self, step: int) -> Masks:
        """Let them rise from a step on."""
        return replace(self, first_step=step)

    @property
    def last_step(self) -> int:
        """The step from which on they are 1."""
        return self.first_step + self.steps

    def to_json(self) -> dict[str, Any]:
        """Give the masks as JSON data."""
        return {"first_step": self.first_step, "steps": self.steps, "entries": self.entries, "norms": self.norms}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Masks:
        """Undo :meth:`to_json`.

        >>> masks = Masks(3, 5, (("norm.scale", 0, "01"),), (("norm", "01"),))
        >>> Masks.from_json(masks.to_json()) == masks
        True
        """
        entries = tuple((str(name), int(axis), str(bits)) for name, axis, bits in data["entries"])
        return cls(data["first_step"], data["steps"], entries, tuple((str(n), str(b)) for n, b in data["norms"]))

    def value(self, step: Int32[Array, ""]) -> Float[Array, ""]:
        """Say how far the masks have risen.

        >>> [float(Masks(first_step=10, steps=4).value(jnp.int32(step))) for step in (10, 11, 20)]
        [0.0, 0.25, 1.0]
        """
        return jnp.clip((step - self.first_step).astype(jnp.float32) / max(self.steps, 1), 0, 1)

    def of(self, params: Tree, step: Int32[Array, ""]) -> Tree:
        """Mask parameters, and give norms the weights of their units.

        Args:
            params: The grown model's.
            step: The run's.
        """
        if not self:
            return params
        value = self.value(step)
        along: dict[Path, list[tuple[int, str]]] = {}
        for name, axis, bits in self.entries:
            along.setdefault(tuple(name.split(".")), []).append((axis, bits))

        def mask(path: tuple[Any, ...], leaf: Array) -> Array:
            for axis, bits in along.get(path_names(path), ()):
                shape = [1] * leaf.ndim
                shape[axis] = -1
                leaf = leaf * _factors(bits, value).reshape(shape).astype(leaf.dtype)
            return leaf

        masked = jax.tree_util.tree_map_with_path(mask, params)
        return self._with_weights(masked, lambda bits: _factors(bits, value))

    def with_places(self, params: Tree) -> Tree:
        """Give norms ones for weights, of which only that they are there matters."""
        return self._with_weights(params, lambda bits: jnp.ones(len(bits)))

    def mark(self, model: nnx.Module) -> None:
        """Let the norms of a model have weights, in place."""
        for module in self._norms(model):
            setattr(module, WEIGHTS, nnx.Param(module.scale[...]))

    def unmark(self, model: nnx.Module) -> None:
        """Let the norms of a model have no weights any more, in place."""
        for module in self._norms(model):
            delattr(module, WEIGHTS)

    def _norms(self, model: nnx.Module) -> list[Any]:
        return [reduce(getattr, name.split("."), model) for name, _ in self.norms]

    def _with_weights(self, params: Tree, weights: Any) -> Tree:
        for name, bits in self.norms:
            path = tuple(name.split("."))
            norm = at_path(params, path)
            made = jnp.broadcast_to(weights(bits), norm["scale"].shape)
            params = with_at_path(params, path, {**norm, WEIGHTS: made})
        return params


def unit_masks(axes: Axes, maps: Mapping[str, UnitMap]) -> Masks:
    """Say what to mask so that new units do nothing.

    In the stream, what produces them is masked, and every vector over it (gains and biases of norms); other units are
    masked where they are taken up.

    Args:
        axes: What the axes of the old parameters mean.
        maps: Where units come from, by label.
    """
    entries: list[tuple[str, int, str]] = []
    norms: dict[str, str] = {}
    for path, each in flat_axes(axes).items():
        is_vector = sum(not _is_layer(axis) for axis in each) == 1
        for number, axis in enumerate(each):
            masked = np.concatenate([_along(part.factors, maps, is_vector=is_vector) for part in axis.parts])
            if masked.any():
                entries.append((".".join(path), number, _bits(masked)))
            if _is_norm(axis) and STREAM in maps:
                norms[".".join(path[:-1])] = _bits(maps[STREAM].is_new)
    return Masks(entries=tuple(entries), norms=tuple(norms.items()))


def block_masks(gates: Sequence[Path], is_new: np.ndarray) -> Masks:
    """Say what to mask so that new blocks do nothing: the factors of their branches.

    >>> block_masks([("blocks", "residual", "gate")], np.array([False, True])).entries
    (('blocks.residual.gate', 0, '01'),)
    """
    return Masks(entries=tuple((".".join(path), 0, _bits(is_new)) for path in gates))


def _along(factors: Sequence[Axis], maps: Mapping[str, UnitMap], *, is_vector: bool) -> np.ndarray:
    """Say which combinations of units along an axis are masked, the last factor running fastest."""
    masked = np.zeros(1, bool)
    for factor in factors:
        grown = maps.get(factor.label)
        own = np.zeros(factor.size, bool) if grown is None else grown.is_new & _acts_here(factor, is_vector=is_vector)
        masked = (masked[:, None] | own[None, :]).ravel()
    return masked


def _acts_here(axis: Axis, *, is_vector: bool) -> bool:
    return axis.role == "produces" or is_vector if axis.label == STREAM else axis.role == "consumes"


def _is_layer(axis: LeafAxis) -> bool:
    return axis.parts[0].factors[0].label == LAYER


def _is_norm(axis: LeafAxis) -> bool:
    factor = axis.parts[0].factors[0]
    return factor.label == STREAM and factor.kind in NORMS


def _bits(masked: np.ndarray) -> str:
    return "".join("1" if each else "0" for each in masked)


def _factors(bits: str, value: Float[Array, ""]) -> Float[Array, " entries"]:
    return jnp.where(np.array([bit == "1" for bit in bits]), value, jnp.float32(1))
