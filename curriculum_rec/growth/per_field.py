"""Growth of embeddings field by field (device): a field whose newest dimension is of use gets one more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.composed import ComposedGrowth, at_depth_of
from curriculum_rec.growth.contract import Decision, GrowthTask
from curriculum_rec.growth.moments import state_kind
from curriculum_rec.growth.tree import at_path, path_names, with_at_path
from curriculum_rec.growth.units import NewUnits
from curriculum_rec.growth.width import Moments, growing_labels
from curriculum_rec.models.axes import EMBEDDING, kind_of
from curriculum_rec.models.feature_input import FeatureInput, FieldTable
from curriculum_rec.models.structure import Tree, same_shapes, split_model
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges, one_of

INPUT = "fields"
"""The attribute of a model that holds its :class:`FeatureInput`."""


@dataclass(frozen=True)
class FieldGrowth:
    """Options of growth that decides how many dimensions the vectors of each field have.

    Every field begins with ``first_width`` dimensions in a table of its own; ``model.embedding_width`` is the most that
    it may have. Every border of two stages is a check: where a field's newest dimension is worth more than
    ``threshold`` at ``checks`` borders in succession, the field gets one more dimension, which begins as
    :class:`NewUnits` do and leaves the function as it is; then counting begins anew.

    What a dimension is worth is measured: by what fraction the run's mean loss over some batches of training examples
    rises when each vector has, in its place, its mean over the values that the batch looks up.

    Args:
        threshold: The rise of the loss above which a dimension is of use, as a fraction of the loss, at least 0.
        checks: Successive borders at which it must be, at least 1.
        first_width: Dimensions with which each field begins, at least 1.
        batches: Batches that a check computes the loss of, for every field that may still grow; at least 1.
        scale: Standard deviation of a new dimension, in terms of that of the field's old ones, above 0.
        moments: As in growth in width. With ``copy``, a new dimension's averages of squares begin at those of the old
            ones, beside which its own first gradients are tiny, so that it hardly moves for hundreds of steps.

    Source: after DimGrow (Huang and Chu, 2025), which starts with one dimension a field and expands by importance.
    There the importance is a gate that is learnt by shuffling values; here it is the loss without the dimension.
    """

    decides: ClassVar[str] = "embedding_width"

    threshold: float = 0.001
    checks: int = 2
    first_width: int = 1
    batches: int = 8
    scale: float = 0.1
    moments: Moments = "fresh"

    def __post_init__(self) -> None:
        ranges = {
            "threshold": at_least(0),
            "checks": at_least(1),
            "first_width": at_least(1),
            "batches": at_least(1),
            "scale": POSITIVE,
            "moments": one_of(*get_args(Moments)),
        }
        check_ranges(self, "growth", ranges)

    @property
    def resets_optimizer(self) -> bool:
        """Whether the optimizer begins anew."""
        return self.moments == "reset_all"

    def check_borders(self, number: int) -> None:
        """Refuse a run that ends before any field could have grown; errors as in the contract."""
        if number < self.checks:
            raise OptionError(
                f"growth.checks={self.checks}: this run has {number} borders between stages, so no field could ever "
                "grow: take stages=grow_fields, more stages, or fewer checks"
            )

    def begin(self, planned: nnx.Module) -> Decision:
        """Say how large the first model is; arguments and errors as in the contract."""
        most = _input_of(planned).widths
        if all(width <= self.first_width for width in most.values()):
            raise OptionError(
                f"growth.first_width={self.first_width}: model.embedding_width lets no field have more dimensions, so "
                "that none could grow: raise it"
            )
        widths = {name: min(width, self.first_width) for name, width in most.items()}
        return Decision({self.decides: widths}, {"importance": {}, "streak": dict.fromkeys(widths, 0)})

    def decide(
        self,
        params: Tree,
        before: Decision,
        *,
        model: nnx.Module,
        planned: nnx.Module,
        border: int,
        task: GrowthTask,
    ) -> Decision:
        """Measure the newest dimensions, and say how many each field has next; arguments as in the contract."""
        most = _input_of(planned).widths
        tables = [table for table in _input_of(model).tables() if table.width < most[table.name]]
        numbers = range(border * self.batches, (border + 1) * self.batches)
        importance = importances(params, tables, task=task, batches=numbers) if tables else {}
        streaks = dict.fromkeys(before.memory["streak"], 0)
        widths = dict(before.sizes[self.decides])
        for name, worth in importance.items():
            if worth > self.threshold:
                streaks[name] = before.memory["streak"][name] + 1
            if streaks[name] >= self.checks:
                widths[name], streaks[name] = widths[name] + 1, 0
        return Decision({self.decides: widths}, {"importance": importance, "streak": streaks})

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what is not the width of fields; arguments and errors as in the contract."""
        others = [label for label in growing_labels(old, at_depth_of(old, new)) if kind_of(label) != EMBEDDING]
        if others or not same_shapes(split_model(new)[1], split_model(at_depth_of(old, new))[1]):
            raise OptionError(
                "growth=per_field adds dimensions to fields alone, and a stage changes other sizes of the model "
                f"({', '.join(others) or 'depth'}): give all stages the same"
            )
        self._composed.check(old, new)

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the grown model computes what the old one did."""
        return self._composed.preserves_function(old, new)

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract.

        A new dimension is 0 where a value is unknown, as in a model that begins: training need not have met any.
        """
        self.check(old, new)
        params, opt_state = self._composed(params, opt_state, old=old, new=new, seed=seed)
        paths = frozenset(path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
        tables = zip(_input_of(old).tables(), _input_of(new).tables(), strict=True)
        widths = {(INPUT, *before.path): before.width for before, after in tables if before.width < after.width}

        def silence(name: tuple[str, ...], leaf: Array) -> Array:
            return leaf.at[0, widths[name] :].set(0) if name in widths else leaf

        def silence_state(path: tuple[Any, ...], leaf: Array) -> Array:
            kind, name = state_kind(path, paths)
            return silence(name, leaf) if kind == "parameter" else leaf

        return (
            jax.tree_util.tree_map_with_path(lambda path, leaf: silence(path_names(path), leaf), params),
            jax.tree_util.tree_map_with_path(silence_state, opt_state),
        )

    @property
    def _composed(self) -> ComposedGrowth:
        return ComposedGrowth({EMBEDDING: NewUnits(self.scale)}, moments=self.moments)


def importances(
    params: Tree, tables: Sequence[FieldTable], *, task: GrowthTask, batches: Sequence[int]
) -> dict[str, float]:
    """Measure by what fraction the loss rises without the newest dimension of each field.

    Tables are changed on the host, so that one program computes all losses: one that changes many of them takes far
    longer to compile than to run.

    Args:
        params: The model's parameters.
        tables: The fields.
        task: The loss, and batches.
        batches: The numbers of these.

    Returns:
        By the fields' names; below 0 where the loss falls.
    """
    loss = jax.jit(task.loss)
    params = jax.tree.map(lambda leaf: jax.device_put(leaf, leaf.sharding), params)  # else one program a changed table
    leaves = [at_path(params, (INPUT, *table.path)) for table in tables]
    vectors = [np.asarray(leaf) for leaf in leaves]
    whole, without = 0.0, np.zeros(len(tables))
    for batch in map(task.batch, batches):
        codes = np.asarray(task.arrays(batch)["categorical"])
        whole += float(loss(params, batch))
        for number, (table, leaf, old) in enumerate(zip(tables, leaves, vectors, strict=True)):
            new = without_newest(old, codes[:, slice(*table.columns)], has_unknown=table.has_unknown)
            changed = with_at_path(params, (INPUT, *table.path), jax.device_put(new, leaf.sharding))
            without[number] += float(loss(changed, batch))
    rises = (without - whole) / max(whole, float(np.finfo(np.float32).tiny))
    return {table.name: float(rise) for table, rise in zip(tables, rises, strict=True)}


def without_newest(vectors: np.ndarray, codes: np.ndarray, *, has_unknown: Sequence[bool]) -> np.ndarray:
    """Give every vector, as its last entry, the mean of these over the values that are looked up.

    Args:
        vectors: float32 ``[codes, width]``.
        codes: int32 ``[batch, columns]``, what is looked up.
        has_unknown: Of each column, whether code 0 is a value; elsewhere it fills up.

    >>> table = np.array([[5, 0], [5, 3], [5, 9]], np.float32)
    >>> without_newest(table, np.array([[1, 0], [2, 1]]), has_unknown=[True, False])[:, 1].tolist()
    [5.0, 5.0, 5.0]
    """
    looked_up = codes[np.array(has_unknown) | (codes > 0)]
    changed = vectors.copy()
    changed[:, -1] = vectors[looked_up, -1].mean(dtype=np.float64) if len(looked_up) else 0
    return changed


def _input_of(model: nnx.Module) -> FeatureInput:
    """Find the fields of a model.

    Raises:
        OptionError: It has none whose widths may differ.
    """
    found = getattr(model, INPUT, None)
    if isinstance(found, FeatureInput) and found.names:
        return found
    raise OptionError(
        f"growth=per_field decides how many dimensions the vectors of each feature with codes have, and "
        f"{type(model).__name__} has none whose widths may differ: take mlp_classifier, residual_classifier, wide_deep "
        "or dcn_v2 with such features, or another growth"
    )
