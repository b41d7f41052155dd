"""The curriculum and its scheduler (host): difficulty x pacing x mechanism x order, and where a run stands in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from curriculum_rec.curriculum.difficulty import Difficulty, RunningLoss, Unit, mean_by_example
from curriculum_rec.curriculum.pacing import Clock, Constant, OnePass, Pacing
from curriculum_rec.curriculum.quantile import Order, apply_order, quantiles
from curriculum_rec.curriculum.sampling import PADDING, EpochPlan, Pool, Prefix, Sampler, plan_epoch
from curriculum_rec.curriculum.trained import N_DECILES, Hardness, Trained, add_losses
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
            if type(self.sampler) is not Prefix and self.sampler.decay is None:
                raise OptionError(
                    f"curriculum.sampler={type(self.sampler).__name__} has no effect with order=standard, which draws "
                    "everything: leave one of them out"
                )
        elif self.difficulty is None:
            raise OptionError(f"curriculum.order={self.order} needs a difficulty: set curriculum.difficulty")
        for bad, what in (
            (self.unit == "target" and self.sampler.sequences_only, "unit=target: it draws whole sequences"),
            (
                isinstance(self.pacing, OnePass) and not self.sampler.keeps_window,
                "pacing=OnePass: it would not leave the easiest out",
            ),
        ):
            if bad:
                raise OptionError(f"curriculum.sampler={type(self.sampler).__name__} does not go with {what}")


@dataclass(frozen=True)
class CurriculumState:
    """Where a run stands in its curriculum; all that a checkpoint needs to go on with the same batches.

    Attributes:
        epoch: Dynamic epochs begun so far.
        cursor: Batches of the current one already drawn.
        share: Share available in the current one.
        progress: Fraction of the run before the current one.
        available: Number of units available in the current one, those skipped included.
        skipped: How many of the easiest are not available any more.
        quantile: float64 ``[n_units]``, the ordered quantiles from which the current one was drawn.
        losses: Each unit's running loss; None where the difficulty does not need it.
        memory: What the pacing remembers, float64; mostly nothing.
        decile_losses: float64 ``[2, 10]``, sums and numbers of the current epoch's losses by tenths of the difficulty;
            None where no losses come back, or nothing is ordered.
    """

    epoch: int
    cursor: int
    share: float
    progress: float
    available: int
    skipped: int
    quantile: np.ndarray
    losses: RunningLoss | None
    memory: np.ndarray
    decile_losses: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the state as named arrays for a checkpoint."""
        arrays = {
            "position": np.array([self.epoch, self.cursor, self.available, self.skipped], np.int64),
            "share": np.array([self.share, self.progress], np.float64),
        }
        for name, array in (("quantile", self.quantile), ("memory", self.memory)):
            if len(array):  # plain training has none, and an empty array cannot be stored
                arrays[name] = array
        if self.decile_losses is not None:
            arrays["decile_losses"] = self.decile_losses
        return arrays | ({} if self.losses is None else {"loss_mean": self.losses.mean, "loss_seen": self.losses.seen})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CurriculumState:
        """Undo :meth:`arrays`."""
        epoch, cursor, available, skipped = (int(value) for value in arrays["position"])
        losses = None
        if "loss_mean" in arrays:
            losses = RunningLoss(np.array(arrays["loss_mean"]), np.array(arrays["loss_seen"]))
        quantile, memory = (np.array(arrays.get(name, np.zeros(0))) for name in ("quantile", "memory"))
        share, progress = (float(value) for value in arrays["share"])
        decile_losses = np.array(arrays["decile_losses"]) if "decile_losses" in arrays else None
        return cls(epoch, cursor, share, progress, available, skipped, quantile, losses, memory, decile_losses)


@dataclass(frozen=True)
class Draw:
    """A few batches that one dispatch trains on.

    Attributes:
        bucket: int32 ``[n_steps]``.
        rows: int32 ``[n_steps, widest batch]``, rows of the bucket, ``PADDING`` at the end.
        share: The share that was available.
        available: How many units were available, those skipped included; where the unit is the target, a target of
            this rank or a higher one is left out of the loss.
        skipped: How many of the easiest were not available; targets of lower ranks are left out, too.
        weight: float32 ``[n_steps, widest batch]``, each row's weight in the loss; None where all weigh 1.
        trained: What the dynamic epoch trained that ends with this draw; None before its end.
    """

    bucket: np.ndarray
    rows: np.ndarray
    share: float
    available: int
    skipped: int = 0
    weight: np.ndarray | None = None
    trained: Trained | None = None

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
    _hardness: tuple[np.ndarray, Hardness] | None = field(default=None, repr=False)

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
        ordered = options.difficulty is not None and options.order != "standard"
        of_difficulty = options.difficulty.decay if ordered and options.difficulty is not None else None
        return options.sampler.decay if of_difficulty is None else of_difficulty

    @property
    def max_batch_size(self) -> int:
        """The widest batch."""
        return max(bucket.batch_size for bucket in self.examples.buckets)

    def begin(self) -> CurriculumState:
        """Give the state before the first step."""
        losses = None
        if self.feeds_on_losses:
            losses = RunningLoss(np.zeros(self.n_units, np.float32), np.zeros(self.n_units, bool))
        memory = self.curriculum.pacing.begin()
        empty = CurriculumState(0, 0, 0.0, 0.0, self.n_units, 0, np.zeros(0), losses, memory)
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
        weight = None if plan.weight is None else np.zeros(rows.shape, np.float32)
        for index, batch in enumerate(plan.rows[chosen]):
            rows[index, : len(batch)] = batch
            if weight is not None and plan.weight is not None:
                weight[index, : len(batch)] = plan.weight[self.examples.buckets[bucket[index]].example[batch]]
        state = replace(state, cursor=state.cursor + len(bucket))
        trained = self.trained(state) if self.epoch_ended(state) else None
        return Draw(bucket, rows, state.share, state.available, state.skipped, weight, trained), state

    def observe(self, state: CurriculumState, draw: Draw, losses: np.ndarray) -> None:
        """Feed the losses of a draw into the running means, in place.

        Args:
            state: The state whose ``losses`` and ``decile_losses`` are updated.
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
            if state.decile_losses is not None:
                add_losses(state.decile_losses, self._hardness_of(state).decile[unit], new)
            old = np.where(store.seen[unit], store.mean[unit], new)
            store.mean[unit] = decay * old + (1 - decay) * new
            store.seen[unit] = True

    def evaluated(self, state: CurriculumState, value: float) -> CurriculumState:
        """Let the pacing know a value of the deciding validation metric."""
        return replace(state, memory=self.curriculum.pacing.evaluated(state.memory, value))

    def plan(self, state: CurriculumState) -> EpochPlan:
        """Plan the current dynamic epoch: a pure function of the state and the seed, kept until the epoch ends."""
        if self._plan is None or self._plan[0] != state.epoch:
            available = self._is_available(state)
            if self.curriculum.unit == "target":
                available = mean_by_example(available.astype(float), self.examples.target_offsets) > 0
            stream = host_stream(self.seed, "epoch", state.epoch)
            quantile = state.quantile if self.curriculum.unit == "sequence" else np.zeros(0)
            pool = Pool(self.examples, available, state.share, quantile, state.progress, state.losses)
            choice = self.curriculum.sampler.choose(pool, stream)
            self._plan = state.epoch, plan_epoch(self.examples, choice, stream)
        return self._plan[1]

    def trained(self, state: CurriculumState) -> Trained:
        """Sum up what the current dynamic epoch has trained so far: a pure function of the state and the seed."""
        plan, counts = self.plan(state), np.zeros(len(self.examples), np.int64)
        for number, bucket in enumerate(self.examples.buckets):
            batches = [plan.rows[index] for index in np.flatnonzero(plan.bucket[: state.cursor] == number)]
            rows = np.concatenate([*batches, np.zeros(0, np.int32)])
            counts[bucket.example] = np.bincount(rows[rows != PADDING], minlength=len(bucket.example))
        weight = plan.weight
        if self.curriculum.unit == "target":
            n_targets = np.diff(self.examples.target_offsets)
            counts = np.where(self._is_available(state), np.repeat(counts, n_targets), 0)
            weight = None if weight is None else np.repeat(weight, n_targets)
        return Trained.of(
            counts,
            weight,
            self._hardness_of(state) if len(state.quantile) else None,
            epoch=state.epoch,
            share=state.share,
            available=state.available - state.skipped,
        )

    def target_ranks(self, state: CurriculumState) -> list[np.ndarray] | None:
        """Lay the targets' ranks out in the shape of the buckets, int32; None where the unit is the sequence."""
        if self.curriculum.unit != "target":
            return None
        ranks = np.rint(state.quantile * self.n_units - 0.5).astype(np.int32)
        return self.examples.spread_targets(ranks, padding=np.iinfo(np.int32).max)

    def _hardness_of(self, state: CurriculumState) -> Hardness:
        if self._hardness is None or self._hardness[0] is not state.quantile:  # it stays until the difficulty changes
            self._hardness = state.quantile, Hardness.of(state.quantile, self.curriculum.order, seed=self.seed)
        return self._hardness[1]

    def _is_available(self, state: CurriculumState) -> np.ndarray:
        if state.available - state.skipped == self.n_units:
            return np.ones(self.n_units, bool)
        rank = state.quantile * self.n_units  # halfway between whole numbers
        return (rank > state.skipped) & (rank <= state.available)

    def _next_epoch(self, state: CurriculumState, *, step: int) -> CurriculumState:
        options = self.curriculum
        state = replace(state, epoch=state.epoch + 1, cursor=0, progress=step / self.total_steps)
        if options.order == "standard" or options.difficulty is None:
            return replace(state, share=1.0, available=self.n_units, skipped=0)
        quantile = state.quantile
        if not len(quantile) or options.difficulty.decay is not None:
            score = options.difficulty(self.examples, options.unit, state.losses)
            quantile = apply_order(quantiles(score, seed=self.seed), options.order, seed=self.seed)
        clock = Clock(self.total_steps, self.examples.batches_per_epoch)
        share, skipped = float(options.pacing(step, clock, state.memory)), float(options.pacing.skipped(step, clock))
        available, fewest = (options.sampler.count(value, self.n_units) for value in (share, 0.0))
        return replace(
            state,
            share=share - skipped,
            available=available,
            skipped=min(math.ceil(skipped * self.n_units - 1e-9), available - fewest),
            quantile=quantile,
            decile_losses=np.zeros((2, N_DECILES)) if self.feeds_on_losses else None,
        )
