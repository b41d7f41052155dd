"""Augmentations that need nothing but the history (device): crop, mask, reorder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from curriculum_rec.augmentation.contract import View, places, uniform, window
from curriculum_rec.models.batch import BatchRng
from curriculum_rec.ranges import ABOVE_0_TO_1, check_ranges


@dataclass(frozen=True)
class Crop:
    """Keep a part of the history, in its order.

    Args:
        share: Share of the items that are kept, in (0, 1], rounded down to at least one.

    Source: CL4SRec (Xie et al., 2022), section 3.3.1.
    """

    share: float = 0.6
    needs_similar: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_ranges(self, "augmentation", {"share": ABOVE_0_TO_1})

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Cut."""
        del mask
        begin, size = window(view, rng, self.share)
        return view.at(begin[:, None] + places(view.items), size)


@dataclass(frozen=True)
class Mask:
    """Hide items, each by itself, behind the code that stands for a hidden item.

    Args:
        share: Probability with which an item is hidden, in (0, 1].

    Source: CL4SRec (Xie et al., 2022), section 3.3.2.
    """

    share: float = 0.3
    needs_similar: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_ranges(self, "augmentation", {"share": ABOVE_0_TO_1})

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Hide."""
        hidden = (uniform(rng, view.items.shape[1]) < self.share) & (view.items > 0)
        return view._replace(items=jnp.where(hidden, jnp.int32(mask), view.items))


@dataclass(frozen=True)
class Reorder:
    """Shuffle a part of the history; times stay where they are.

    Args:
        share: Share of the items that are shuffled, in (0, 1], rounded down to at least one.

    Source: CL4SRec (Xie et al., 2022), section 3.3.3.
    """

    share: float = 0.6
    needs_similar: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_ranges(self, "augmentation", {"share": ABOVE_0_TO_1})

    def __call__(self, view: View, rng: BatchRng, *, mask: int) -> View:
        """Shuffle."""
        del mask
        begin, size = window(view, rng, self.share)
        place = jnp.broadcast_to(places(view.items), view.items.shape)
        inside = (place >= begin[:, None]) & (place < (begin + size)[:, None])
        somewhere = begin[:, None] + uniform(rng.named("order"), place.shape[1]) * size[:, None].astype(jnp.float32)
        order = jnp.argsort(jnp.where(inside, somewhere, place.astype(jnp.float32)), axis=1).astype(jnp.int32)
        return view.at(order, view.lengths)._replace(time=view.time)
