"""Augmentations of augmentations (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from curriculum_rec.augmentation.contract import Augmentation, View
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng


@dataclass(frozen=True)
class Several:
    """Named augmentations.

    Args:
        parts: The augmentations; the names tell their randomness apart.
    """

    parts: Mapping[str, Augmentation]

    def __post_init__(self) -> None:
        if not self.parts:
            raise OptionError("augmentation.parts is empty: name at least one, for example crop")

    @property
    def needs_similar(self) -> int:
        """As many as the part that wants most."""
        return max(part.needs_similar for part in self.parts.values())


@dataclass(frozen=True)
class InOrder(Several):
    """One after the other, in the order of their names' appearance.

    Args:
        parts: The augmentations; the names tell their randomness apart.
    """

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Apply all."""
        for name, part in self.parts.items():
            view = part(view, rng.named(name), mask=mask)
        return view


@dataclass(frozen=True)
class OneOf(Several):
    """One of them for each history, drawn with equal probabilities.

    Args:
        parts: The augmentations; the names tell their randomness apart.

    Source: CL4SRec (Xie et al., 2022), section 3.2, where each view draws its operator.
    """

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Apply all, and keep one result of each history."""
        number = rng.named("one of").bits() % jnp.uint32(len(self.parts))
        result = view
        for index, (name, part) in enumerate(self.parts.items()):
            changed, chosen = part(view, rng.named(name), mask=mask), number == index
            result = jax.tree.map(partial(_choose, chosen), changed, result)
        return result


def _choose(chosen: Array, new: Array, old: Array) -> Array:
    return jnp.where(chosen.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
