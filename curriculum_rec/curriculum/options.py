"""The curriculum (host): difficulty x pacing x sampler x order x history, and which combinations mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from curriculum_rec.curriculum.difficulty import Difficulty, Unit
from curriculum_rec.curriculum.length import GrowingLength
from curriculum_rec.curriculum.pacing import Constant, OnePass, Pacing
from curriculum_rec.curriculum.quantile import Order
from curriculum_rec.curriculum.sampling import Prefix, Sampler
from curriculum_rec.curriculum.taught import Taught
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import check_ranges, one_of

Refresh = Literal["pass", "epoch", "step"]


@dataclass(frozen=True)
class Curriculum:
    """What is trained when.

    Args:
        difficulty: What is hard; None only with ``order=standard``.
        pacing: Which share is available at a step.
        sampler: How batches are drawn from what is available.
        order: ``curriculum`` easy first, ``anti`` hard first, ``random`` the same pacing without regard to difficulty
            (the control), ``standard`` everything at once, whatever difficulty, pacing and sampler say: the plain arm
            of a comparison.
        unit: Whether whole sequences are ordered, or the single targets inside them (hard targets are then left out
            of the loss while they stay in the context of later ones).
        refresh: When the pacing takes effect: ``pass`` when all that was available has been drawn once, ``epoch`` after
            as many steps as a pass over all examples takes, ``step`` with every call to the device before which it has
            changed; what was not drawn yet then stays out of that pass.
        history: How long histories are; None takes them whole.
    """

    difficulty: Difficulty | None = None
    pacing: Pacing = Constant()
    sampler: Sampler = Prefix()
    order: Order = "standard"
    unit: Unit = "sequence"
    refresh: Refresh = "pass"
    history: GrowingLength | None = None

    def __post_init__(self) -> None:
        ranges = {
            "order": one_of(*get_args(Order)),
            "unit": one_of(*get_args(Unit)),
            "refresh": one_of(*get_args(Refresh)),
        }
        check_ranges(self, "curriculum", ranges)
        if self.difficulty is None:
            self._check_without_difficulty()
        for bad, what in (
            (self.unit == "target" and self.sampler.sequences_only, "unit=target: it draws whole sequences"),
            (
                isinstance(self.pacing, OnePass) and not self.sampler.keeps_window,
                "pacing=OnePass: it would not leave the easiest out",
            ),
        ):
            if bad:
                raise OptionError(f"curriculum.sampler={type(self.sampler).__name__} does not go with {what}")
        if isinstance(self.sampler, Taught) and self.order != "standard":
            self._check_taught(self.sampler)

    def _check_taught(self, sampler: Taught) -> None:
        if not isinstance(self.pacing, Constant):
            name = type(self.pacing).__name__
            raise OptionError(
                f"curriculum.pacing={name} has no effect: a teacher decides what is trained; take constant"
            )
        if self.refresh != "pass":
            raise OptionError(f"curriculum.refresh={self.refresh} has no effect: curriculum.sampler.every says when")
        if self.difficulty is not None and self.difficulty.decay is not None:
            name = type(self.difficulty).__name__
            raise OptionError(f"curriculum.difficulty={name} changes while training, but a teacher's arms must not")

    def _check_without_difficulty(self) -> None:
        if self.order != "standard":
            raise OptionError(f"curriculum.order={self.order} needs a difficulty: set curriculum.difficulty")
        for name, given, idle in (
            ("unit", self.unit, self.unit != "sequence"),
            ("refresh", self.refresh, self.refresh != "pass" and self.history is None),
            ("sampler", type(self.sampler).__name__, type(self.sampler) is not Prefix and self.sampler.goes_by_order),
        ):
            if idle:
                raise OptionError(f"curriculum.{name}={given} has no effect without a difficulty: leave it out")

    @property
    def ordered_unit(self) -> Unit:
        """What is ordered: whole sequences also where nothing is."""
        return "sequence" if self.order == "standard" else self.unit
