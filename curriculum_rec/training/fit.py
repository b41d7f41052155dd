"""The loop for a paper's own script (host): own model, own objective, own arrays, without a run directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from curriculum_rec.curriculum.difficulty import Workshop
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import Examples
from curriculum_rec.errors import OptionError
from curriculum_rec.models.contract import needs_age, needs_time
from curriculum_rec.models.entity_features import reads_users
from curriculum_rec.models.structure import join_model
from curriculum_rec.objectives.losses import Objective, examples_for
from curriculum_rec.ranges import at_least, check_value
from curriculum_rec.training.engine import ChunkReport, Engine
from curriculum_rec.training.meta import hold_out_meta
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState, evaluation_parameters
from curriculum_rec.training.step import Precision
from curriculum_rec.weighting.contract import Weighting, with_facts


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` leaves.

    Attributes:
        state: The state after the last step.
        loss: float32 ``[steps]``, the mean loss of every step.
        evaluated_at: int64 ``[n_evaluations]``, the steps after which ``evaluate`` was asked.
        quality: float64 ``[n_evaluations]``, what it said.
    """

    state: TrainState
    loss: np.ndarray
    evaluated_at: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    quality: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def model(self) -> nnx.Module:
        """The trained model, with the average of its weights where the optimizer keeps one."""
        return join_model(self.state.structure, evaluation_parameters(self.state))


def fit(
    model: nnx.Module,
    objective: Objective,
    examples: Examples,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    curriculum: Curriculum | None = None,
    seed: int = 0,
    placement: Placement | Literal["auto", "jit", "pmap", "shard_map"] = "auto",
    steps_per_dispatch: int = 16,
    precision: Precision = "float32",
    accumulate: int = 1,
    weighting: Weighting | None = None,
    workshop: Workshop | None = None,
    evaluate: Callable[[nnx.Module], float] | None = None,
    evaluate_every: int | None = None,
) -> FitResult:
    """Train a model on examples under a curriculum.

    Args:
        model: Any Flax NNX model whose state is all parameters; the objective calls it.
        objective: ``(model, batch, rng) -> Losses`` with one loss an example or a target.
        examples: What to train on; :meth:`Examples.from_arrays` takes any arrays.
        optimizer: An optax transformation.
        steps: Steps to train, at least 1.
        curriculum: What is trained when; None trains on everything.
        seed: Decides the order and all randomness in the step.
        placement: On which devices.
        steps_per_dispatch: Most steps that one call to the device makes.
        precision: What the model and the objective compute in; parameters and optimizer are float32.
        accumulate: Parts into which a device cuts its share of a batch, one after the other, for memory.
        weighting: How much each loss of a batch counts; None lets all count the same.
        workshop: Trains the teachers that the curriculum's difficulty asks, a ``TeacherWorkshop``.
        evaluate: Says how good the model is, higher is better; asked every ``evaluate_every`` steps and at the end. The
            batches are the same with and without it.
        evaluate_every: Steps; None asks at the end alone.

    Returns:
        The trained state, the losses, and what the evaluations said.

    Raises:
        OptionError: An option is out of range.
        TrainingError: A loss is not finite.
    """
    check_value("steps", steps, at_least(1))
    check_value("evaluate_every", evaluate_every, at_least(1).or_null())
    curriculum = curriculum or Curriculum()
    if evaluate is None and evaluate_every is not None:
        raise OptionError(f"evaluate_every={evaluate_every} has no effect without evaluate")
    if evaluate is None and len(curriculum.pacing.begin()):
        raise OptionError(f"{type(curriculum.pacing).__name__} paces by evaluations: give fit the argument evaluate")
    placed = (placement if isinstance(placement, Placement) else Placement(placement)).place()
    if needs_time(model):
        examples = examples.with_times()
    if needs_age(model):
        examples = examples.with_ages()
    if reads_users(model):
        examples = examples.with_users()
    examples, meta = hold_out_meta(examples, weighting, seed=seed)
    prepared = examples_for(objective, with_facts(examples, weighting))
    scheduler = Scheduler(curriculum, prepared, seed, steps, workshop)
    engine = Engine(
        objective, optimizer, scheduler, placed, seed, steps_per_dispatch, precision, accumulate, weighting, meta
    )
    losses: list[np.ndarray] = []

    def on_chunk(chunk: ChunkReport) -> None:
        losses.append(chunk.loss)

    # A copy: the engine donates its state, and the caller's model must stay alive.
    state = TrainState.create(model, optimizer, weighting, objective=objective, item_counts=examples.item_counts)
    state = placed.place_state(jax.tree.map(jnp.copy, state))
    position, every = scheduler.begin(), evaluate_every or steps
    evaluated_at, quality = [], []
    for stop in [*range(every, steps, every), steps]:
        state, position = engine.train(state, position, stop_at=stop, on_chunk=on_chunk)
        if evaluate is not None:
            evaluated_at.append(stop)
            quality.append(float(evaluate(join_model(state.structure, evaluation_parameters(state)))))
            position = scheduler.evaluated(position, quality[-1])
    return FitResult(state, np.concatenate(losses), np.array(evaluated_at, np.int64), np.array(quality, np.float64))
