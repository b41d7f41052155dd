"""What a term of distillation needs of the teacher, and what it sees of a batch (device)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.distillation.entities import Whole
from curriculum_rec.distillation.voice import Voice
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.contract import Recommender
from curriculum_rec.ranges import POSITIVE, check_ranges

ListName = Literal["best", "drawn", "grouped"]


@dataclass(frozen=True)
class Needs:
    """What the teacher has to say about a target.

    Attributes:
        best: Its best items, so many, with their scores.
        drawn: So many items drawn uniformly, with its scores.
        grouped: So many best items of each popularity group, with their scores.
        groups: How many popularity groups there are; 0 where nobody asks for them.
        online: Whether its hidden states or all its scores are needed, so that no list will do.
        whole_batch: Whether examples of a batch are compared with each other.
        attention: Whether teacher and student have to say how positions look at each other.
    """

    best: int = 0
    drawn: int = 0
    grouped: int = 0
    groups: int = 0
    online: bool = False
    whole_batch: bool = False
    attention: bool = False

    @classmethod
    def of(cls, all_needs: Iterable[Needs]) -> Needs:
        """Bring together what several terms need.

        Raises:
            OptionError: Two of them divide the catalogue into different numbers of groups.

        >>> Needs.of([Needs(best=10), Needs(best=40, drawn=5)])
        Needs(best=40, drawn=5, grouped=0, groups=0, online=False, whole_batch=False, attention=False)
        """
        total = cls()
        for needs in all_needs:
            if total.groups and needs.groups and total.groups != needs.groups:
                raise OptionError(
                    f"distil.terms: two of them have groups={total.groups} and groups={needs.groups}: give both one "
                    "number"
                )
            total = cls(
                best=max(total.best, needs.best),
                drawn=max(total.drawn, needs.drawn),
                grouped=max(total.grouped, needs.grouped),
                groups=max(total.groups, needs.groups),
                online=total.online or needs.online,
                whole_batch=total.whole_batch or needs.whole_batch,
                attention=total.attention or needs.attention,
            )
        return total


class Listed(NamedTuple):
    """Items and the teacher's scores of them.

    Attributes:
        items: int32 ``[batch, length, *groups, k]``, or ``[k]`` where the batch shares them; best first if they are
            the best.
        scores: float32 ``[batch, length, *groups, k]``.
    """

    items: Int32[Array, "*shape k"]
    scores: Float[Array, "batch length *groups k"]


class Sizes(NamedTuple):
    """What the trainable parts of terms must fit.

    Attributes:
        student: Width of the student's vectors.
        teacher: Width of the teacher's; None where several speak together.
    """

    student: int
    teacher: int | None


@dataclass(frozen=True)
class Lesson:
    """A batch as terms see it. Nothing of the teacher's has a gradient.

    Attributes:
        student: The student, whose user vectors are computed already.
        hidden: ``[batch, length, width]``, those vectors.
        batch: The batch.
        rng: Its randomness, of one term.
        mask: bool ``[batch, length]``, where there is a target.
        lists: What the teacher lists, by name.
        voice: What it says besides; None where only its lists are known.
        part: The term's own trainable part; None where it has none.
        progress: The fraction of the stage that is trained, float32 scalar.
        heat: What temperatures are multiplied by, float32 scalar.
        finished: Whether every student's teacher is the last version, bool scalar; True where there is one only.
        everyone: Users and items of the whole batch; None where no term compares them.
        maps: ``[depth, batch, length, keys]``, how the student's positions look at each other; None where no term asks.
    """

    student: Recommender
    hidden: Float[Array, "batch length width"]
    batch: Batch
    rng: BatchRng
    mask: Bool[Array, "batch length"]
    lists: Mapping[str, Listed]
    voice: Voice | None
    part: Any
    progress: Float[Array, ""]
    heat: Float[Array, ""]
    finished: Bool[Array, ""]
    everyone: Whole | None
    maps: Float[Array, "depth batch length keys"] | None = None

    def of_term(self, name: str, part: Any) -> Lesson:
        """Give a term its own randomness and its own trainable part."""
        return replace(self, rng=self.rng.named(f"distillation {name}"), part=part)

    def listed(self, name: ListName, k: int) -> Listed:
        """Give the first ``k`` of a list."""
        items, scores = self.lists[name]
        return Listed(items[..., :k], scores[..., :k])

    @property
    def heard(self) -> Voice:
        """The teacher itself."""
        if self.voice is None:
            raise OptionError("this term needs the teacher itself, not its lists: set distil.cache=never")
        return self.voice

    @property
    def whole(self) -> Whole:
        """Users and items of the whole batch."""
        if self.everyone is None:
            raise OptionError("this term compares the examples of a batch, which nobody brought together")
        return self.everyone

    def student_scores(self, items: Int32[Array, "*shape k"]) -> Float[Array, "batch length *groups k"]:
        """Score items, ``[k]`` for the whole batch or ``[batch, length, *groups, k]``."""
        vectors = self.student.item_vectors(items)
        if items.ndim == 1:
            return jnp.matmul(self.hidden, vectors.T, preferred_element_type=jnp.float32)
        flat = vectors.reshape(*items.shape[:2], -1, vectors.shape[-1])
        scores = jnp.einsum("bld,blkd->blk", self.hidden, flat, preferred_element_type=jnp.float32)
        return scores.reshape(items.shape)

    def draw_uniformly(self, n: int) -> Int32[Array, " n"]:
        """Draw items for the whole batch, the same on every device."""
        return 1 + jax.random.randint(self.rng.named("uniform").key(), (n,), 0, self.student.n_items, jnp.int32)


@runtime_checkable
class Term(Protocol):
    """A loss by which a student follows a teacher."""

    @property
    def weight(self) -> float:
        """What its losses are multiplied by."""
        ...

    @property
    def tempered(self) -> bool:
        """Whether it has a temperature."""
        ...

    @property
    def needs(self) -> Needs:
        """What the teacher has to say."""
        ...

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module | None:
        """Build its trainable part; None where it has none."""
        ...

    def check(self, n_items: int) -> None:
        """Refuse a catalogue that does not suit.

        Raises:
            OptionError: It is too small.
        """
        ...

    def __call__(self, lesson: Lesson) -> Float[Array, "batch *length"]:
        """Give one loss a target, ``[batch, length]``, or one an example."""
        ...


@dataclass(frozen=True, kw_only=True)
class WeightedTerm:
    """What all terms share.

    Args:
        weight: What its losses are multiplied by, relative to the task's, above 0.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, "distil.terms", {"weight": POSITIVE})

    @property
    def tempered(self) -> bool:
        """Without a temperature, unless the term says otherwise."""
        return False

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module | None:
        """Nothing to train."""
        del sizes, rngs
        return None

    @property
    def needs(self) -> Needs:
        """What the teacher has to say."""
        raise NotImplementedError

    def check(self, n_items: int) -> None:
        """Refuse more listed items than there are."""
        needs = self.needs
        listed = max(needs.best, needs.grouped * max(needs.groups, 1))
        if listed > n_items:
            raise OptionError(
                f"distil.terms: {type(self).__name__} asks for {listed} items and the catalogue has {n_items}: lower k"
            )

    def __call__(self, lesson: Lesson) -> Float[Array, "batch *length"]:
        """Give one loss a target, or one an example."""
        raise NotImplementedError
