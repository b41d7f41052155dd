"""The scheduler (host): draws batches under a curriculum, and takes in what comes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from curriculum_rec.curriculum.difficulty import RunningLoss, Workshop, mean_by_example
from curriculum_rec.curriculum.length import bucket_lengths
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Clock
from curriculum_rec.curriculum.quantile import apply_order, quantiles
from curriculum_rec.curriculum.sampling import PADDING, EpochPlan, Pool, Prefix, Sampler, plan_epoch
from curriculum_rec.curriculum.state import CurriculumState, Draw
from curriculum_rec.curriculum.taught import Classroom, Taught
from curriculum_rec.curriculum.trained import N_DECILES, Hardness, Trained, add_losses
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.streams import host_stream


def check_stored(curriculum: Curriculum) -> None:
    """Refuse a curriculum that needs numbers about every single target, for which a store has no room.

    Raises:
        OptionError: It does.
    """
    difficulty, reason = curriculum.difficulty, "needs every single target in memory"
    wrong = None
    if curriculum.ordered_unit == "target":
        wrong = f"curriculum.unit=target {reason}: set curriculum.unit=sequence"
    elif curriculum.history is not None:
        wrong = f"curriculum.history {reason}, to cut long histories: set curriculum.history=null"
    elif curriculum.order != "standard" and difficulty is not None and not getattr(difficulty, "BY_BLOCKS", False):
        wrong = f"curriculum.difficulty={type(difficulty).__name__} {reason}: take length, popularity or loss"
    if wrong is not None:
        raise OptionError(f"{wrong}, or read the data into memory instead of data=store")


@dataclass
class Scheduler:
    """Draws batches under a curriculum and feeds losses back into it.

    Args:
        curriculum: The options.
        whole: All examples, uncut.
        seed: The run's seed; with the same seed the batches are the same on any number of devices.
        total_steps: Steps of the whole run, which the pacing refers to.
        workshop: Trains the teachers that a difficulty asks; None where there is none.
        only: bool ``[n]``, the examples that are drawn at all; None draws all.
    """

    curriculum: Curriculum
    whole: Examples
    seed: int
    total_steps: int
    workshop: Workshop | None = None
    only: np.ndarray | None = None
    _plan: tuple[int, EpochPlan] | None = field(default=None, repr=False)
    _hardness: tuple[np.ndarray, Hardness] | None = field(default=None, repr=False)

    @cached_property
    def examples(self) -> Examples:
        """What is drawn from: all examples, and the parts of long ones that a curriculum of lengths takes."""
        history = self.curriculum.history
        return self.whole if history is None else history.prepare(self.whole)

    @property
    def n_units(self) -> int:
        """Number of sequences, or of single targets."""
        return len(self.whole.targets) if self._orders_targets else len(self.whole)

    @property
    def _orders_targets(self) -> bool:
        return self.curriculum.ordered_unit == "target"

    @property
    def feeds_on_losses(self) -> bool:
        """Whether :meth:`observe` must be called before the next epoch begins."""
        return self._decay is not None

    @property
    def _decay(self) -> float | None:
        options = self.curriculum
        ordered = options.difficulty is not None and options.order != "standard"
        of_difficulty = options.difficulty.decay if ordered and options.difficulty is not None else None
        return self._sampler.decay if of_difficulty is None else of_difficulty

    @property
    def taught(self) -> Taught | None:
        """The sampler, if a teacher leads it: then :meth:`looked` must be called before the next epoch begins."""
        return self._sampler if isinstance(self._sampler, Taught) else None

    @property
    def _sampler(self) -> Sampler:
        """The sampler, or one that draws everything where nothing is ordered and it goes by the order."""
        sampler = self.curriculum.sampler
        return Prefix() if self.curriculum.order == "standard" and sampler.goes_by_order else sampler

    @property
    def max_batch_size(self) -> int:
        """The widest batch."""
        return max(bucket.batch_size for bucket in self.examples.buckets)

    def check(self) -> None:
        """Refuse examples from which the sampler cannot draw, or that the curriculum cannot order."""
        if not self.whole.IN_MEMORY:
            check_stored(self.curriculum)
        self._sampler.check(self.whole)

    def begin(self) -> CurriculumState:
        """Give the state before the first step."""
        losses = None
        if self.feeds_on_losses:
            losses = RunningLoss(np.zeros(self.n_units, np.float32), np.zeros(self.n_units, bool))
        memory = self.curriculum.pacing.begin()
        room = np.zeros(0) if self.taught is None else self.taught.begin().to_array()
        empty = CurriculumState(0, 0, 0, None, 0.0, self.n_units, 0, np.zeros(0), memory, room, losses)
        return self._next_epoch(empty, step=0)

    def epoch_ended(self, state: CurriculumState, *, step: int) -> bool:
        """Whether the draw at a step begins a new dynamic epoch."""
        if state.cursor >= len(self.plan(state)):
            return True
        if self.taught is not None:
            return step - state.begun >= self.taught.every
        refresh = self.curriculum.refresh
        if refresh == "epoch":
            return self._full_epoch(step) > self._full_epoch(state.begun)
        now = state.length, state.share, state.available, state.skipped
        return refresh == "step" and self._window(state, step) != now

    def draw(self, state: CurriculumState, *, step: int, at_most: int) -> tuple[Draw, CurriculumState]:
        """Draw the next batches; a draw never crosses the end of a dynamic epoch.

        Args:
            state: Where the run stands.
            step: Steps trained so far.
            at_most: Most batches to draw, at least 1.

        Returns:
            The batches and the state after them.
        """
        if self.epoch_ended(state, step=step):
            state = self._next_epoch(state, step=step)
        plan = self.plan(state)
        stop = min(state.cursor + at_most, len(plan))
        if self.curriculum.refresh == "epoch":
            per_epoch = self.whole.batches_per_epoch
            stop = min(stop, state.cursor + (self._full_epoch(step) + 1) * per_epoch - step)
        if self.taught is not None:
            stop = min(stop, state.cursor + state.begun + self.taught.every - step)
        bucket, rows = plan.take(state.cursor, stop)
        weight = None if plan.weight is None else np.zeros(rows.shape, np.float32)
        if weight is not None and plan.weight is not None:
            for number in np.unique(bucket):
                drawn = (bucket == number)[:, None] & (rows != PADDING)
                weight[drawn] = plan.weight[self.examples.buckets[number].example[rows[drawn]]]
        state = replace(state, cursor=stop)
        trained = self.trained(state) if self.epoch_ended(state, step=step + len(bucket)) else None
        draw = Draw(bucket, rows, state.share, state.available, state.skipped, weight, state.length, trained)
        return draw, state

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
            if self._orders_targets:
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

    def looked(self, state: CurriculumState, losses: np.ndarray) -> CurriculumState:
        """Let the teacher know the mean losses of the examples kept apart, ``[n_arms]``."""
        if self.taught is None:
            return state
        return replace(state, room=self.taught.looked(Classroom.from_array(state.room), -losses).to_array())

    def plan(self, state: CurriculumState) -> EpochPlan:
        """Plan the current dynamic epoch: a pure function of the state and the seed, kept until the epoch ends."""
        if self._plan is None or self._plan[0] != state.epoch:
            available = self._is_available(state)
            if self._orders_targets:
                available = mean_by_example(available.astype(float), self.whole.target_offsets) > 0
            if self.only is not None:
                available = available & self.only
            stream = host_stream(self.seed, "epoch", state.epoch)
            quantile = state.quantile if self.curriculum.ordered_unit == "sequence" else np.zeros(0)
            pool = Pool(
                self.whole,
                available,
                state.share,
                quantile,
                progress=state.begun / self.total_steps,
                losses=state.losses_then,
                arm=Classroom.from_array(state.room).arm if self.taught is not None else None,
                passes=self.total_steps / self.whole.batches_per_epoch,
            )
            choice = self._sampler.choose(pool, stream)
            self._plan = state.epoch, plan_epoch(self.examples, choice, stream, length=state.length)
        return self._plan[1]

    def trained(self, state: CurriculumState) -> Trained:
        """Sum up what the current dynamic epoch has trained so far: a pure function of the state and the seed."""
        plan, counts, per_target = self.plan(state), np.zeros(self.n_units, np.int64), self._orders_targets
        bucket, rows = plan.take(0, state.cursor)
        for number in np.unique(bucket):
            drawn = rows[bucket == number]
            drawn = drawn[drawn != PADDING]
            of_bucket = self.examples.buckets[number].example
            unit = self.examples.target_index(int(number), drawn)[1] if per_target else of_bucket[drawn]
            counts += np.bincount(unit, minlength=self.n_units)
        weight = plan.weight
        if per_target:
            counts = np.where(self._is_available(state), counts, 0)
            weight = None if weight is None else np.repeat(weight, np.diff(self.whole.target_offsets))
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
        if not self._orders_targets:
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

    def _full_epoch(self, step: int) -> int:
        return step // self.whole.batches_per_epoch

    def _window(self, state: CurriculumState, step: int) -> tuple[int | None, float, int, int]:
        """Give length, share, and how many units are available and skipped, of an epoch that begins at a step."""
        options, clock = self.curriculum, Clock(self.total_steps, self.whole.batches_per_epoch)
        if options.refresh == "epoch":
            step = self._full_epoch(step) * clock.steps_per_epoch
        length = None
        if options.history is not None:
            length = options.history.at(step, self.total_steps, bucket_lengths(self.whole))
        if options.order == "standard":
            return length, 1.0, self.n_units, 0
        end, begin = float(options.pacing(step, clock, state.memory)), float(options.pacing.skipped(step, clock))
        available, fewest = (self._sampler.count(value, self.n_units) for value in (end, 0.0))
        return length, end - begin, available, min(math.ceil(begin * self.n_units - 1e-9), available - fewest)

    def _next_epoch(self, state: CurriculumState, *, step: int) -> CurriculumState:
        options, quantile, losses_then = self.curriculum, state.quantile, state.losses_then
        length, share, available, skipped = self._window(state, step)
        if self._sampler.decay is not None and state.losses is not None:
            # The plan of an epoch must not change with the losses that come in while it runs.
            losses_then = RunningLoss(state.losses.mean.copy(), state.losses.seen.copy())
        ordered = options.difficulty is not None and options.order != "standard"
        if ordered and options.difficulty is not None and (not len(quantile) or options.difficulty.decay is not None):
            score = options.difficulty(self.whole, options.ordered_unit, state.losses, self.workshop)
            quantile = apply_order(quantiles(score, seed=self.seed), options.order, seed=self.seed)
        room = state.room
        if self.taught is not None:
            stream = host_stream(self.seed, "teacher", state.epoch + 1)
            room = self.taught.decide(Classroom.from_array(room), stream).to_array()
        return replace(
            state,
            epoch=state.epoch + 1,
            cursor=0,
            begun=step,
            length=length,
            share=share,
            available=available,
            skipped=skipped,
            quantile=quantile,
            room=room,
            losses_then=losses_then,
            decile_losses=np.zeros((2, N_DECILES)) if ordered and self.feeds_on_losses else None,
        )
