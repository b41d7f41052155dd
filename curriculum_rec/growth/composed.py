"""Growth in several dimensions at once (device): first wider, then deeper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import jax
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.contract import Growth, ResetsOptimizer
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.tree import is_stacked
from curriculum_rec.growth.units import Copies, NewUnits, UnitGrowth, UnitMap, position_map
from curriculum_rec.growth.width import Moments, Widening, axes_of, growing_labels
from curriculum_rec.models.axes import (
    EMBEDDING,
    HIDDEN,
    OURS,
    POSITIONS,
    RANK,
    ROWS,
    STREAM,
    axis_sizes,
    is_fixed,
    kind_of,
    norm_kinds,
)
from curriculum_rec.models.structure import Tree, join_model, split_model
from curriculum_rec.ranges import check_ranges, one_of


@dataclass(frozen=True)
class ComposedGrowth:
    """Options of growth in whatever differs between the old model and the new one.

    First the units grow, each kind by its own rule, then the depth. Positions need no rule: those of the newest items
    keep their vectors, and the older ones begin as copies of the oldest.

    Args:
        units: How units grow, by the label that the model's axes give them: ``stream`` (the residual stream),
            ``hidden`` (feed-forward), ``heads``, ``head`` (the units of each head), ``embedding`` (vectors of
            features), ``rank`` (of cross layers). A label with a name, ``hidden 0`` or ``embedding user.age``, goes by
            the rule of its first word where it has none of its own, and ``embedding`` and ``rank`` go by that of
            ``hidden``, as which they act. Units without a rule cannot grow.
        depth: How the depth grows; None where it does not.
        moments: What becomes of an optimizer's averages where the width grows: a ``copy`` is what the grown model's own
            gradients would have made; ``fresh`` lets those of parameters whose shape changes begin anew, ``reset_all``
            those of all parameters.
        allow_lossy: Whether the grown model may compute another function.
    """

    units: Mapping[str, UnitGrowth]
    depth: Growth | None = None
    moments: Moments = "copy"
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"moments": one_of(*get_args(Moments))})

    @property
    def resets_optimizer(self) -> bool:
        """Whether the optimizer begins anew."""
        of_depth = isinstance(self.depth, ResetsOptimizer) and self.depth.resets_optimizer
        return self.moments == "reset_all" or of_depth

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what cannot be grown."""
        labels = growing_labels(old, at_depth_of(old, new))
        sizes = axis_sizes(axes_of(old))
        known = {*sizes, *map(kind_of, sizes), *OURS}
        for label in self.units:
            if label not in known:
                raise OptionError(
                    f"growth.units.{label}: the model has no such units; it has {', '.join(sorted(known))}"
                )
        for label, (before, after) in labels.items():
            self._check_units(label, before, after)
        if (reasons := self._lossy_because(new, labels)) and not self.allow_lossy:
            raise OptionError(
                f"this growth would change what the model computes, since {'; '.join(reasons)}: choose another, or "
                "allow it by growth.allow_lossy=true"
            )
        if _depths_differ(old, new):
            if self.depth is None:
                raise OptionError(
                    f"growth.depth is empty, but the depth grows from {_depth(old)} to {_depth(new)}: choose one"
                )
            self.depth.check(at_depth_of(old, new), new)

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say whether the grown model computes what the old one did."""
        wider = at_depth_of(old, new)
        if self._lossy_because(new, growing_labels(old, wider)):
            return False
        return self.depth is None or not _depths_differ(old, new) or self.depth.preserves_function(wider, new)

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract."""
        self.check(old, new)
        wider = at_depth_of(old, new)
        maps = {
            label: self._map(label, before, after, seed)
            for label, (before, after) in growing_labels(old, wider).items()
        }
        if maps:
            params, opt_state = Widening(axes_of(old), maps, seed)(params, opt_state, moments=self.moments)
        if _depths_differ(old, new) and self.depth is not None:
            params, opt_state = self.depth(params, opt_state, old=wider, new=new, seed=seed)
        return params, opt_state

    def _map(self, label: str, old: int, new: int, seed: int) -> UnitMap:
        rule = self._rule(label)
        if label == POSITIONS or rule is None:
            return position_map(old, new)
        return rule(label, old, new, seed=seed)

    def _rule(self, label: str) -> UnitGrowth | None:
        kind = kind_of(label)
        names = (label, kind, HIDDEN) if kind in (EMBEDDING, RANK) else (label, kind)
        return next((self.units[name] for name in names if name in self.units), None)

    def _check_units(self, label: str, old: int, new: int) -> None:
        if new < old:
            raise OptionError(
                f"the model's '{label}' units would fall from {old} to {new}: growth never takes any away"
            )
        if label == POSITIONS:
            return
        if label == ROWS:
            raise OptionError(
                f"the catalogue would grow from {old} to {new} rows: only a warm start brings new items in"
            )
        if is_fixed(label):
            raise OptionError(f"the model's '{label}' units would grow from {old} to {new}: their number is fixed")
        rule = self._rule(label)
        if rule is None:
            raise OptionError(
                f"the model's '{label}' units grow from {old} to {new}, but growth.units has no rule: add one"
            )
        grown = rule(label, old, new, seed=0)
        if label == STREAM and not grown.is_new.any() and not grown.is_uniform:
            raise OptionError(
                f"growth.units.stream would make copies of {old} units to {new} that are not all alike, which changes "
                f"what a layer norm subtracts: take a multiple of {old} with share=0.5 and choice=cyclic"
            )

    def _lossy_because(self, new: nnx.Module, labels: Mapping[str, Any]) -> list[str]:
        reasons = [
            f"in growth.units.{label} {reason}"
            for label in labels
            if (rule := self._rule(label)) is not None and (reason := rule.lossy_because)
        ]
        if STREAM in labels:
            kinds, rule = norm_kinds(axes_of(new), STREAM), self._rule(STREAM)
            if isinstance(rule, NewUnits) and "layer_norm" in kinds:
                reasons.append("new units of the stream change the mean that model.norm=layer subtracts (rms has none)")
            if isinstance(rule, Copies) and "rms_norm" in kinds:
                reasons.append("copies in the stream change how much the constant in model.norm=rms counts")
        return reasons


def at_depth_of(old: nnx.Module, new: nnx.Module) -> nnx.Module:
    """Give the new model with the old one's depth, holding shapes alone."""
    depth = _depth(old)
    structure, params = split_model(new)

    def at_depth(path: tuple[Any, ...], leaf: Any) -> Any:
        shape = (depth, *leaf.shape[1:]) if is_stacked(path) and depth is not None else leaf.shape
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    return join_model(structure, jax.tree_util.tree_map_with_path(at_depth, params))


def _depth(model: nnx.Module) -> int | None:
    return stacked_depth(split_model(model)[1])


def _depths_differ(old: nnx.Module, new: nnx.Module) -> bool:
    return _depth(old) != _depth(new)
