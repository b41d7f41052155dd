"""The divergence of a student's scores from a teacher's (device), in chunks: ``[positions, items]`` is never held."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from curriculum_rec.distillation.voice import How, voice_scores
from curriculum_rec.models.items import is_candidate
from curriculum_rec.objectives.softmax import dot, foreseen, over_chunks


class Pupil(NamedTuple):
    """Positions of a student.

    Attributes:
        hidden: ``[positions, width]``.
        vectors: ``[items, width]``; row 0 and rows beyond the catalogue are no items.
        weight: float32 ``[positions]``, the weights with which the losses will probably be summed.
        needed: bool ``[positions]``; the others get the loss 0 and send nothing back.
    """

    hidden: Float[Array, "positions width"]
    vectors: Float[Array, "items width"]
    weight: Float[Array, " positions"]
    needed: Bool[Array, " positions"]


class Master(NamedTuple):
    """The same positions of the teachers; constants of the gradient.

    Attributes:
        hidden: ``[positions, width]`` of each teacher.
        vectors: ``[items, width]`` of each.
        temperature: float32 scalar.
    """

    hidden: tuple[Float[Array, "positions _"], ...]
    vectors: tuple[Float[Array, "_ _"], ...]
    temperature: Float[Array, ""]


def catalogue_divergence(
    pupil: Pupil, master: Master, *, n_items: int, how: How = "mean", chunk: int
) -> Float[Array, " positions"]:
    """Compute ``T^2 KL(softmax(z / T) ; softmax(s / T))`` over the catalogue, chunk by chunk, forward and backward.

    As in the task's own softmax, the gradient under the foreseen weights is computed together with the losses, and
    anew under any other; needed positions alone are computed, wherever they stand.

    Args:
        pupil: The student.
        master: The teachers.
        n_items: Size of the catalogue.
        how: How several teachers become one.
        chunk: Positions whose scores are held at once.

    Returns:
        float32 ``[positions]``.

    Source: Hinton et al. (2015), section 2.
    """
    n_rows = len(pupil.vectors)
    vectors = tuple(_with_rows(table, n_rows) for table in master.vectors)
    return _fused((min(chunk, len(pupil.needed)), n_items, how), pupil, master._replace(vectors=vectors))


def _with_rows(table: Array, n_rows: int) -> Array:
    return jnp.pad(table[:n_rows], ((0, max(n_rows - len(table), 0)), (0, 0)))


_Static = tuple[int, int, How]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(static: _Static, pupil: Pupil, master: Master) -> Array:
    def one_chunk(index: Array, losses: Array) -> Array:
        return losses.at[index].set(_chunk(static, index, pupil, master)[0], mode="drop")

    return over_chunks(one_chunk, pupil.needed, static[0], jnp.zeros(len(pupil.needed), jnp.float32))


def _chunk(static: _Static, index: Array, pupil: Pupil, master: Master) -> tuple[Array, Array]:
    """Give the losses of some positions, and their derivatives by the student's scores."""
    _, n_items, how = static
    candidate = is_candidate(len(pupil.vectors), n_items)[None, :]
    scores = jnp.matmul(_take(pupil.hidden, index), pupil.vectors.T, preferred_element_type=jnp.float32)
    hidden = [_take(h, index) for h in master.hidden]
    wanted = voice_scores(hidden, master.vectors, n_items=n_items, how=how)
    log_student = jax.nn.log_softmax(jnp.where(candidate, scores / master.temperature, -jnp.inf), axis=-1)
    log_teacher = jax.nn.log_softmax(wanted / master.temperature, axis=-1)
    return divergence_and_slopes(log_teacher, log_student, master.temperature)


def divergence_and_slopes(
    log_teacher: Float[Array, "rows n"], log_student: Float[Array, "rows n"], temperature: Float[Array, ""]
) -> tuple[Float[Array, " rows"], Float[Array, "rows n"]]:
    """Give ``T^2 KL`` of two distributions a row, and its derivatives by the student's scores before the temperature.

    Args:
        log_teacher: Logarithms of probabilities; minus infinity where there is no item.
        log_student: Likewise.
        temperature: ``T``.
    """
    teacher = jnp.exp(log_teacher)
    losses = jnp.where(teacher > 0, teacher * (log_teacher - log_student), 0).sum(axis=-1)
    return temperature**2 * losses, temperature * (jnp.exp(log_student) - teacher)


def _take(array: Array, index: Array) -> Array:
    return array.at[index].get(mode="fill", fill_value=0)


def _with_gradients(static: _Static, pupil: Pupil, master: Master) -> tuple[Array, Array, Array]:
    """Give the losses, the gradient of each for its own hidden vector, and that of their weighted sum for vectors."""
    dtype = pupil.hidden.dtype

    def one_chunk(index: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        losses, for_hidden, for_vectors = carry
        loss, slope = _chunk(static, index, pupil, master)
        slope = slope.astype(dtype)
        weighted = (_take(pupil.weight, index)[:, None] * _take(pupil.hidden, index)).astype(dtype)
        return (
            losses.at[index].set(loss, mode="drop"),
            for_hidden.at[index].set(dot(slope, pupil.vectors).astype(dtype), mode="drop"),
            for_vectors + dot(weighted.T, slope),
        )

    start = (
        jnp.zeros(len(pupil.needed), jnp.float32),
        jnp.zeros_like(pupil.hidden),
        jnp.zeros(pupil.vectors.shape[::-1], jnp.float32),
    )
    losses, for_hidden, for_vectors = over_chunks(one_chunk, pupil.needed, static[0], start)
    return losses, for_hidden, for_vectors.T.astype(pupil.vectors.dtype)


def _forward(static: _Static, pupil: Pupil, master: Master) -> tuple[Array, tuple[Any, ...]]:
    losses, *gradients = _with_gradients(static, pupil, master)
    return losses, (*gradients, pupil, master)


def _backward(static: _Static, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Pupil, Master]:
    for_hidden, for_vectors, pupil, master = residuals
    cotangent, weight = (jnp.where(pupil.needed, array, 0) for array in (cotangent, pupil.weight))
    scale, as_foreseen = foreseen(cotangent, weight)
    vectors = jax.lax.cond(
        as_foreseen,
        lambda: scale.astype(for_vectors.dtype) * for_vectors,
        lambda: _with_gradients(static, pupil._replace(weight=cotangent), master)[2],
    )
    hidden = cotangent[:, None].astype(for_hidden.dtype) * for_hidden
    return (
        Pupil(hidden, vectors, None, None),  # type: ignore[arg-type]
        Master((None,) * len(master.hidden), (None,) * len(master.vectors), None),  # type: ignore[arg-type]
    )


_fused.defvjp(_forward, _backward)
