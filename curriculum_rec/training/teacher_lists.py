"""What a teacher lists for every training target (host and device), written once before a stage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.data.examples import BATCH_MULTIPLE, Bucket, Examples
from curriculum_rec.distillation.contract import Listed, Needs
from curriculum_rec.distillation.hearing import array_names, hidden_name
from curriculum_rec.distillation.lists import make_lists, stack_versions
from curriculum_rec.distillation.voice import How, Voice
from curriculum_rec.evaluation.evaluator import fold
from curriculum_rec.evaluation.target_statistics import ASKED
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.score_store import ScoreStore
from curriculum_rec.training.workshop import digest_of


@dataclass(frozen=True)
class Frozen:
    """A teacher as it was loaded.

    Attributes:
        structures: Of its models.
        params: Theirs, on the devices.
        digests: What identifies them.
        how: How several become one.
        versions: Whether they are versions of one teacher instead, each with its own lists.
    """

    structures: tuple[nnx.GraphDef, ...]
    params: list[Tree]
    digests: list[Any]
    how: How = "mean"
    versions: bool = False


@dataclass(frozen=True)
class TeacherLists:
    """Asks a frozen teacher about all targets.

    Args:
        teacher: The teacher.
        needs: Which lists, and how long.
        examples: Whole sequences with targets.
        groups: The popularity group of each item; None where none are needed.
        placed: The devices.
        batch_size: Sequences asked at once, one position after the other; memory grows with it, not the result.
    """

    teacher: Frozen
    needs: Needs
    examples: Examples
    groups: np.ndarray | None
    placed: Placed
    batch_size: int = 128

    def read(self, store: ScoreStore) -> list[dict[str, np.ndarray]] | None:
        """Read the lists of every bucket, if they were written before."""
        found = store.read(self._description, self._names)
        if found is None:
            return None
        return [
            {array: found[f"{array} {number}"] for array in self._arrays}
            for number in range(len(self.examples.buckets))
        ]

    def write(self, store: ScoreStore) -> list[dict[str, np.ndarray]]:
        """Ask the teacher, and keep what it says for this run and others."""
        pending = [self._ask(self._batches(number)) for number in range(len(self.examples.buckets))]
        by_bucket = [
            {name: self._fetch(array, bucket) for name, array in lists.items()}
            for bucket, lists in zip(self.examples.buckets, pending, strict=True)
        ]
        named = {f"{name} {n}": array for n, lists in enumerate(by_bucket) for name, array in lists.items()}
        store.write(self._description, named)
        return by_bucket

    def seconds(self, *, repeats: int = 3) -> tuple[float, float]:
        """Measure what asking the teacher about a training batch takes, and what reading its lists does."""
        buckets = self.examples.buckets
        number = max(range(len(buckets)), key=lambda number: len(buckets[number].example))
        some = {name: array[:1] for name, array in self._batches(number).items()}
        lists = jax.block_until_ready(self._ask(some))
        read = jax.jit(lambda lists, rows: jax.tree.map(lambda array: array[0, rows], lists))
        rows = jnp.arange(next(iter(lists.values())).shape[1], dtype=jnp.int32)[::-1]
        jax.block_until_ready(read(lists, rows))

        def best_of(call: Any) -> float:
            seconds = []
            for _ in range(repeats):
                started = time.perf_counter()
                jax.block_until_ready(call())
                seconds.append(time.perf_counter() - started)
            return min(seconds) * buckets[number].batch_size / len(rows)

        return best_of(lambda: self._ask(some)), best_of(lambda: read(lists, rows))

    @cached_property
    def _description(self) -> dict[str, Any]:
        return {
            "examples": digest_of(self.examples),
            "teachers": self.teacher.digests,
            "how": "versions" if self.teacher.versions else self.teacher.how,
            "lists": dataclasses.asdict(replace(self.needs, drawn=0)),
        }

    @property
    def _arrays(self) -> list[str]:
        asked = {"best": self.needs.best, "grouped": self.needs.grouped}
        lists = [array for name, n in asked.items() if n for array in array_names(name)]  # type: ignore[arg-type]
        return lists + [hidden_name(n) for n in range(len(self.teacher.structures) if self.needs.drawn else 0)]

    @property
    def _names(self) -> list[str]:
        return [f"{array} {number}" for number in range(len(self.examples.buckets)) for array in self._arrays]

    def _batches(self, number: int) -> dict[str, np.ndarray]:
        """Fold a bucket's rows, ``[n_batches, batch, length]``."""
        bucket = self.examples.buckets[number]
        multiple = int(np.lcm(BATCH_MULTIPLE, self.placed.n_shards))
        size = -(-min(self.batch_size, len(bucket.example)) // multiple) * multiple
        return {name: fold(np.asarray(bucket.arrays[name]), size) for name in ASKED if name in bucket.arrays}

    def _ask(self, batches: Mapping[str, np.ndarray]) -> dict[str, Array]:
        on_devices = {name: self.placed.split(array, 1) for name, array in batches.items()}
        groups = None if self.groups is None else self.placed.replicate(self.groups)
        how = None if self.teacher.versions else self.teacher.how
        return _ask_batches(
            self.teacher.params, groups, on_devices, structures=self.teacher.structures, how=how, needs=self.needs
        )

    def _fetch(self, array: Array, bucket: Bucket) -> np.ndarray:
        whole = self.placed.fetch(array)
        return whole.reshape(-1, *whole.shape[2:])[: len(bucket.example)]


@partial(jax.jit, static_argnames=("structures", "how", "needs"))
def _ask_batches(
    params: Sequence[Tree],
    groups: Array | None,
    batches: Mapping[str, Array],
    *,
    structures: Sequence[nnx.GraphDef],
    how: How | None,
    needs: Needs,
) -> dict[str, Array]:
    """Make the lists of all batches, ``[n_batches, batch, length, ...]``; without ``how``, each teacher its own.

    Where items are drawn in the step, the teachers' user vectors are kept, by which they score whatever is drawn.
    """

    def one_batch(arrays: Mapping[str, Array]) -> dict[str, Array]:
        batch = Batch(arrays, jnp.ones(len(arrays["history"])))
        lists: dict[str, Listed]
        hidden: tuple[Array, ...] = ()
        if how is None:
            alone = zip(structures, params, strict=True)
            voices = [Voice.of((structure,), (tree,), batch, "mean") for structure, tree in alone]
            lists = stack_versions([make_lists(voice, needs, groups=groups) for voice in voices])
        else:
            voice = Voice.of(structures, params, batch, how)
            lists = make_lists(voice, needs, groups=groups)
            hidden = voice.hidden if needs.drawn else ()
        kept = {
            array: value
            for name, listed in lists.items()
            for array, value in zip(array_names(name), listed, strict=True)  # type: ignore[arg-type]
        }
        return kept | {hidden_name(n): each.astype(jnp.float32) for n, each in enumerate(hidden)}

    return jax.lax.map(one_batch, dict(batches))
