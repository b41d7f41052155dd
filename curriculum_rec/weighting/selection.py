"""Rules that train on a part of each batch (device); the rest of it weighs 0."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from curriculum_rec.data.examples import Examples
from curriculum_rec.data.scores import read_target_scores
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import ABOVE_0_TO_1, SHARE, at_least, check_ranges
from curriculum_rec.weighting.contract import Normalise, Rule, Seen
from curriculum_rec.weighting.groups import REFERENCE

PLANTED = "planted"


def highest(values: Float[Array, " all"], counts: Bool[Array, " all"], n: Int32[Array, ""]) -> Bool[Array, " all"]:
    """Choose the ``n`` highest values of what counts; of equal ones the first come first."""
    return rank_from_lowest(-values, counts) < jnp.minimum(n, counts.sum())


def rank_from_lowest(values: Float[Array, " all"], counts: Bool[Array, " all"]) -> Int32[Array, " all"]:
    """Number what counts from the lowest value, from 0, and then the others; of equal ones the first come first."""
    order = jnp.lexsort((values, ~counts))
    return jnp.zeros(len(values), jnp.int32).at[order].set(jnp.arange(len(values), dtype=jnp.int32))


@dataclass(frozen=True)
class Selective(Rule):
    """1 for a share of a batch, drawn with probabilities that grow with the rank of the loss, else 0.

    ``floor(keep n)`` of the ``n`` losses are drawn without replacement, in proportion to ``((r + 0.5) / n)^(1 / keep -
    1)``, ``r`` being a loss's rank from 0. By default the gradient is divided by how many are kept, as in the source.

    Args:
        keep: Share of a batch that is kept, in (0, 1].
        start: Fraction of the run from which something is left out, in [0, 1].
        end: Fraction of the run from which everything is kept again, in [0, 1].
        interrupt: Every so many steps a whole batch is trained; 0 for never.

    Source: selective backpropagation (Jiang et al., 2019), by ranks in the batch as Composer does it.
    """

    normalise: Normalise = field(default="weight", kw_only=True)
    keep: float = 0.5
    start: float = 0.5
    end: float = 0.9
    interrupt: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"keep": ABOVE_0_TO_1, "start": SHARE, "end": SHARE, "interrupt": at_least(0)})

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        n = seen.all_counts.sum()
        percentile = (rank_from_lowest(seen.all_losses, seen.all_counts) + 0.5) / jnp.maximum(n, 1)
        # The highest of log p plus Gumbel noise are a draw without replacement by p.
        noise = jax.random.gumbel(seen.key, seen.all_losses.shape)
        drawn = (1 / self.keep - 1) * jnp.log(percentile) + noise
        kept = highest(drawn, seen.all_counts, jnp.floor(self.keep * n + 1e-4).astype(jnp.int32))
        whole = (seen.progress < self.start) | (seen.progress >= self.end)
        if self.interrupt:
            whole |= (seen.step + 1) % self.interrupt == 0
        return seen.own((kept | whole).astype(jnp.float32))


@dataclass(frozen=True)
class Reducible(Rule):
    """1 for the losses of a batch that could fall most, else 0: those highest above what a reference model's are.

    The reference was trained on data that this run does not train on, so that what is noise, or known already, has no
    reducible loss. ``max(1, floor(keep n))`` of the ``n`` losses of a batch are kept; of equal ones the first. By
    default the gradient is divided by how many are kept, as in the source.

    Args:
        reference: Parquet file with the losses of the reference model for all training targets.
        keep: Share of a batch that is kept, in (0, 1].

    Source: RHO-LOSS (Mindermann et al., 2022), who keep 32 of 320.
    """

    normalise: Normalise = field(default="weight", kw_only=True)
    reference: str
    keep: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"keep": ABOVE_0_TO_1})

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target what it costs the reference."""
        return {
            REFERENCE: read_target_scores(self.reference, examples, option="weighting.reference").astype(np.float32)
        }

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        n = jnp.maximum(jnp.floor(self.keep * seen.all_counts.sum() + 1e-4), 1).astype(jnp.int32)
        kept = highest(seen.all_losses - seen.all_facts[REFERENCE], seen.all_counts, n)
        return seen.own(kept.astype(jnp.float32))


@dataclass(frozen=True)
class Oracle(Rule):
    """0 for targets that were planted as noise, else 1: what no rule that must guess them can do better.

    A planted item still stands in the histories of the targets after it, so that what is lost even here is lost through
    these. By default the gradient is divided by how many targets are kept.
    """

    normalise: Normalise = field(default="weight", kw_only=True)

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target whether it was planted.

        Raises:
            OptionError: Nothing was.
        """
        if examples.noise is None:
            raise OptionError("weighting=oracle leaves planted noise out, and none was planted: choose noise=planted")
        return {PLANTED: examples.noise.astype(np.float32)}

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        return seen.own(1 - seen.all_facts[PLANTED])
