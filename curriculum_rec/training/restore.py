"""Weights out of a run's checkpoints (host): for warm starts, evaluation and inference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from curriculum_rec.compression.contract import Form
from curriculum_rec.compression.packing import pack, unpack
from curriculum_rec.data.inputs import Inputs
from curriculum_rec.distillation.distilled import PARTS
from curriculum_rec.errors import CheckpointError, RunError
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.training.checkpoint import Checkpoints, Snapshot, below, flatten, unflatten
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.run_directory import RunDirectory, Which
from curriculum_rec.training.state import TrainState

PARAMS, OPTIMIZER, CURRICULUM, MEMORY = "params", "optimizer", "curriculum", "memory"
PACKED = "packed"
"""In a compressed run's checkpoint: the arrays that compressed parameters are stored as, and their description."""

AVERAGE = f"{OPTIMIZER}.average"
"""Where weights lie that an optimizer averages (:func:`averaged_parameters`)."""


def load_snapshot(directory: RunDirectory, which: Which = "best") -> Snapshot:
    """Read one checkpoint of a run; parameters that were compressed are dense again.

    Args:
        directory: The run.
        which: The best by the validation metric, the newest, or the one of a step.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if not directory.checkpoints.is_dir():
        raise CheckpointError(f"{directory.path} has no checkpoint yet")
    checkpoints = Checkpoints(directory.checkpoints, read_only=True)
    try:
        newest = checkpoints.restore_newest()
        if newest is None:
            raise CheckpointError(f"{directory.path} has no checkpoint yet")
        if which == "newest":
            return _unpacked(newest)
        step = RunRecord.from_json(newest.meta["record"]).best_step if which == "best" else which
        if step < 0:
            raise CheckpointError(
                f"{directory.path} has not been evaluated yet, so no checkpoint is the best: take newest"
            )
        if step not in checkpoints.steps():
            steps = ", ".join(map(str, checkpoints.steps()))
            raise CheckpointError(f"{directory.path} has no checkpoint of step {step}; it has {steps}")
        if step == newest.step:
            return _unpacked(newest)
        return _unpacked(checkpoints.restore_best(step) if which == "best" else checkpoints.restore(step))
    finally:
        checkpoints.close()


def packed_arrays(params: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what a checkpoint of compressed parameters holds.

    Args:
        params: What a method of compression gave.

    Returns:
        Named arrays, and an entry of the JSON record that says how they are read.
    """
    arrays, description = pack(params)
    plain = {name: leaf for name, leaf in flatten(params, PARAMS).items() if not isinstance(leaf, Form)}
    return plain | {f"{PACKED}.{name}": array for name, array in arrays.items()}, {PACKED: description}


def _unpacked(snapshot: Snapshot) -> Snapshot:
    if PACKED not in snapshot.meta:
        return snapshot
    dense = unpack(below(snapshot.arrays, PACKED), snapshot.meta[PACKED])
    arrays = {name: array for name, array in snapshot.arrays.items() if not name.startswith(f"{PACKED}.")}
    return replace(snapshot, arrays=arrays | {f"{PARAMS}.{name}": array for name, array in dense.items()})


def model_template(
    experiment: Experiment,
    *,
    inputs: Inputs,
    stage: str | None = None,
    depth: int | None = None,
    sizes: Mapping[str, Any] | None = None,
) -> nnx.Module:
    """Give a stage's model with shapes for parameters, none of which is computed.

    Args:
        experiment: The components.
        inputs: What the model must know of the data.
        stage: The stage, None for the first one.
        depth: Its depth, where weights from elsewhere decided it.
        sizes: Options that growth decided.
    """
    return nnx.eval_shape(lambda: experiment.build_model(inputs, stage=stage, depth=depth, sizes=sizes))


def snapshot_parameters(snapshot: Snapshot, experiment: Experiment, *, inputs: Inputs) -> tuple[nnx.GraphDef, Tree]:
    """Rebuild the model of a checkpoint at the size that it had grown to.

    Returns:
        The structure and the parameters that are evaluated, on the host.

    Raises:
        CheckpointError: The parameters do not fit.
    """
    stage = RunRecord.from_json(snapshot.meta["record"]).stage
    model = model_template(experiment, inputs=inputs, stage=stage.name, depth=stage.depth, sizes=stage.sizes)
    structure, template = split_model(model)
    name = evaluated_arrays(snapshot.arrays)
    return structure, unflatten(_of_model(snapshot.arrays, name, template), name, template)


def evaluated_arrays(arrays: Collection[str]) -> str:
    """Say under which name a checkpoint holds the parameters that are evaluated.

    Args:
        arrays: The names of its arrays.

    >>> evaluated_arrays(["params.gate", "optimizer.average.gate"]), evaluated_arrays(["params.gate"])
    ('optimizer.average', 'params')
    """
    return AVERAGE if any(name.startswith(f"{AVERAGE}.") for name in arrays) else PARAMS


def _of_model(arrays: Mapping[str, np.ndarray], prefix: str, template: Tree) -> Mapping[str, np.ndarray]:
    """Leave out what a teacher's terms trained beside the model.

    Args:
        arrays: Of a checkpoint.
        prefix: Under which it holds the parameters.
        template: The model's parameters.
    """
    if PARTS in template:
        return arrays
    return {name: array for name, array in arrays.items() if not name.startswith(f"{prefix}.{PARTS}.")}


def with_fresh_parameters(state: TrainState, params: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """Go on from other parameters: the optimizer's moments start afresh; a schedule over the whole run does not."""

    def is_schedule(node: object) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    params = jax.tree.map(jnp.asarray, params)
    schedules = filter(is_schedule, jax.tree.leaves(state.opt_state, is_leaf=is_schedule))
    opt_state = jax.tree.map(
        lambda node: next(schedules) if is_schedule(node) else node, optimizer.init(params), is_leaf=is_schedule
    )
    return replace(state, params=params, opt_state=opt_state)


def check_features(snapshot: Snapshot, dataset: Dataset, directory: RunDirectory) -> None:
    """Refuse a checkpoint of a model that knew other things of users and items.

    Args:
        snapshot: The checkpoint.
        dataset: The data at hand.
        directory: The checkpoint's run.

    Raises:
        RunError: Their features differ.
    """
    theirs = snapshot.meta.get("features_digest")
    if theirs is not None and theirs != dataset.features_digest:
        raise RunError(
            f"the features of {directory.path} are others than those of the data at hand: put the tables of users and "
            "items back"
        )


def check_same_run(snapshot: Snapshot, hashes: Mapping[str, str], directory: RunDirectory) -> None:
    """Refuse to go on from a checkpoint of another configuration or of other data.

    Args:
        snapshot: The checkpoint.
        hashes: ``config_hash`` and ``split_hash`` as they are now.
        directory: Its run.

    Raises:
        RunError: One of them differs.
    """
    for key, what in (("config_hash", "the configuration"), ("split_hash", "the data")):
        if snapshot.meta[key] != hashes[key]:
            raise RunError(
                f"{what} of {directory.path} changed since its checkpoint {snapshot.step} was written: put it back, or "
                "train into another run_dir"
            )
