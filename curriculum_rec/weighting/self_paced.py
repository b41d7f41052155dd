"""Self-paced weights (device): closed forms of ``argmin_v v l + f(v; threshold)`` over ``v`` in [0, 1].

The threshold is the quantile of the batch's losses at the share that a pacing gives, so that it needs no scale of its
own: with a share of 0.3, the easiest three tenths of a batch lie below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.weighting.contract import Rule, Seen, check_between


@dataclass(frozen=True)
class SelfPaced(Rule):
    """A weight between 0 and 1 that does not grow with the loss.

    Args:
        start: Share of a batch that lies below the threshold at first, in (0, 1].
        full_at: Fraction of the run, growing linearly until which everything lies below it; above 0. From then on all
            weigh 1.
    """

    start: float = 0.2
    full_at: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.start <= 1:
            raise OptionError(f"weighting.start={self.start}: it must lie in (0, 1]")
        check_between("full_at", self.full_at, 0, math.inf)

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        s = jnp.clip(seen.progress / self.full_at, 0, 1)
        threshold = jnp.maximum(seen.quantile(self.start + (1 - self.start) * s), 1e-6)
        # What lies exactly on the threshold belongs to the share: it is moved up by a rounding error.
        weight = self.weight(seen.losses, threshold * (1 + 1e-6))
        return jnp.where(s >= 1, jnp.ones_like(weight), weight)

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form, for losses of at least 0 and a threshold above 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class HardThreshold(SelfPaced):
    """1 below the threshold, else 0; ``f = -threshold v``.

    Source: Kumar, Packer and Koller (2010).
    """

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        return (losses < threshold).astype(losses.dtype)


@dataclass(frozen=True)
class LinearThreshold(SelfPaced):
    """``1 - l / threshold`` below the threshold, else 0; ``f = threshold (v^2 / 2 - v)``.

    Source: Jiang et al. (2014).
    """

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        return jnp.clip(1 - losses / threshold, 0, 1)


@dataclass(frozen=True)
class LogarithmicThreshold(SelfPaced):
    """``log(l' + z) / log z`` below the threshold, else 0, with ``z = 1 - half``; ``f = z v - z^v / log z``.

    The form holds for thresholds between 0 and 1 only, so losses are scaled for it to be ``half``: ``l' = half l /
    threshold``.

    Args:
        half: Where the threshold lies after scaling, in (0, 1).

    Source: Jiang et al. (2014).
    """

    half: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("half", self.half, 0, 1)

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        z = 1 - self.half
        scaled = jnp.clip(self.half * losses / threshold, 0, self.half)
        return jnp.clip(jnp.log(scaled + z) / math.log(z), 0, 1)


@dataclass(frozen=True)
class MixtureThreshold(SelfPaced):
    """1 up to a lower threshold, 0 from the upper one on, between them ``z (1 / l - 1 / upper)``.

    ``f = -z log(v + z / upper)``.

    Args:
        lower: The lower threshold as a part of the upper one, in (0, 1).

    Source: Zhao et al. (2015), with ``z = upper lower / (upper - lower)``.
    """

    lower: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("lower", self.lower, 0, 1)

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        lower = self.lower * threshold
        z = threshold * lower / (threshold - lower)
        return jnp.clip(z * (1 / jnp.maximum(losses, lower) - 1 / threshold), 0, 1)


@dataclass(frozen=True)
class PolynomialThreshold(SelfPaced):
    """``(1 - l / threshold)^(1 / (power - 1))`` below the threshold, else 0; ``f = threshold (v^power / power - v)``.

    Args:
        power: Above 1.

    Source: Gong et al. (2018).
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("power", self.power, 1, math.inf)

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        return jnp.clip(1 - losses / threshold, 0, 1) ** (1 / (self.power - 1))


@dataclass(frozen=True)
class LogisticThreshold(SelfPaced):
    """``(1 + e^-threshold) / (1 + e^(l - threshold))``, at most 1; no loss weighs nothing.

    ``f = (c - v) log(c - v) + v log v - threshold v`` with ``c = 1 + e^-threshold``.

    Source: Xu, Tao and Xu (2015).
    """

    def weight(self, losses: Float[Array, "*shape"], threshold: Float[Array, ""]) -> Float[Array, "*shape"]:
        """Give the closed form."""
        return jnp.clip((1 + jnp.exp(-threshold)) / (1 + jnp.exp(jnp.minimum(losses - threshold, 80.0))), 0, 1)
