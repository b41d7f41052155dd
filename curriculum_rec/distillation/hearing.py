"""How an objective hears its teacher (device): in the step, from lists written beforehand, or as its own average.

What reaches the step: parameters in ``Batch.teacher``, lists among the examples' arrays, what is remembered in
``Batch.memory``. None of it has a gradient, and no parameter of a teacher is in a checkpoint, but for the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int32

from curriculum_rec.distillation.contract import Listed, ListName, Needs
from curriculum_rec.distillation.lists import LISTS, make_lists
from curriculum_rec.distillation.voice import How, Voice
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.negatives.contract import Memory

ARRAY = "teacher "
"""Begins the names of what a teacher leaves in the examples' arrays and in an objective's memory."""

PARAMS, GROUPS = "params", "groups"
"""Names in ``Batch.teacher``: a list of parameters, and the popularity group of each item."""


class Heard(NamedTuple):
    """What a teacher says of a batch.

    Attributes:
        lists: By name.
        voice: The teacher itself; None where it has left lists only.
        finished: Whether the student's teachers are the last versions.
    """

    lists: Mapping[str, Listed]
    voice: Voice | None
    finished: Bool[Array, ""]


@runtime_checkable
class Hearing(Protocol):
    """A way to hear the teacher."""

    def begin(self) -> Memory:
        """Give what it remembers before the first step."""
        ...

    def remember(self, memory: Memory, model: Any, batch: Batch, *, step: Array, axis_name: str | None) -> Memory:
        """Bring the memory up to a step; the result is the same on every device."""
        ...

    def __call__(self, batch: Batch, rng: BatchRng, n_items: int) -> Heard:
        """Hear what the teacher says of a batch."""
        ...


@dataclass(frozen=True)
class WithoutMemory:
    """What ways share that remember nothing."""

    def begin(self) -> Memory:
        """Nothing."""
        return {}

    def remember(self, memory: Memory, model: Any, batch: Batch, *, step: Array, axis_name: str | None) -> Memory:
        """Nothing."""
        del model, batch, step, axis_name
        return memory


@dataclass(frozen=True)
class FromTeachers(WithoutMemory):
    """Asks frozen teachers in the step.

    Args:
        structures: Their static structures; the parameters are in ``batch.teacher``.
        needs: What they have to say.
        how: How several become one.
    """

    structures: tuple[nnx.GraphDef, ...]
    needs: Needs
    how: How = "mean"

    def __call__(self, batch: Batch, rng: BatchRng, n_items: int) -> Heard:
        """Run the teachers."""
        voice = Voice.of(self.structures, batch.teacher[PARAMS], batch, self.how, attention=self.needs.attention)
        return Heard(ask(voice, batch, rng, self.needs, n_items), voice, jnp.ones((), bool))


@dataclass(frozen=True)
class FromLists(WithoutMemory):
    """Reads lists that were written beforehand.

    Args:
        needs: What is read.
    """

    needs: Needs

    def __call__(self, batch: Batch, rng: BatchRng, n_items: int) -> Heard:
        """Read."""
        del rng, n_items
        return Heard(read_lists(batch), None, jnp.ones((), bool))


@dataclass(frozen=True)
class FromAverage:
    """Asks the exponential average of the student, which is remembered from step to step.

    Args:
        structure: The student's static structure.
        template: Its parameters, of which only shapes matter.
        decay: Share of the old average that a step leaves.
        needs: What it has to say.
    """

    structure: nnx.GraphDef
    template: Tree
    decay: float
    needs: Needs

    def begin(self) -> Memory:
        """Begin without an average; the first step takes the student as it is."""
        zeros = {name: jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in _named(self.template).items()}
        return zeros | {f"{ARRAY}steps": jnp.zeros((), jnp.int32)}

    def remember(self, memory: Memory, model: Any, batch: Batch, *, step: Array, axis_name: str | None) -> Memory:
        """Take the present student in."""
        del batch, step, axis_name
        steps = memory[f"{ARRAY}steps"]
        kept = jnp.where(steps == 0, 0.0, self.decay).astype(jnp.float32)
        now = _named(split_model(model)[1])
        average = {name: kept * memory[name] + (1 - kept) * leaf for name, leaf in now.items()}
        return {**memory, **average, f"{ARRAY}steps": steps + 1}

    def __call__(self, batch: Batch, rng: BatchRng, n_items: int) -> Heard:
        """Run the average."""
        leaves = [batch.memory[name] for name in _named(self.template)]
        params = jax.tree.unflatten(jax.tree.structure(self.template), leaves)
        voice = Voice.of([self.structure], [params], batch, "mean", attention=self.needs.attention)
        return Heard(ask(voice, batch, rng, self.needs, n_items), voice, jnp.ones((), bool))


def ask(voice: Voice, batch: Batch, rng: BatchRng, needs: Needs, n_items: int) -> dict[str, Listed]:
    """Have a teacher make the lists that are needed, of uniform items the same for the whole batch."""
    if not (needs.best or needs.drawn or needs.grouped):
        return {}
    drawn = draw_items(rng, needs.drawn, n_items) if needs.drawn else None
    groups = None if batch.teacher is None else batch.teacher.get(GROUPS)
    return make_lists(voice, needs, drawn=drawn, groups=groups)


def draw_items(rng: BatchRng, n: int, n_items: int) -> Int32[Array, " n"]:
    """Draw items for the whole batch, the same on every device."""
    return 1 + jax.random.randint(rng.named("teacher's uniform items").key(), (n,), 0, n_items, jnp.int32)


def array_names(name: ListName) -> tuple[str, str]:
    """Give the names under which a list travels with the examples' arrays.

    >>> array_names("best")
    ('teacher best items', 'teacher best scores')
    """
    return f"{ARRAY}{name} items", f"{ARRAY}{name} scores"


def read_lists(batch: Batch) -> dict[str, Listed]:
    """Read the lists that travel with the examples' arrays."""
    there = [name for name in LISTS if array_names(name)[0] in batch.arrays]
    return {name: Listed(*(batch[array] for array in array_names(name))) for name in there}


def _named(tree: Tree) -> dict[str, Any]:
    """Name the leaves by their paths."""
    return {
        f"{ARRAY}average {jax.tree_util.keystr(path, simple=True, separator='.')}": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
