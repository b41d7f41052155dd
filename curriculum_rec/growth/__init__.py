"""Growth (device): pure functions from parameters and optimizer state to those of a larger model."""

from curriculum_rec.growth.composed import ComposedGrowth
from curriculum_rec.growth.contract import Growth
from curriculum_rec.growth.depth import DepthGrowth
from curriculum_rec.growth.items import new_item_rows
from curriculum_rec.growth.learned import LearnedGrowth
from curriculum_rec.growth.masked import MaskedGrowth
from curriculum_rec.growth.per_field import FieldGrowth
from curriculum_rec.growth.prefix import PrefixGrowth
from curriculum_rec.growth.shrink import Shrink
from curriculum_rec.growth.units import Copies, NewUnits

__all__ = [
    "ComposedGrowth",
    "Copies",
    "DepthGrowth",
    "FieldGrowth",
    "Growth",
    "LearnedGrowth",
    "MaskedGrowth",
    "NewUnits",
    "PrefixGrowth",
    "Shrink",
    "new_item_rows",
]
