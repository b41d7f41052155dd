"""Data sets by name (host): those inside the package, and benchmarks that are downloaded once and kept."""

from curriculum_rec.data.catalogue.embedded import EshopClothing, OnlineRetail
from curriculum_rec.data.catalogue.named import NamedSet, NamedTable

__all__ = ["EshopClothing", "NamedSet", "NamedTable", "OnlineRetail"]
