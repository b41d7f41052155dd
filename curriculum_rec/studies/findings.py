"""What a report says (host): answer, tables and slices of the finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curriculum_rec.studies.answer import answer
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.results import Results
from curriculum_rec.studies.slices import Slices
from curriculum_rec.studies.table import Table
from curriculum_rec.studies.tables import all_tables


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Attributes:
        results: The finished runs.
        answer: In words, a paragraph each.
        tables: By place; those across places under None.
        slices: Of each place whose data could be read.
        command: What reproduces it.
    """

    results: Results
    answer: Sequence[str]
    tables: Mapping[Place | None, Sequence[Table]]
    slices: Mapping[Place, Slices]
    command: str

    @classmethod
    def of(cls, results: Results, slices: Mapping[Place, Slices], *, command: str) -> Report:
        """Compute it.

        Args:
            results: The finished runs.
            slices: Of each place whose data can be read.
            command: What reproduces the runs.
        """
        return cls(results, answer(results), all_tables(results, slices), slices, command)


def place_title(place: Place | None) -> str:
    """Name a place for a heading."""
    if place is None:
        return "Across conditions"
    return place.data if place.condition == "all" else f"{place.data}, {place.condition}"
