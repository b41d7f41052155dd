"""What a study asks and what it compares (host): the contents of its YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from curriculum_rec.components import build
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import SHARE, at_least, check_ranges, check_value

ORDERS: Mapping[str, tuple[str, ...]] = {
    "random": ("curriculum.order=random",),
    "anti": ("curriculum.order=anti",),
    "standard": ("curriculum.order=standard",),
}
"""The controls that every study knows. ``random`` shuffles the scores and keeps the pacing."""

BASELINE = "plain"


@dataclass(frozen=True)
class DataSet:
    """Data on which every arm is trained.

    Attributes:
        options: Words for ``curriculum-rec train``.
        path: Its file or folder, below the folder that the command names; None where the options say all.
        published: Test metrics that others reported on it, by arm and metric, to stand beside the arm's own.
    """

    options: tuple[str, ...] = ()
    path: str | None = None
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        options: Words for ``curriculum-rec train``. ``{beside}`` stands for the folder of all arms of the same data
            and condition, so that an arm can name another one's runs: ``{beside}/teacher/seed-${seed}``; ``{folder}``
            for the folder in which the data sets lie, so that it can name other files of theirs.
        extends: An arm whose options come first.
        controls: Names of the study's controls; each makes an arm ``NAME-CONTROL``. The first is what the arm's claim
            is tested against.
        control: Another arm that takes this place.
        after: An arm of which the run of the same seed must be finished first.
        conditions: The conditions under which it runs; None for all.
        seed_offset: What is added to the study's seeds. An arm and its twin under another offset differ by chance only.
    """

    options: tuple[str, ...] = ()
    extends: str | None = None
    controls: tuple[str, ...] = ()
    control: str | None = None
    after: str | None = None
    conditions: tuple[str, ...] | None = None
    seed_offset: int = 0

    def __post_init__(self) -> None:
        if self.control is not None and self.controls:
            raise OptionError(f"it has control={self.control} and controls={list(self.controls)}: say one of the two")


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        question: What it asks, in a sentence.
        arms: By name.
        data: Data sets by name.
        conditions: Words by which data differ, such as planted noise, by name; every arm runs under every one. The
            first is what the others are compared with.
        options: Words for every run.
        seeds: Each is a run of every arm. Arms are paired by them.
        folds: How many parts of the data are tested in turn, under every seed; the split of the runs must have folds.
            None trains on one split.
        controls: Words by name, what is added to an arm to make its control; ``random``, ``anti`` and ``standard`` are
            known to every study.
        baseline: The arm that all others are compared with.
        metric: What decides, such as ``ndcg@10``; one that the runs compute.
        metrics: What the tables show besides.
        share: Of the baseline's best validation metric: the time to reach it is reported.
    """

    question: str
    arms: Mapping[str, Arm]
    data: Mapping[str, DataSet] = field(default_factory=lambda: {"data": DataSet()})
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"all": ()})
    options: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folds: int | None = None
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: str = BASELINE
    metric: str = "ndcg@10"
    metrics: tuple[str, ...] = ("hr@10", "ndcg@10")
    share: float = 0.95

    def __post_init__(self) -> None:
        check_ranges(self, "", {"share": SHARE, "folds": at_least(2).or_null()})
        if not (self.arms and self.seeds and self.data and self.conditions):
            raise OptionError("a study needs at least one arm, one seed, one data set and one condition")
        for seed in self.seeds:
            check_value("seeds", seed, at_least(0))
        if len(set(self.seeds)) < len(self.seeds):
            raise OptionError(f"seeds={list(self.seeds)} names a seed twice, which would count one run as two")
        self._check_names()

    def _check_names(self) -> None:
        arms = self.all_arms()
        for name in (*arms, *self.data, *self.conditions):
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise OptionError(f"'{name}' becomes a folder's name: take letters, digits, '_', '-' and '.' only")
        named = [(f"arms.{n}", other) for n, arm in self.arms.items() for other in (arm.control, arm.after)]
        named += [(f"data.{n}.published", other) for n, data in self.data.items() for other in data.published]
        for origin, other in (*named, ("baseline", self.baseline)):
            if other is not None and other not in arms:
                raise OptionError(f"{origin} names the arm '{other}'; there are: {', '.join(arms)}")
        for name, arm in self.arms.items():
            for condition in arm.conditions or ():
                if condition not in self.conditions:
                    there = ", ".join(self.conditions)
                    raise OptionError(f"arms.{name} names the condition '{condition}'; there are: {there}")

    def all_arms(self) -> dict[str, Arm]:
        """Give the arms, each followed by the controls that it makes; ``options`` of each are whole."""
        known: dict[str, tuple[str, ...]] = {**ORDERS, **self.controls}
        arms: dict[str, Arm] = {}
        for name, arm in self.arms.items():
            options = self._options(name)
            control = f"{name}-{arm.controls[0]}" if arm.controls else arm.control
            arms[name] = replace(arm, options=options, extends=None, controls=(), control=control)
            for word in arm.controls:
                if word not in known:
                    raise OptionError(
                        f"arms.{name}.controls: there is no control '{word}'; there are: {', '.join(known)}"
                    )
                if f"{name}-{word}" in self.arms:
                    raise OptionError(
                        f"arms.{name}-{word} is also what the control '{word}' of {name} is called: rename it"
                    )
                # Controls after the first are looked at against the same control as the arm itself.
                against = None if word == arm.controls[0] else control
                arms[f"{name}-{word}"] = replace(arms[name], options=(*options, *known[word]), control=against)
        return arms

    def _options(self, name: str, seen: tuple[str, ...] = ()) -> tuple[str, ...]:
        arm = self.arms[name]
        if name in seen:
            raise OptionError(f"arms extend each other in a circle: {' -> '.join((*seen, name))}")
        if arm.extends is None:
            return arm.options
        if arm.extends not in self.arms:
            raise OptionError(f"arms.{name} extends '{arm.extends}'; there are: {', '.join(self.arms)}")
        return (*self._options(arm.extends, (*seen, name)), *arm.options)


def read_study(path: Path) -> Study:
    """Read a study's file.

    Raises:
        OptionError: It is none; the sentence names the file and the entry.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"the study {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{path} is no study: it must map 'question', 'arms' and more to their values")
    return study_of(content, str(path))


def study_of(content: Mapping[str, Any], origin: str) -> Study:
    """Make a study of plain data.

    Args:
        content: What its file holds.
        origin: What errors call it.

    Raises:
        OptionError: Anything in it is wrong.
    """
    here = __name__
    node = {**content, "_target_": f"{here}.Study"}
    for part, kind in (("arms", "Arm"), ("data", "DataSet")):
        if isinstance(content.get(part), Mapping):
            node[part] = {name: _entry(entry, f"{here}.{kind}") for name, entry in content[part].items()}
    return build(node, origin)


def _entry(entry: Any, target: str) -> Any:
    """Take a bare list for the options."""
    if entry is None or isinstance(entry, list):
        return {"_target_": target, "options": entry or []}
    return {**entry, "_target_": target} if isinstance(entry, Mapping) else entry
