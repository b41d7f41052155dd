"""The curriculum: difficulty x pacing x mechanism x order. Host code; only weights are computed on the device."""

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.scheduler import Scheduler

__all__ = ["Curriculum", "Scheduler"]
