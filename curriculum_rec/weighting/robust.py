"""Weights against noise, or for what is hard (device)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.ranges import ABOVE_0_TO_1, BELOW_ONE, POSITIVE, at_least, check_ranges
from curriculum_rec.weighting.contract import Memory, Normalise, Rule, Seen


@dataclass(frozen=True)
class SuperLoss(Rule):
    """Weights ``sigma = exp(-W(max(-2 / e, beta) / 2))``, ``beta = (l - tau) / scale``: above 1 below tau, less above.

    ``W`` is Lambert's function; ``sigma`` minimises ``(l - tau) sigma + scale (log sigma)^2``, and is a constant of the
    gradient. ``tau`` is a running mean of the batches' mean losses.

    Args:
        scale: The larger, the closer to 1 all weights are; above 0.
        decay: Share of the old mean that a new batch leaves, in [0, 1).

    Source: Castells, Weinzaepfel and Revaud (2020).
    """

    scale: float = 1.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"scale": POSITIVE, "decay": BELOW_ONE})

    def begin(self) -> Memory:
        """Give the mean of no batch."""
        return {"mean": jnp.zeros((), jnp.float32), "share": jnp.zeros((), jnp.float32)}

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        mean = self.decay * memory["mean"] + (1 - self.decay) * seen.mean()
        share = self.decay * memory["share"] + (1 - self.decay)
        beta = (seen.losses - mean / share) / self.scale
        weight = jnp.exp(-lambert_w(jnp.maximum(beta, -2 / math.e) / 2))
        return weight, {"mean": mean, "share": share}


def lambert_w(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Compute the principal branch of Lambert's function, ``w e^w = x``, for ``x >= -1 / e``, in float32.

    Source: Halley's iteration, from a series about the branch point, and from ``log(1 + x)`` away from it.
    """
    root = jnp.sqrt(jnp.maximum(2 * (math.e * x + 1), 0))
    near = -1 + root - root**2 / 3 + 11 / 72 * root**3
    log = jnp.log1p(jnp.maximum(x, 0))
    far = log * (1 - jnp.log1p(log) / (2 + log))
    w = jnp.where(x < 0.5, near, far)

    def improve(_: Array, w: Array) -> Array:
        error = w * jnp.exp(w) - x
        slope = jnp.exp(w) * (w + 1)
        step = error / jnp.where(slope == 0, 1, slope - (w + 2) * error / jnp.where(w == -1, 1, 2 * w + 2))
        return jnp.where(root < 1e-3, w, jnp.maximum(w - step, -1))

    return jax.lax.fori_loop(0, 5, improve, w)


@dataclass(frozen=True)
class Focal(Rule):
    """``(1 - p)^gamma``, ``p = e^-l``: what is known already weighs little.

    Args:
        gamma: At least 0.

    Source: the weights of the focal loss (Lin et al., 2017), constants of the gradient here.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"gamma": at_least(0)})

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        return (-jnp.expm1(-jnp.maximum(seen.losses, 0))) ** self.gamma


@dataclass(frozen=True)
class GeneralisedCrossEntropy(Rule):
    """``p^q``, ``p = e^-l``: the gradient of ``(1 - p^q) / q``, between cross-entropy (0) and mean absolute error (1).

    Args:
        q: In [0, 1).

    Source: Zhang and Sabuncu (2018).
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"q": BELOW_ONE})

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        return jnp.exp(-self.q * seen.losses)


@dataclass(frozen=True)
class Gaussian(Rule):
    """``exp(-tau (1 - p)^2)``, ``p = e^-l``: what is far from known weighs little, and in the course of the run more.

    ``tau`` is ``sharpness`` in the first of ``rounds`` equal parts of the run, and ``factor`` times less in each
    further one. By default the gradient is divided by the sum of the weights, as in the source.

    Args:
        sharpness: At least 0; 0 lets all weigh the same.
        factor: What a part leaves of ``tau``, in (0, 1].
        rounds: Parts of the run, at least 1.

    Source: the denoising weights of Chen et al. (2021), there of the squared error of a click's probability; the number
    of rounds is ours.
    """

    normalise: Normalise = field(default="weight", kw_only=True)
    sharpness: float = 10.0
    factor: float = 0.4
    rounds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"sharpness": at_least(0), "factor": ABOVE_0_TO_1, "rounds": at_least(1)})

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        number = jnp.clip(jnp.floor(seen.progress * self.rounds + 1e-4), 0, self.rounds - 1)
        tau = self.sharpness * self.factor**number
        return jnp.exp(-tau * jnp.expm1(-jnp.maximum(seen.losses, 0)) ** 2)


@dataclass(frozen=True)
class Truncated(Rule):
    """0 for the targets with the largest losses of a batch, ``floor(rate * n)`` of its ``n`` targets, else 1.

    The rate grows to ``max_rate`` and stays there: ``max_rate * min(1, (progress / full_at)^power)``.

    Args:
        max_rate: Share of the targets that is left out in the end, in [0, 1).
        full_at: Fraction of the run after which that is reached, above 0.
        power: How late the growth comes, above 0.

    Source: T-CE of Wang et al. (2021), which takes the number out of positives and negatives alike but leaves out
    positives only, and whose schedule jumps at its end.
    """

    max_rate: float = 0.2
    full_at: float = 0.5
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"max_rate": BELOW_ONE, "full_at": POSITIVE, "power": POSITIVE})

    def rate(self, progress: Float[Array, ""]) -> Float[Array, ""]:
        """Give the share that is left out."""
        return self.max_rate * jnp.clip(progress / self.full_at, 0, 1) ** self.power

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        n_dropped = jnp.floor(self.rate(seen.progress) * seen.all_counts.sum() + 1e-4).astype(jnp.int32)
        order = jnp.argsort(jnp.where(seen.all_counts, -seen.all_losses, jnp.inf))  # of equal losses the first rows go
        rank = jnp.zeros(len(order), jnp.int32).at[order].set(jnp.arange(len(order), dtype=jnp.int32))
        return seen.own((rank >= n_dropped).astype(jnp.float32))
