"""What a cleaning rule must see at once (host): a row, all rows of a user, or counts over all the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from curriculum_rec.data.cleaning import (
    ConvertTimestamps,
    DropDuplicates,
    DropIncomplete,
    DropInhumanActivity,
    DropMissing,
    DropOutOfRange,
    FillMissing,
    KCore,
    RatingThreshold,
)
from curriculum_rec.data.interactions import CleaningRule
from curriculum_rec.errors import OptionError

Scope = Literal["row", "user", "core"]

OF_ROWS = (ConvertTimestamps, DropIncomplete, DropMissing, DropOutOfRange, FillMissing, RatingThreshold)
"""Rules that look at one row at a time."""


@dataclass(frozen=True)
class Phase:
    """Rules that are applied in one go over the parts.

    Attributes:
        rules: Named rules, in order.
        core: Whether it is the one rule that counts over all parts.
    """

    rules: Mapping[str, CleaningRule]
    core: bool = False


def scope_of(name: str, rule: CleaningRule, *, timed: bool) -> Scope:
    """Say what a rule must see.

    A rule of another kind than those named here says it by an attribute ``SCOPE``, ``row`` or ``user``.

    Args:
        name: What the configuration calls it.
        rule: The rule.
        timed: Whether the data has timestamps.

    Raises:
        OptionError: It must see all rows at once.
    """
    if isinstance(rule, KCore):
        return "core"
    if isinstance(rule, OF_ROWS):
        return "row"
    if isinstance(rule, DropInhumanActivity):
        return "user"
    if isinstance(rule, DropDuplicates):
        if rule.same == "event" and not timed:
            raise OptionError(
                f"cleaning.{name} compares neighbouring rows of a file without timestamps, which the parts of a store "
                f"do not keep: set cleaning.{name}.same=user_item, or leave it out"
            )
        return "user"
    scope = getattr(rule, "SCOPE", None)
    if scope not in ("row", "user"):
        raise OptionError(
            f"cleaning.{name} ({type(rule).__name__}) looks at all rows at once, and a store is cleaned part by part: "
            "clean without it, or train without a store"
        )
    return scope


def phases_of(rules: Mapping[str, CleaningRule], *, timed: bool) -> tuple[Mapping[str, CleaningRule], list[Phase]]:
    """Put rules that can be applied in one go together.

    Returns:
        Those that are applied while the rows come in, and what follows.
    """
    leading: dict[str, CleaningRule] = {}
    phases: list[Phase] = []
    for name, rule in rules.items():
        scope = scope_of(name, rule, timed=timed)
        if scope == "row" and not phases:
            leading[name] = rule
        elif scope == "core":
            phases.append(Phase({name: rule}, core=True))
        elif phases and not phases[-1].core:
            phases[-1] = Phase({**phases[-1].rules, name: rule})
        else:
            phases.append(Phase({name: rule}))
    return leading, phases
