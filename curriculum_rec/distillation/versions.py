"""Hears a teacher's versions (device), each user its own, and remembers which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from curriculum_rec.distillation.contract import Listed, Needs
from curriculum_rec.distillation.hearing import ARRAY, PARAMS, Heard, read_lists
from curriculum_rec.distillation.lists import choose_version, make_lists, stack_versions
from curriculum_rec.distillation.teachers import Trajectory
from curriculum_rec.distillation.trajectory import advance, discrepancy
from curriculum_rec.distillation.voice import Voice
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.items import is_candidate
from curriculum_rec.models.top import top_of_rows
from curriculum_rec.negatives.contract import Memory

EXAMPLE = f"{ARRAY}example"
"""Name of the array with each row's number among all examples."""

VERSION, DISTANCE = f"{ARRAY}version", f"{ARRAY}distance"


@dataclass(frozen=True)
class FromVersions:
    """Hears each user's version of the teacher.

    Args:
        rule: When users go on.
        needs: Which lists; of the best items alone.
        n_examples: How many there are.
        n_versions: How many versions.
        steps_per_epoch: Steps of a pass.
        first_step: The run's step with which the stage begins.
        structures: Of the versions, asked in the step; empty where lists were written beforehand.
    """

    rule: Trajectory
    needs: Needs
    n_examples: int
    n_versions: int
    steps_per_epoch: int
    first_step: int
    structures: tuple[nnx.GraphDef, ...] = ()

    def begin(self) -> Memory:
        """Begin with everybody at the weakest version."""
        n = self.n_examples
        return {VERSION: jnp.zeros(n, jnp.int32), DISTANCE: jnp.full(n, -1, jnp.float32)}

    def __call__(self, batch: Batch, rng: BatchRng) -> Heard:
        """Take every user's version."""
        del rng
        lists = choose_version(self._all_lists(batch), batch.memory[VERSION][batch[EXAMPLE]])
        way = batch.memory[VERSION].mean(dtype=jnp.float32) / (self.n_versions - 1)
        return Heard(lists, None, way >= self.rule.enough - 1e-6)

    def remember(self, memory: Memory, model: Any, batch: Batch, *, step: Array, axis_name: str | None) -> Memory:
        """Look at the batch's users, in every ``every_epochs``-th pass."""
        number = (step - self.first_step) // self.steps_per_epoch
        is_due = number % self.rule.every_epochs == 0

        def look() -> Memory:
            threshold = self.rule.threshold * self.rule.patience ** (number // self.rule.every_epochs)
            return self._looked(memory, model, batch, threshold.astype(jnp.float32), axis_name)

        return jax.lax.cond(is_due, look, lambda: dict(memory))

    def _looked(self, memory: Memory, model: Any, batch: Batch, threshold: Array, axis_name: str | None) -> Memory:
        example = batch[EXAMPLE]
        exists = batch.weight.reshape(len(example), -1).max(axis=1) > 0
        version, before = advance(
            memory[VERSION][example], memory[DISTANCE][example], self._distances(model, batch), threshold
        )
        # As integers, whose bits nobody rounds; what only fills the batch up goes nowhere.
        told = jnp.stack(
            [
                jnp.where(exists, example, self.n_examples),
                version,
                jax.lax.bitcast_convert_type(before.astype(jnp.float32), jnp.int32),
            ]
        )
        if axis_name is not None:
            told = jnp.concatenate(list(jax.lax.all_gather(told, axis_name)), axis=1)
        place, version, bits = told
        before = jax.lax.bitcast_convert_type(bits, jnp.float32)
        return {
            **memory,
            VERSION: memory[VERSION].at[place].set(version, mode="drop"),
            DISTANCE: memory[DISTANCE].at[place].set(before, mode="drop"),
        }

    def _distances(self, model: Any, batch: Batch) -> Array:
        """Compare the student's list at each example's last target with all versions', ``[batch, versions]``."""
        last = jnp.maximum((batch["target"] > 0).sum(axis=1) - 1, 0)
        hidden = jnp.take_along_axis(model(batch), last[:, None, None], axis=1)[:, 0]
        vectors = model.item_vectors()
        candidate = is_candidate(len(vectors), model.n_items)[None, :]
        scores = jnp.where(candidate, jnp.matmul(hidden, vectors.T, preferred_element_type=jnp.float32), -jnp.inf)
        depth = self.rule.depth
        _, items = top_of_rows(scores, depth)
        wanted = self._all_lists(batch)["best"].items[..., :depth]
        wanted = jnp.take_along_axis(wanted, last[:, None, None, None], axis=1)[:, 0]
        return discrepancy(jnp.broadcast_to(items[:, None], wanted.shape), wanted)

    def _all_lists(self, batch: Batch) -> dict[str, Listed]:
        if not self.structures:
            return read_lists(batch)
        voices = [
            Voice.of([structure], [params], batch, "mean")
            for structure, params in zip(self.structures, batch.teacher[PARAMS], strict=True)
        ]
        return stack_versions([make_lists(voice, self.needs) for voice in voices])


def needed_by(rule: Trajectory, needs: Needs) -> Needs:
    """Lengthen the lists to what the rule compares."""
    return Needs.of([needs, Needs(best=rule.depth)])
