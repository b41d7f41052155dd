"""Growth by a linear map that is learnt (device): LiGO, for depth and width together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.contract import GrowthTask
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.leaves import KEPT, along
from curriculum_rec.growth.units import NewUnits, UnitMap, position_map
from curriculum_rec.growth.width import axes_of, begin_afresh, growing_labels, is_layer
from curriculum_rec.models.axes import LAYER, POSITIONS, ROWS, Axes, LeafAxis, flat_axes
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges
from curriculum_rec.streams import host_stream

MIXING_NOISE = 0.03
"""Greatest of the random numbers that are added to the first mixing weights of layers."""


@dataclass(frozen=True)
class LearnedGrowth:
    """Options of growth by a learnt linear map, in depth and width together.

    Every matrix of block ``l`` becomes ``B_out (sum_k w_lk W_k) B_in^T``. ``B`` repeats the old units and makes each
    new one a mixture of them; the same ``B`` serves wherever the same units are produced or consumed. The mixing
    weights ``w`` of the layers begin with the stack's order (0, 1, 0, 1) and a little noise. Both are trained by Adam
    on the run's own loss and batches, the old weights staying as they are; then the map is applied once. The optimizer
    begins afresh.

    Args:
        steps: Steps of this training, at least 1.
        learning_rate: Adam's, above 0.
        allow_lossy: Must be true, since the grown model computes another function than the old one.

    Source: Wang et al. (2023), "Learning to grow pretrained models for efficient Transformer training"; one ``B`` for
    all blocks, and one ``w`` a parameter.
    """

    steps: int = 100
    learning_rate: float = 1e-3
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"steps": at_least(1), "learning_rate": POSITIVE})

    @property
    def resets_optimizer(self) -> bool:
        """Say that the optimizer begins anew."""
        return True

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what cannot be grown."""
        for label, (before, after) in growing_labels(old, new).items():
            if after < before or label == ROWS:
                raise OptionError(f"the model's '{label}' cannot change from {before} to {after} by learnt growth")
        if not self.allow_lossy:
            raise OptionError(
                "learnt growth changes what the model computes: allow it by growth.allow_lossy=true, or choose another"
            )

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say that the grown model does not compute what the old one did."""
        del old, new
        return False

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow by the map with which learning begins; arguments as in the contract."""
        self.check(old, new)
        linear = LinearMap.between(old, new)
        grown = jax.jit(linear.grow)(linear.begin(seed), params)
        return grown, begin_afresh(opt_state, grown)

    def fit(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int, task: GrowthTask
    ) -> tuple[Tree, Tree]:
        """Learn the map, and grow by it; arguments as in the contract."""
        self.check(old, new)
        linear, optimizer = LinearMap.between(old, new), optax.adam(self.learning_rate)

        @jax.jit
        def step(learnt: Tree, state: Tree, params: Tree, batch: Tree) -> tuple[Tree, Tree]:
            gradient = jax.grad(lambda learnt: task.loss(linear.grow(learnt, params), batch))(learnt)
            updates, state = optimizer.update(gradient, state, learnt)
            return optax.apply_updates(learnt, updates), state

        learnt = linear.begin(seed)
        state = optimizer.init(learnt)
        for number in range(self.steps):
            learnt, state = step(learnt, state, params, task.batch(number))
        grown = jax.jit(linear.grow)(learnt, params)
        return grown, begin_afresh(opt_state, grown)


@dataclass(frozen=True)
class LinearMap:
    """The form of a learnt map between two models.

    Attributes:
        axes: What the axes of the old parameters mean.
        maps: Which units are old ones, by label.
        depth: Blocks before and after; None without blocks.
    """

    axes: Axes
    maps: Mapping[str, UnitMap]
    depth: tuple[int, int] | None

    @classmethod
    def between(cls, old: nnx.Module, new: nnx.Module) -> LinearMap:
        """Find the form; the models hold shapes alone."""
        maps = {
            label: position_map(before, after) if label == POSITIONS else NewUnits()(label, before, after, seed=0)
            for label, (before, after) in growing_labels(old, new).items()
            if label != LAYER
        }
        before, after = (stacked_depth(split_model(model)[1]) for model in (old, new))
        return cls(axes_of(old), maps, None if before is None or after is None else (before, after))

    @property
    def _deepens(self) -> bool:
        return self.depth is not None and self.depth[0] != self.depth[1]

    def begin(self, seed: int) -> dict[str, dict[str, Array]]:
        """Give what is learnt, before learning: the rows of new units, and the mixing weights of layers."""
        named = flat_axes(self.axes)
        parts = {_key(part): part for axes in named.values() for axis in axes for part in axis.parts}
        stacked = [".".join(path) for path, axes in named.items() if self._deepens and any(map(is_layer, axes))]
        return {
            "rows": {key: self._first_rows(seed, part) for key, part in parts.items() if not self._is_old(part).all()},
            "mixing": {name: self._first_mixing(seed, name) for name in stacked},
        }

    def grow(self, learnt: Mapping[str, Mapping[str, Array]], params: Tree) -> Tree:
        """Apply the map to parameters."""

        def grow(axes: Any, leaf: Any, path: tuple[str, ...]) -> Any:
            if isinstance(axes, Mapping):
                return {name: grow(axes[name], leaf[name], (*path, name)) for name in leaf}
            for number, axis in enumerate(axes):
                leaf = jnp.moveaxis(self._along(axis, learnt, jnp.moveaxis(leaf, number, 0), ".".join(path)), 0, number)
            return leaf

        return grow(self.axes, params, ())

    def _along(self, axis: LeafAxis, learnt: Mapping[str, Mapping[str, Array]], leaf: Array, name: str) -> Array:
        """Apply the map along the first axis of a parameter."""
        if is_layer(axis):
            return jnp.tensordot(learnt["mixing"][name], leaf, 1) if self._deepens else leaf
        if len(axis.parts) > 1:
            cuts = np.cumsum([part.size for part in axis.parts])[:-1]
            pieces = zip(axis.parts, jnp.split(leaf, cuts), strict=True)
            return jnp.concatenate([self._along(part, learnt, piece, name) for part, piece in pieces])
        steps = along(axis, self.maps)
        if steps is None:
            return leaf
        is_old = self._is_old(axis)
        grown = leaf[steps.source]
        if is_old.all():
            return grown
        return grown.at[np.flatnonzero(~is_old)].set(jnp.tensordot(learnt["rows"][_key(axis)], leaf, 1))

    def _is_old(self, axis: LeafAxis) -> np.ndarray:
        steps = along(axis, self.maps)
        return np.ones(axis.size, bool) if steps is None else steps.begins == KEPT

    def _first_rows(self, seed: int, axis: LeafAxis) -> Float[Array, "new old"]:
        """Begin the mixtures of new units with random rows of length 1."""
        shape = (~self._is_old(axis)).sum(), axis.size
        random = host_stream(seed, f"growth of {_key(axis)}").standard_normal(shape)
        return jnp.asarray(random / np.linalg.norm(random, axis=1, keepdims=True), jnp.float32)

    def _first_mixing(self, seed: int, name: str) -> Float[Array, "new old"]:
        """Begin with the stack's order and a little noise; each row adds up to 1."""
        before, after = self.depth or (0, 0)
        pattern = np.eye(before)[np.arange(after) % before]
        pattern += host_stream(seed, f"mixing of {name}").uniform(0, MIXING_NOISE, pattern.shape)
        return jnp.asarray(pattern / pattern.sum(axis=1, keepdims=True), jnp.float32)


def _key(axis: LeafAxis) -> str:
    """Name an axis by its units, so that the same units have the same map wherever they occur."""
    factors = axis.parts[0].factors
    return " x ".join(factor.label + " (attention)" * (factor.kind == "attention") for factor in factors)
