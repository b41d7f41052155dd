"""How fast a stretch of training was (host): seconds, positions, and the share of what the machine could compute."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from curriculum_rec.training.compilation import METER
from curriculum_rec.training.engine import ChunkReport
from curriculum_rec.training.operations import Operations


@dataclass
class Stretch:
    """What was trained between two boundaries, timed from its creation to :meth:`end`.

    Args:
        operations: What training on each example takes; None where that is not known.

    Attributes:
        positions: Targets trained.
        seconds: Wall seconds, without those of compilation.
        compile_seconds: Those of compilation.
    """

    operations: Operations | None
    positions: float = field(default=0.0, init=False)
    seconds: float = field(default=0.0, init=False)
    compile_seconds: float = field(default=0.0, init=False)
    _done: float = field(default=0.0, init=False)
    _begun: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), METER.seconds), init=False)

    def add(self, chunk: ChunkReport) -> float | None:
        """Take in a chunk; give its operations, None where they are not known."""
        self.positions += chunk.positions
        if self.operations is None:
            return None
        done = self.operations.of_draw(chunk.draw, chunk.positions)
        self._done += done
        return done

    def end(self) -> None:
        """Stop the clock."""
        self.compile_seconds = METER.seconds - self._begun[1]
        self.seconds = max(time.perf_counter() - self._begun[0] - self.compile_seconds, 0.0)

    def row(self, peak: float) -> dict[str, Any]:
        """Give the numbers of the log's row ``speed``.

        Args:
            peak: What the run's devices can do, operations a second.
        """
        share = None if self.operations is None else self._done / max(self.seconds, 1e-9) / peak
        return {
            "seconds": round(self.seconds + self.compile_seconds, 4),
            "compile_seconds": round(self.compile_seconds, 4),
            "positions_per_second": round(self.positions / max(self.seconds, 1e-9), 1),
            "share_of_peak": None if share is None else float(f"{share:.3g}"),
        }
