"""Temperatures that are learnt beside the model (device): noisy groups of targets get soft scores by themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from curriculum_rec.data.examples import Examples
from curriculum_rec.ranges import BELOW_ONE, POSITIVE, above, at_least, check_ranges
from curriculum_rec.weighting.contract import FACT, Memory, Rule, Seen
from curriculum_rec.weighting.groups import GROUP, popularity_groups

SLOPE = "temperature slope"
"""The fact that looking ahead gives: the derivative of each loss by the logarithm of its temperature."""


@dataclass(frozen=True)
class DataParameters(Rule):
    """All losses weigh the same, but each group's scores are divided by a temperature of its own, learnt by SGD.

    A temperature above 1 makes the gradient of a group smaller, one below 1 larger. Groups are of targets of about
    equal popularity. Temperatures are no part of the model: who recommends ranks with the plain scores.

    Args:
        groups: How many groups, at least 2.
        learning_rate: Of the logarithms of the temperatures, above 0.
        momentum: Share of the last step that the next one goes on with, in [0, 1).
        weight_decay: Added to the gradient, in parts of the logarithms; at least 0.
        most: Highest temperature, and 1 over the lowest; above 1.

    Source: the class parameters of Saxena, Tuzel and DeCoste (2019), whose classes are labels.
    """

    groups: int = 10
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    most: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges = {
            "groups": at_least(2),
            "learning_rate": POSITIVE,
            "momentum": BELOW_ONE,
            "weight_decay": at_least(0),
            "most": above(1),
        }
        check_ranges(self, "weighting", ranges)

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target which group it is of."""
        return {GROUP: popularity_groups(examples, self.groups)}

    def begin(self) -> Memory:
        """Give temperatures of 1."""
        return {"log_temperature": jnp.zeros(self.groups), "momentum": jnp.zeros(self.groups)}

    def log_temperature(self, arrays: dict[str, Array], memory: Memory) -> Float[Array, "batch length"]:
        """Give the logarithms of the temperatures of a batch's targets."""
        return memory["log_temperature"][arrays[f"{FACT}{GROUP}"]]

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch, and let the temperatures learn."""
        counts = seen.all_counts
        slope = jnp.where(counts, seen.all_facts[SLOPE], 0) / jnp.maximum(counts.sum(), 1)
        log_temperature = memory["log_temperature"]
        gradient = jnp.zeros(self.groups).at[seen.all_facts[GROUP]].add(slope) + self.weight_decay * log_temperature
        momentum = self.momentum * memory["momentum"] + gradient
        bound = math.log(self.most)
        log_temperature = jnp.clip(log_temperature - self.learning_rate * momentum, -bound, bound)
        return jnp.ones_like(seen.losses), {"log_temperature": log_temperature, "momentum": momentum}
