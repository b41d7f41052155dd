"""What teachers said, kept by content (host): a teacher that was trained once is not trained again."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curriculum_rec.files import write_array
from curriculum_rec.training import hosts

FORMAT = 1
"""Raised whenever the same description would come to mean other numbers."""


@dataclass
class ScoreStore:
    """Keeps arrays by the description of what they are, one file each.

    Args:
        folders: Where; the first that has an array gives it to the others. Without any, arrays are kept in memory.
    """

    folders: tuple[Path, ...] = ()
    _memory: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def read(self, description: Mapping[str, Any], names: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Give the named arrays, or None unless every host has all of them."""
        found = {name: self._read_one(_key(description, name)) for name in names}
        if not hosts.all_agree(all(array is not None for array in found.values())):
            return None
        arrays = {name: array for name, array in found.items() if array is not None}
        self.write(description, arrays)  # where one folder lacks them
        return arrays

    def write(self, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep named arrays."""
        for name, array in arrays.items():
            key = _key(description, name)
            if not self.folders:
                self._memory[key] = array
            for folder in self.folders if hosts.is_first() else ():
                if not (folder / f"{key}.npz").is_file():
                    write_array(folder / f"{key}.npz", array)

    def _read_one(self, key: str) -> np.ndarray | None:
        for folder in self.folders:
            path = folder / f"{key}.npz"
            try:
                with np.load(path, allow_pickle=False) as file:
                    return file["values"]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                warnings.warn(f"{path} is damaged and not used: {error}", RuntimeWarning, stacklevel=2)
                path.unlink(missing_ok=True)
        return self._memory.get(key)


def _key(description: Mapping[str, Any], name: str) -> str:
    record = json.dumps({**description, "format": FORMAT, "statistic": name}, sort_keys=True)
    return hashlib.blake2b(record.encode(), digest_size=16).hexdigest()
