"""Terms of the batch as a whole (device): how near users and items lie to each other, and which users an item suits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.distillation.contract import Lesson, Needs, Sizes
from curriculum_rec.distillation.entities import Entities, Side, Whole
from curriculum_rec.distillation.features import FromFeatures, GatedExperts, gumbel_gate, square_distance
from curriculum_rec.distillation.ranking import relaxed_ranking
from curriculum_rec.errors import OptionError
from curriculum_rec.models.items import normalise
from curriculum_rec.ranges import ABOVE_0_TO_1, POSITIVE, at_least, check_ranges, one_of

Level = Literal["prototypes", "entities"]


@dataclass(frozen=True, kw_only=True)
class OfWholeBatch(FromFeatures):
    """A term that compares the examples of a batch with each other."""

    weight: float = 0.001

    @property
    def needs(self) -> Needs:
        """The teacher itself, and the whole batch."""
        return Needs(online=True, whole_batch=True)


@dataclass(frozen=True, kw_only=True)
class FullTopology(OfWholeBatch):
    """``sum_b (cos(t_a, t_b) - cos(s_a, s_b))^2`` for the user and the last target of an example.

    ``b`` runs over the users and last targets of the whole batch.

    Args:
        weight: What its losses are multiplied by, above 0.

    Source: FTD of Kang et al. (2021), equation 3.
    """

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module | None:
        """Nothing to train; one teacher is needed."""
        del rngs
        self.teacher_width(sizes)
        return None

    def __call__(self, lesson: Lesson) -> Float[Array, " batch"]:
        """Give one loss an example."""
        whole = lesson.whole
        near = jnp.concatenate([whole.all.exists] * 2)[None, :]
        return _per_example(topology(*_pairs(whole), near))


@dataclass(frozen=True, kw_only=True)
class HierarchicalTopology(OfWholeBatch):
    """The topology inside groups, and that of the groups.

    A gate on the teacher's vectors chooses an entity's group, users and items apart. It learns, as the gate of
    :class:`Experts` does, by which expert best turns the student's vector into the teacher's. Inside a group all are
    compared as in :class:`FullTopology`; groups are compared by their means, with each other (``prototypes``) or with
    all entities.

    Args:
        n_groups: Groups of users, and of items, at least 2.
        temperature: Of the gate while it learns, above 0.
        assignment: Share of the loss by which the gate learns, in (0, 1).
        level: What the means of groups are compared with.
        weight: What its losses are multiplied by, above 0.

    Source: HTD of Kang et al. (2021), equations 4 to 10; gradients flow through the groups' means, too.
    """

    n_groups: int = 30
    temperature: float = 0.1
    assignment: float = 0.5
    level: Level = "prototypes"

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "n_groups": at_least(2),
            "temperature": POSITIVE,
            "assignment": ABOVE_0_TO_1,
            "level": one_of(*get_args(Level)),
        }
        check_ranges(self, "distil.terms", ranges)
        if self.assignment == 1:
            raise OptionError("distil.terms.assignment=1 leaves no topology: take less")

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module:
        """Build the experts and gates of users and of items."""
        return GroupExperts(self.n_groups, student=sizes.student, teacher=self.teacher_width(sizes), rngs=rngs)

    def __call__(self, lesson: Lesson) -> Float[Array, " batch"]:
        """Give one loss an example."""
        whole, part = lesson.whole, lesson.part
        groups = [part.groups(entities.teacher) for entities in (whole.own, whole.all)]
        exists = jnp.concatenate([whole.all.exists] * 2)
        inside = topology(*_pairs(whole), exists[None, :] & (groups[0][:, None] == groups[1][None, :]))
        between = self._between(whole, groups[0], groups[1], exists)
        assigned = part.reconstruction(whole.own, lesson, self.temperature)
        return _per_example((1 - self.assignment) * (inside + between) + self.assignment * assigned)

    def _between(self, whole: Whole, own: Array, groups: Array, exists: Array) -> Float[Array, " entities"]:
        member = (groups[:, None] == jnp.arange(2 * self.n_groups)[None, :]) & exists[:, None]
        means = [prototypes(side.both, member) for side in (whole.all.student, whole.all.teacher)]
        if self.level == "entities":
            sides = whole.own.student.both, means[0], whole.own.teacher.both, means[1]
            return topology(*sides, member.any(axis=0)[None, :])
        of_group = topology(means[0], means[0], means[1], means[1], member.any(axis=0)[None, :])
        # A group's loss is shared by its members, so that a batch's sum counts it once.
        return (of_group / jnp.maximum(member.sum(axis=0), 1).astype(of_group.dtype))[own]


class GroupExperts(nnx.Module):
    """Experts and gates, of users and of items; arguments as of :class:`GatedExperts`."""

    def __init__(self, n_groups: int, *, student: int, teacher: int, rngs: nnx.Rngs) -> None:
        self.users = GatedExperts(n_groups, student=student, teacher=teacher, rngs=rngs)
        self.items = GatedExperts(n_groups, student=student, teacher=teacher, rngs=rngs)
        self.n_groups = n_groups

    def groups(self, side: Side) -> Int32[Array, " entities"]:
        """Give the group of each user, then of each item; the latter follow the former's."""
        users, items = (self.users.gate(side.users), self.items.gate(side.items))
        return jnp.concatenate([users.argmax(axis=-1), self.n_groups + items.argmax(axis=-1)]).astype(jnp.int32)

    def reconstruction(self, own: Entities, lesson: Lesson, temperature: float) -> Float[Array, " entities"]:
        """Say how far the chosen experts miss the teacher's vectors."""
        losses = []
        for name, experts in (("users", self.users), ("items", self.items)):
            ours, theirs = getattr(own.student, name), getattr(own.teacher, name)
            gate = gumbel_gate(experts.gate(theirs), lesson.rng.named(name), temperature=temperature)
            losses.append(square_distance(experts.mixed(ours, gate), theirs))
        return jnp.concatenate(losses)


@dataclass(frozen=True, kw_only=True)
class ItemSideRanking(OfWholeBatch):
    """The relaxed ranking of users for an item: an example's last target, and the users of the batch.

    Together with :class:`RelaxedRanking` this is IR-RRD, with the batch in the place of all users.

    Args:
        k: The users whom the teacher finds it suits best, at least 1; at most half of a batch is taken.
        n_uniform: Other users, drawn uniformly from the batch, at least 0.
        weight: What its losses are multiplied by, above 0.

    Source: Kang et al. (2021), "Item-side ranking regularized distillation", equation 6.
    """

    k: int = 20
    n_uniform: int = 20
    weight: float = 0.0005

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"k": at_least(1), "n_uniform": at_least(0)})

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module | None:
        """Nothing to train; one teacher is needed."""
        del rngs
        self.teacher_width(sizes)
        return None

    def __call__(self, lesson: Lesson) -> Float[Array, " batch"]:
        """Give one loss an example."""
        own, everyone = lesson.whole.own, lesson.whole.all
        n_users = len(everyone.exists)
        wanted = jnp.where(everyone.exists[None, :], own.teacher.items @ everyone.teacher.users.T, -jnp.inf)
        value, best = jax.lax.top_k(wanted, max(min(self.k, n_users // 2), 1))
        scores = own.student.items @ everyone.student.users.T
        key = lesson.rng.named("users").key()
        rest = jax.random.randint(key, (self.n_uniform,), 0, n_users, jnp.int32)
        is_rest = ~(best[:, None, :] == rest[None, :, None]).any(axis=-1) & everyone.exists[rest][None, :]
        return relaxed_ranking(jnp.take_along_axis(scores, best, axis=1), scores[:, rest], is_rest, jnp.isfinite(value))


def topology(
    own: Float[Array, "n width"],
    others: Float[Array, "m width"],
    their_own: Float[Array, "n their_width"],
    their_others: Float[Array, "m their_width"],
    counts: Bool[Array, "rows m"],
) -> Float[Array, " n"]:
    """Compute ``sum_b (cos(t_a, t_b) - cos(s_a, s_b))^2`` over the ``b`` that count.

    Args:
        own: The student's vectors ``a``.
        others: Its vectors ``b``.
        their_own: The teacher's vectors ``a``.
        their_others: Its vectors ``b``.
        counts: bool ``[n, m]`` or ``[1, m]``.

    >>> turned = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> topology(jnp.eye(2), jnp.eye(2), turned, turned, jnp.ones((1, 2), bool)).tolist()
    [0.0, 0.0]
    """
    ours = normalise(own) @ normalise(others).T
    theirs = normalise(their_own) @ normalise(their_others).T
    return jnp.where(counts, (ours - theirs) ** 2, 0).sum(axis=1)


def prototypes(vectors: Float[Array, "n width"], member: Bool[Array, "n groups"]) -> Float[Array, "groups width"]:
    """Average the vectors of each group; zero for an empty one.

    >>> prototypes(jnp.array([[1.0], [3.0]]), jnp.array([[True, False], [True, False]])).tolist()
    [[2.0], [0.0]]
    """
    share = member.astype(vectors.dtype)
    return (share.T @ vectors) / jnp.maximum(share.sum(axis=0), 1)[:, None]


def _pairs(whole: Whole) -> tuple[Array, Array, Array, Array]:
    return whole.own.student.both, whole.all.student.both, whole.own.teacher.both, whole.all.teacher.both


def _per_example(of_entities: Float[Array, " entities"]) -> Float[Array, " batch"]:
    """Add what an example's user and its item say."""
    return of_entities.reshape(2, -1).sum(axis=0)
