"""Cleaning rules (host): each takes a frame and returns it with fewer rows or mended values, order kept."""

from curriculum_rec.data.cleaning.activity import DropInhumanActivity
from curriculum_rec.data.cleaning.core import KCore
from curriculum_rec.data.cleaning.duplicates import DropDuplicates
from curriculum_rec.data.cleaning.feedback import RatingThreshold
from curriculum_rec.data.cleaning.missing import DropIncomplete, DropMissing, FillMissing
from curriculum_rec.data.cleaning.outliers import DropOutliers
from curriculum_rec.data.cleaning.ranges import DropOutOfRange
from curriculum_rec.data.cleaning.timestamps import ConvertTimestamps

__all__ = [
    "ConvertTimestamps",
    "DropDuplicates",
    "DropIncomplete",
    "DropInhumanActivity",
    "DropMissing",
    "DropOutOfRange",
    "DropOutliers",
    "FillMissing",
    "KCore",
    "RatingThreshold",
]
