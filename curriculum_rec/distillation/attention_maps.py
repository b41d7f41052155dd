"""A term by which the student's positions look where the teacher's do (device), whatever their widths and heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.distillation.contract import Lesson, Needs, Sizes
from curriculum_rec.distillation.features import FromFeatures
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.contract import ShowsAttention
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.ranges import check_ranges, one_of

Layers = Literal["last", "uniform"]

SMALLEST = 1e-9
"""Shares of attention below this count as this, so that a key which a student has given up still has a logarithm."""


@dataclass(frozen=True, kw_only=True)
class AttentionMaps(FromFeatures):
    """``KL(A_T ; A_S)`` of where a position looks, ``A`` being the mean of a layer's heads.

    No trained part stands between the two, so that heads and widths may differ. Maps are held for this term alone, as
    large as the square of a history for each of the layers.

    Args:
        layers: ``last`` compares the last layers; ``uniform`` compares each of the student's with the teacher's at the
            same share of the depth, and takes the mean.
        weight: What its losses are multiplied by, above 0.

    Source: MiniLM (Wang et al., 2020), equation 2, of the last layer, there head by head; the layers at the same share
    of the depth are TinyBERT's (Jiao et al., 2020).
    """

    layers: Layers = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"layers": one_of(*get_args(Layers))})

    @property
    def needs(self) -> Needs:
        """The teacher itself, and how both look."""
        return Needs(online=True, attention=True)

    def part(self, sizes: Sizes, rngs: Any) -> None:
        """Nothing to train; several teachers together have no map."""
        del rngs
        self.teacher_width(sizes)

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        if lesson.maps is None or not lesson.heard.maps:
            raise OptionError("distil.terms: AttentionMaps was given no maps of attention")
        ours, theirs = lesson.maps, lesson.heard.maps[0]
        pairs = layer_pairs(len(ours), len(theirs), self.layers)
        return jnp.stack([map_divergence(theirs[b], ours[a]) for a, b in pairs]).mean(axis=0)


def layer_pairs(student: int, teacher: int, layers: Layers) -> tuple[tuple[int, int], ...]:
    """Say which layer of a student is compared with which of its teacher, counted from 0.

    Args:
        student: Layers of the student.
        teacher: Layers of the teacher.
        layers: The rule.

    >>> layer_pairs(2, 4, "last"), layer_pairs(2, 4, "uniform"), layer_pairs(3, 2, "uniform")
    (((1, 3),), ((0, 1), (1, 3)), ((0, 0), (1, 1), (2, 1)))
    """
    if layers == "last":
        return ((student - 1, teacher - 1),)
    return tuple((layer, -(-(layer + 1) * teacher // student) - 1) for layer in range(student))


def map_divergence(
    teacher: Float[Array, "*shape keys"], student: Float[Array, "*shape keys"]
) -> Float[Array, "*shape"]:
    """Compute ``KL(teacher ; student)`` of rows that add up to 1.

    >>> round(float(map_divergence(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5]))), 4)  # log 2
    0.6931
    """
    theirs, ours = (jnp.log(jnp.maximum(shares, SMALLEST)) for shares in (teacher, student))
    return (teacher * (theirs - ours)).sum(axis=-1)


def check_attention(option: str, student: Any, teachers: Sequence[Any]) -> None:
    """Refuse models whose attention cannot be compared.

    Args:
        option: Which option says so, for error messages.
        student: The student's model, which may hold shapes alone.
        teachers: Those of the teachers.

    Raises:
        OptionError: One has no softmax attention over its positions, or they look at other positions.
    """
    for model in (student, *teachers):
        if not isinstance(model, ShowsAttention):
            raise OptionError(
                f"{option}: AttentionMaps compares maps of softmax attention, and {type(model).__name__} has none: "
                "take sasrec or bert4rec for teacher and student, or another term, such as hidden_state"
            )
    keys = _keys(student)
    for teacher in teachers:
        if _keys(teacher) != keys:
            raise OptionError(
                f"{option}: AttentionMaps cannot compare {type(student).__name__} with {type(teacher).__name__}, whose "
                "positions look at others: take models of one kind"
            )


def _keys(model: Any) -> int:
    """Count what the positions of a history of two items may look at."""
    structure, params = split_model(model)
    items, time = (jax.ShapeDtypeStruct((1, 2), dtype) for dtype in (jnp.int32, jnp.float32))
    one = jax.ShapeDtypeStruct((1,), jnp.int32)
    arrays: Any = {"history": items, "target": items, "time": time, "user": one}
    weight: Any = jax.ShapeDtypeStruct((1,), jnp.float32)
    batch = Batch(arrays, weight)
    maps = jax.eval_shape(lambda params, batch: join_model(structure, params).with_attention(batch)[1], params, batch)
    return maps.shape[-1]
