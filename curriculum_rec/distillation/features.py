"""Terms that bring the student's user vectors near the teacher's (device), by parts that are trained with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.distillation.contract import Lesson, Needs, Sizes, WeightedTerm
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.negatives.contract import draw_numbers
from curriculum_rec.ranges import POSITIVE, at_least, between, check_ranges, one_of

Projection = Literal["learnt", "identity"]


@dataclass(frozen=True, kw_only=True)
class FromFeatures(WeightedTerm):
    """A term of hidden states, which one teacher has and several together do not."""

    weight: float = 0.1

    @property
    def needs(self) -> Needs:
        """The teacher itself."""
        return Needs(online=True)

    def teacher_width(self, sizes: Sizes) -> int:
        """Give the width of the teacher's vectors.

        Raises:
            OptionError: Several teachers speak together.
        """
        if sizes.teacher is None:
            raise OptionError(
                f"distil.terms: {type(self).__name__} needs one teacher, whose hidden states it follows; an ensemble "
                "has none"
            )
        return sizes.teacher


@dataclass(frozen=True, kw_only=True)
class HiddenState(FromFeatures):
    """``norm(P h_S - h_T)^2`` of the user vectors.

    Args:
        projection: ``learnt`` trains ``P`` with the student; ``identity`` needs vectors of one width.
        weight: What its losses are multiplied by, above 0.

    Source: the hints of Romero et al. (2015).
    """

    projection: Projection = "learnt"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "distil.terms", {"projection": one_of(*get_args(Projection))})

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module | None:
        """Build the projection."""
        width = self.teacher_width(sizes)
        if self.projection == "learnt":
            return nnx.Linear(sizes.student, width, rngs=rngs)
        if width != sizes.student:
            raise OptionError(
                f"distil.terms.projection=identity: the student's vectors have {sizes.student} numbers and the "
                f"teacher's {width}; take learnt"
            )
        return None

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        ours = lesson.hidden if lesson.part is None else lesson.part(lesson.hidden)
        return square_distance(ours, lesson.heard.hidden[0])


@dataclass(frozen=True, kw_only=True)
class Experts(FromFeatures):
    """``norm(h_T - sum_e g_e E_e(h_S))^2``: experts, each for a part of the teacher's knowledge, chosen by a gate.

    The gate reads the teacher's vector, with Gumbel noise; its temperature falls geometrically over the stage, from a
    mixture to the choice of one expert. Experts are networks with one hidden layer of the mean width.

    Args:
        n_experts: How many, at least 1.
        hottest: The gate's temperature at first, above 0.
        coldest: At last, above 0.
        weight: What its losses are multiplied by, above 0.

    Source: DE of Kang et al. (2020), equations 2 to 5, of user vectors.
    """

    n_experts: int = 30
    hottest: float = 1.0
    coldest: float = 1e-10
    weight: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "n_experts": at_least(1),
            "hottest": POSITIVE,
            "coldest": between(0, self.hottest, high_too=True),
        }
        check_ranges(self, "distil.terms", ranges)

    def part(self, sizes: Sizes, rngs: nnx.Rngs) -> nnx.Module:
        """Build experts and gate."""
        return GatedExperts(self.n_experts, student=sizes.student, teacher=self.teacher_width(sizes), rngs=rngs)

    def __call__(self, lesson: Lesson) -> Float[Array, "batch length"]:
        """Give one loss a target."""
        theirs = lesson.heard.hidden[0]
        temperature = self.hottest * (self.coldest / self.hottest) ** lesson.progress
        gate = gumbel_gate(lesson.part.gate(theirs), lesson.rng, temperature=temperature)
        return square_distance(lesson.part.mixed(lesson.hidden, gate), theirs)


class GatedExperts(nnx.Module):
    """Networks from the student's vectors to the teacher's, and a gate that reads the latter.

    Args:
        n_experts: How many.
        student: Width of the student's vectors.
        teacher: Width of the teacher's.
        rngs: Random streams for the initial values.
    """

    def __init__(self, n_experts: int, *, student: int, teacher: int, rngs: nnx.Rngs) -> None:
        hidden = (student + teacher) // 2
        self.gate = nnx.Linear(teacher, n_experts, rngs=rngs)
        self.up = nnx.Linear(student, n_experts * hidden, rngs=rngs)
        initial = nnx.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        self.down = nnx.Param(initial(rngs.params(), (n_experts, hidden, teacher), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((n_experts, teacher)))

    def mixed(
        self, hidden: Float[Array, "*shape student"], gate: Float[Array, "*shape experts"]
    ) -> Float[Array, "*shape teacher"]:
        """Mix the experts' answers by the gate, which needs one answer of each at a time only."""
        n_experts, width, teacher = self.down.shape
        inner = nnx.relu(self.up(hidden)).reshape(*hidden.shape[:-1], n_experts, width)
        weighted = (inner * gate[..., None]).reshape(*hidden.shape[:-1], n_experts * width)
        return weighted @ self.down[...].reshape(-1, teacher) + gate @ self.bias[...]


def gumbel_gate(
    logits: Float[Array, "batch *length n"], rng: BatchRng, *, temperature: Float[Array, ""] | float
) -> Float[Array, "batch *length n"]:
    """Draw weights of the sum 1, near one choice by the probabilities ``softmax(logits)`` as the temperature falls.

    Args:
        logits: Of the choices.
        rng: The stream.
        temperature: Above 0.

    Source: Jang et al. (2017), equation 2.
    """
    noise = -jnp.log(-jnp.log(draw_numbers(rng, *logits.shape[1:])))
    perturbed = logits + noise.astype(logits.dtype)
    # Below the highest before the division: afterwards a rounding error of numbers like 1e10 is more than exp can take.
    below = perturbed - jax.lax.stop_gradient(perturbed.max(axis=-1, keepdims=True))
    return jax.nn.softmax(jnp.where(below > 0, 0, below) / temperature, axis=-1)


def square_distance(a: Float[Array, "*shape width"], b: Float[Array, "*shape width"]) -> Float[Array, "*shape"]:
    """Compute the squared Euclidean distance, in float32.

    >>> float(square_distance(jnp.array([0.0, 3.0]), jnp.array([4.0, 3.0])))
    16.0
    """
    difference = a.astype(jnp.float32) - b.astype(jnp.float32)
    return (difference**2).sum(axis=-1)
