"""How much of what the machine could compute training does (host).

Work is the mathematics of the batches' real positions, so that padding, masks, norms and recomputation count as loss.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from curriculum_rec.curriculum.sampling import PADDING
from curriculum_rec.curriculum.state import Draw
from curriculum_rec.data.examples import Examples
from curriculum_rec.data.padded import Rows, count_filled
from curriculum_rec.models.contract import CountsOperations, Recommender
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives.losses import CountsScores, Objective
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.step import Precision
from curriculum_rec.weighting.contract import Weighting
from curriculum_rec.weighting.learned import MetaLearned
from curriculum_rec.weighting.temperature import DataParameters


@dataclass(frozen=True)
class Operations:
    """What training on each example takes: forward, twice that backward, and what a weighting looks at before.

    Not counted are the update itself, examples that are held out for a weighting, teachers, and evaluations.

    Args:
        per_row: float64 ``[n_rows]`` for each bucket, of the model.
        per_target: Of the objective, for a target that counts in the loss.
    """

    per_row: tuple[np.ndarray, ...]
    per_target: float

    @classmethod
    def of(
        cls, model: nnx.Module, objective: Objective, examples: Examples, weighting: Weighting | None = None
    ) -> Operations | None:
        """Count them; None if the model or the objective cannot (:class:`CountsOperations`, :class:`CountsScores`).

        Args:
            model: A model, perhaps with shapes alone.
            objective: The loss.
            examples: What it is trained on.
            weighting: The rule; None lets all losses count the same.
        """
        histories = [bucket.arrays.get("history") for bucket in examples.buckets]
        if not (isinstance(model, CountsOperations) and isinstance(model, Recommender)):
            return None
        if not isinstance(objective, CountsScores) or any(history is None for history in histories):
            return None
        structure, params = split_model(model)
        item = jax.ShapeDtypeStruct((1,), jnp.int32)
        width = jax.eval_shape(lambda p, i: join_model(structure, p).item_vectors(i), params, item).shape[-1]
        lengths = [count_filled(history) for history in histories if history is not None]
        passes = forward_passes(weighting)
        return cls(
            tuple(passes * model.operations(length) for length in lengths),
            passes * 2 * width * objective.scores_per_target(model.n_items),
        )

    def of_pass(self, examples: Examples) -> float:
        """Add up one pass over all that these examples hold, uncut."""
        total = 0.0
        for bucket, per_row in zip(examples.buckets, self.per_row, strict=True):
            if bucket.cut_to is None:
                targets = bucket.arrays.get("target")
                n_targets = len(bucket.example) if targets is None else _count_targets(targets)
                total += per_row.sum() + self.per_target * n_targets
        return float(total)

    def of_draw(self, draw: Draw, n_targets: float) -> float:
        """Add up a draw.

        Args:
            draw: What was trained on.
            n_targets: How many targets counted.
        """
        total = self.per_target * n_targets
        for number, per_row in enumerate(self.per_row):
            rows = draw.rows[draw.bucket == number]
            total += per_row[rows[rows != PADDING]].sum()
        return float(total)


def _count_targets(targets: Rows) -> int:
    return int(count_filled(targets).sum() if targets.ndim == 2 else (np.asarray(targets) > 0).sum())


def forward_passes(weighting: Weighting | None) -> int:
    """Say how many forward passes a step over an example is worth.

    One, and two for its gradient; a weighting sees the losses before. A rule that learns from held-out examples looks
    along a direction, forth and back, perhaps after a step of its own; temperatures are looked at from both sides.

    >>> forward_passes(None)
    3
    """
    if weighting is None:
        return 3
    if isinstance(weighting, MetaLearned):
        return 3 + 1 + 2 + (3 if weighting.look_ahead_rate else 0)
    return 3 + 1 + (2 if isinstance(weighting, DataParameters) else 0)


def measure_peak(precision: Precision = "float32", *, patience: float = 0.1) -> float:
    """Measure the best rate of a matrix product on this host's first device.

    Args:
        precision: Type of the factors; float32 is multiplied as it is in a step, on some accelerators in fewer bits.
        patience: Factors grow until five products take this many seconds, since accelerators need large ones.

    Returns:
        Operations per second, a multiplication and an addition being two.
    """
    best, product = 0.0, jax.jit(jnp.matmul)
    for size in (1024, 2048, 4096, 8192):
        factor = jnp.ones((size, size), precision)
        product(factor, factor).block_until_ready()
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            product(factor, factor).block_until_ready()
            seconds.append(time.perf_counter() - started)
        best = max(best, 2 * size**3 / min(seconds))
        if sum(seconds) > patience:
            break
    return best


def run_peak(placed: Placed, precision: Precision) -> float:
    """Give what all devices of a run can do, from one product on one of them.

    A host's processor counts once: each of the devices that JAX may make of it uses all its cores.
    """
    on_processor = placed.devices[0].platform == "cpu"
    return measure_peak(precision) * (jax.process_count() if on_processor else placed.n_devices)
