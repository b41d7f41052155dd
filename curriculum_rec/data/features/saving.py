"""Fitted features in files (host): JSON and plain arrays, in which no code can hide."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curriculum_rec.data.features import (
    categorical,
    contract,
    dense,
    groups,
    history,
    numeric,
    owners,
    reduce,
    text,
    time,
)
from curriculum_rec.data.features.owners import FittedFeatures
from curriculum_rec.errors import RunError
from curriculum_rec.files import write_arrays, write_text

CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (
        categorical.FittedCategorical,
        categorical.FittedMultiCategorical,
        categorical.Vocabulary,
        contract.Several,
        dense.FittedDense,
        groups.FittedGroup,
        history.FittedHistory,
        numeric.FittedNumeric,
        numeric.Scaler,
        owners.FittedFeatures,
        reduce.Projected,
        reduce.Topics,
        text.FittedSentenceVectors,
        text.FittedText,
        time.FittedTime,
        time.FittedTimeGap,
    )
}
"""What can stand in a file: nothing else is built from one."""

FACTS, ARRAYS = "features.json", "features.npz"


def save_features(fitted: FittedFeatures, folder: Path) -> None:
    """Write fitted features into a folder.

    Raises:
        RunError: They cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    facts = take_apart(fitted, arrays)
    write_arrays(folder / ARRAYS, arrays)
    write_text(folder / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def load_features(folder: Path) -> FittedFeatures:
    """Read what :func:`save_features` wrote.

    Raises:
        RunError: It is missing or damaged.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            made = put_together(facts, {name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / FACTS} and {ARRAYS} beside it cannot be read: {error}") from error
    if not isinstance(made, FittedFeatures):
        raise RunError(f"{folder / FACTS} holds no features")
    return made


def digest_of(fitted: FittedFeatures) -> str:
    """Identify what the columns of features mean: equal for equal statistics and vocabularies."""
    arrays: dict[str, np.ndarray] = {}
    digest = hashlib.blake2b(json.dumps(take_apart(fitted, arrays)).encode(), digest_size=16)
    for name, array in arrays.items():
        digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def take_apart(value: Any, arrays: dict[str, np.ndarray], path: str = "features") -> Any:
    """Turn a value into JSON data; arrays go into ``arrays``, and their names stand in their place."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value)]
        if type(value).__name__ not in CLASSES:
            raise RunError(f"{path}: {type(value).__name__} cannot be saved: a feature of your own is for fit() alone")
        inner = {name: take_apart(getattr(value, name), arrays, f"{path}.{name}") for name in names}
        return {"class": type(value).__name__, "with": inner}
    if isinstance(value, Mapping):
        return {"by_name": {name: take_apart(each, arrays, f"{path}.{name}") for name, each in value.items()}}
    if isinstance(value, tuple | list):
        return [take_apart(each, arrays, f"{path}.{number}") for number, each in enumerate(value)]
    return value


def put_together(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo :func:`take_apart`."""
    if isinstance(value, list):
        return tuple(put_together(each, arrays) for each in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "by_name" in value:
        return {name: put_together(each, arrays) for name, each in value["by_name"].items()}
    return CLASSES[value["class"]](**{name: put_together(each, arrays) for name, each in value["with"].items()})
