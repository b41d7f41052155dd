"""The names of :mod:`curriculum_rec.data.splits` under their first address (host), which runs of before then name."""

from curriculum_rec.data.splits import EvaluationRows, LeaveOneOut, Part, Split, Splitter

__all__ = ["EvaluationRows", "LeaveOneOut", "Part", "Split", "Splitter"]
