"""From configuration data to components (host): checked names, types and origins, then a plain call.

A node with ``_target_`` becomes a call of what it names. Only code below trusted prefixes can be named; configuration
read back from a run is data like any other and gets no say in what is trusted.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from curriculum_rec.errors import CurriculumRecError, OptionError

TARGET = "_target_"
OWN = tuple(
    f"curriculum_rec.{part}"
    for part in (
        "augmentation",
        "compression",
        "curriculum",
        "data",
        "distillation",
        "evaluation",
        "growth",
        "models",
        "negatives",
        "objectives",
        "studies.study",
        "tracking",
        "training.freezing",
        "training.optimizers",
        "training.placement",
        "training.pruning",
        "training.stage_plans",
        "training.stages",
        "training.triggers",
        "weighting",
    )
)
"""Where our own components live; of these modules only dataclasses can be named, never plumbing or a function."""
TRUSTED = ("curriculum_rec", "optax")
SCALARS = (int, float, bool, str)
SEQUENCES = (tuple, list, collections.abc.Sequence)
MAPPINGS = (dict, collections.abc.Mapping)


def build(node: Any, path: str, *, trusted: Sequence[str] = ()) -> Any:
    """Build a component, and the components inside it, from plain data.

    Args:
        node: A mapping with ``_target_``, a mapping of such mappings, an empty mapping (None), or a plain value.
        path: Where the node stands in the configuration, for error messages.
        trusted: Packages besides our own and optax that ``_target_`` may name.

    Raises:
        OptionError: A target is not trusted or does not exist, an option does not exist, is missing or has the wrong
            type, or the component itself refuses a value.

    >>> build({"_target_": "curriculum_rec.curriculum.pacing.Linear", "start": 0.5}, "curriculum.pacing")
    Linear(start=0.5, full_at=0.5)
    """
    if isinstance(node, list | tuple):
        return [build(entry, f"{path}[{number}]", trusted=trusted) for number, entry in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    if TARGET not in node:
        return {name: build(value, f"{path}.{name}", trusted=trusted) for name, value in node.items()} or None
    factory = _find(str(node[TARGET]), path, trusted)
    parameters = inspect.signature(factory).parameters
    hints = _type_hints(factory)
    options = {name: value for name, value in node.items() if name != TARGET}
    for name in options:
        if name not in parameters:
            reason = unknown_option(f"{path}.{name}", parameters)
            raise OptionError(f"{reason} (if the experiment sets it, it counts on another choice of {path})")
    built = {}
    for name, value in options.items():
        inner = build(value, f"{path}.{name}", trusted=trusted)
        built[name] = check_type(inner, hints.get(name, Any), f"{path}.{name}")
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in built
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if missing:
        raise OptionError(f"{path}.{missing[0]} is not set: {node[TARGET]} needs it")
    try:
        return factory(**built)
    except (TypeError, ValueError) as error:
        if isinstance(error, CurriculumRecError):
            raise
        raise OptionError(f"{path}: {node[TARGET]} refuses its options: {error}") from error


def unknown_option(path: str, allowed: typing.Iterable[str]) -> str:
    """Say that an option does not exist, what was perhaps meant, and what there is.

    >>> unknown_option("model.widht", ["width", "depth"])
    "option 'model.widht' does not exist; is 'width' meant? There are: depth, width"
    """
    name = path.rpartition(".")[2]
    allowed = sorted(option for option in map(str, allowed) if option not in (TARGET, "hydra"))
    close = difflib.get_close_matches(name, allowed, n=1)
    hint, there = (f"is '{close[0]}' meant? ", "There") if close else ("", "there")
    listed = f"are: {', '.join(allowed)}" if allowed else "are none here"
    return f"option '{path}' does not exist; {hint}{there} {listed}"


def _find(target: str, path: str, trusted: Sequence[str]) -> Callable[..., Any]:
    allowed = (*TRUSTED, *trusted)
    if not _is_below(target, allowed):
        raise OptionError(
            f"{path}._target_={target} is refused: it lies outside {', '.join(allowed)}; name its package in "
            "trusted_packages on the command line if you trust it"
        )
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"{path}._target_={target} cannot be imported: {error}") from error
    home = str(getattr(found, "__module__", ""))
    is_component = _is_below(home, OWN) and dataclasses.is_dataclass(found) and not name.startswith("_")
    if not callable(found) or not (is_component if _is_below(home, TRUSTED[:1]) else _is_below(home, allowed)):
        # A name that a trusted module merely imports, say import_module, is not its own to offer.
        raise OptionError(f"{path}._target_={target} is no component of {', '.join(allowed)}")
    return found


def _is_below(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _type_hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """Read annotations; those of other packages that cannot be resolved are not checked."""
    places = [factory.__init__, factory] if inspect.isclass(factory) else [factory]
    # The __init__ of a dataclass names the types of its bases, which its own module need not know; the class does.
    for place in places[: 1 + dataclasses.is_dataclass(factory)]:
        with suppress(NameError, TypeError, AttributeError):
            return get_type_hints(place)
    return {}


def check_type(value: Any, hint: Any, path: str) -> Any:
    """Check a value against a type hint, turning integers into floats and lists into tuples where these are wanted.

    Raises:
        OptionError: The value has another type.

    >>> check_type([1, 2], tuple[int, ...], "examples.bucket_lengths"), check_type(1, float, "optimizer.eps")
    ((1, 2), 1.0)
    """
    if get_origin(hint) in MAPPINGS and isinstance(value, Mapping):
        inner = get_args(hint)[1]
        return {name: check_type(entry, inner, f"{path}.{name}") for name, entry in value.items()}
    matched, result = _match(value, hint)
    if not matched:
        raise OptionError(f"{path}={_show(value)}: it must be {describe_type(hint)}")
    return result


def _match(value: Any, hint: Any) -> tuple[bool, Any]:
    """Say whether a value has a type, and give it in that type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        ordered = sorted(arguments, key=lambda alternative: alternative is str)  # text last: much can be text
        matches = (_match(value, alternative) for alternative in ordered)
        return next(((True, result) for matched, result in matches if matched), (False, value))
    if origin is Literal:
        # 0 and False are equal in Python; as options they are not.
        return any(value == allowed and type(value) is type(allowed) for allowed in arguments), value
    if hint in SCALARS:
        return _match_scalar(value, hint)
    if origin in SEQUENCES:
        pairs = [_match(entry, arguments[0]) for entry in value] if isinstance(value, list | tuple) else [(False, None)]
        return all(matched for matched, _ in pairs), tuple(result for _, result in pairs)
    if origin in MAPPINGS:
        return isinstance(value, Mapping) and all(_match(entry, arguments[1])[0] for entry in value.values()), value
    return _match_component(value, hint), value


def _match_component(value: Any, hint: Any) -> bool:
    if hint is None or hint is type(None):
        return value is None
    if hint is Any or not inspect.isclass(hint):
        return True  # Any, or another package's hint that is not ours to judge
    if getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False):
        return value is not None and not isinstance(value, int | float | str | bool | list | tuple | Mapping)
    return isinstance(value, hint)


def _match_scalar(value: Any, hint: type) -> tuple[bool, Any]:
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and hint is bool, value
    if hint is int:
        return isinstance(value, int), value
    if hint is float:
        return isinstance(value, int | float), float(value) if isinstance(value, int) else value
    return isinstance(value, int | float | str), str(value) if value is not None else value


def describe_type(hint: Any) -> str:
    """Name a type in words.

    >>> describe_type(int | None), describe_type(Literal["a", "b"]), describe_type(tuple[int, ...])
    ('an integer or null', 'one of a, b', 'a list of integers')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in SEQUENCES:
        plural = {int: "integers", float: "numbers", str: "texts"}
        return f"a list of {plural.get(arguments[0], describe_type(arguments[0]))}"
    if origin in MAPPINGS:
        return "a mapping"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return words.get(hint) or f"a component ({getattr(hint, '__name__', hint)})"


def _show(value: Any) -> str:
    return "null" if value is None else str(value)
