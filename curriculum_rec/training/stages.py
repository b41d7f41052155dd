"""Stages (host): a run is a list of them; plain training is a list of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from curriculum_rec.errors import OptionError


@dataclass(frozen=True)
class Stage:
    """One stage of a run: where its weights come from, how deep the model is, and when it ends.

    Args:
        depth: Blocks of the model in this stage; None keeps the depth of the stage before, or the model's own. A
            greater depth grows the model by ``growth``.
        epochs: Length in passes over the full data; exactly one of this and ``steps`` is given.
        steps: Length in steps.
        patience: The stage also ends when the validation metric has not improved for this many evaluations; None goes
            on to the end.
        warm_start: A run directory whose best checkpoint gives the weights; the optimizer starts afresh. None goes on
            from the stage before, or from random weights.
    """

    depth: int | None = None
    epochs: float | None = None
    steps: int | None = None
    patience: int | None = None
    warm_start: str | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise OptionError(
                f"a stage has epochs={self.epochs} and steps={self.steps}: give exactly one of them, null for the other"
            )
        for name in ("depth", "epochs", "steps", "patience"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"a stage has {name}={value}: it must be a number above 0")

    def n_steps(self, steps_per_epoch: int) -> int:
        """Give the stage's greatest length in steps.

        >>> Stage(epochs=2.5).n_steps(4), Stage(steps=7).n_steps(4)
        (10, 7)
        """
        return self.steps if self.steps is not None else max(1, round((self.epochs or 0) * steps_per_epoch))


def check_stages(stages: Mapping[str, Stage], *, model_depth: int | None, can_grow: bool) -> None:
    """Check what single stages cannot see.

    Raises:
        OptionError: There is no stage, a depth falls, or a depth rises without a growth operator.
    """
    if not stages:
        raise OptionError("a run needs at least one stage")
    depth = model_depth
    for number, (name, stage) in enumerate(stages.items()):
        if stage.depth is None or number == 0:
            depth = stage.depth or depth
            continue
        check_depth(name, stage, depth, can_grow=can_grow)
        depth = stage.depth


def check_depth(name: str, stage: Stage, before: int | None, *, can_grow: bool) -> None:
    """Check a stage's depth against that of the weights it begins with, None where they have none.

    Raises:
        OptionError: The depth falls, or rises without a growth operator.
    """
    if stage.depth is None or before is None or stage.depth == before:
        return
    if stage.depth < before:
        raise OptionError(f"stage '{name}' has depth {stage.depth} after depth {before}: depth never falls")
    if not can_grow:
        raise OptionError(f"stage '{name}' grows from depth {before} to {stage.depth}, but growth is none: choose one")
