"""The curriculum and its scheduler (host): difficulty x pacing x mechanism x order, and where a run stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from curriculum_rec.curriculum.difficulty import Difficulty, RunningLoss, Unit, mean_by_example
from curriculum_rec.curriculum.pacing import Constant, Pacing
from curriculum_rec.curriculum.quantile import Order, apply_order, quantiles
from curriculum_rec.curriculum.sampling import PADDING, EpochPlan, Prefix, Sampler
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class Curriculum:
    """What is trained when.

    Args:
        difficulty: What is hard; None only with ``order=standard``.
        pacing: Which share is available at a step.
        sampler: How batches are drawn from what is available.
        order: ``curriculum`` easy first, ``anti`` hard first, ``random`` the same pacing without regard to difficulty
            (the control), ``standard`` everything at once, whatever difficulty and pacing say.
        unit: Whether whole sequences are ordered, or the single targets inside them (hard targets are then left out
            of the loss while they stay in the context of later ones).
    """

    difficulty: Difficulty | None = None
    pacing: Pacing = Constant()
    sampler: Sampler = Prefix()
    order: Order = "standard"
    unit: Unit = "sequence"

    def __post_init__(self) -> None:
        for name, value, allowed in (("order", self.order, Order), ("unit", self.unit, Unit)):
            if value not in get_args(allowed):
                raise OptionError(f"curriculum.{name}={value}: it must be one of {', '.join(get_args(allowed))}")
        if self.order == "standard":
            if self.unit == "target":
                raise OptionError("curriculum.unit=target has no effect with order=standard: leave one of them out")
        elif self.difficulty is None:
            raise OptionError(f"curriculum.order={self.order} needs a difficulty: set curriculum.difficulty")


@dataclass(frozen=True)
class CurriculumState:
    """Where a run stands in its curriculum; all that a checkpoint needs to go on with the same batches.

    Attributes:
        epoch: Dynamic epochs begun so far.
        cursor: Batches of the current one already drawn.
        share: Share available in the current one, for the record.
        available: Number of units available in the current one.
        quantile: float64 ``[n_units]``, the ordered quantiles from which the current one was drawn.
        losses: Each unit's running loss; None where the difficulty does not need it.
    """

    epoch: int
    cursor: int
    share: float
    available: int
    quantile: np.ndarray
    losses: RunningLoss | None

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the state as named arrays for a checkpoint."""
        arrays = {
            "position": np.array([self.epoch, self.cursor, self.available], np.int64),
            "share": np.array([self.share], np.float64),
        }
        if len(self.quantile):  # plain training has none, and an empty array cannot be stored
            arrays["quantile"] = self.quantile
        return arrays | ({} if self.losses is None else {"loss_mean": self.losses.mean, "loss_seen": self.losses.seen})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CurriculumState:
        """Undo :meth:`arrays`."""
        epoch, cursor, available = (int(value) for value in arrays["position"])
        losses = None
        if "loss_mean" in arrays:
            losses = RunningLoss(np.array(arrays["loss_mean"]), np.array(arrays["loss_seen"]))
        quantile = np.array(arrays.get("quantile", np.zeros(0)))
        return cls(epoch, cursor, float(arrays["share"][0]), available, quantile, losses)


@dataclass(frozen=True)
class Draw:
    """A few batches that one dispatch trains on.

    Attributes:
        bucket: int32 ``[n_steps]``.
        rows: int32 ``[n_steps, widest batch]``, rows of the bucket, ``PADDING`` at the end.
        share: The share that was available.
        available: How many units were available; where the unit is the target, a target of this rank or a higher one
            is left out of the loss.
    """

    bucket: np.ndarray
    rows: np.ndarray
    share: float
    available: int

    def __len__(self) -> int:
        return len(self.bucket)


@dataclass
class Scheduler:
    """Draws batches under a curriculum and feeds losses back into it.

    Args:
        curriculum: The options.
        examples: What is drawn from.
        seed: The run's seed; with the same seed the batches are the same on any number of devices.
        total_steps: Steps of the whole run, which the pacing refers to.
    """

    curriculum: Curriculum
    examples: Examples
    seed: int
    total_steps: int
    _plan: tuple[int, EpochPlan] | None = field(default=None, repr=False)

    @property
    def n_units(self) -> int:
        """Number of sequences, or of single targets."""
        return len(self.examples.targets) if self.curriculum.unit == "target" else len(self.examples)

    @property
    def feeds_on_losses(self) -> bool:
        """Whether :meth:`observe` must be called before the next epoch begins."""
        return self._decay is not None

    @property
    def _decay(self) -> float | None:
        options = self.curriculum
        return None if options.difficulty is None or options.order == "standard" else options.difficulty.decay

    @property
    def max_batch_size(self) -> int:
        """The widest batch."""
        return max(bucket.batch_size for bucket in self.examples.buckets)

    def begin(self) -> CurriculumState:
        """Give the state before the first step."""
        losses = None
        if self.feeds_on_losses:
            losses = RunningLoss(np.zeros(self.n_units, np.float32), np.zeros(self.n_units, bool))
        empty = CurriculumState(0, 0, 0.0, self.n_units, np.zeros(0), losses)
        return self._next_epoch(empty, step=0)

    def epoch_ended(self, state: CurriculumState) -> bool:
        """Whether the next draw begins a new dynamic epoch."""
        return state.cursor >= len(self.plan(state))

    def draw(self, state: CurriculumState, *, step: int, at_most: int) -> tuple[Draw, CurriculumState]:
        """Draw the next batches; a draw never crosses the end of a dynamic epoch.

        Args:
            state: Where the run stands.
            step: Steps trained so far.
            at_most: Most batches to draw, at least 1.

        Returns:
            The batches and the state after them.
        """
        if self.epoch_ended(state):
            state = self._next_epoch(state, step=step)
        plan = self.plan(state)
        chosen = slice(state.cursor, state.cursor + at_most)
        bucket = plan.bucket[chosen]
        rows = np.full((len(bucket), self.max_batch_size), PADDING, np.int32)
        for index, batch in enumerate(plan.rows[chosen]):
            rows[index, : len(batch)] = batch
        return Draw(bucket, rows, state.share, state.available), replace(state, cursor=state.cursor + len(bucket))

    def observe(self, state: CurriculumState, draw: Draw, losses: np.ndarray) -> None:
        """Feed the losses of a draw into the running means, in place.

        Args:
            state: The state whose ``losses`` are updated.
            draw: What was trained on.
            losses: float32 ``[n_steps, batch]`` a sequence, or ``[n_steps, batch, length]`` a target.
        """
        decay, store = self._decay, state.losses
        if decay is None or store is None:
            return
        for number, rows, loss in zip(draw.bucket, draw.rows, losses, strict=True):
            valid = rows != PADDING
            if self.curriculum.unit == "target":
                present, unit = self.examples.target_index(int(number), rows[valid])
                new = loss[valid][:, : present.shape[1]][present]
                trained = self._is_available(state)[unit]
                unit, new = unit[trained], new[trained]
            else:
                unit, new = self.examples.buckets[number].example[rows[valid]], loss[valid]
            old = np.where(store.seen[unit], store.mean[unit], new)
            store.mean[unit] = decay * old + (1 - decay) * new
            store.seen[unit] = True

    def plan(self, state: CurriculumState) -> EpochPlan:
        """Plan the current dynamic epoch: a pure function of the state and the seed, kept until the epoch ends."""
        if self._plan is None or self._plan[0] != state.epoch:
            available = self._is_available(state)
            if self.curriculum.unit == "target":
                available = mean_by_example(available.astype(float), self.examples.target_offsets) > 0
            stream = host_stream(self.seed, "epoch", state.epoch)
            self._plan = state.epoch, self.curriculum.sampler.plan(self.examples, available, stream)
        return self._plan[1]

    def target_ranks(self, state: CurriculumState) -> list[np.ndarray] | None:
        """Lay the targets' ranks out in the shape of the buckets, int32; None where the unit is the sequence."""
        if self.curriculum.unit != "target":
            return None
        ranks = np.rint(state.quantile * self.n_units - 0.5).astype(np.int32)
        return self.examples.spread_targets(ranks, padding=np.iinfo(np.int32).max)

    def _is_available(self, state: CurriculumState) -> np.ndarray:
        if state.available == self.n_units:
            return np.ones(self.n_units, bool)
        return state.quantile <= state.available / self.n_units

    def _next_epoch(self, state: CurriculumState, *, step: int) -> CurriculumState:
        options = self.curriculum
        if options.order == "standard" or options.difficulty is None:
            return replace(state, epoch=state.epoch + 1, cursor=0, share=1.0, available=self.n_units)
        quantile = state.quantile
        if not len(quantile) or self.feeds_on_losses:
            score = options.difficulty(self.examples, options.unit, state.losses)
            quantile = apply_order(quantiles(score, seed=self.seed), options.order, seed=self.seed)
        share = float(options.pacing(step, self.total_steps))
        count = options.sampler.count(share, self.n_units)
        return replace(state, epoch=state.epoch + 1, cursor=0, share=share, available=count, quantile=quantile)
