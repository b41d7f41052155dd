"""Compression (host): pure functions from a model's parameters to fewer bytes."""

from curriculum_rec.compression.codebooks import ProductQuantisation
from curriculum_rec.compression.contract import Compression, Form
from curriculum_rec.compression.factored import LowRank
from curriculum_rec.compression.pruned import Blocks, Dimensions, Magnitude
from curriculum_rec.compression.quantised import Int4Rows, Int8Affine, Int8Rows
from curriculum_rec.compression.shared_rows import Hashing, QuotientRemainder

__all__ = [
    "Blocks",
    "Compression",
    "Dimensions",
    "Form",
    "Hashing",
    "Int4Rows",
    "Int8Affine",
    "Int8Rows",
    "LowRank",
    "Magnitude",
    "ProductQuantisation",
    "QuotientRemainder",
]
