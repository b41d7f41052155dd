"""Optimizers that treat every number by itself and need no counts (device): SGD, Adagrad, Lion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, Range
from curriculum_rec.training.optimizers.options import ScheduledOptimizer
from curriculum_rec.training.row_gradients import table_names


@dataclass(frozen=True, kw_only=True)
class SGD(ScheduledOptimizer):
    """Options of gradient descent with momentum.

    Args:
        momentum: Share of the step before that a step keeps, in [0, 1); 0 is plain gradient descent.
        nesterov: Whether the momentum looks ahead.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Sutskever et al. (2013).
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False

    BY_ROW: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "momentum": BELOW_ONE}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise OptionError("optimizer.nesterov=true has no effect with momentum=0: leave it out, or set momentum")

    def direction(self) -> optax.GradientTransformation:
        """Accumulate gradients."""
        return optax.trace(self.momentum, nesterov=self.nesterov) if self.momentum else optax.identity()


@dataclass(frozen=True, kw_only=True)
class Adagrad(ScheduledOptimizer):
    """Options of Adagrad, whose steps shrink with all squared gradients so far: seldom seen items keep long ones.

    Args:
        eps: Added to the sum of squares, under the root.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Duchi et al. (2011), the diagonal form. The sum begins at 0, for a grown model's new parameters, too.
    """

    learning_rate: float = 0.1
    eps: float = 1e-7

    BY_ROW: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "eps": POSITIVE}

    def direction(self) -> optax.GradientTransformation:
        """Divide by the root of the sum of squares."""
        return optax.scale_by_rss(initial_accumulator_value=0.0, eps=self.eps)


class RowwiseAdagradState(NamedTuple):
    """Sums of squares, with None where the other has something: one a number, or one a row of a table."""

    sum_of_squares: Tree
    row_squares: Tree


@dataclass(frozen=True, kw_only=True)
class RowwiseAdagrad(ScheduledOptimizer):
    """Options of Adagrad with one sum of squares a row of item and user tables, and one a number of all else.

    A table's state is smaller by the width of its rows, and each row's direction stays that of its gradient.

    Args:
        eps: Added to the sum of squares, under the root.
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Gupta et al. (2014), section 4.4; the mean of a row's squares as in FBGEMM's ``EXACT_ROWWISE_ADAGRAD``.
    """

    learning_rate: float = 0.1
    eps: float = 1e-7

    BY_ROW: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "eps": POSITIVE}

    def direction(self) -> optax.GradientTransformation:
        """Divide by the root of the sum of squares."""
        return optax.GradientTransformation(_begin_rowwise, partial(_step_rowwise, self.eps))


def _begin_rowwise(params: Tree) -> RowwiseAdagradState:
    tables = table_names(params)

    def begin(path: tuple[Any, ...], leaf: Any, *, of_tables: bool) -> Array | None:
        if (".".join(path_names(path)) in tables) != of_tables:
            return None
        return jnp.zeros(leaf.shape[:1] if of_tables else leaf.shape, leaf.dtype)

    each, rows = (
        jax.tree_util.tree_map_with_path(partial(begin, of_tables=of_tables), params) for of_tables in (False, True)
    )
    return RowwiseAdagradState(each, rows)


def _step_rowwise(
    eps: float, updates: Tree, state: RowwiseAdagradState, params: Tree | None = None
) -> tuple[Tree, RowwiseAdagradState]:
    del params

    def add(gradient: Array, total: Array | None, *, of_tables: bool) -> Array | None:
        if total is None:
            return None
        return total + ((gradient * gradient).mean(axis=1) if of_tables else gradient * gradient)

    each, rows = (
        jax.tree.map(partial(add, of_tables=of_tables), updates, totals)
        for of_tables, totals in ((False, state.sum_of_squares), (True, state.row_squares))
    )

    def divide(gradient: Array, own: Array | None, of_row: Array | None) -> Array:
        total: Any = own if of_row is None else of_row[:, None]
        return jnp.where(total > 0, jax.lax.rsqrt(total + eps), 0) * gradient

    return jax.tree.map(divide, updates, each, rows), RowwiseAdagradState(each, rows)


@dataclass(frozen=True, kw_only=True)
class Lion(ScheduledOptimizer):
    """Options of Lion, whose steps are signs; its learning rate is 3 to 10 times lower than AdamW's.

    Args:
        b1: Share of the momentum in a step, in [0, 1).
        b2: Decay of the momentum, in [0, 1).
        learning_rate, weight_decay, clip_norm, warmup_steps, penalty, schedule, final_fraction, weight_average: As in
            :class:`ScheduledOptimizer`.

    Source: Chen et al. (2023), algorithm 2.
    """

    learning_rate: float = 3e-4
    b1: float = 0.9
    b2: float = 0.99

    BY_ROW: ClassVar[bool] = True
    RANGES: ClassVar[Mapping[str, Range]] = {**ScheduledOptimizer.RANGES, "b1": BELOW_ONE, "b2": BELOW_ONE}

    def direction(self) -> optax.GradientTransformation:
        """Take the sign between the momentum and the gradient."""
        return optax.scale_by_lion(self.b1, self.b2)
