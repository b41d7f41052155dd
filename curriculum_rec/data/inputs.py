"""What a model must know of the data before it can be built (host)."""

from __future__ import annotations

from dataclasses import dataclass

from curriculum_rec.data.features.owners import FeatureSet
from curriculum_rec.data.features.schema import Schema


@dataclass(frozen=True)
class Catalogue:
    """Items that a recommender scores.

    Attributes:
        n_items: How many, padding not counted.
        features: What is known of users and items; None for nothing.
    """

    n_items: int
    features: FeatureSet | None = None


@dataclass(frozen=True)
class Columns:
    """Features from which a label is predicted.

    Attributes:
        schema: The features, in the order of their columns.
        n_classes: How many values the label has; 0 where it is a number.
    """

    schema: Schema
    n_classes: int

    @property
    def n_outputs(self) -> int:
        """Numbers that a model gives a row: one for a number or for two classes (a logit), else one a class."""
        return 1 if self.n_classes in (0, 2) else self.n_classes


Inputs = Catalogue | Columns
