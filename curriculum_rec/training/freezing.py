"""Freezing (host and device): parts of a model that a stage, or a part of a stage, leaves as they are.

What is frozen is static, so that the compiled step neither computes a gradient for it nor keeps anything for one; it is
compiled once a level. Frozen numbers and their part of the optimizer's state stay the same, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.depth import parameter_paths, stacked_depth
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import is_stacked, path_names
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.models.touched import TouchedTable
from curriculum_rec.ranges import ABOVE_0_TO_1, BELOW_ONE, POSITIVE, at_least, check_ranges


@dataclass(frozen=True)
class Frozen:
    """What is frozen at a moment.

    Attributes:
        blocks: How many of the first blocks; no gradient passes below them.
        leaves: Paths of the leaves that are frozen whole, as plain names.
    """

    blocks: int = 0
    leaves: frozenset[tuple[str, ...]] = frozenset()

    def __bool__(self) -> bool:
        return self.blocks > 0 or bool(self.leaves)

    def stop(self, params: Tree) -> Tree:
        """Let no gradient into frozen leaves; the model itself lets none into frozen blocks."""

        def stop(path: tuple[Any, ...], leaf: Any) -> Any:
            if path_names(path) not in self.leaves or isinstance(leaf, TouchedTable):  # its rows get none already
                return leaf
            return jax.lax.stop_gradient(leaf)

        return jax.tree_util.tree_map_with_path(stop, params)

    def hold(self, updates: Tree, opt_state: Tree, before: Tree) -> tuple[Tree, Tree]:
        """Take the updates of what is frozen back.

        Args:
            updates: The optimizer's updates of the parameters.
            opt_state: Its state after them.
            before: Its state before them.

        Returns:
            Both, as if what is frozen had not been looked at.
        """
        paths = parameter_paths(updates)

        def hold_update(path: tuple[Any, ...], update: Array) -> Array:
            # Minus zero: a sum with it is the same number, bit for bit, whatever the number's own sign.
            return self._keep(path_names(path), update, jnp.full_like(update, -0.0))

        def hold_state(path: tuple[Any, ...], new: Array, old: Array) -> Array:
            kind, name = state_kind(path, paths)
            return new if kind == "whole" else self._keep(name, new, old)

        return (
            jax.tree_util.tree_map_with_path(hold_update, updates),
            jax.tree_util.tree_map_with_path(hold_state, opt_state, before),
        )

    def _keep(self, name: tuple[str, ...], new: Array, old: Array) -> Array:
        if name in self.leaves:
            return old
        if self.blocks and is_stacked(tuple(map(jax.tree_util.DictKey, name))):
            return new.at[: self.blocks].set(old[: self.blocks])
        return new


@dataclass(frozen=True)
class StageShape:
    """What levels of freezing depend on.

    Attributes:
        steps: Greatest length of the stage.
        steps_per_epoch: Steps of a pass over the full data.
        depth: Blocks of the model.
        depth_before: Blocks before growth.
    """

    steps: int
    steps_per_epoch: int
    depth: int
    depth_before: int


@dataclass(frozen=True)
class Level:
    """From a step of the stage on, so many of the first blocks are frozen."""

    step: int
    blocks: int


@runtime_checkable
class Freezing(Protocol):
    """What a stage freezes when."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of names of leaves that are frozen throughout."""
        ...

    @property
    def from_new_blocks(self) -> bool:
        """Whether it tells new blocks from old ones, and so needs growth that puts new blocks on top."""
        ...

    def levels(self, stage: StageShape) -> tuple[Level, ...]:
        """Give the levels of the stage, the first one at its first step; each is compiled once."""
        ...


@dataclass(frozen=True)
class FrozenParts:
    """Options of parts that are frozen through a whole stage.

    Args:
        blocks: How many of the first blocks, at least 0. What is below them alone (vectors of positions) is frozen with
            them, and the item table goes on learning as output alone.
        leaves: Patterns of names of parameters that are frozen whole, such as ``items.embedding`` or ``*.bias``.
    """

    blocks: int = 0
    leaves: tuple[str, ...] = ()
    from_new_blocks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.freeze", {"blocks": at_least(0)})
        if not self.blocks and not self.leaves:
            raise OptionError(
                "stages.NAME.freeze: neither blocks nor leaves are frozen: say which, or leave freeze null"
            )

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of names of leaves that are frozen throughout."""
        return self.leaves

    def levels(self, stage: StageShape) -> tuple[Level, ...]:
        """Give the levels of the stage."""
        del stage
        return (Level(0, self.blocks),)


@dataclass(frozen=True)
class GradualUnfreezing:
    """Options of gradual unfreezing: at first only the top block and what is above it learn, then one more and so on.

    Args:
        every_epochs: Passes over the full data after which one more block learns, above 0.

    Source: ULMFiT (Howard and Ruder, 2018), section 3.3.
    """

    every_epochs: float = 1.0
    patterns: ClassVar[tuple[str, ...]] = ()
    from_new_blocks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.freeze", {"every_epochs": POSITIVE})

    def levels(self, stage: StageShape) -> tuple[Level, ...]:
        """Give the levels of the stage."""
        every = max(1, round(self.every_epochs * stage.steps_per_epoch))
        return tuple(
            Level(number * every, stage.depth - 1 - number)
            for number in range(stage.depth)
            if number * every < stage.steps
        )


@dataclass(frozen=True)
class NewBlocksFirst:
    """Options of training new blocks and what is above them alone, before all.

    Args:
        until: Share of the stage after which all learn, in (0, 1]; at 1 they do in a later stage.

    Source: multi-stage layerwise training (Yang et al., 2020), whose last fifth trains all.
    """

    until: float = 0.8
    patterns: ClassVar[tuple[str, ...]] = ()
    from_new_blocks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.freeze", {"until": ABOVE_0_TO_1})

    def levels(self, stage: StageShape) -> tuple[Level, ...]:
        """Give the levels of the stage."""
        first, then = Level(0, stage.depth_before), Level(max(1, round(self.until * stage.steps)), 0)
        return (first, then) if then.step < stage.steps else (first,)


@dataclass(frozen=True)
class FreezeEarlyLayers:
    """Options of freezing the first blocks one after the other, as they settle first.

    Args:
        start: Share of the stage after which freezing begins, in [0, 1).
        level: Share of the blocks that are frozen at the stage's end, in (0, 1]; it rises linearly to there.

    Source: FreezeOut (Brock et al., 2017) in the linear form of Composer's layer freezing.
    """

    start: float = 0.5
    level: float = 1.0
    patterns: ClassVar[tuple[str, ...]] = ()
    from_new_blocks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "stages.NAME.freeze", {"start": BELOW_ONE, "level": ABOVE_0_TO_1})

    def levels(self, stage: StageShape) -> tuple[Level, ...]:
        """Give the levels of the stage."""
        levels = {0: 0}
        for blocks in range(1, math.floor(self.level * stage.depth) + 1):
            progress = self.start + (1 - self.start) * blocks / (self.level * stage.depth)
            levels[math.ceil(progress * stage.steps)] = blocks
        return tuple(Level(step, blocks) for step, blocks in levels.items() if step < stage.steps)


def frozen_at(freezing: Freezing | None, stage: StageShape, step: int, model: nnx.Module) -> tuple[Frozen, int | None]:
    """Say what is frozen at a step of a stage, and when that changes.

    Args:
        freezing: What the stage freezes; None is nothing.
        stage: The stage.
        step: Steps trained in it.
        model: Its model; it may hold shapes alone.

    Returns:
        What is frozen, and the step of the stage with which the next level begins; None where none follows.
    """
    if freezing is None:
        return Frozen(), None
    levels = freezing.levels(stage)
    blocks = [level.blocks for level in levels if level.step <= step][-1]
    paths = parameter_paths(split_model(model)[1])
    patterns = freezing.patterns + (tuple(_below_blocks(model)) if blocks else ())
    leaves = frozenset(path for path in paths if any(fnmatchcase(".".join(path), pattern) for pattern in patterns))
    return Frozen(blocks, leaves), min((level.step for level in levels if level.step > step), default=None)


def check_freezing(name: str, freezing: Freezing, stage: StageShape, model: nnx.Module) -> None:
    """Refuse what cannot be frozen.

    Args:
        name: The stage's, for error messages.
        freezing: What it freezes.
        stage: Its shape.
        model: Its model; it may hold shapes alone.

    Raises:
        OptionError: There are not so many blocks, a pattern fits nothing, or nothing is left to learn.
    """
    option, params = f"stages.{name}.freeze", split_model(model)[1]
    paths = sorted(".".join(path) for path in parameter_paths(params))
    for pattern in freezing.patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise OptionError(f"{option}.leaves: '{pattern}' fits no parameter; there are: {', '.join(paths)}")
    if freezing.from_new_blocks and stage.depth_before >= stage.depth:
        raise OptionError(f"{option}: {type(freezing).__name__} needs new blocks, and the stage does not grow in depth")
    for level in freezing.levels(stage):
        if level.blocks and stacked_depth(params) is None:
            raise OptionError(f"{option}: this model has no stacked 'blocks' of which the first could be frozen")
        if level.blocks > stage.depth:
            raise OptionError(f"{option}.blocks={level.blocks}: the model has only {stage.depth} blocks")
        frozen, _ = frozen_at(freezing, stage, level.step, model)
        learning = [path for path in paths if tuple(path.split(".")) not in frozen.leaves]
        if level.blocks == stage.depth:
            learning = [path for path in learning if not path.startswith("blocks.")]
        if not learning:
            raise OptionError(f"{option}: nothing of the model is left to learn")


def _below_blocks(model: nnx.Module) -> list[str]:
    """Give patterns of the leaves that a model uses below its blocks alone, as it says in ``BELOW_BLOCKS``."""
    return [f"{name}.*" for name in getattr(model, "BELOW_BLOCKS", ())]
