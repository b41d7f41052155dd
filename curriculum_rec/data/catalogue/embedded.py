"""The data sets inside the package (host): interactions, and what is known of their users and items."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import polars as pl

from curriculum_rec.data.interactions import ITEM, TIMESTAMP, USER

ID = "id"
"""The column of a table of users or items that names them as the interactions do."""
FIRST_DAY = 1_207_008_000
"""2008-04-01, the first day of the clothing shop's log, in seconds since 1970 (UTC)."""
DAY = 86_400
CATEGORIES = ("trousers", "skirts", "blouses", "sale")
COLOURS = (
    *("beige", "black", "blue", "brown", "burgundy", "grey", "green", "navy blue", "many colours", "olive", "pink"),
    *("red", "violet", "white"),
)
PLACES = ("top left", "top middle", "top right", "bottom left", "bottom middle", "bottom right")
PHOTOGRAPHS = ("en face", "profile")
COUNTRIES = (
    *("Australia", "Austria", "Belgium", "British Virgin Islands", "Cayman Islands", "Christmas Island", "Croatia"),
    *("Cyprus", "Czech Republic", "Denmark", "Estonia", "unidentified", "Faroe Islands", "Finland", "France"),
    *("Germany", "Greece", "Hungary", "Iceland", "India", "Ireland", "Italy", "Latvia", "Lithuania", "Luxembourg"),
    *("Mexico", "Netherlands", "Norway", "Poland", "Portugal", "Romania", "Russia", "San Marino", "Slovakia"),
    *("Slovenia", "Spain", "Sweden", "Switzerland", "Ukraine", "United Arab Emirates", "United Kingdom", "USA"),
    *("biz", "com", "int", "net", "org"),
)
"""The meanings of the clothing shop's codes, from 1; the last countries are domains that belong to none."""


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
        """Read all rows in time order, with pieces, pounds a piece and the customer's country."""
        with _arrays("online_retail") as arrays:
            return pl.DataFrame(
                {
                    USER: arrays["user_ids"][arrays["user"]],
                    ITEM: pl.Series(arrays["item_ids"].astype(str)).gather(arrays["item"]),
                    TIMESTAMP: arrays["t0"] + arrays["ts"].astype(np.int64),
                    "quantity": arrays["qty"],
                    "unit_price": arrays["price_cents"] / 100,
                    "country": pl.Series(arrays["countries"].astype(str)).gather(arrays["country"]),
                }
            )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Give customers with their commonest country, and items with their description and median price in pounds."""
        rows = self.read()
        users = rows.group_by(pl.col(USER).alias(ID)).agg(pl.col("country").mode().min()).sort(ID)
        prices = rows.group_by(pl.col(ITEM).alias(ID)).agg(pl.col("unit_price").median())
        with _arrays("online_retail") as arrays, _arrays("online_retail_items") as texts:
            described = {ID: arrays["item_ids"].astype(str), "description": texts["descriptions"].astype(str)}
        items = pl.DataFrame(described).join(prices, on=ID, how="left", maintain_order="left")
        return {"users": users, "items": items.sort(ID)}


@dataclass(frozen=True)
class EshopClothing:
    """The UCI clickstream of an online shop for clothes, inside the package: a session is a user, 165,474 clicks.

    The log knows days and the order of clicks, no hours: a timestamp is midnight (UTC) plus a second a click, so that
    time keeps the order within a session and means nothing else there.

    Source: Mariusz Łapczyński and Sylwester Białowąs, Clickstream Data for Online Shopping, UCI Machine Learning
    Repository, 2013 (CC BY 4.0).
    """

    @property
    def name(self) -> str:
        """What error messages call the source."""
        return "E-shop clothing"

    def read(self) -> pl.DataFrame:
        """Read all clicks, session by session."""
        with _arrays("eshop_clothing") as arrays:
            clicks = arrays["session_clicks"].astype(np.int64)
            order = np.arange(clicks.sum()) - np.repeat(np.cumsum(clicks) - clicks, clicks) + 1
            midnight = FIRST_DAY + arrays["session_day"].astype(np.int64) * DAY
            return pl.DataFrame(
                {
                    USER: np.repeat(arrays["session_id"].astype(np.int64), clicks),
                    ITEM: pl.Series(arrays["item_id"].astype(str)).gather(arrays["item"]),
                    TIMESTAMP: np.repeat(midnight, clicks) + order - 1,
                    "order": order,
                }
            )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Give sessions with their country and day, and items with what the shop shows of them."""
        with _arrays("eshop_clothing") as arrays:
            days = pl.Series(FIRST_DAY + arrays["session_day"].astype(np.int64) * DAY)
            users = {
                ID: arrays["session_id"].astype(np.int64),
                "country": _words(COUNTRIES, arrays["session_country"]),
                "day": pl.from_epoch(days, time_unit="s").dt.date(),
            }
            items = {
                ID: arrays["item_id"].astype(str),
                "category": _words(CATEGORIES, arrays["item_category"]),
                "colour": _words(COLOURS, arrays["item_colour"]),
                "location": _words(PLACES, arrays["item_location"]),
                "photography": _words(PHOTOGRAPHS, arrays["item_photography"]),
                "price": arrays["item_price"].astype(np.int64),
                "above_average": arrays["item_above_average"] == 1,
                "page": arrays["item_page"].astype(np.int64),
            }
            return {"users": pl.DataFrame(users), "items": pl.DataFrame(items).sort(ID)}


def _words(words: tuple[str, ...], codes: np.ndarray) -> pl.Series:
    return pl.Series(words).gather(codes.astype(np.int64) - 1)


@contextmanager
def _arrays(name: str) -> Iterator[Any]:
    place = resources.files("curriculum_rec.data") / "embedded" / f"{name}.npz"
    with resources.as_file(place) as path, np.load(path, allow_pickle=False) as arrays:
        yield arrays
