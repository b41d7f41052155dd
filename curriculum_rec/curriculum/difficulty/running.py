"""Difficulties fed by the steps' own losses (host), without an extra pass over the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit
from curriculum_rec.curriculum.difficulty.workshop import Workshop
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import BELOW_ONE, check_ranges


@dataclass(frozen=True)
class Loss:
    """The running mean of each unit's own training loss, fed by the steps themselves without an extra pass.

    A unit that was never seen counts as of average difficulty.

    Args:
        decay: Share of the old mean that a new loss leaves: ``m <- decay * m + (1 - decay) * loss``.

    Source: self-paced learning (Kumar et al., 2010) with the moving average of DIHCL (Zhou et al., 2020).
    """

    BY_BLOCKS: ClassVar[bool] = True

    decay: float = 0.9

    def __post_init__(self) -> None:
        check_ranges(self, "curriculum.difficulty", {"decay": BELOW_ONE})

    def __call__(
        self, examples: Examples, unit: Unit, losses: RunningLoss | None, workshop: Workshop | None = None
    ) -> np.ndarray:
        """Score all units."""
        if losses is None:
            raise OptionError("difficulty loss needs the running losses of a training run")
        average = losses.mean[losses.seen].mean() if losses.seen.any() else 0.0
        return np.where(losses.seen, losses.mean, average).astype(np.float64)
