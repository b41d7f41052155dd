"""What a model answers for the rows of a part (host and device), whatever is made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Array, Float

from curriculum_rec.data.examples import BATCH_MULTIPLE
from curriculum_rec.data.feature_table import DENSE, LABEL, FeatureTable
from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.data.splits import Part
from curriculum_rec.evaluation.contract import DeviceSplit
from curriculum_rec.evaluation.scoring import fold
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import Tree, join_model


class HasBatchSize(Protocol):
    """Options that say how many rows are asked at once."""

    @property
    def batch_size(self) -> int:
        """Most rows at once."""
        ...


@dataclass
class RowsOfPart:
    """The rows of a part, ready to be asked of any state of a model.

    Args:
        data: The rows.
        part: The part.
        placed: Puts arrays on the devices.
        options: How many are asked at once.
    """

    data: FeatureTable
    part: Part
    placed: DeviceSplit
    options: HasBatchSize

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows' numbers, int64 ``[n]``."""
        return self.data.rows(self.part)

    @cached_property
    def label(self) -> np.ndarray:
        """Their labels, ``[n]``: classes or numbers."""
        return self.data.label[self.rows]

    @cached_property
    def _batches(self) -> dict[str, Array]:
        arrays = {name: array for name, array in self.data.arrays(self.part).items() if name != LABEL}
        return batches_of(arrays, self.placed, self.options.batch_size)

    def outputs(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Give the model's outputs, float64 ``[n, outputs]``."""
        return outputs_of(structure, params, self._batches, self.placed)[: len(self)]

    def named_rows(self) -> list[pl.Series]:
        """Name the rows: their numbers from 1, and user and item where they have them."""
        frame = self.data.split.rows.frame
        known = [frame[name].gather(self.rows) for name in (USER, ITEM) if name in frame.columns]
        return [pl.Series("row", self.rows + 1), *known]


def batches_of(arrays: Mapping[str, np.ndarray], placed: DeviceSplit, batch_size: int) -> dict[str, Array]:
    """Put rows on the devices in batches, ``[n_batches, batch, ...]``, the last one filled up.

    Args:
        arrays: ``dense`` and ``categorical``, ``[n, ...]``.
        placed: The devices.
        batch_size: Most rows at once.
    """
    multiple = math.lcm(BATCH_MULTIPLE, placed.n_shards)
    size = -(-min(batch_size, len(arrays[DENSE])) // multiple) * multiple
    return {name: placed.split(fold(array, size), 1) for name, array in arrays.items()}


def outputs_of(structure: nnx.GraphDef, params: Tree, batches: dict[str, Array], placed: DeviceSplit) -> np.ndarray:
    """Give a model's outputs for rows from :func:`batches_of`, float64 ``[n and what fills them up, outputs]``."""
    outputs = placed.fetch(_predict_batches(structure, params, batches))
    return outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)


@jax.jit(static_argnums=0)
def _predict_batches(
    structure: nnx.GraphDef, params: Tree, arrays: dict[str, Array]
) -> Float[Array, "batches batch outputs"]:
    model = join_model(structure, params)

    def one_batch(batch: dict[str, Array]) -> Float[Array, "batch outputs"]:
        return model(Batch(batch, jnp.ones(len(batch["dense"])))).astype(jnp.float32)

    return jax.lax.map(one_batch, arrays)
