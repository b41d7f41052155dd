"""From a checkpoint to recommendations."""

from curriculum_rec.inference.recommend import recommend

__all__ = ["recommend"]
