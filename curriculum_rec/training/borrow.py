"""Warm starts (host): a stage's weights out of another run, whole or in named parts, and a table of what was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import nnx

from curriculum_rec.data.features.saving import digest_of, load_features
from curriculum_rec.data.inputs import Catalogue
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.distillation.distilled import PARTS
from curriculum_rec.errors import CheckpointError, OptionError
from curriculum_rec.growth.items import new_item_rows
from curriculum_rec.growth.tree import BLOCKS
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.training.checkpoint import Snapshot, below, flatten, unflatten
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.matching import Matched
from curriculum_rec.training.pruning import Pruned, keep_largest
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import PARAMS, evaluated_arrays, load_snapshot, model_template
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import ChosenBlocks, Rewinding, WarmStart

ITEMS, USERS = "items.", "users."
"""How the names of parameters begin in which a row is an item, or a user."""

KNOWN = ("items.features.", "user_features.")
"""How the names of parameters begin that say what features of items and users mean."""

OF_NO_FEATURE = (f"{BLOCKS}.", "norm.")
"""How the names of parameters begin that, in a model of rows, do not depend on which features there are."""

COMPACT = frozenset(f"{ITEMS}{name}" for name in ("quotient", "remainder", "table", "weight"))
"""Parameters of item tables whose items share rows."""

Fate = Literal["taken", "grown", "fresh", "left"]
"""What became of a parameter: taken as it is, taken and grown, begun at random, or left behind in the other run."""

Named = Mapping[str, Any]
"""Parameters, or their shapes, by dotted names."""


@dataclass(frozen=True)
class Borrowed:
    """What a stage begins with.

    Attributes:
        params: Nested dict of parameters.
        old: The model that they fit, with shapes alone.
        new: The stage's model, with shapes alone; a larger one where they have to grow.
        table: One row a parameter: ``parameter``, ``fate``, ``from`` and ``to``, the last two shapes as text.
        checkpoint: The step at which they were.
        items: Which items had a vector in the other run; None where none had to be looked for.
        users: The same of users.
    """

    params: Tree
    old: nnx.Module
    new: nnx.Module
    table: pl.DataFrame
    checkpoint: int
    items: Matched | None = None
    users: Matched | None = None

    def describe(self) -> str:
        """Say in a line what was taken."""
        counts = Counter(self.table["fate"])
        parts = [f"{counts[fate]} {fate}" for fate in get_args(Fate) if counts[fate]]
        told = "".join(f"; {matched.describe(kind)}" for kind, matched in self.matched.items())
        return f"parameters of checkpoint {self.checkpoint:,}: {', '.join(parts)}{told}"

    @property
    def matched(self) -> dict[str, Matched]:
        """What had to be looked up by ids: ``items``, ``users``, both or neither."""
        both = {"items": self.items, "users": self.users}
        return {kind: matched for kind, matched in both.items() if matched is not None}


@dataclass(frozen=True)
class Borrower:
    """The run that borrows.

    Attributes:
        experiment: Its components.
        dataset: Its data.
        open_run: Builds the experiment of the other run; None takes that run's models to be this run's.
    """

    experiment: Experiment
    dataset: Dataset
    open_run: Callable[[RunDirectory], Experiment] | None = None

    def borrow(self, warm: WarmStart, *, stage: str) -> Borrowed:
        """Take weights for a stage.

        Args:
            warm: What is taken.
            stage: The stage's name.

        Raises:
            CheckpointError: Catalogues or shapes differ, or a parameter is missing.
            OptionError: A pattern names no parameter, or a block does not exist.
        """
        directory = RunDirectory.existing(warm.run)
        snapshot = load_snapshot(directory, warm.checkpoint)
        named = below(snapshot.arrays, evaluated_arrays(snapshot.arrays))
        theirs = {name: array for name, array in named.items() if not name.startswith(f"{PARTS}.")}
        if warm.rewind is not None:
            theirs = dict(self._rewound(theirs, warm, warm.rewind, snapshot))
        taken = chosen_blocks(chosen_names(theirs, warm.take), warm.blocks)
        their_depth = next((len(leaf) for name, leaf in taken.items() if BLOCKS in name.split(".")), None)
        depth = self.experiment.stages[stage].depth or their_depth
        new = model_template(self.experiment, inputs=self.dataset.inputs, stage=stage, depth=depth)
        shapes = _named(split_model(new)[1])
        self._check_rows(taken, warm, snapshot)
        items = self._items(warm, directory, snapshot) if any(name.startswith(ITEMS) for name in taken) else None
        users = self._users(warm, directory, snapshot) if any(name.startswith(USERS) for name in taken) else None
        if items is not None and not COMPACT.isdisjoint(taken):
            raise OptionError(
                f"warm_start={warm.run}: its items share rows of a compact table by their numbers, so that none can be "
                "looked up by its id: leave items.* out of warm_start.take, or take a run with model.item_table=full"
            )
        fresh: Named = {}
        if shapes.keys() - taken.keys() or users is not None:
            model = self.experiment.build_model(self.dataset.inputs, stage=stage, depth=depth)
            fresh = {name: np.asarray(leaf) for name, leaf in _named(split_model(model)[1]).items()}
        if items is not None:
            taken = {
                name: self._of_our_items(leaf, items.rows)
                if name.startswith(ITEMS) and not name.startswith(KNOWN)
                else leaf
                for name, leaf in taken.items()
            }
        if users is not None:
            taken = {
                name: _of_our_users(leaf, users.rows, fresh[name]) if name.startswith(USERS) else leaf
                for name, leaf in taken.items()
            }
        self._check_features(taken, warm, directory, has_other_items=items is not None)
        _check_names(taken, shapes, warm)
        mixed = {name: taken[name] if name in taken else fresh[name] for name in shapes}
        old = self._fitting(mixed, new, directory, snapshot, warm, stage=stage, depth=their_depth)
        params = unflatten({f"{PARAMS}.{name}": leaf for name, leaf in mixed.items()}, PARAMS, split_model(old)[1])
        return Borrowed(params, old, new, table_of_fates(theirs, taken, shapes), snapshot.step, items, users)

    def _rewound(self, theirs: Named, warm: WarmStart, rewind: Rewinding, snapshot: Snapshot) -> Named:
        """Set the weights to 0 that were smallest in another checkpoint."""
        if not isinstance(self.experiment.optimizer, Pruned):
            raise OptionError(
                "warm_start.rewind needs an optimizer that keeps what is 0: take optimizer=pruned, and "
                "optimizer.sparsity=null to leave out no more"
            )
        run = warm.run if rewind.run is None else rewind.run
        later = load_snapshot(RunDirectory.existing(run), rewind.checkpoint)
        sizes = below(later.arrays, evaluated_arrays(later.arrays))
        if later.meta["items_digest"] != snapshot.meta["items_digest"] or _differing(
            theirs, {name: leaf for name, leaf in sizes.items() if not name.startswith(f"{PARTS}.")}
        ):
            raise CheckpointError(
                f"warm_start.rewind.run={run}: its checkpoint {later.step} is of another model or catalogue than "
                f"checkpoint {snapshot.step} of {warm.run}"
            )
        return {name: rewound(name, leaf, sizes[name], sparsity=rewind.sparsity) for name, leaf in theirs.items()}

    def _check_rows(self, taken: Named, warm: WarmStart, snapshot: Snapshot) -> None:
        """Refuse parameters of a model of rows whose features or classes are others."""
        if isinstance(self.dataset.split, Split) or snapshot.meta["items_digest"] == self.dataset.split.codes_digest:
            return
        if depending := [name for name in taken if not name.startswith(OF_NO_FEATURE)]:
            raise CheckpointError(
                f"warm_start={warm.run}: that run has other features, so '{depending[0]}' means other values; take "
                f"{', '.join(f'{name}*' for name in OF_NO_FEATURE)} of it alone, by warm_start.take"
            )

    def _items(self, warm: WarmStart, directory: RunDirectory, snapshot: Snapshot) -> Matched | None:
        """Look this run's items up in the other; None where both have the same."""
        if (
            not isinstance(self.dataset.split, Split)
            or snapshot.meta["items_digest"] == self.dataset.split.codes_digest
        ):
            return None
        if warm.items == "same":
            raise CheckpointError(
                f"warm_start={warm.run}: that run has another catalogue, so its item codes mean other items; look them "
                "up by items=by_id, or leave them out of take"
            )
        return Matched.of(self.dataset.split.interactions.items, IdMap(directory.read_items()))

    def _users(self, warm: WarmStart, directory: RunDirectory, snapshot: Snapshot) -> Matched | None:
        """Look this run's users up in the other; None where both have the same."""
        split = self.dataset.split
        if not isinstance(split, Split) or snapshot.meta["split_hash"] == split.hash:
            return None
        ours, theirs = split.interactions.users, IdMap(directory.read_users())
        if ours.digest() == theirs.digest():
            return None
        if warm.items == "same":
            raise CheckpointError(
                f"warm_start={warm.run}: that run has other users, so its vectors are those of others; look users and "
                "items up by items=by_id, or leave users.* out of take"
            )
        matched = Matched.of(ours, theirs)
        if not matched.n_found:
            raise CheckpointError(f"warm_start={warm.run}: the two runs share no user: leave users.* out of take")
        return matched

    def _check_features(self, taken: Named, warm: WarmStart, directory: RunDirectory, *, has_other_items: bool) -> None:
        """Refuse parameters of features that mean something else in the other run."""
        of_features = [name for name in taken if name.startswith(KNOWN)]
        if not of_features:
            return
        theirs = digest_of(load_features(directory.features))
        inputs = self.dataset.inputs
        fitted = inputs.features.fitted if isinstance(inputs, Catalogue) and inputs.features is not None else None
        if fitted is not None and digest_of(fitted) != theirs:
            raise CheckpointError(
                f"warm_start={warm.run}: that run has other features, so '{of_features[0]}' means other values; name "
                "in warm_start.take what does not depend on them"
            )
        if has_other_items and f"{KNOWN[0]}numbers" in of_features:
            raise CheckpointError(
                f"warm_start={warm.run}: that run trained the numbers of other items (dense_vectors=trained); leave "
                "items.features.numbers out of warm_start.take"
            )

    def _of_our_items(self, table: np.ndarray, rows: np.ndarray) -> np.ndarray:
        counts = self.dataset.split.item_counts(Part.TRAIN) if isinstance(self.dataset.split, Split) else rows
        return new_item_rows(table, matched=rows, counts=counts, seed=self.experiment.seed)

    def _fitting(
        self,
        mixed: Named,
        new: nnx.Module,
        directory: RunDirectory,
        snapshot: Snapshot,
        warm: WarmStart,
        *,
        stage: str,
        depth: int | None,
    ) -> nnx.Module:
        """Give the model that what was taken fits: the stage's own, or the other run's, which then has to grow."""
        if not (differing := _differing(mixed, _named(split_model(new)[1]))):
            return new
        if warm.rewind is not None:
            raise CheckpointError(
                f"warm_start={warm.run}: '{differing[0]}' has another shape there than here, and a model that is "
                "rewound does not grow: give this stage the model's own sizes"
            )
        source, name, record = self.experiment, stage, RunRecord.from_json(snapshot.meta["record"]).stage
        if self.open_run is not None:
            source, name = self.open_run(directory), record.name
        old = model_template(source, inputs=self.dataset.inputs, stage=name, depth=depth, sizes=record.sizes)
        if _differing(mixed, _named(split_model(old)[1])):
            name, shapes = differing[0], _named(split_model(new)[1])
            raise CheckpointError(
                f"warm_start={directory.path}: '{name}' has shape {mixed[name].shape} there and {shapes[name].shape} "
                "here; a model grows as a whole, so take all its parameters, or only such as have the same shapes"
            )
        return old


def _of_our_users(table: np.ndarray, rows: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Give every user the other run's vector; a new one, and nobody, begins as without a warm start."""
    if table.shape[1:] != fresh.shape[1:]:  # refused as a whole, with both shapes
        return table
    return np.where((rows > 0)[:, None], table[np.maximum(rows, 0)], fresh)


def rewound(name: str, early: np.ndarray, late: np.ndarray, *, sparsity: float) -> np.ndarray:
    """Keep of a parameter's early values those whose late ones are large; what is no matrix is kept whole.

    Args:
        name: Its name.
        early: The values.
        late: Those that decide, of the same shape.
        sparsity: Share of the entries that become 0.

    >>> early, late = np.array([[1.0, 2.0]], np.float32), np.array([[-9.0, 3.0]], np.float32)
    >>> rewound("up.kernel", early, late, sparsity=0.5).tolist()
    [[1.0, 0.0]]
    """
    stacked = BLOCKS in name.split(".")
    if early.ndim - stacked < 2:
        return early
    kept = keep_largest(jnp.asarray(late), jnp.float32(sparsity), stacked=stacked)
    return np.where(np.asarray(kept) != 0, early, np.zeros((), early.dtype))


def chosen_names(params: Named, patterns: tuple[str, ...]) -> Named:
    """Choose parameters by patterns such as ``items.*``.

    Raises:
        OptionError: A pattern names none.

    >>> list(chosen_names({"items.embedding": 1, "blocks.up": 2}, ("items.*",)))
    ['items.embedding']
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in params):
            raise OptionError(f"warm_start.take={pattern} names no parameter of that run; it has {', '.join(params)}")
    return {name: leaf for name, leaf in params.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def chosen_blocks(params: Named, blocks: ChosenBlocks) -> Named:
    """Choose blocks of the stacks among some parameters.

    Args:
        params: Arrays by name; stacked ones have the layer axis first.
        blocks: Which.

    Raises:
        OptionError: A block does not exist.

    >>> chosen_blocks({"blocks.gate": np.arange(4)}, "every_second")["blocks.gate"].tolist()
    [0, 2]
    """
    if blocks == "all":
        return params

    def choose(name: str, leaf: np.ndarray) -> np.ndarray:
        if BLOCKS not in name.split("."):
            return leaf
        index = np.arange(0, len(leaf), 2) if blocks == "every_second" else np.array(blocks)
        if index.max() >= len(leaf):
            raise OptionError(f"warm_start.blocks={list(blocks)}: that run's model has blocks 0 to {len(leaf) - 1}")
        return leaf[index]

    return {name: choose(name, leaf) for name, leaf in params.items()}


def table_of_fates(theirs: Named, taken: Named, shapes: Named) -> pl.DataFrame:
    """Say of every parameter of both runs what became of it."""

    def fate(name: str) -> Fate:
        if name not in taken:
            return "fresh" if name in shapes else "left"
        return "taken" if taken[name].shape == shapes[name].shape else "grown"

    names = list(dict.fromkeys([*shapes, *theirs]))
    shape = {"from": theirs, "to": shapes}
    return pl.DataFrame(
        {
            "parameter": names,
            "fate": [fate(name) for name in names],
            **{
                column: [str(tuple(side[name].shape)) if name in side else None for name in names]
                for column, side in shape.items()
            },
        },
        schema_overrides={"from": pl.String, "to": pl.String},
    )


def _named(params: Tree) -> dict[str, Any]:
    return {name.partition(".")[2]: leaf for name, leaf in flatten(params, PARAMS).items()}


def _differing(a: Named, b: Named) -> list[str]:
    both = a.keys() & b.keys()
    return sorted((a.keys() ^ b.keys()) | {name for name in both if a[name].shape != b[name].shape})


def _check_names(taken: Named, shapes: Named, warm: WarmStart) -> None:
    """Refuse to load a part where the whole was asked for."""
    missing = [name for name in shapes if name not in taken and any(fnmatchcase(name, p) for p in warm.take)]
    if missing or (surplus := [name for name in taken if name not in shapes]):
        where, name = ("that run", missing[0]) if missing else ("this stage's model", surplus[0])
        raise CheckpointError(
            f"warm_start={warm.run}: {where} has no '{name}'; name what is to be taken by patterns in warm_start.take"
        )
