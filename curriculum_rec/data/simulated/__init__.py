"""A simulated world (host): interactions whose truth is known, from 100 users to 10 million."""

from curriculum_rec.data.simulated.catalogue import Catalogue
from curriculum_rec.data.simulated.source import Simulated, simulate
from curriculum_rec.data.simulated.truth import Truth

__all__ = ["Catalogue", "Simulated", "Truth", "simulate"]
