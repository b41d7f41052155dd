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
from jaxtyping import Array, Bool

from curriculum_rec.distillation.contract import Listed, ListName, Needs
from curriculum_rec.distillation.lists import KEPT, make_lists
from curriculum_rec.distillation.voice import How, Voice
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.negatives.contract import Memory

ARRAY = "teacher "
"""Begins the names of what a teacher leaves in the examples' arrays and in an objective's memory."""

PARAMS, GROUPS, VECTORS = "params", "groups", "vectors"
"""Names in ``Batch.teacher``: a list of parameters, the popularity group of each item, a list of item vectors."""


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

    def __call__(self, batch: Batch, rng: BatchRng) -> Heard:
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

    def __call__(self, batch: Batch, rng: BatchRng) -> Heard:
        """Run the teachers."""
        voice = Voice.of(self.structures, batch.teacher[PARAMS], batch, self.how, attention=self.needs.attention)
        return Heard(ask(voice, batch, rng, self.needs), voice, jnp.ones((), bool))


@dataclass(frozen=True)
class FromLists(WithoutMemory):
    """Reads lists that were written beforehand, and scores uniform items by user vectors that were.

    Args:
        needs: What is read.
        n_items: Size of the catalogue.
        how: How several teachers become one.
    """

    needs: Needs
    n_items: int
    how: How = "mean"

    def __call__(self, batch: Batch, rng: BatchRng) -> Heard:
        """Read."""
        lists = read_lists(batch)
        if self.needs.drawn:
            vectors = tuple(batch.teacher[VECTORS])
            hidden = tuple(batch[hidden_name(number)] for number in range(len(vectors)))
            lists |= draw_list(Voice(hidden, vectors, self.n_items, self.how), rng, self.needs)
        return Heard(lists, None, jnp.ones((), bool))


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

    def __call__(self, batch: Batch, rng: BatchRng) -> Heard:
        """Run the average."""
        leaves = [batch.memory[name] for name in _named(self.template)]
        params = jax.tree.unflatten(jax.tree.structure(self.template), leaves)
        voice = Voice.of([self.structure], [params], batch, "mean", attention=self.needs.attention)
        return Heard(ask(voice, batch, rng, self.needs), voice, jnp.ones((), bool))


def ask(voice: Voice, batch: Batch, rng: BatchRng, needs: Needs) -> dict[str, Listed]:
    """Have a teacher make the lists that are needed."""
    groups = None if batch.teacher is None else batch.teacher.get(GROUPS)
    lists = make_lists(voice, needs, groups=groups)
    return lists | draw_list(voice, rng, needs) if needs.drawn else lists


def draw_list(voice: Voice, rng: BatchRng, needs: Needs) -> dict[str, Listed]:
    """Draw items for the whole batch, the same on every device, and have a teacher score them."""
    key = rng.named("teacher's uniform items").key()
    drawn = 1 + jax.random.randint(key, (needs.drawn,), 0, voice.n_items, jnp.int32)
    return {"drawn": Listed(drawn, voice.scores_of(drawn))}


def array_names(name: ListName) -> tuple[str, str]:
    """Give the names under which a list travels with the examples' arrays.

    >>> array_names("best")
    ('teacher best items', 'teacher best scores')
    """
    return f"{ARRAY}{name} items", f"{ARRAY}{name} scores"


def hidden_name(number: int) -> str:
    """Give the name under which a teacher's user vectors travel with the examples' arrays.

    >>> hidden_name(0)
    'teacher hidden 0'
    """
    return f"{ARRAY}hidden {number}"


def read_lists(batch: Batch) -> dict[str, Listed]:
    """Read the lists that travel with the examples' arrays."""
    there = [name for name in KEPT if array_names(name)[0] in batch.arrays]
    return {name: Listed(*(batch[array] for array in array_names(name))) for name in there}


def _named(tree: Tree) -> dict[str, Any]:
    """Name the leaves by their paths."""
    return {
        f"{ARRAY}average {jax.tree_util.keystr(path, simple=True, separator='.')}": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
