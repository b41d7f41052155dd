"""Kinds of new blocks (device): what a copy of a block becomes before it joins the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from curriculum_rec.models.residual import Role
from curriculum_rec.ranges import ABOVE_0_TO_1, check_ranges, one_of

Inner = Literal["copy", "random"]


@runtime_checkable
class NewBlocks(Protocol):
    """A kind of new blocks.

    Its call turns copied leaves into those of new blocks; the first of these copies are old blocks and stay what they
    were.
    """

    @property
    def preserves(self) -> bool:
        """Whether new blocks pass a pre-norm stream on as it is."""
        ...

    @property
    def anew(self) -> frozenset[Role]:
        """The leaves that do not come from the source, and so begin with moments of 0."""
        ...

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks.

        Args:
            copied: The leaves of their sources.
            role: What they are to their branch.
            key: For what is random.
        """
        ...


@dataclass(frozen=True)
class Copy:
    """Options of new blocks that are what their sources are, and act at once: the function changes."""

    preserves: ClassVar[bool] = False
    anew: ClassVar[frozenset[Role]] = frozenset()

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        del role, key
        return copied


@dataclass(frozen=True)
class Gated:
    """Options of copies behind gates of 0: the gates learn how much of them to let in.

    Source: ReZero's gate (Bachlechner et al., 2021) before copied weights.
    """

    preserves: ClassVar[bool] = True
    anew: ClassVar[frozenset[Role]] = frozenset({"gate"})

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        del key
        return jnp.zeros_like(copied) if role == "gate" else copied


@dataclass(frozen=True)
class Identity:
    """Options of blocks whose last linear layers are 0, behind gates of 1.

    Args:
        inner: Whether what lies before the last layers is a ``copy`` of the source or ``random``, as Flax begins
            linear layers and norms.

    Source: Net2DeeperNet (Chen et al., 2016), for residual branches as in LEMON (Wang et al., 2024).
    """

    inner: Inner = "copy"
    preserves: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "growth.blocks", {"inner": one_of(*get_args(Inner))})

    @property
    def anew(self) -> frozenset[Role]:
        """The leaves that do not come from the source."""
        return frozenset(get_args(Role)) if self.inner == "random" else frozenset({"gate", "output", "output_bias"})

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        if role not in self.anew:
            return copied
        if role == "weight":
            return jax.nn.initializers.lecun_normal(batch_axis=0)(key, copied.shape, copied.dtype)
        return jnp.ones_like(copied) if role in ("gate", "norm_gain") else jnp.zeros_like(copied)


@dataclass(frozen=True)
class Fresh:
    """Options of blocks that begin as a model's first ones do, linear layers at random, and act at once.

    They take nothing of their sources, and the function changes.
    """

    preserves: ClassVar[bool] = False
    anew: ClassVar[frozenset[Role]] = frozenset(get_args(Role))

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        if role in ("weight", "output"):
            return jax.nn.initializers.lecun_normal(batch_axis=0)(key, copied.shape, copied.dtype)
        return jnp.ones_like(copied) if role in ("gate", "norm_gain") else jnp.zeros_like(copied)


@dataclass(frozen=True)
class NormZero:
    """Options of copies whose norms give 0 and whose biases are 0, so that their branches are 0.

    That takes an activation that maps 0 to 0, as GELU does.

    Source: staged training (Shen et al., 2022), appendix; biases behind the norm are set to 0, too, since trained ones
    would come through.
    """

    preserves: ClassVar[bool] = True
    anew: ClassVar[frozenset[Role]] = frozenset({"norm_gain", "norm_bias", "bias", "output_bias"})

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        del key
        return jnp.zeros_like(copied) if role in self.anew else copied


@dataclass(frozen=True)
class Momentum:
    """Options of copies whose gates are their source's times a factor: the function changes.

    Args:
        factor: In (0, 1].

    Source: stacking as accelerated descent (Agarwal et al., 2024), where the next function begins as a factor times the
    last; that form by the gate is ours.
    """

    factor: float = 0.9
    preserves: ClassVar[bool] = False
    anew: ClassVar[frozenset[Role]] = frozenset()

    def __post_init__(self) -> None:
        check_ranges(self, "growth.blocks", {"factor": ABOVE_0_TO_1})

    def __call__(self, copied: Float[Array, "new *shape"], role: Role, *, key: Array) -> Float[Array, "new *shape"]:
        """Give the leaves of new blocks."""
        del key
        return self.factor * copied if role == "gate" else copied
