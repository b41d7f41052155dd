"""What a search is (host): base, space, sampler, pruner and folds, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curriculum_rec.components import check_type, unknown_option
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.ranges import POSITIVE, Range, at_least, check_value
from curriculum_rec.tuning.space import Space

SAMPLERS: dict[str, dict[str, int]] = {"tpe": {"startup_trials": 10}, "random": {}, "qmc": {}, "grid": {}}
PRUNERS: dict[str, dict[str, int]] = {
    "none": {},
    "median": {"startup_trials": 5, "warmup_evaluations": 1},
    "halving": {"warmup_evaluations": 1, "reduction_factor": 3},
    "hyperband": {"warmup_evaluations": 1, "reduction_factor": 3},
}
"""The kinds and the options of each, with what they are if not given."""

OPTION_RANGES: dict[str, Range] = {
    "startup_trials": at_least(1),
    "warmup_evaluations": at_least(1),
    "reduction_factor": at_least(2),
}
NOT_TO_BE_SET = ("run_dir", "on_existing", "progress", "distributed", "profile", "trusted_packages")
"""Options of ``train`` that a search decides itself, or that its command has."""


@dataclass(frozen=True)
class Kind:
    """A sampler or a pruner by name.

    Attributes:
        name: One of :data:`SAMPLERS` or :data:`PRUNERS`.
        options: Its options.
    """

    name: str
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        base: Words of ``curriculum-rec train`` for every trial.
        space: What is chosen.
        sampler: How the next point is chosen.
        pruner: Which trials are stopped early.
        folds: Words of each run of a trial; its value is the mean. Nothing makes a trial one run. In a file a number
            stands for ``split.folds=NUMBER fold=0``, ``fold=1`` and so on.
        n_trials: All trials of the study, those of other processes among them.
        timeout: Seconds after which a process begins no new trial; None sets no limit.
        seed: Decides what the sampler draws, trial by trial.
        max_failures: So many trials that fail one after the other end the search.
    """

    base: tuple[str, ...]
    space: Space
    sampler: Kind
    pruner: Kind
    folds: tuple[tuple[str, ...], ...] = ()
    n_trials: int = 40
    timeout: float | None = None
    seed: int = 0
    max_failures: int = 5

    def __post_init__(self) -> None:
        check_value("n_trials", self.n_trials, at_least(1))
        check_value("timeout", self.timeout, POSITIVE.or_null())
        check_value("seed", self.seed, at_least(0))
        check_value("max_failures", self.max_failures, at_least(1))
        for word in [*self.base, *(word for fold in self.folds for word in fold)]:
            _check_word(word)
        for entry in self.space.entries:
            if entry.option in (*NOT_TO_BE_SET, "seed", "fold", "evaluation", "split") or entry.option.startswith(
                ("evaluation.", "split.")
            ):
                raise OptionError(f"space.{entry.option}: trials could not be compared; it is none to be chosen")
        if self.sampler.name == "grid":
            self.space.grid()

    @property
    def identity(self) -> dict[str, Any]:
        """What must stay the same for processes that share a study; its length may change."""
        data = asdict(self)
        return {name: data[name] for name in ("base", "space", "sampler", "pruner", "folds", "seed")}


def read_search(path: Path, *, words: tuple[str, ...] = (), **changes: Any) -> Search:
    """Read a search from a file.

    Args:
        path: YAML.
        words: Words of ``curriculum-rec train`` that follow those of the file.
        changes: Values of :class:`Search` that count in place of the file's, where they are not None.

    Raises:
        OptionError: It cannot be read, or it is no search.
    """
    try:
        node = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).split("\n")[0]
        raise OptionError(f"space={path} cannot be read: {reason}") from error
    if not isinstance(node, Mapping):
        raise OptionError(f"space={path}: it must have base and space, as experiments/tuning/ml100k.yaml has")
    known = Search.__dataclass_fields__
    for name in node:
        if name not in known:
            raise OptionError(f"space={path}: {unknown_option(str(name), known)}")
    try:
        plain = {name: node[name] for name in ("n_trials", "timeout", "seed", "max_failures") if name in node}
        hints = {"n_trials": int, "timeout": float | None, "seed": int, "max_failures": int}
        plain |= {name: value for name, value in changes.items() if value is not None}
        return Search(
            base=(*_words(node.get("base", []), "base"), *words),
            space=Space.parse(node.get("space"), "space"),
            sampler=_kind(node.get("sampler", "tpe"), SAMPLERS, "sampler"),
            pruner=_kind(node.get("pruner", "median"), PRUNERS, "pruner"),
            folds=_folds(node.get("folds", [])),
            **{name: check_type(value, hints[name], name) for name, value in plain.items()},
        )
    except OptionError as error:
        raise OptionError(f"space={path}: {error}") from error


def check_same(search: Search, identity: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a study by another search.

    Args:
        search: The search.
        identity: That of the study's, as JSON data.
        folder: Where the study lies.

    Raises:
        RunError: They differ.
    """
    for name, value in _plain(search.identity).items():
        if value != identity.get(name):
            raise RunError(f"{folder} holds a study with another {name}: choose another study_dir, or put it back")


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _plain(value) for name, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list | tuple) else node


def _kind(node: Any, kinds: Mapping[str, Mapping[str, int]], place: str) -> Kind:
    given: Any = {"name": node} if isinstance(node, str) else node
    if not isinstance(given, Mapping) or given.get("name") not in kinds:
        name = given.get("name") if isinstance(given, Mapping) else given
        raise OptionError(f"{place}={name}: it must be one of {', '.join(kinds)}")
    options = kinds[given["name"]]
    for name, value in given.items():
        if name == "name":
            continue
        if name not in options:
            raise OptionError(unknown_option(f"{place}.{name}", options))
        check_value(f"{place}.{name}", check_type(value, int, f"{place}.{name}"), OPTION_RANGES[name])
    return Kind(given["name"], {name: given.get(name, default) for name, default in options.items()})


def _words(node: Any, place: str) -> tuple[str, ...]:
    if not isinstance(node, list) or not all(isinstance(word, str) for word in node):
        raise OptionError(f"{place} must be a list of words such as experiment=ml100k")
    return tuple(node)


def _folds(node: Any) -> tuple[tuple[str, ...], ...]:
    if isinstance(node, int) and not isinstance(node, bool):
        check_value("folds", node, at_least(2))
        return tuple((f"split.folds={node}", f"fold={number}") for number in range(node))
    if not isinstance(node, list) or len(node) == 1:
        raise OptionError(
            "folds must be a number, or a list of at least two lists of words, such as [[seed=0], [seed=1]]"
        )
    return tuple(_words(fold, f"folds[{number}]") for number, fold in enumerate(node))


def _check_word(word: str) -> None:
    name = word.lstrip("+~").partition("=")[0]
    if "=" not in word and not word.startswith("~"):
        raise OptionError(f"'{word}' is no option: write OPTION=VALUE")
    if name in NOT_TO_BE_SET or name.startswith("hydra"):
        raise OptionError(f"{word}: the search decides that itself, or 'curriculum-rec tune' has an option for it")
