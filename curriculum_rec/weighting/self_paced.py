"""Self-paced weights (device): closed forms of ``argmin_v v l + f(v; threshold)`` over ``v`` in [0, 1].

The threshold is the quantile of the batch's losses at the share that a pacing gives, so that it needs no scale of its
own: with a share of 0.3, the easiest three tenths of a batch lie below it. :class:`Mentor` keeps its share and softens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.ranges import ABOVE_0_TO_1, BELOW_ONE, INSIDE_ONE, POSITIVE, SHARE, above, check_ranges
from curriculum_rec.weighting.contract import Memory, Rule, Seen


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
        check_ranges(self, "weighting", {"start": ABOVE_0_TO_1, "full_at": POSITIVE})

    def threshold(self, seen: Seen) -> tuple[Bool[Array, ""], Float[Array, ""]]:
        """Say whether everything counts by now, and give the threshold."""
        s = jnp.clip(seen.progress / self.full_at, 0, 1)
        threshold = jnp.maximum(seen.quantile(self.start + (1 - self.start) * s), 1e-6)
        # What lies exactly on the threshold belongs to the share: it is moved up by a rounding error.
        return s >= 1, threshold * (1 + 1e-6)

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        full, threshold = self.threshold(seen)
        weight = self.weight(seen.losses, threshold)
        return jnp.where(full, jnp.ones_like(weight), weight)

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
        check_ranges(self, "weighting", {"half": INSIDE_ONE})

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
        check_ranges(self, "weighting", {"lower": INSIDE_ONE})

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
        check_ranges(self, "weighting", {"power": above(1)})

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


@dataclass(frozen=True)
class Mentor(Rule):
    """1 at first, then 1 below a threshold and 0 above, in the end falling from 1 to 0 above the threshold.

    The threshold is a running mean of the batches' quantiles of the losses. In the end a loss ``l`` weighs
    ``1 - (l - threshold) / slope``, between 0 and 1.

    Args:
        share: Share of a batch that lies below the threshold, in (0, 1].
        decay: Share of the old mean that a new batch leaves, in [0, 1).
        slope: How far above the threshold the weight reaches 0 in the end, above 0.
        burn_in: Fraction of the run until which all weigh 1, in [0, 1].
        hard_until: Fraction of the run until which the threshold is a sharp one, in [0, 1].

    Source: the predefined curriculum of MentorNet (Jiang et al., 2018). Its mean begins at 0; ours is that of the
    batches there have been.
    """

    share: float = 0.75
    decay: float = 0.5
    slope: float = 1.0
    burn_in: float = 0.18
    hard_until: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "share": ABOVE_0_TO_1,
            "decay": BELOW_ONE,
            "slope": POSITIVE,
            "burn_in": SHARE,
            "hard_until": SHARE,
        }
        check_ranges(self, "weighting", ranges)

    def begin(self) -> Memory:
        """Give the mean of no batch."""
        return {"mean": jnp.zeros((), jnp.float32), "share": jnp.zeros((), jnp.float32)}

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        quantile = seen.quantile(jnp.float32(self.share))
        counts = seen.all_counts.any()  # a batch in which nothing counts has no quantile, and leaves the mean alone
        mean = jnp.where(counts, self.decay * memory["mean"] + (1 - self.decay) * quantile, memory["mean"])
        share = jnp.where(counts, self.decay * memory["share"] + (1 - self.decay), memory["share"])
        beyond = seen.losses - mean / jnp.maximum(share, 1e-9)
        weight = jnp.where(
            seen.progress < self.hard_until,
            (beyond <= 0).astype(jnp.float32),
            jnp.clip(1 - beyond / self.slope, 0, 1),
        )
        weight = jnp.where(seen.progress < self.burn_in, jnp.ones_like(weight), weight)
        return weight, {"mean": mean, "share": share}
