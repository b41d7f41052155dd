"""Checkpoints (host): Orbax behind one module, with a digest a leaf, since Orbax itself does not notice flipped bits.

A checkpoint is two items: ``state``, named arrays, and ``meta``, JSON with their digests. Orbax writes it under a
temporary name and renames it when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from curriculum_rec.errors import CheckpointError
from curriculum_rec.growth.tree import path_names
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.hosts import fetch

STATE, META = "state", "meta"
DIGESTS, SHAPES, META_DIGEST, PINNED = "digests", "shapes", "meta_digest", "pinned_steps"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        step: The step after which it was taken.
        arrays: Named numpy arrays.
        meta: JSON data.
    """

    step: int
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: Where they lie, one folder a step.
        keep: The newest that are kept, at least 1, besides those that one of them pins.
        read_only: Whether this is a reader beside the process that owns the run.
    """

    directory: Path
    keep: int = 3
    read_only: bool = False
    _manager: ocp.CheckpointManager = field(init=False, repr=False)
    _pinned: dict[int, frozenset[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # Only the run itself may tidy up: a reader would delete what a running process is just writing.
        own = not self.read_only
        with _quiet():
            options = ocp.CheckpointManagerOptions(create=own, cleanup_tmp_directories=own, read_only=self.read_only)
            self._manager = ocp.CheckpointManager(self.directory.absolute(), options=options)

    def steps(self) -> list[int]:
        """List the steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        arrays: Mapping[str, np.ndarray | jax.Array],
        meta: Mapping[str, Any],
        *,
        pinned: Collection[int],
    ) -> None:
        """Write a checkpoint in the background; a later save or :meth:`close` waits for it.

        Args:
            step: The step after which it is taken.
            arrays: Named arrays that nobody changes any more; of JAX's own, every host writes the shards that it holds.
            meta: JSON data.
            pinned: Steps whose checkpoints stay as long as this one does: the best of each stage so far.
        """
        self.wait()
        if step in self.steps():
            return
        self._prune()
        record = dict(meta) | {
            PINNED: sorted(pinned),
            DIGESTS: {name: digest(array) for name, array in arrays.items()},
            SHAPES: {name: [list(array.shape), array.dtype.name] for name, array in arrays.items()},
        }
        record[META_DIGEST] = _json_digest(record)
        items = ocp.args.Composite(**{STATE: ocp.args.StandardSave(dict(arrays)), META: ocp.args.JsonSave(record)})
        self._pinned[step] = frozenset(pinned)
        with _quiet():
            self._manager.save(step, args=items)

    def _prune(self) -> None:
        """Delete all but the newest and those which one of these pins: each can be gone on from."""
        steps = self.steps()
        newest = steps[-self.keep :]
        kept = {*newest}.union(*(self._pinned_by(step) for step in newest))
        for step in steps:
            if step not in kept:
                self._manager.delete(step)

    def _pinned_by(self, step: int) -> frozenset[int]:
        if step not in self._pinned:
            try:
                self._pinned[step] = frozenset(map(int, self._read_meta(step)[PINNED]))
            except Exception:  # damaged, and named as such when it is read to be used
                self._pinned[step] = frozenset()
        return self._pinned[step]

    def _read_meta(self, step: int) -> dict[str, Any]:
        with _quiet():
            return self._manager.restore(step, args=ocp.args.Composite(**{META: ocp.args.JsonRestore()}))[META]

    def wait(self) -> None:
        """Wait until the last save is on disk."""
        with _quiet():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the last save and let go of the directory."""
        self.wait()
        self._manager.close()

    def restore(self, step: int) -> Snapshot:
        """Read one checkpoint and check every leaf.

        Raises:
            CheckpointError: It is incomplete, unreadable or changed since it was written.
        """
        name = f"checkpoint {step} in {self.directory}"
        try:
            meta = self._read_meta(step)
            with _quiet():
                if _json_digest({key: value for key, value in meta.items() if key != META_DIGEST}) != meta[META_DIGEST]:
                    raise CheckpointError(f"{name} is damaged: its description changed since it was written")
                target = {leaf: np.zeros(shape, dtype) for leaf, (shape, dtype) in meta[SHAPES].items()}
                items = ocp.args.Composite(**{STATE: ocp.args.StandardRestore(target)})
                arrays = self._manager.restore(step, args=items)[STATE]
        except CheckpointError:
            raise
        except Exception as error:  # Orbax, TensorStore and zstd raise many kinds for a broken file
            reason = str(error).strip().split("\n")[0][:200]
            raise CheckpointError(f"{name} cannot be read: {type(error).__name__}: {reason}") from error
        for leaf, expected in meta[DIGESTS].items():
            if digest(arrays[leaf]) != expected:
                raise CheckpointError(f"{name} is damaged: '{leaf}' is not what was written")
        return Snapshot(step, dict(arrays), meta)

    def restore_newest(self) -> Snapshot | None:
        """Read the newest good checkpoint; each bad one is named in a warning and the one before it is tried.

        Returns:
            The checkpoint, or None if there is none.

        Raises:
            CheckpointError: There are checkpoints, and all are bad.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.restore(step)
            except CheckpointError as error:
                warnings.warn(f"{error}; the one before it is used", RuntimeWarning, stacklevel=2)
        if steps:
            raise CheckpointError(f"all {len(steps)} checkpoints in {self.directory} are damaged")
        return None

    def restore_best(self, step: int) -> Snapshot:
        """Read the best checkpoint; if it is damaged, it is named in a warning and the newest good one is used.

        Raises:
            CheckpointError: No checkpoint can be read.
        """
        try:
            return self.restore(step)
        except CheckpointError as error:
            warnings.warn(f"{error}; the newest good one is used instead of the best", RuntimeWarning, stacklevel=2)
        newest = self.restore_newest()
        if newest is None:
            raise CheckpointError(f"{self.directory} has no checkpoint")
        return newest

    def discard_after(self, step: int) -> None:
        """Delete the checkpoints that a run which goes on from ``step`` will write again."""
        for later in self.steps():
            if later > step:
                self._manager.delete(later)


def digest(array: np.ndarray | jax.Array) -> str:
    """Hash an array's type, shape and bytes; of one that is spread over hosts, all of them have to ask."""
    array = fetch(array)
    hasher = hashlib.blake2b(f"{array.dtype.name}{array.shape}".encode(), digest_size=16)
    hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def flatten(tree: Tree, prefix: str) -> dict[str, Any]:
    """Name the leaves of a tree ``prefix.path.to.leaf``."""
    return {".".join((prefix, *path_names(path))): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Give the arrays whose names begin with ``prefix.``, by the rest of their names.

    >>> list(below({"a.b.c": np.zeros(1), "ab": np.ones(1)}, "a"))
    ['b.c']
    """
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def unflatten(arrays: Mapping[str, np.ndarray], prefix: str, template: Tree) -> Tree:
    """Undo :func:`flatten` for a tree of the template's structure and shapes.

    Raises:
        CheckpointError: A leaf is missing, left over, or has another shape than the template.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    wanted = {".".join((prefix, *path_names(path))): leaf for path, leaf in paths}
    present = {name for name in arrays if name == prefix or name.startswith(f"{prefix}.")}
    if differing := sorted(present ^ set(wanted)):
        raise CheckpointError(
            f"the checkpoint does not fit the model: {', '.join(differing[:5])} stand on one side only"
        )
    for name, leaf in wanted.items():
        if arrays[name].shape != leaf.shape:
            raise CheckpointError(
                f"the checkpoint does not fit the model: '{name}' has shape {arrays[name].shape}, not {leaf.shape}"
            )
    return jax.tree.unflatten(structure, [arrays[name] for name in wanted])


def _json_digest(record: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax's log lines, and asyncio's noise after a failed restore, away from the person's terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
