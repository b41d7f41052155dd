"""Users and items of a whole batch (device), on every device, for terms that compare them with each other."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.distillation.voice import Voice
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.contract import Recommender


@dataclass(frozen=True)
class Side:
    """Users and items as one model sees them.

    Attributes:
        users: ``[n, width]``, each example's user vector at its last target.
        items: ``[n, width]``, the vector of that target.
    """

    users: Float[Array, "n width"]
    items: Float[Array, "n width"]

    @property
    def both(self) -> Float[Array, "both width"]:
        """Users, then items."""
        return jnp.concatenate([self.users, self.items])


@dataclass(frozen=True)
class Entities:
    """Users and items of some examples.

    Attributes:
        student: As the student sees them.
        teacher: As the teacher does.
        exists: bool ``[n]``, False for rows that only fill the batch up.
    """

    student: Side
    teacher: Side
    exists: Bool[Array, " n"]


@dataclass(frozen=True)
class Whole:
    """The entities of this device's rows, and those of the whole batch.

    Attributes:
        own: Of this device.
        all: Of all devices, one after the other.
    """

    own: Entities
    all: Entities

    @classmethod
    def of(cls, student: Recommender, hidden: Array, voice: Voice, batch: Batch, *, axis_name: str | None) -> Whole:
        """Take what belongs to the last target of each example, and bring it together in one exchange.

        The gradient of what came from other devices goes back to them.

        Args:
            student: The student.
            hidden: ``[batch, length, width]``, its user vectors.
            voice: One teacher.
            batch: This device's rows.
            axis_name: The mapped axis over which the batch is spread; None on one device.
        """
        target = batch["target"]
        last = jnp.maximum((target > 0).sum(axis=1) - 1, 0)
        item = jnp.take_along_axis(target, last[:, None], axis=1)[:, 0]
        parts = [
            _at(hidden, last),
            student.item_vectors(item),
            _at(voice.hidden[0], last),
            voice.vectors[0][item],
        ]
        weight = batch.weight.reshape(len(item), -1).max(axis=1)
        exists = ((weight > 0) & (item > 0)).astype(jnp.float32)[:, None]
        parts = [*(part.astype(jnp.float32) for part in parts), exists]
        own = jnp.concatenate(parts, axis=1)
        joined = own if axis_name is None else jax.lax.all_gather(own, axis_name).reshape(-1, own.shape[1])
        widths = [part.shape[1] for part in parts]
        return cls(_split(own, widths), _split(joined, widths))


def _at(hidden: Array, place: Array) -> Array:
    return jnp.take_along_axis(hidden, place[:, None, None], axis=1)[:, 0]


def _split(joined: Array, widths: list[int]) -> Entities:
    ends = [sum(widths[: number + 1]) for number in range(len(widths) - 1)]
    user, item, their_user, their_item, exists = jnp.split(joined, ends, axis=1)
    return Entities(Side(user, item), Side(their_user, their_item), exists[:, 0] > 0)
