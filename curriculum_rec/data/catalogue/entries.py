"""What there is by name (host): addresses, digests, licences and what to cite.

The digests and sizes of MovieLens are those of TensorFlow Datasets (url_checksums/movielens.txt), whose MD5 GroupLens
publishes beside its archives; those of Last.fm and Amazon stand in OmniRec (data_loaders), the only ones that we know
of. Numbers of users, items and rows are the publishers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from curriculum_rec.errors import OptionError

GROUPLENS = "https://files.grouplens.org/datasets"
AMAZON = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
HARPER = (
    "F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: History and Context, ACM Transactions on "
    "Interactive Intelligent Systems 5(4), 2015, doi:10.1145/2827872"
)
CANTADOR = (
    "Iván Cantador, Peter Brusilovsky and Tsvi Kuflik, 2nd Workshop on Information Heterogeneity and Fusion in "
    "Recommender Systems (HetRec 2011), RecSys 2011; data by Last.fm, http://www.lastfm.com"
)
MCAULEY = (
    "Julian McAuley, Christopher Targett, Qinfeng Shi and Anton van den Hengel, Image-based recommendations on styles "
    "and substitutes, SIGIR 2015, doi:10.1145/2766462.2767755"
)
GROUPLENS_TERMS = (
    "of GroupLens: for research; name GroupLens in publications; neither pass it on nor use it commercially without "
    "permission (see the README inside)"
)
BY = "Creative Commons Attribution 4.0, https://creativecommons.org/licenses/by/4.0/"
Layout = Literal["movielens_100k", "movielens_1m", "movielens_csv", "amazon_ratings", "lastfm"]
"""How the published files are laid out; ``reading`` knows them."""


@dataclass(frozen=True)
class Remote:
    """A file at its official address.

    Args:
        url: The address.
        sha256: Digest of the file, by which a download is accepted.
        n_bytes: Its length.
        exact: Whether the length is known to the byte, and checked; else it is an estimate.
    """

    url: str
    sha256: str
    n_bytes: int
    exact: bool = True

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """A data set.

    Args:
        name: What a person calls it.
        title: Its full name.
        n_users: Users in the published files.
        n_items: Items with interactions in the published files.
        n_rows: Interactions in the published files.
        licence: Its name, or what may be done with it in a few words.
        terms: What may be done with it.
        citation: What to cite.
        layout: How its files are laid out; None for a set inside the package.
        remote: The file to be downloaded; None for a set inside the package.
    """

    name: str
    title: str
    n_users: int
    n_items: int
    n_rows: int
    licence: str
    terms: str
    citation: str
    layout: Layout | None = None
    remote: Remote | None = None


def _movielens(name: str, title: str, counts: tuple[int, int, int], layout: Layout, remote: Remote) -> Entry:
    return Entry(
        f"movielens_{name}",
        f"MovieLens {title}",
        *counts,
        "GroupLens, research",
        GROUPLENS_TERMS,
        HARPER,
        layout,
        remote,
    )


def _amazon(name: str, category: str, counts: tuple[int, int, int], sha256: str) -> Entry:
    remote = Remote(f"{AMAZON}/ratings_{category}.csv", sha256, 41 * counts[2], exact=False)  # 41 bytes a line or so
    terms = "none is stated by its publisher; it is in use for research"
    title = f"Amazon {category.replace('_', ' ')}, 2014"
    return Entry(f"amazon_{name}", title, *counts, "none stated", terms, MCAULEY, "amazon_ratings", remote)


ENTRIES = (
    Entry(
        "online_retail",
        "UCI Online Retail",
        4_334,
        3_659,
        386_333,
        "CC BY 4.0",
        BY,
        "Daqing Chen, Online Retail, UCI Machine Learning Repository, 2015, doi:10.24432/C5BW33",
    ),
    Entry(
        "eshop_clothing",
        "UCI Clickstream Data for Online Shopping",
        24_026,
        217,
        165_474,
        "CC BY 4.0",
        BY,
        "Mariusz Łapczyński and Sylwester Białowąs, Discovering Patterns of Users' Behaviour in an E-shop, Studia "
        "Ekonomiczne 151, 2013; UCI Machine Learning Repository, doi:10.24432/C5QK7X",
    ),
    _movielens(
        "100k",
        "100K",
        (943, 1_682, 100_000),
        "movielens_100k",
        Remote(
            f"{GROUPLENS}/movielens/ml-100k.zip",
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            4_924_029,
        ),
    ),
    _movielens(
        "1m",
        "1M",
        (6_040, 3_706, 1_000_209),
        "movielens_1m",
        Remote(
            f"{GROUPLENS}/movielens/ml-1m.zip",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            5_917_549,
        ),
    ),
    _movielens(
        "20m",
        "20M",
        (138_493, 26_744, 20_000_263),
        "movielens_csv",
        Remote(
            f"{GROUPLENS}/movielens/ml-20m.zip",
            "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
            198_702_078,
        ),
    ),
    _movielens(
        "25m",
        "25M",
        (162_541, 59_047, 25_000_095),
        "movielens_csv",
        Remote(
            f"{GROUPLENS}/movielens/ml-25m.zip",
            "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
            261_978_986,
        ),
    ),
    _amazon(
        "beauty",
        "Beauty",
        (1_210_271, 249_274, 2_023_070),
        "17d5232b90444beecfe758ce1446e5300230491f3a88ac802992ca95fc4c150f",
    ),
    _amazon(
        "sports",
        "Sports_and_Outdoors",
        (1_990_521, 478_898, 3_268_695),
        "a31a27e2f0cd85b50acd002378cf1a23a0b3f2659484defb3225a836118252d4",
    ),
    _amazon(
        "toys",
        "Toys_and_Games",
        (1_342_911, 327_698, 2_252_771),
        "e28a342ca89a79036a9a840c0385a3a3342a08d3d3450ea3eaf3d544cd65d3af",
    ),
    _amazon(
        "video_games",
        "Video_Games",
        (826_767, 50_210, 1_324_753),
        "f0ca171050c2e0f208d47f5267992476b21ab68a01439c21c8be1a4432982cfa",
    ),
    Entry(
        "lastfm",
        "HetRec 2011 Last.fm 2K: who tagged which artist",
        1_892,
        12_523,
        186_479,
        "not commercial",
        "not for commercial use; name Last.fm and HetRec 2011 in publications (see the readme inside)",
        CANTADOR,
        "lastfm",
        Remote(
            f"{GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
            "6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
            2_589_075,
            exact=False,
        ),
    ),
)


def find(name: str) -> Entry:
    """Give the entry of a name.

    Raises:
        OptionError: There is none.

    >>> find("movielens_100k").n_rows
    100000
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise OptionError(f"there is no data set '{name}'; there are: {', '.join(entry.name for entry in ENTRIES)}")
