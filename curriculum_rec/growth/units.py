"""Where the units of a wider axis come from (host): copies of old units, or new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from curriculum_rec.errors import OptionError
from curriculum_rec.models.axes import STREAM, Role
from curriculum_rec.ranges import INSIDE_ONE, at_least, check_ranges, one_of
from curriculum_rec.streams import host_stream

Choice = Literal["cyclic", "random"]
Block = Literal["own", "next"]


@dataclass(frozen=True)
class UnitMap:
    """The units of an axis after growth, by those before.

    With ``S`` the matrix ``[new, old]`` of which unit repeats which, and ``R`` that of the shares, values are ``S h``
    where they were ``h``; weights that produce them become ``W S^T``, weights that consume them ``R W``. As
    ``S^T R = 1``, nothing changes after them. Gradients go the other way round: ``R`` where units are produced, ``S``
    where they are consumed.

    Attributes:
        n_old: Units before.
        source: int32 ``[new]``, the old unit that each repeats; 0, and without a meaning, for new ones.
        share: float32 ``[new]``, the part of the source's outgoing weights that each has. Those of all copies of a unit
            add up to 1; new units have 0.
        is_new: bool ``[new]``, which repeat no unit.
        zero_where: Where the weights of new units begin at 0, so that they change nothing; elsewhere they are random.
        scale: Standard deviation of those random values, in terms of that of the weights that are there already.
        noise: What is added to the produced weights of copies, in the same terms.
        next_block: Whether the produced weights of copies are those of the block above.
        masked: Whether new units are random everywhere, since masks keep them from acting.
    """

    n_old: int
    source: np.ndarray
    share: np.ndarray
    is_new: np.ndarray
    zero_where: Role = "consumes"
    scale: float = 1.0
    noise: float = 0.0
    next_block: bool = False
    masked: bool = False

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_copy(self) -> np.ndarray:
        """Which units repeat one that stands before them, bool ``[new]``."""
        copies = ~self.is_new
        firsts = np.unique(self.source[copies], return_index=True)[1]
        copies[np.flatnonzero(copies)[firsts]] = False
        return copies

    @property
    def is_uniform(self) -> bool:
        """Whether every old unit is repeated equally often, with equal shares."""
        counts = np.bincount(self.source[~self.is_new], minlength=self.n_old)
        equal = bool((counts == counts[0]).all() and (self.share == self.share[0]).all())
        return equal and not self.is_new.any()


@runtime_checkable
class UnitGrowth(Protocol):
    """Options of growth in the number of some units."""

    @property
    def lossy_because(self) -> str | None:
        """Say why the function changes whatever the model; None where it need not."""
        ...

    def __call__(self, label: str, old: int, new: int, *, seed: int) -> UnitMap:
        """Say where the units come from.

        Args:
            label: Which units.
            old: How many there are.
            new: How many there will be, more than ``old``.
            seed: Decides what is random.
        """
        ...


@dataclass(frozen=True)
class Copies:
    """Options of growth by copies of old units.

    Args:
        share: The part of a unit's outgoing weights that the unit itself keeps, in (0, 1). At .5 its copies get as much
            each and, without noise or dropout between them, stay equal for ever. Otherwise the shares of all copies
            are a falling series that adds up to 1; with two they are ``share`` and ``1 - share``.
        noise: Standard deviation of what is added to the incoming weights of copies, in terms of that of the weights
            themselves, at least 0. Any noise changes the function a little.
        choice: ``cyclic`` repeats all units in order, over and over; ``random`` draws each new unit's source.
        block: Whose incoming weights copies take: those of their ``own`` block, or of the ``next`` one, of which the
            last has its own. The latter changes the function, but breaks the symmetry and often learns sooner.

    Source: Chen, Goodfellow and Shlens (2016), "Net2Net"; unequal shares after LEMON (Wang et al.,
    2024); weights of the next block after bert2BERT's "advanced knowledge initialisation" (Chen et al., 2022).
    """

    share: float = 0.5
    noise: float = 0.0
    choice: Choice = "cyclic"
    block: Block = "own"

    def __post_init__(self) -> None:
        ranges = {
            "share": INSIDE_ONE,
            "noise": at_least(0),
            "choice": one_of(*get_args(Choice)),
            "block": one_of(*get_args(Block)),
        }
        check_ranges(self, "growth.units.NAME", ranges)

    @property
    def lossy_because(self) -> str | None:
        """Say why the function changes whatever the model; None where it need not."""
        if self.block == "next":
            return "copies take the weights of the next block"
        return "noise is added to copies" if self.noise else None

    def __call__(self, label: str, old: int, new: int, *, seed: int) -> UnitMap:
        """Say where the units come from; arguments as in the contract.

        >>> grown = Copies(share=0.75)("hidden", 2, 4, seed=0)
        >>> grown.source.tolist(), grown.share.tolist()
        ([0, 1, 0, 1], [0.75, 0.75, 0.25, 0.25])
        """
        source = np.arange(new) % old
        if self.choice == "random":
            source[old:] = host_stream(seed, f"growth of {label}", new).integers(0, old, new - old)
        number = np.zeros(new, np.int64)  # how many copies of its source stand before each unit
        for unit in range(old):
            number[source == unit] = np.arange((source == unit).sum())
        weight = ((1 - self.share) / self.share) ** number
        share = weight / np.bincount(source, weight)[source]
        return UnitMap(
            old,
            source.astype(np.int32),
            share.astype(np.float32),
            np.zeros(new, bool),
            noise=self.noise,
            next_block=self.block == "next",
        )


@dataclass(frozen=True)
class NewUnits:
    """Options of growth by new units, whose weights are random on one side and 0 on the other.

    They change nothing when they begin and get gradients at once, and no two of them are alike. Where they are produced
    they are random; in the residual stream, whose values are added up and compared with items, they are 0 there and
    random where they are consumed.

    Args:
        scale: Standard deviation of random weights, in terms of that of the weights that are there already, above 0.

    Source: zeros on the outgoing side after LEMON (Wang et al., 2024); new units of the stream, under a norm that zeros
    do not change, are ours.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise OptionError(
                f"growth.units.NAME.scale={self.scale}: it must be above 0, or new units would never learn"
            )

    @property
    def lossy_because(self) -> str | None:
        """Say why the function changes whatever the model; None where it need not."""
        return None

    def __call__(self, label: str, old: int, new: int, *, seed: int) -> UnitMap:
        """Say where the units come from; arguments as in the contract.

        >>> NewUnits()("hidden", 2, 3, seed=0).share.tolist()
        [1.0, 1.0, 0.0]
        """
        del seed
        unit = np.arange(new)
        return UnitMap(
            old,
            np.where(unit < old, unit, 0).astype(np.int32),
            (unit < old).astype(np.float32),
            unit >= old,
            zero_where="produces" if label == STREAM else "consumes",
            scale=self.scale,
        )


def position_map(old: int, new: int) -> UnitMap:
    """Say where the vectors of positions come from when histories become longer.

    Positions are numbered from the end, so that those of the newest items keep their vectors; the older positions,
    which no history reached, begin as copies of the oldest one.

    >>> grown = position_map(3, 5)
    >>> grown.source.tolist(), grown.share.tolist()
    ([0, 0, 0, 1, 2], [0.0, 0.0, 1.0, 1.0, 1.0])
    """
    shift = np.arange(new) - (new - old)
    return UnitMap(old, np.maximum(shift, 0).astype(np.int32), (shift >= 0).astype(np.float32), np.zeros(new, bool))
