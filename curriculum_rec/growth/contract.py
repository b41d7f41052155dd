"""What a stage asks of growth (device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.growth.masks import Masks
from curriculum_rec.models.structure import Tree


@runtime_checkable
class Growth(Protocol):
    """Options of growth; the call takes a smaller model's parameters and optimizer state to those of a larger one."""

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what cannot be grown; both models hold shapes alone.

        Raises:
            OptionError: The new model is smaller somewhere, or differs in what this growth does not know.
        """
        ...

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the grown model computes what the old one did."""
        ...

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int
    ) -> tuple[Tree, Tree]:
        """Grow.

        Args:
            params: Nested dict of the old model's parameters; leaves under ``blocks`` have the layer axis first.
            opt_state: An optax state whose parameter-like parts keep the parameters' paths.
            old: The old model, holding shapes alone.
            new: The new model, holding shapes alone.
            seed: Decides what is random about new parameters.
        """
        ...


def can_shrink(growth: Growth | None) -> bool:
    """Say whether growth takes blocks away instead of adding them."""
    return getattr(growth, "shrinks", False)


class GrowthTask(Protocol):
    """The run's own loss and batches, for growth that learns how to grow."""

    def batch(self, step: int) -> Tree:
        """Give a batch, the same whenever it is asked for."""
        ...

    def arrays(self, batch: Tree) -> Mapping[str, Array]:
        """Give what a model sees of a batch."""
        ...

    def loss(self, params: Tree, batch: Tree) -> Float[Array, ""]:
        """Compute the mean loss of a batch under parameters of the task's model; it can be differentiated."""
        ...


@runtime_checkable
class FitsGrowth(Protocol):
    """Growth that learns from the run before its stage begins; the runner calls :meth:`fit` instead of growing."""

    def fit(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int, task: GrowthTask
    ) -> tuple[Tree, Tree]:
        """Learn, and grow; arguments as in :class:`Growth`, and what is learnt from."""
        ...


@dataclass(frozen=True)
class Decision:
    """What growth decides at the border of two stages.

    Attributes:
        sizes: Options of the model, instead of what the configuration says.
        memory: What it has measured, and goes by at the next border, as JSON data.
    """

    sizes: Mapping[str, Any]
    memory: Mapping[str, Any]


@runtime_checkable
class DecidesSizes(Protocol):
    """Growth that decides at the borders of stages how large the next model is.

    What it decides stands in the run's record, and so in every checkpoint.
    """

    @property
    def decides(self) -> str:
        """The option of the model that it decides."""
        ...

    def check_borders(self, number: int) -> None:
        """Refuse a run with so few borders that nothing could grow.

        Raises:
            OptionError: It is so.
        """
        ...

    def begin(self, planned: nnx.Module) -> Decision:
        """Say how large the first model is.

        Args:
            planned: The model as the configuration has it, holding shapes alone.

        Raises:
            OptionError: It has nothing that this growth decides, or nothing could grow.
        """
        ...

    def decide(
        self,
        params: Tree,
        before: Decision,
        *,
        model: nnx.Module,
        planned: nnx.Module,
        border: int,
        task: GrowthTask,
    ) -> Decision:
        """Say how large the next model is; the same again after a crash.

        Args:
            params: The parameters at the end of a stage.
            before: What was decided for that stage.
            model: Its model, holding shapes alone.
            planned: As in :meth:`begin`.
            border: Number of the border, from 0.
            task: The loss of that model, and batches.
        """
        ...


@runtime_checkable
class GrowsMasked(Protocol):
    """Growth whose stage begins with masks over what is new."""

    @property
    def steps(self) -> int:
        """Steps over which the masks rise."""
        ...

    def masks(self, old: nnx.Module, new: nnx.Module) -> Masks:
        """Say what is masked of the grown model."""
        ...


@runtime_checkable
class TellsNewBlocks(Protocol):
    """Growth in depth that knows which blocks of the grown stack are new."""

    def is_new(self, old: int, new: int) -> np.ndarray:
        """Say which blocks are new, bool ``[new]``."""
        ...


@runtime_checkable
class ResetsOptimizer(Protocol):
    """A growth that can ask for an optimizer that begins anew."""

    @property
    def resets_optimizer(self) -> bool:
        """Whether the run initialises the optimizer for the grown parameters, whatever state the growth returns.

        Moments, counts and averages then begin anew; a schedule over the whole run does not.
        """
        ...
