"""Item vectors as a few codes each (host): product quantisation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.cluster.vq import kmeans2

from curriculum_rec.compression.contract import Form, with_table
from curriculum_rec.errors import OptionError
from curriculum_rec.models.structure import Tree
from curriculum_rec.ranges import at_least, check_ranges
from curriculum_rec.streams import host_stream


@dataclass(frozen=True)
class Codes(Form):
    """Each part of a row is one of that part's centres.

    Attributes:
        codes: uint8 ``[rows, parts]``.
        centres: float32 ``[parts, centres, width / parts]``.
    """

    codes: UInt8[np.ndarray, "rows parts"]
    centres: Float32[np.ndarray, "parts centres size"]

    def dense(self) -> np.ndarray:
        """Look the centres up and put them beside each other."""
        parts = [centres[code] for centres, code in zip(self.centres, self.codes.T, strict=True)]
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class ProductQuantisation:
    """The item table's columns in equal parts, each of which is one of a few centres, found by k-means.

    Bytes: ``rows parts + 4 centres width``, 3 % of float32 for many items of width 64.

    Args:
        parts: Codes of an item; must divide the table's width.
        centres: Different values of a part, 2 to 256 and fewer than the table's rows.
        rounds: Rounds of k-means, at least 1.

    Source: Jégou et al. (2011), Product Quantization for Nearest Neighbor Search; k-means++ after Arthur and
    Vassilvitskii (2007).
    """

    parts: int = 8
    centres: int = 256
    rounds: int = 20

    def __post_init__(self) -> None:
        check_ranges(self, "method", {"parts": at_least(1), "rounds": at_least(1)})
        if not 2 <= self.centres <= 256:
            raise OptionError(f"method.centres={self.centres}: it must be in [2, 256], since a code is a byte")

    def __call__(self, params: Tree, *, seed: int) -> Tree:
        """Compress; arguments and errors as in the contract."""
        return with_table(params, partial(self.fit, seed=seed))

    def fit(self, table: Float32[np.ndarray, "rows width"], *, seed: int) -> Codes:
        """Find the centres of every part, and each row's nearest."""
        n_rows, width = table.shape
        if width % self.parts:
            raise OptionError(f"method.parts={self.parts}: it must divide the item table's width, {width}")
        if self.centres >= n_rows:
            raise OptionError(f"method.centres={self.centres}: the item table has only {n_rows} rows: lower it")
        found = [
            self._cluster(part, seed=seed, number=number)
            for number, part in enumerate(np.split(table, self.parts, axis=1))
        ]
        centres, codes = zip(*found, strict=True)
        return Codes(np.stack(codes, axis=1).astype(np.uint8), np.stack(centres).astype(np.float32))

    def _cluster(self, part: np.ndarray, *, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        stream = host_stream(seed, "product quantisation", number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a centre that no row is nearest to stays unused, which costs nothing
            centres, _ = kmeans2(part.astype(np.float64), self.centres, iter=self.rounds, minit="++", rng=stream)
        centres = centres.astype(np.float32)
        # Codes by the centres as they are stored: k-means' own are by those before its last round.
        square = (centres**2).sum(axis=1)[None] - 2 * part @ centres.T
        return centres, square.argmin(axis=1)
