"""A person's own scores (host)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.curriculum.difficulty.base import RunningLoss, Unit, mean_by_example
from curriculum_rec.curriculum.difficulty.workshop import Workshop
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.scores import check_score_path, read_scores
from curriculum_rec.errors import DataError


@dataclass(frozen=True)
class ScoreFile:
    """A person's own scores, higher is harder (:func:`curriculum_rec.data.scores.read_scores` says of what form).

    A sequence whose targets are scored has their mean. Rows of what is not trained on, say of histories before their
    truncation, are ignored.

    Args:
        path: A file that ends in .parquet, .csv or .jsonl; ``curriculum-rec score`` writes such files.
    """

    path: str
    decay = None

    def __post_init__(self) -> None:
        check_score_path(self.path, "curriculum.difficulty.path")

    def __call__(
        self,
        examples: Examples,
        unit: Unit,
        losses: RunningLoss | None = None,
        workshop: Workshop | None = None,
    ) -> np.ndarray:
        """Score all units, float64 ``[n_units]``.

        Raises:
            DataError: The file cannot be read, or a unit has no score or several.
        """
        scores, of = read_scores(self.path, examples, option="curriculum.difficulty.path")
        if of == "sequence" and unit == "target":
            raise DataError(f"{self.path} has neither 'position' nor 'item': curriculum.unit=target needs one")
        return scores if of == unit else mean_by_example(scores, examples.target_offsets)
