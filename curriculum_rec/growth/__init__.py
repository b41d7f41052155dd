"""Growth (device): pure functions from parameters and optimizer state to those of a larger model."""

from curriculum_rec.growth.contract import Growth
from curriculum_rec.growth.depth import DepthGrowth
from curriculum_rec.growth.shrink import Shrink

__all__ = ["DepthGrowth", "Growth", "Shrink"]
