"""Stages (host): a run is a list of them; plain training is a list of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

import jax.numpy as jnp
from jaxtyping import Array

from curriculum_rec.components import check_type, unknown_option
from curriculum_rec.distillation.options import Distillation, check_teaching_stages
from curriculum_rec.errors import OptionError
from curriculum_rec.models.contract import ModelFactory
from curriculum_rec.ranges import INSIDE_ONE, POSITIVE, at_least, check_ranges, one_of
from curriculum_rec.training.freezing import Freezing
from curriculum_rec.training.run_directory import Which
from curriculum_rec.training.triggers import StopRule

Begin = Literal["previous", "random"]
"""Where a stage's weights come from when no warm start is named: the stage before, or random values."""

ChosenBlocks = Literal["all", "every_second"] | tuple[int, ...]
"""Blocks of another run's model: all of them, every second one from the first, or those of these numbers, from 0."""


@dataclass(frozen=True)
class Rewinding:
    """Which weights of a warm start begin at 0: those that were smallest later, each matrix by itself.

    With the weights of an early checkpoint this is weight rewinding, with those of the same one it is the start of
    learning-rate rewinding. The run needs ``optimizer=pruned``, which keeps what is 0.

    Args:
        sparsity: Share of every matrix's entries that are 0, in (0, 1).
        run: The run that says which; None for the one whose weights are taken. A run that was rewound before has its
            own zeros among the smallest, so that several rounds go on from the same early weights.
        checkpoint: ``best`` by the validation metric, ``newest``, or a step that has one.

    Source: Frankle et al. (2020), "Linear mode connectivity and the lottery ticket hypothesis"; Renda et al. (2020).
    """

    sparsity: float = 0.8
    run: str | None = None
    checkpoint: Which = "best"

    def __post_init__(self) -> None:
        check_ranges(self, "warm_start.rewind", {"sparsity": INSIDE_ONE})


@dataclass(frozen=True)
class WarmStart:
    """Weights out of another run; the optimizer starts afresh.

    Whatever ``take`` names must be there on both sides; the rest of the model begins at random, and the run's log says
    what became of every parameter.

    Args:
        run: The run directory.
        checkpoint: ``best`` by the validation metric, ``newest``, or a step that has one.
        take: Patterns of parameters' names, such as ``items.*`` or ``blocks.*``; where all are taken, a smaller model
            grows by ``growth``.
        blocks: Which blocks: ``all``, ``every_second`` as a distilled student begins, or a list of numbers from 0.
        items: ``same`` asks for the same catalogue; ``by_id`` looks items up by their ids, and vectors of such as the
            other run did not know begin near those of items as popular as they are.
        rewind: Which weights begin at 0, by a later checkpoint; None for none.

    Source: every second block after DistilBERT (Sanh et al., 2019).
    """

    run: str
    checkpoint: Which = "best"
    take: tuple[str, ...] = ("*",)
    blocks: ChosenBlocks = "all"
    items: Literal["same", "by_id"] = "same"
    rewind: Rewinding | None = None

    def __post_init__(self) -> None:
        if not self.take:
            raise OptionError("warm_start.take=[]: name at least one pattern, * for all parameters")
        if not isinstance(self.blocks, str) and (not self.blocks or min(self.blocks) < 0):
            raise OptionError(f"warm_start.blocks={list(self.blocks)}: name at least one block, counted from 0")
        if self.rewind is not None and (self.take != ("*",) or self.blocks != "all" or self.items != "same"):
            raise OptionError(
                "warm_start.rewind prunes a whole model: leave warm_start.take, blocks and items at *, all and same"
            )


@dataclass(frozen=True)
class Stage:
    """One stage of a run: where its weights come from, how large the model is, and when it ends.

    Args:
        depth: Blocks of the model from this stage on; None keeps the depth of the stage before, or the model's own. A
            greater depth grows the model by ``growth``.
        model: Options of the model that change from this stage on, such as ``width``, or a whole model of another
            kind; None keeps the model of the stage before. Greater sizes grow it by ``growth``, unless the stage
            begins anew.
        epochs: Length in passes over the full data; exactly one of this and ``steps`` is given.
        steps: Length in steps.
        until: The stage also ends after an evaluation of which this rule says so; None goes on to the end.
        begin: ``previous`` goes on from the weights of the stage before, where there is one; ``random`` begins anew,
            the optimizer too.
        warm_start: Takes weights from another run, a :class:`WarmStart`, or a run directory whose best checkpoint is
            taken whole. None goes on as ``begin`` says.
        learning_rate_factor: The optimizer's learning rate is multiplied by this in the stage, above 0.
        warmup_steps: Steps over which the learning rate rises to its schedule when the stage begins. A growth that does
            not preserve the function needs them; 200 are usual.
        freeze: What the stage leaves as it is, and for how long; None trains all.
        distil: What the stage's model learns from a teacher besides; None for nothing.
    """

    depth: int | None = None
    model: Mapping[str, Any] | ModelFactory | None = None
    epochs: float | None = None
    steps: int | None = None
    until: StopRule | None = None
    begin: Begin = "previous"
    warm_start: WarmStart | str | None = None
    learning_rate_factor: float = 1.0
    warmup_steps: int = 0
    freeze: Freezing | None = None
    distil: Distillation | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise OptionError(
                f"a stage has epochs={self.epochs} and steps={self.steps}: give exactly one of them, null for the other"
            )
        ranges = {
            "depth": at_least(1).or_null(),
            "epochs": POSITIVE.or_null(),
            "steps": at_least(1).or_null(),
            "learning_rate_factor": POSITIVE,
            "begin": one_of(*get_args(Begin)),
            "warmup_steps": at_least(0),
        }
        check_ranges(self, "stages.NAME", ranges)
        if self.begin == "random" and self.warm_start is not None:
            raise OptionError(f"a stage has begin=random and warm_start={self.warm_start}: weights have one source")
        if isinstance(self.model, Mapping) and "depth" in self.model:
            raise OptionError("a stage has model.depth: give it as the stage's own depth")

    @property
    def borrows(self) -> WarmStart | None:
        """The warm start with all its options; None without one."""
        return WarmStart(self.warm_start) if isinstance(self.warm_start, str) else self.warm_start

    def n_steps(self, steps_per_epoch: int) -> int:
        """Give the stage's greatest length in steps.

        >>> Stage(epochs=2.5).n_steps(4), Stage(steps=7).n_steps(4)
        (10, 7)
        """
        return self.steps if self.steps is not None else max(1, round((self.epochs or 0) * steps_per_epoch))

    def changed(self, model: ModelFactory, name: str) -> ModelFactory:
        """Give the stage's model, from that of the stage before.

        Args:
            model: Builds the model of the stage before.
            name: The stage's, for error messages.

        Raises:
            OptionError: An option does not exist or has the wrong type.
        """
        if self.model is None:
            return model
        if not isinstance(self.model, Mapping):
            return self.model
        path = f"stages.{name}.model"
        if not is_dataclass(model) or isinstance(model, type):
            raise OptionError(f"{path}: {type(model).__name__} is no dataclass of options, so none can be changed")
        hints = get_type_hints(type(model))
        kinds = {field.name: hints[field.name] for field in fields(model)}
        for option in self.model:
            if option not in kinds:
                raise OptionError(unknown_option(f"{path}.{option}", kinds))
        checked = {option: check_type(value, kinds[option], f"{path}.{option}") for option, value in self.model.items()}
        return replace(model, **checked)

    def learning_rate_scale(self, first_step: int) -> Callable[[Array], Array] | None:
        """Say what the stage multiplies the optimizer's learning rate by, as a function of the run's step.

        Args:
            first_step: Steps trained before the stage.

        Returns:
            The function; None where the learning rate stays as it is.
        """
        if self.learning_rate_factor == 1 and not self.warmup_steps:
            return None
        factor, over = self.learning_rate_factor, max(self.warmup_steps, 1)
        return lambda step: factor * jnp.clip((step - first_step + 1) / over, 0, 1)


def check_stages(
    stages: Mapping[str, Stage], *, model_depth: int | None, can_grow: bool, can_shrink: bool = False
) -> None:
    """Check what single stages cannot see.

    Raises:
        OptionError: There is no stage, a depth changes that nothing can change, or a teacher is no earlier stage.
    """
    if not stages:
        raise OptionError("a run needs at least one stage")
    depth = model_depth
    for number, (name, stage) in enumerate(stages.items()):
        if stage.depth is None or number == 0 or stage.begin == "random":
            depth = stage.depth or depth
            continue
        check_depth(name, stage, depth, can_grow=can_grow, can_shrink=can_shrink)
        depth = stage.depth
    check_teaching_stages({name: stage.distil for name, stage in stages.items()})


def check_depth(name: str, stage: Stage, before: int | None, *, can_grow: bool, can_shrink: bool = False) -> None:
    """Check a stage's depth against that of the weights it begins with, None where they have none.

    Raises:
        OptionError: The depth falls without growth that can take blocks away, or changes without growth.
    """
    if stage.depth is None or before is None or stage.depth == before:
        return
    if stage.depth < before and not can_shrink:
        raise OptionError(
            f"stage '{name}' has depth {stage.depth} after depth {before}: depth never falls, but with growth=shrink"
        )
    if not can_grow:
        raise OptionError(f"stage '{name}' grows from depth {before} to {stage.depth}, but growth is none: choose one")
