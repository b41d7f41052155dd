"""Item vectors whose first columns do by themselves (device): an objective over several widths of one table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from curriculum_rec.data.task import Task
from curriculum_rec.errors import OptionError
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.models.touched import whole_table
from curriculum_rec.objectives.losses import Around, Losses, Objective


@dataclass(frozen=True)
class Nested(Around):
    """The mean of an objective's losses for the whole item table and for its first columns alone.

    Under a width the other columns count as 0, in histories and in scores, which is what ``curriculum-rec compress
    method=dimensions`` makes of the table later. A step costs a pass for every width.

    Args:
        objective: The loss; all widths see the same negatives.
        shares: Shares of the columns besides all of them, each in (0, 1).

    Source: Kusupati et al. (2022), Matryoshka Representation Learning, here with the history narrowed, too, since one
    table serves both.
    """

    TASK: ClassVar[Task] = "next_item"

    objective: Objective
    shares: tuple[float, ...] = (0.25, 0.5)

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise OptionError(f"objective.shares={list(self.shares)}: it needs numbers in (0, 1)")

    def __call__(self, model: Any, batch: Batch, rng: BatchRng) -> Losses:
        """Compute the losses, of the objective's shape; its own scalars are those of the whole table."""
        whole = self.objective(model, batch, rng)
        parts = [self.objective(narrowed(model, share), batch, rng).per_example for share in self.shares]
        return replace(whole, per_example=jnp.mean(jnp.stack([whole.per_example, *parts]), axis=0))


def narrowed(model: Any, share: float) -> Any:
    """Give a model with the first columns of its item table alone, rounded to at least one; the others are 0.

    Raises:
        OptionError: The model has no item table, or only single rows of it can be differentiated.
    """
    structure, params = split_model(model)
    table = params.get("items", {}).get("embedding")
    if table is None:
        raise OptionError(
            f"objective=nested: {type(model).__name__} has no parameter items.embedding, whose columns it is about"
        )
    table = whole_table(table)
    kept = jnp.arange(table.shape[1]) < max(1, round(share * table.shape[1]))

    def narrow(path: tuple[Any, ...], leaf: Any) -> Any:
        of_the_data = getattr(path[-1], "key", None) == "numbers"  # what is projected, whose columns are no units
        return leaf if of_the_data else jnp.where(kept, leaf, jnp.zeros((), leaf.dtype))

    items = jax.tree_util.tree_map_with_path(narrow, params["items"])
    return join_model(structure, params | {"items": items})
