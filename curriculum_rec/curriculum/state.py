"""Where a run stands in its curriculum, and what it draws next (host)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum_rec.curriculum.difficulty import RunningLoss
from curriculum_rec.curriculum.trained import Trained


@dataclass(frozen=True)
class CurriculumState:
    """Where a run stands in its curriculum; all that a checkpoint needs to go on with the same batches.

    Attributes:
        epoch: Dynamic epochs begun so far.
        cursor: Batches of the current one already drawn.
        begun: The step at which the current one began.
        length: To what longer histories are cut in the current one; None where they are whole.
        share: Share available in the current one.
        available: Number of units available in the current one, those skipped included.
        skipped: How many of the easiest are not available any more.
        quantile: float64 ``[n_units]``, the ordered quantiles from which the current one was drawn.
        memory: What the pacing remembers, float64; mostly nothing.
        room: Where the sampler's teacher stands, as an array; mostly nothing.
        losses: Each unit's running loss; None where neither difficulty nor sampler needs it.
        losses_then: The running losses with which the current epoch began; None where the sampler does without.
        decile_losses: float64 ``[2, 10]``, sums and numbers of the current epoch's losses by tenths of the difficulty;
            None where no losses come back, or nothing is ordered.
    """

    epoch: int
    cursor: int
    begun: int
    length: int | None
    share: float
    available: int
    skipped: int
    quantile: np.ndarray
    memory: np.ndarray
    room: np.ndarray
    losses: RunningLoss | None = None
    losses_then: RunningLoss | None = None
    decile_losses: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the state as named arrays for a checkpoint."""
        arrays = {
            "position": np.array(
                [self.epoch, self.cursor, self.begun, self.length or 0, self.available, self.skipped], np.int64
            ),
            "share": np.array([self.share], np.float64),
        }
        for name, array in (("quantile", self.quantile), ("memory", self.memory), ("room", self.room)):
            if len(array):  # plain training has none, and an empty array cannot be stored
                arrays[name] = array
        for name, losses in (("loss", self.losses), ("loss_then", self.losses_then)):
            if losses is not None:
                arrays |= {f"{name}_mean": losses.mean, f"{name}_seen": losses.seen}
        return arrays | ({} if self.decile_losses is None else {"decile_losses": self.decile_losses})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CurriculumState:
        """Undo :meth:`arrays`."""
        epoch, cursor, begun, length, available, skipped = (int(value) for value in arrays["position"])
        losses, losses_then = (
            RunningLoss(np.array(arrays[f"{name}_mean"]), np.array(arrays[f"{name}_seen"]))
            if f"{name}_mean" in arrays
            else None
            for name in ("loss", "loss_then")
        )
        return cls(
            epoch,
            cursor,
            begun,
            length or None,
            share=float(arrays["share"][0]),
            available=available,
            skipped=skipped,
            losses=losses,
            losses_then=losses_then,
            decile_losses=np.array(arrays["decile_losses"]) if "decile_losses" in arrays else None,
            **{name: np.array(arrays.get(name, np.zeros(0))) for name in ("quantile", "memory", "room")},
        )


@dataclass(frozen=True)
class Draw:
    """A few batches that one dispatch trains on.

    Attributes:
        bucket: int32 ``[n_steps]``.
        rows: int32 ``[n_steps, widest batch]``, rows of the bucket, ``PADDING`` at the end.
        share: The share that was available.
        available: How many units were available, those skipped included; where the unit is the target, a target of
            this rank or a higher one is left out of the loss.
        skipped: How many of the easiest were not available; targets of lower ranks are left out, too.
        weight: float32 ``[n_steps, widest batch]``, each row's weight in the loss; None where all weigh 1.
        length: To what longer histories were cut; None where they are whole.
        trained: What the dynamic epoch trained that ends with this draw; None before its end.
    """

    bucket: np.ndarray
    rows: np.ndarray
    share: float
    available: int
    skipped: int = 0
    weight: np.ndarray | None = None
    length: int | None = None
    trained: Trained | None = None

    def __len__(self) -> int:
        return len(self.bucket)
