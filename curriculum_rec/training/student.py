"""A student's state as a stage under a teacher begins and ends (host): parts that its terms train, and their memory."""

from __future__ import annotations

from dataclasses import replace

import jax
import optax
from flax import nnx

from curriculum_rec.distillation.distilled import PARTS, Distilled, Parts, without_parts
from curriculum_rec.distillation.hearing import ARRAY
from curriculum_rec.errors import OptionError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree, join_model, split_model
from curriculum_rec.training.state import TrainState


def enter(
    state: TrainState,
    objective: Distilled,
    parts: Parts | None,
    student: nnx.Module,
    optimizer: optax.GradientTransformation,
) -> TrainState:
    """Give a state the trainable parts of a teacher's terms, and their memory.

    Args:
        state: Of the model alone.
        objective: The stage's.
        parts: The trainable parts of its teacher's terms; None if none has any.
        student: The model, holding shapes alone.
        optimizer: The stage's.
    """
    params = state.params
    if parts is not None:
        params = {**params, PARTS: split_model(parts)[1]}
    opt_state = carry_over(state.opt_state, optimizer.init(params))
    task = state.memory.get("objective", {})
    memory = {**state.memory, "objective": {**task, **objective.hearing.begin()}}
    memory = {name: part for name, part in memory.items() if part}
    structure = split_model(with_parts(student, parts))[0]
    return replace(state, params=params, opt_state=opt_state, structure=structure, memory=memory)


def leave(state: TrainState, optimizer: optax.GradientTransformation) -> TrainState:
    """Undo :func:`enter`, whoever the teacher was; the structure is the caller's to set."""
    task = {name: a for name, a in state.memory.get("objective", {}).items() if not name.startswith(ARRAY)}
    memory = {name: part for name, part in {**state.memory, "objective": task}.items() if part}
    params = without_parts(state.params)
    opt_state = carry_over(state.opt_state, jax.eval_shape(optimizer.init, params))
    return replace(state, params=params, opt_state=opt_state, memory=memory)


def with_parts(student: nnx.Module, parts: Parts | None) -> nnx.Module:
    """Give a student's model, with shapes alone, and the trainable parts of a teacher's terms as one."""
    if parts is None:
        return student
    if hasattr(student, PARTS):
        raise OptionError(f"the model has an attribute '{PARTS}' already, where a teacher's terms keep their parts")
    joined = join_model(*split_model(student))
    setattr(joined, PARTS, nnx.eval_shape(lambda: join_model(*split_model(parts))))
    return joined


def carry_over(old: Tree, new: Tree) -> Tree:
    """Give the leaves of a new optimizer state the values that the old one has at the same paths."""
    values = {path_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(old)}
    return jax.tree_util.tree_map_with_path(lambda path, leaf: values.get(path_names(path), leaf), new)
