"""How much the teacher counts when (device): pure functions of the stage's progress."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import ABOVE_0_TO_1, SHARE, at_least, check_ranges


@dataclass(frozen=True)
class Schedule:
    """The share of the teacher in the loss, ``(1 - a) task + a distillation``, and how hot temperatures are.

    The share is ``weight`` until ``full_until``, falls linearly, and is 0 from ``zero_from`` on: 1 and 1 keep it
    constant, two equal numbers stop it there. Temperatures begin at ``heat`` times their own value and fall linearly to
    it, so that at first the student hears more of items that the teacher puts low.

    Args:
        weight: The highest ``a``, in [0, 1]; 0 trains as if there were no teacher.
        full_until: Fraction of the stage, in [0, 1].
        zero_from: Fraction of the stage, in [full_until, 1].
        heat: At least 1.
        cooled_at: Fraction of the stage after which temperatures are their own, in (0, 1]; it has no effect with
            ``heat=1``.
    """

    weight: float = 0.5
    full_until: float = 0.8
    zero_from: float = 1.0
    heat: float = 1.0
    cooled_at: float = 0.5

    def __post_init__(self) -> None:
        ranges = {"weight": SHARE, "full_until": SHARE, "heat": at_least(1), "cooled_at": ABOVE_0_TO_1}
        check_ranges(self, "distil.schedule", ranges)
        if not self.full_until <= self.zero_from <= 1:
            raise OptionError(f"distil.schedule.zero_from={self.zero_from}: it must be in [full_until, 1]")
        if self.weight > 0 and self.zero_from == 0:
            raise OptionError(f"distil.schedule.weight={self.weight} has no effect with zero_from=0: set weight=0")
        if self.heat == 1 and self.cooled_at != type(self).cooled_at:
            raise OptionError("distil.schedule.cooled_at has no effect with heat=1: leave it out")

    @property
    def stops(self) -> bool:
        """Whether the teacher is not asked any more before the stage ends."""
        return self.zero_from < 1

    def weight_at(self, progress: Float[Array, ""] | float) -> Float[Array, ""]:
        """Give ``a``.

        >>> [round(float(Schedule().weight_at(p)), 3) for p in (0, 0.8, 0.9, 1)]
        [0.5, 0.5, 0.25, 0.0]
        >>> stop = Schedule(weight=1.0, full_until=0.5, zero_from=0.5)
        >>> [float(stop.weight_at(p)) for p in (0, 0.49, 0.5, 1)]
        [1.0, 1.0, 0.0, 0.0]
        """
        progress = jnp.asarray(progress, jnp.float32)
        fall = self.zero_from - self.full_until
        if fall == 0:
            share = jnp.where((progress < self.zero_from) | (self.zero_from == 1), 1.0, 0.0)
        else:
            share = jnp.clip((self.zero_from - progress) / fall, 0, 1)
        return jnp.float32(self.weight) * share.astype(jnp.float32)

    def heat_at(self, progress: Float[Array, ""] | float) -> Float[Array, ""]:
        """Give what temperatures are multiplied by.

        >>> [float(Schedule(heat=3.0).heat_at(p)) for p in (0, 0.25, 0.5, 1)]
        [3.0, 2.0, 1.0, 1.0]
        """
        progress = jnp.asarray(progress, jnp.float32)
        return self.heat + (1 - self.heat) * jnp.clip(progress / self.cooled_at, 0, 1)
