"""What a dynamic epoch trained (host): how much, how evenly, and of which difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curriculum_rec.curriculum.quantile import Order, undo_order

N_DECILES = 10


@dataclass(frozen=True)
class Hardness:
    """How hard each unit is, whatever the order in which a curriculum takes the units.

    Attributes:
        rank: int64 ``[n_units]``, 0 the easiest.
        decile: int64 ``[n_units]``, 0 the easiest tenth; tenths are of equal size up to one unit.
    """

    rank: np.ndarray
    decile: np.ndarray

    @classmethod
    def of(cls, quantile: np.ndarray, order: Order, *, seed: int) -> Hardness:
        """Recover it from ordered quantiles.

        Args:
            quantile: float64 ``[n_units]``, what :func:`apply_order` gave.
            order: The order mode that it was given.
            seed: The seed that it was given.

        >>> Hardness.of(np.array([0.75, 0.25]), "anti", seed=0).rank.tolist()
        [0, 1]
        """
        n = len(quantile)
        rank = np.rint(undo_order(quantile, order, seed=seed) * n - 0.5).astype(np.int64)
        return cls(rank, rank * N_DECILES // n)


@dataclass(frozen=True)
class Trained:
    """What a dynamic epoch trained, or the part of it that a run had time for.

    Attributes:
        epoch: Its number, from 1.
        share: The share that was available.
        available: Units that were available.
        drawn: Units trained, each counted as often as it was drawn.
        effective_size: :func:`effective_size` of the units' weights, of which each draw adds one.
        mean_quantile: Mean difficulty quantile of what was drawn; None where nothing is ordered.
        deciles: Units drawn of each tenth of the difficulty, easiest first, int64 ``[10]``; None likewise.
    """

    epoch: int
    share: float
    available: int
    drawn: int
    effective_size: float
    mean_quantile: float | None = None
    deciles: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        counts: np.ndarray,
        weight: np.ndarray | None,
        hardness: Hardness | None,
        *,
        epoch: int,
        share: float,
        available: int,
    ) -> Trained:
        """Sum up.

        Args:
            counts: int64 ``[n_units]``, how often each unit was drawn.
            weight: ``[n_units]``, each unit's weight in the loss; None where all weigh 1.
            hardness: How hard each unit is; None where nothing is ordered.
            epoch: As the attribute.
            share: As the attribute.
            available: As the attribute.
        """
        drawn = int(counts.sum())
        size = effective_size(counts if weight is None else counts * weight.astype(np.float64))
        if hardness is None or not drawn:
            return cls(epoch, share, available, drawn, size)
        mean_rank = int((counts * hardness.rank).sum()) / drawn
        deciles = np.bincount(hardness.decile, weights=counts, minlength=N_DECILES).astype(np.int64)
        return cls(epoch, share, available, drawn, size, (mean_rank + 0.5) / len(counts), deciles)

    def row(self, losses: np.ndarray | None = None) -> dict[str, Any]:
        """Give the numbers of the log's row ``curriculum``.

        Args:
            losses: From :func:`add_losses`, those of the same epoch; None where nobody fed them back.
        """
        row: dict[str, Any] = {
            "epoch": self.epoch,
            "share": self.share,
            "available": self.available,
            "drawn": self.drawn,
            "effective_size": self.effective_size,
        }
        if self.deciles is None:
            return row
        row |= {"mean_quantile": self.mean_quantile, "deciles": self.deciles.tolist()}
        if losses is not None:
            row["decile_losses"] = [total / count if count else None for total, count in losses.T.tolist()]
        return row


def effective_size(weight: np.ndarray) -> float:
    """Compute ``(sum w)^2 / sum w^2``: so many units of equal weight make a mean that is as sure.

    Args:
        weight: ``[n]``, at least 0.

    Source: Kish (1965).

    >>> effective_size(np.array([1, 1, 0, 2]))
    2.6666666666666665
    """
    total, squares = float(weight.sum()), float((weight * weight).sum())
    return total * total / squares if squares else 0.0


def add_losses(losses: np.ndarray, decile: np.ndarray, new: np.ndarray) -> None:
    """Add losses to the sums and numbers of their deciles, in place.

    Args:
        losses: float64 ``[2, 10]``, the sums and how many they are of.
        decile: int64 ``[n]``.
        new: ``[n]``, the losses.
    """
    losses[0] += np.bincount(decile, weights=new, minlength=N_DECILES)
    losses[1] += np.bincount(decile, minlength=N_DECILES)
