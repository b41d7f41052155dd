"""Growth (device): pure functions from parameters and optimizer state to those of a larger model."""

from curriculum_rec.growth.composed import ComposedGrowth
from curriculum_rec.growth.contract import Growth
from curriculum_rec.growth.depth import DepthGrowth

__all__ = ["ComposedGrowth", "DepthGrowth", "Growth"]
