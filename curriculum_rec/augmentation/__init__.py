"""Augmentations (device): other histories that a user might as well have had, of fixed shapes, anew in every step."""

from curriculum_rec.augmentation.composed import InOrder, OneOf
from curriculum_rec.augmentation.contract import Augmentation, View
from curriculum_rec.augmentation.cuts import Crop, Mask, Reorder
from curriculum_rec.augmentation.similar import Insert, Substitute

__all__ = ["Augmentation", "Crop", "InOrder", "Insert", "Mask", "OneOf", "Reorder", "Substitute", "View"]
