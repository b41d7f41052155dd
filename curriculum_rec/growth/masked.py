"""Masked growth (device): units and blocks begin at random or as copies behind masks that rise within a few steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from flax import nnx

from curriculum_rec.errors import OptionError
from curriculum_rec.growth.composed import ComposedGrowth, at_depth_of
from curriculum_rec.growth.depth import DepthGrowth, parameter_paths, stacked_depth
from curriculum_rec.growth.layer_maps import LayerMap, Stack
from curriculum_rec.growth.masks import Masks, block_masks, unit_masks
from curriculum_rec.growth.new_blocks import Copy
from curriculum_rec.growth.units import UnitMap
from curriculum_rec.growth.width import Moments, axes_of, growing_labels
from curriculum_rec.models.axes import LAYER, POSITIONS, ROWS, is_fixed
from curriculum_rec.models.residual import branches_of, leaf_roles
from curriculum_rec.models.structure import Tree, split_model
from curriculum_rec.ranges import POSITIVE, at_least, check_ranges


@dataclass(frozen=True)
class MaskedUnits:
    """Units whose weights are random on both sides, behind masks.

    Args:
        scale: Standard deviation of random weights, in terms of that of the weights that are there already.
    """

    scale: float

    @property
    def lossy_because(self) -> str | None:
        """Nothing, while the masks are 0."""
        return None

    def __call__(self, label: str, old: int, new: int, *, seed: int) -> UnitMap:
        """Say where the units come from; arguments as in the contract.

        >>> MaskedUnits(1.0)("hidden", 2, 3, seed=0).is_new.tolist()
        [False, False, True]
        """
        del label, seed
        unit = np.arange(new)
        there = unit < old
        return UnitMap(
            old, np.where(there, unit, 0).astype(np.int32), there.astype(np.float32), ~there, "consumes", self.scale,
            masked=True,
        )  # fmt: skip


@dataclass(frozen=True)
class MaskedGrowth:
    """Options of growth behind masks, in depth, in width, or in both.

    When the stage begins the masks are 0, and the grown model computes what the old one did, whatever its width and its
    norms: these weigh the units of the stream by their masks. Over ``steps`` steps the masks rise to 1; from then on
    the model is an ordinary one. New blocks are copies whose branches are masked, new units random.

    Args:
        steps: Steps over which the masks rise, at least 1; no more than until the stage's first evaluation.
        scale: Standard deviation of new units' weights, in terms of that of the weights that are there, above 0.
        map: From which old block each one of a deeper stack is copied.
        moments: As in growth in width.

    Source: masked structural growth (Yao et al., 2024), whose published program has masks that rise in 5 steps and
    grows feed-forward layers, depth, width, heads and depth again, in this order, one a stage.
    """

    steps: int = 5
    scale: float = 1.0
    map: LayerMap = field(default_factory=Stack)
    moments: Moments = "copy"

    def __post_init__(self) -> None:
        check_ranges(self, "growth", {"steps": at_least(1), "scale": POSITIVE})
        self._composed([])  # refuses wrong moments

    @property
    def resets_optimizer(self) -> bool:
        """Whether the optimizer begins anew."""
        return self.moments == "reset_all"

    def check(self, old: nnx.Module, new: nnx.Module) -> None:
        """Refuse what cannot be grown, or not be masked."""
        self._grower(old, new).check(old, new)
        if stacked_depth(split_model(old)[1]) != stacked_depth(split_model(new)[1]):
            branches = branches_of(new)
            if not branches or any(branch.norm_position != "pre" for branch in branches):
                raise OptionError(
                    "growth=masked masks new blocks by the factors of their branches, which takes blocks with gates "
                    "and model.norm_position=pre: choose another growth"
                )

    def preserves_function(self, old: nnx.Module, new: nnx.Module) -> bool:
        """Say that the grown model computes what the old one did, as long as its masks are 0."""
        del old, new
        return True

    def __call__(
        self, params: Tree, opt_state: Tree, *, old: nnx.Module, new: nnx.Module, seed: int = 0
    ) -> tuple[Tree, Tree]:
        """Grow parameters and optimizer state; arguments and errors as in the contract."""
        self.check(old, new)
        return self._grower(old, new)(params, opt_state, old=old, new=new, seed=seed)

    def masks(self, old: nnx.Module, new: nnx.Module) -> Masks:
        """Say what is masked of the grown model."""
        labels = growing_labels(old, at_depth_of(old, new))
        unit = MaskedUnits(self.scale)
        maps = {label: unit(label, *sizes, seed=0) for label, sizes in labels.items() if label != POSITIONS}
        units = unit_masks(axes_of(old), maps)
        before, after = (stacked_depth(split_model(model)[1]) for model in (old, new))
        blocks = Masks()
        if before is not None and after is not None and before != after:
            roles = leaf_roles(branches_of(new), tuple(sorted(parameter_paths(split_model(new)[1]))))
            gates = [path for path, role in roles.items() if role == "gate"]
            blocks = block_masks(gates, self._depth.is_new(before, after))
        return replace(units, steps=self.steps, entries=units.entries + blocks.entries)

    def _grower(self, old: nnx.Module, new: nnx.Module) -> ComposedGrowth:
        labels = growing_labels(old, at_depth_of(old, new))
        kept = (POSITIONS, ROWS, LAYER)
        return self._composed([label for label in labels if label not in kept and not is_fixed(label)])

    def _composed(self, labels: list[str]) -> ComposedGrowth:
        return ComposedGrowth({label: MaskedUnits(self.scale) for label in labels}, self._depth, self.moments)

    @property
    def _depth(self) -> DepthGrowth:
        return DepthGrowth(self.map, Copy(), self.moments, allow_lossy=True)
