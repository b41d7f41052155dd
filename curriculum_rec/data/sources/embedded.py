"""The data set inside the package (host)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER


@dataclass(frozen=True)
class OnlineRetail:
    """The UCI Online Retail data set inside the package: invoices of a gift shop, 386,333 rows.

    Source: Daqing Chen, Online Retail, UCI Machine Learning Repository, 2015 (CC BY 4.0).
    """

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return "Online Retail"

    def read(self) -> pl.DataFrame:
        """Read all rows in time order."""
        place = resources.files("curriculum_rec.data") / "embedded" / "online_retail.npz"
        with resources.as_file(place) as path, np.load(path, allow_pickle=False) as arrays:
            return pl.DataFrame(
                {
                    USER: arrays["user_ids"][arrays["user"]],
                    ITEM: pl.Series(arrays["item_ids"].astype(str)).gather(arrays["item"]),
                    TIMESTAMP: arrays["t0"] + arrays["ts"].astype(np.int64),
                }
            )
