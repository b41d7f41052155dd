"""Maps of growth in depth (host): from which old block each new one is copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import at_least, check_ranges


@runtime_checkable
class LayerMap(Protocol):
    """A map of growth in depth."""

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give the old block that each block of the grown stack comes from.

        Args:
            old: Depth before.
            new: Depth after, at least ``old``.

        Returns:
            int ``[new]``; every old block is there, in order of its first copy.

        Raises:
            OptionError: The map cannot lead from ``old`` to ``new``.
        """
        ...


@dataclass(frozen=True)
class Stack:
    """The whole stack again on top of itself.

    Source: Gong et al. (2019); ``G_stack`` of Du et al. (2024) with any factor.
    """

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> Stack()(3, 6).tolist()
        [0, 1, 2, 0, 1, 2]
        """
        return np.arange(new) % old


@dataclass(frozen=True)
class Interleave:
    """Every block again right after itself.

    Source: "adjacent" stacking of StackRec (Wang et al., 2021).
    """

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> Interleave()(3, 6).tolist()
        [0, 0, 1, 1, 2, 2]
        """
        return np.arange(new) * old // new


@dataclass(frozen=True)
class PartialStack:
    """The top blocks again on top of the stack.

    Args:
        top: How many of them, at least 1.

    Source: StackRec (Wang et al., 2021), 6 of SASRec's blocks.
    """

    top: int = 6

    def __post_init__(self) -> None:
        check_ranges(self, "growth.map", {"top": at_least(1)})

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> PartialStack(top=2)(4, 6).tolist()
        [0, 1, 2, 3, 2, 3]
        """
        _check_top(self.top, old)
        return np.concatenate([np.arange(old), old - self.top + np.arange(new - old) % self.top])


@dataclass(frozen=True)
class PartialInterleave:
    """Each of the top blocks again right after itself.

    Args:
        top: How many of them, at least 1.

    Source: StackRec (Wang et al., 2021); its code writes the map wrongly, 18 blocks becoming
    ``0 ... 17, 12, 12, 13, 13, 14, 14``.
    """

    top: int = 6

    def __post_init__(self) -> None:
        check_ranges(self, "growth.map", {"top": at_least(1)})

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> PartialInterleave(top=2)(4, 6).tolist()
        [0, 1, 2, 2, 3, 3]
        """
        _check_top(self.top, old)
        below = old - self.top
        return np.concatenate([np.arange(below), below + Interleave()(self.top, new - below)])


@dataclass(frozen=True)
class Gradual:
    """As many of the last blocks as are added, again on top of the stack.

    Source: gradual stacking of Reddi et al. (2023).
    """

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> Gradual()(4, 6).tolist()
        [0, 1, 2, 3, 2, 3]

        Raises:
            OptionError: More blocks are added than there are.
        """
        if new > 2 * old:
            raise OptionError(
                f"growth.map: Gradual adds at most as many blocks as there are, not {new - old} to {old}; grow in more "
                "stages"
            )
        return np.concatenate([np.arange(old), np.arange(2 * old - new, old)])


@dataclass(frozen=True)
class Middle:
    """The middle group of blocks again right after itself, as often as it takes.

    Of an even number of groups there are two in the middle; the lower one is copied.

    Args:
        group: Blocks a group, at least 1; None takes as many as are added, so that one copy does.

    Source: MIDAS (Saunshi et al., 2024), which copies group ``ceil(n / 2)`` of ``n``, counted from 1.
    """

    group: int | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "growth.map", {"group": at_least(1).or_null()})

    def __call__(self, old: int, new: int) -> np.ndarray:
        """Give each block's source.

        >>> Middle(group=1)(4, 5).tolist(), Middle()(6, 8).tolist()
        ([0, 1, 1, 2, 3], [0, 1, 2, 3, 2, 3, 4, 5])

        Raises:
            OptionError: Groups do not fill the stack, or what is added.
        """
        size = self.group or new - old or 1
        if old % size or new % size:
            raise OptionError(
                f"growth.map.group={self.group}: groups of {size} blocks fill neither {old} nor {new} blocks evenly; "
                "choose a group that divides both"
            )
        groups = np.arange(old).reshape(-1, size)
        while groups.size < new:
            middle = (len(groups) + 1) // 2
            groups = np.concatenate([groups[:middle], groups[middle - 1 :]])
        return groups.reshape(-1)


def copied_again(source: np.ndarray) -> np.ndarray:
    """Say which blocks of a grown stack are new: all but the first copy of each source.

    Args:
        source: int ``[new]``, from a map.

    Returns:
        bool ``[new]``.

    >>> copied_again(np.array([0, 0, 1, 1])).tolist()
    [False, True, False, True]
    """
    is_new = np.ones(len(source), bool)
    is_new[np.unique(source, return_index=True)[1]] = False
    return is_new


def _check_top(top: int, old: int) -> None:
    if top > old:
        raise OptionError(f"growth.map.top={top}: the model has only {old} blocks to copy from")
