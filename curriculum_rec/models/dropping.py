"""Dropping blocks (device): in training, a random part of the blocks is left out of every step, and costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.ranges import ABOVE_0_TO_1, POSITIVE, check_ranges


@runtime_checkable
class BlockDrop(Protocol):
    """How probably each block is kept."""

    @property
    def scales(self) -> bool:
        """Whether what a kept block adds is divided by its probability, so that its mean is what it always adds."""
        ...

    def keep(self, depth: int, progress: Float[Array, ""] | None) -> Float[Array, " depth"]:
        """Give the probability with which each block is kept.

        Args:
            depth: Number of blocks.
            progress: Steps trained as a fraction of the run.
        """
        ...


@dataclass(frozen=True)
class ProgressiveDrop:
    """Options of progressive layer dropping: all blocks at first, then fewer, deep ones more rarely than shallow ones.

    The mean share of the blocks is ``theta = (1 - level) exp(-rate progress) + level``; block l of L is kept with
    probability ``1 - (l / L) (1 - theta)``.

    Args:
        level: What ``theta`` falls to, in (0, 1].
        rate: How fast, above 0; progress is a fraction of the run, so that 100 is the paper's ``gamma = 100 / steps``.

    Source: Zhang and He (2020), section 4.
    """

    level: float = 0.5
    rate: float = 100.0
    scales: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "model.drop", {"level": ABOVE_0_TO_1, "rate": POSITIVE})

    def theta(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        """Give the schedule's value.

        >>> ProgressiveDrop(level=0.5).theta(jnp.float32(0)).tolist()
        1.0
        """
        return (1 - self.level) * jnp.exp(-self.rate * progress) + self.level

    def keep(self, depth: int, progress: Float[Array, ""] | None) -> Float[Array, " depth"]:
        """Give the probability with which each block is kept.

        Raises:
            OptionError: Nobody says how far the run is.
        """
        if progress is None:
            raise OptionError("model.drop follows the run's progress, and this batch has none: set Batch.progress")
        return 1 - _levels(depth) * (1 - self.theta(progress))


@dataclass(frozen=True)
class LayerDrop:
    """Options of LayerDrop: every block is left out with the same probability, and what others add is not scaled.

    Args:
        rate: That probability, in (0, 1).

    Source: Fan, Grave and Joulin (2020), section 3.
    """

    rate: float = 0.2
    scales: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def keep(self, depth: int, progress: Float[Array, ""] | None = None) -> Float[Array, " depth"]:
        """Give the probability with which each block is kept.

        >>> LayerDrop(0.25).keep(2).tolist()
        [0.75, 0.75]
        """
        del progress
        return jnp.full(depth, 1 - self.rate, jnp.float32)


@dataclass(frozen=True)
class LinearDrop:
    """Options of stochastic depth: block l of L is left out with probability ``rate l / L``.

    Args:
        rate: The last block's probability, in (0, 1).

    Source: Huang et al. (2016), equation 4; what a kept block adds is scaled up in training, not down afterwards.
    """

    rate: float = 0.2
    scales: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def keep(self, depth: int, progress: Float[Array, ""] | None = None) -> Float[Array, " depth"]:
        """Give the probability with which each block is kept.

        >>> LinearDrop(0.5).keep(2).tolist()
        [0.75, 0.5]
        """
        del progress
        return 1 - self.rate * _levels(depth)


def drop_block(
    x: Float[Array, "*shape"],
    layer: Callable[[Array], Array],
    *,
    probability: Float[Array, ""],
    scales: bool,
    rng: BatchRng,
) -> Float[Array, "*shape"]:
    """Run a block, or leave it out for the whole batch; one left out is not computed.

    Args:
        x: What goes into the block.
        layer: The block.
        probability: With which it is kept.
        scales: Whether what it adds is divided by that.
        rng: Its randomness; all devices and rows draw the same.
    """
    kept = jax.random.uniform(rng.named("drop").key()) < probability

    def run(x: Array) -> Array:
        return x + (layer(x) - x) / probability.astype(x.dtype) if scales else layer(x)

    return jax.lax.cond(kept, run, lambda x: x, x)


def _levels(depth: int) -> Float[Array, " depth"]:
    return jnp.arange(1, depth + 1, dtype=jnp.float32) / depth


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise OptionError(f"model.drop.rate={rate}: it must lie in (0, 1); leave model.drop null to keep all blocks")
