"""What training asks of an evaluation, whatever is measured (host)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import polars as pl
from flax import nnx

from curriculum_rec.data.splits import Part
from curriculum_rec.models.structure import Tree


@runtime_checkable
class DeviceSplit(Protocol):
    """Puts arrays on the devices, cut along an axis."""

    @property
    def n_shards(self) -> int: ...

    def split(self, array: np.ndarray, axis: int) -> jax.Array: ...

    def fetch(self, array: jax.Array) -> np.ndarray: ...


@dataclass(frozen=True)
class Reference:
    """What a model that learns nothing would reach.

    Attributes:
        name: What it is called in tables.
        quality: Its metrics.
    """

    name: str
    quality: Mapping[str, float]


@runtime_checkable
class Evaluator(Protocol):
    """Measures any state of a model on one part of the data."""

    def __len__(self) -> int:
        """How many questions are asked."""
        ...

    def answers(self, structure: nnx.GraphDef, params: Tree) -> np.ndarray:
        """Ask a model: one row a question, such as a rank or the probabilities of classes."""
        ...

    def quality(self, answers: np.ndarray) -> dict[str, float]:
        """Sum the answers up in metrics."""
        ...

    def table(self, answers: np.ndarray) -> pl.DataFrame:
        """Give one row a question in a person's own words, so that any two runs can be compared pairwise later."""
        ...

    def reference(self) -> Reference:
        """Measure what learns nothing."""
        ...


@runtime_checkable
class EvaluationOptions(Protocol):
    """Says how quality is measured. Of its metrics one decides, and of that one higher is better."""

    @property
    def metric(self) -> str:
        """The metric that decides which checkpoint is best and when a plateau is reached."""
        ...

    @property
    def every_epochs(self) -> float:
        """Passes over the full data between two evaluations."""
        ...

    def check(self, data: Any) -> None:
        """Refuse options that do not suit the data, before anything is trained.

        Raises:
            OptionError: They do not.
        """
        ...

    def on(self, data: Any, part: Part, examples: Any, placed: DeviceSplit) -> Evaluator:
        """Prepare to measure.

        Args:
            data: The data and the part of each of its rows.
            part: The part.
            examples: How training examples are made, whose shapes are those that the model knows.
            placed: The devices.
        """
        ...
