"""Names of ranking metrics (host): what there is, what each needs, and which can decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.metrics import METRICS

WHOLE = ("auc", "gauc")
"""Without a cut-off: they look at the whole list."""

OF_LISTS = (
    "serendipity",
    "novelty",
    "popularity",
    "tail_share",
    "diversity_groups",
    "diversity_vectors",
    "calibration",
)
"""One number a list, most of them from the items that are listed."""

OF_EXPOSURE = ("coverage", "gini", "entropy")
"""One number for all lists together."""

OF_GROUPS = ("diversity_groups", "calibration")
"""They need to know what groups, such as genres, an item belongs to."""

NOT_HIGHER_IS_BETTER = ("gini", "popularity", "calibration")
ALL = (*METRICS, *WHOLE, *OF_LISTS, *OF_EXPOSURE)


class Name(NamedTuple):
    """A metric's name taken apart.

    Attributes:
        kind: What stands before the ``@``.
        k: The cut-off; None where the metric has none.
    """

    kind: str
    k: int | None

    def __str__(self) -> str:
        return self.kind if self.k is None else f"{self.kind}@{self.k}"

    @property
    def needs_lists(self) -> bool:
        """Whether places of relevant items alone do not tell it."""
        return self.kind in (*OF_LISTS, *OF_EXPOSURE) and self.kind != "serendipity"


def parse_metric(name: str) -> Name:
    """Take a name such as ``ndcg@10`` or ``auc`` apart.

    Raises:
        OptionError: There is no such metric.

    >>> parse_metric("map_min@5"), str(parse_metric("gauc"))
    (Name(kind='map_min', k=5), 'gauc')
    """
    kind, at, k = name.partition("@")
    if kind in WHOLE and not at:
        return Name(kind, None)
    if kind not in ALL or kind in WHOLE or not k.isdecimal() or int(k) < 1:
        with_cut_off = ", ".join(each for each in ALL if each not in WHOLE)
        raise OptionError(
            f"'{name}' is no metric: write one of {with_cut_off}, then @ and a number, as in ndcg@10; or "
            f"{' or '.join(WHOLE)}, which have no cut-off"
        )
    return Name(kind, int(k))


def at_cut_offs(kinds: Sequence[str], k: Sequence[int]) -> tuple[str, ...]:
    """Give the names of metrics at all cut-offs; one with a cut-off of its own stays as it is.

    Raises:
        OptionError: There is no such metric.

    >>> at_cut_offs(["hr", "auc", "ndcg@3"], [1, 2])
    ('hr@1', 'hr@2', 'auc', 'ndcg@3')
    """
    names = []
    for kind in kinds:
        alone = "@" in kind or kind in WHOLE
        names += [kind] if alone else [f"{kind}@{each}" for each in k]
    return tuple(dict.fromkeys(str(parse_metric(name)) for name in names))


def can_decide(name: str) -> bool:
    """Say whether a metric is better when higher, so that it can choose between checkpoints."""
    return parse_metric(name).kind not in NOT_HIGHER_IS_BETTER
