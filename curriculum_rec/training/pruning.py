"""Pruning while training (device): weights that became 0 stay 0, and more of them do, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges
from curriculum_rec.training.optimizers.average import averaged_parameters
from curriculum_rec.training.optimizers.contract import OptimizerFactory
from curriculum_rec.training.optimizers.touched import TouchingTransformation


class PrunedState(NamedTuple):
    """Steps taken, and the state of the optimizer inside."""

    steps: Int32[Array, ""]
    inner: Tree


@dataclass(frozen=True)
class Pruned:
    """An optimizer under which matrices lose their smallest weights, each matrix by itself.

    The share of a matrix's entries that are 0 rises from 0 by a cubic curve, fast where there is much to leave out.
    What is 0 stays 0, so that no mask is stored: it is the parameters'. A run that starts from a pruned one
    (``curriculum-rec compress method=magnitude``, then ``stages.NAME.warm_start=``) with ``sparsity=null`` trains on
    what was left, with the learning rate from the start again; several such rounds are learning-rate rewinding.

    Growth that makes room with zeros is not for such a run: they would stay.

    Args:
        optimizer: Updates the weights that are left. It may not average weights: averages of pruned ones are not 0.
        sparsity: Share of every matrix's entries that are 0 in the end, in (0, 1); None leaves out no more than is 0.
        start: When it begins to rise, as a fraction of the run, at least 0.
        end: When it is reached, above ``start`` and at most 1; the rest of the run trains what is left.
        every_steps: Steps between two looks at which weights are smallest, at least 1.

    Source: Zhu and Gupta (2017), To Prune, or Not to Prune, equation 1; learning-rate rewinding after Renda et al.
    (2020).
    """

    optimizer: OptimizerFactory
    sparsity: float | None = 0.8
    start: float = 0.2
    end: float = 0.7
    every_steps: int = 50

    def __post_init__(self) -> None:
        check_ranges(self, "optimizer", {"sparsity": INSIDE_ONE.or_null(), "every_steps": at_least(1)})
        if not 0 <= self.start < self.end <= 1:
            raise OptionError(
                f"optimizer.start={self.start} and optimizer.end={self.end}: they must rise, from 0 to 1 at most"
            )

    def __call__(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.GradientTransformation:
        """Build the transformation; arguments as in the optimizer inside.

        Raises:
            OptionError: That one averages weights, or touches single rows.
        """
        inner = self.optimizer(total_steps, scale)
        if isinstance(inner, TouchingTransformation):
            raise OptionError("optimizer=pruned looks at every weight, which an optimizer of touched rows is to avoid")

        def init(params: Tree) -> PrunedState:
            state = inner.init(params)
            if averaged_parameters(state) is not None:
                raise OptionError(
                    "optimizer=pruned needs an optimizer that averages no weights: pruned ones would return"
                )
            return PrunedState(jnp.zeros((), jnp.int32), state)

        def update(updates: Tree, state: PrunedState, params: Tree) -> tuple[Tree, PrunedState]:
            updates, inner_state = inner.update(updates, state.inner, params)
            steps = state.steps + 1
            share = jnp.where(steps % self.every_steps == 0, self.share_at(steps / total_steps), 0)

            def prune(path: tuple[Any, ...], step: Array, leaf: Array) -> Array:
                if leaf.ndim - is_stacked(path) < 2:
                    return step
                step = jnp.where(leaf == 0, 0, step)
                new = leaf + step
                kept = jax.lax.cond(share > 0, lambda: keep_largest(new, share, stacked=is_stacked(path)), lambda: new)
                return jnp.where(kept == 0, -leaf, step)

            return jax.tree_util.tree_map_with_path(prune, updates, params), PrunedState(steps, inner_state)

        return optax.GradientTransformation(init, update)

    def learning_rate_schedule(self, total_steps: int, scale: optax.Schedule | None = None) -> optax.Schedule:
        """Give the learning rate of the optimizer inside."""
        return self.optimizer.learning_rate_schedule(total_steps, scale)

    def share_at(self, progress: Float[Array, ""] | float) -> Float[Array, ""]:
        """Say which share is 0 after a fraction of the run.

        >>> from curriculum_rec.training.optimizers import AdamW
        >>> pruned = Pruned(AdamW(), sparsity=0.8, start=0.0, end=0.5)
        >>> [round(float(pruned.share_at(t)), 3) for t in (0.0, 0.25, 0.5, 1.0)]
        [0.0, 0.7, 0.8, 0.8]
        """
        done = jnp.clip((jnp.asarray(progress, jnp.float32) - self.start) / (self.end - self.start), 0, 1)
        return jnp.float32(self.sparsity or 0) * (1 - (1 - done) ** 3)


def keep_largest(leaf: Float[Array, "*shape"], share: Float[Array, ""], *, stacked: bool) -> Float[Array, "*shape"]:
    """Set a share of a matrix's entries to 0, the smallest; equal ones go together.

    Args:
        leaf: The matrix.
        share: In [0, 1).
        stacked: Whether the first axis counts layers, each a matrix of its own.

    >>> keep_largest(jnp.array([[1.0, -3.0], [2.0, 0.5]]), jnp.float32(0.5), stacked=False).tolist()
    [[0.0, -3.0], [2.0, 0.0]]
    """
    size = jnp.abs(leaf.reshape(leaf.shape[0] if stacked else 1, -1))
    n_zero = jnp.floor(share * size.shape[1] + 0.5).astype(jnp.int32)
    ordered = jnp.sort(size, axis=1)
    last = jnp.take(ordered, jnp.maximum(n_zero - 1, 0), axis=1)[:, None]
    kept = (size > last) | (n_zero == 0)
    return jnp.where(kept.reshape(leaf.shape), leaf, 0)
