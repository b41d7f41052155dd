"""The train state (device): a frozen pytree of parameters, optimizer state and step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int32

from curriculum_rec.growth.masks import Masks
from curriculum_rec.models.blocks import freeze_blocks
from curriculum_rec.models.structure import Tree, join_model, split_model
from curriculum_rec.objectives.losses import Objective, Remembers
from curriculum_rec.training.freezing import Frozen
from curriculum_rec.training.optimizers.average import averaged_parameters
from curriculum_rec.weighting.contract import Weighting


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that a step changes.

    Attributes:
        params: Nested dict of parameters; what lies under ``blocks`` has a leading layer axis.
        opt_state: The optimizer's state.
        step: int32 scalar, steps trained so far.
        structure: The model without its arrays.
        memory: What the weighting and the objective remember, each under its name; a part without memory is left out.
        frozen: What steps leave as it is.
        masks: What is masked of a model that has just grown.
    """

    params: Tree
    opt_state: Tree
    step: Int32[Array, ""]
    structure: nnx.GraphDef = field(metadata={"static": True})
    memory: dict[str, dict[str, Array]] = field(default_factory=dict)
    frozen: Frozen = field(default=Frozen(), metadata={"static": True})
    masks: Masks = field(default=Masks(), metadata={"static": True})

    @classmethod
    def create(
        cls,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        weighting: Weighting | None = None,
        *,
        objective: Objective | None = None,
        item_counts: np.ndarray | None = None,
    ) -> TrainState:
        """Take a model apart and initialise the optimizer, and the memory of a weighting and an objective.

        Raises:
            OptionError: The model holds state that is no parameter, which a step would not carry on; or the objective
                needs ``item_counts``, the training count of every item ``[n_items + 1]``.
        """
        structure, params = split_model(model)
        memory = begin_memory(weighting, objective, n_items=getattr(model, "n_items", 0), item_counts=item_counts)
        return cls(params, optimizer.init(params), jnp.zeros((), jnp.int32), structure, memory)

    def model(self) -> nnx.Module:
        """Put the model together again, as it computes at this step."""
        return join_model(self.structure, self.masks.of(self.params, self.step))

    def freeze(self, frozen: Frozen) -> TrainState:
        """Let the steps from here on leave something as it is, and nothing else; the numbers do not change."""
        return self.hold(frozen, self.masks)

    def hold(self, frozen: Frozen, masks: Masks) -> TrainState:
        """Let the steps from here on leave something as it is, and mask something; the numbers do not change."""
        model: Any = join_model(self.structure, self.masks.with_places(self.params))
        self.masks.unmark(model)
        masks.mark(model)
        if frozen.blocks or self.frozen.blocks:
            freeze_blocks(model.blocks, frozen.blocks)
        return replace(self, structure=split_model(model)[0], frozen=frozen, masks=masks)


def evaluation_parameters(state: TrainState) -> Tree:
    """Give the weights that are evaluated: the average that the optimizer keeps of them, or else they themselves."""
    average = averaged_parameters(state.opt_state)
    return state.params if average is None else average


def begin_memory(
    weighting: Weighting | None, objective: Objective | None, *, n_items: int, item_counts: np.ndarray | None
) -> dict[str, dict[str, Array]]:
    """Give what a weighting and an objective remember before the first step."""
    parts = {
        "weighting": {} if weighting is None else weighting.begin(),
        "objective": objective.begin(n_items=n_items, item_counts=item_counts)
        if isinstance(objective, Remembers)
        else {},
    }
    return {name: part for name, part in parts.items() if part}


def count_parameters(params: Tree) -> int:
    """Count the numbers in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
