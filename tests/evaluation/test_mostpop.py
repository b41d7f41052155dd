"""MostPop against a loop, and against the known numbers of real data."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import SequencesFile, TableFile
from curriculum_rec.data.splits import LeaveOneOut, Part
from curriculum_rec.evaluation.metrics import mean_metrics
from curriculum_rec.evaluation.mostpop import most_popular_ranks, seen_pairs

HISTORIES = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=10), min_size=2, max_size=12).filter(
    lambda users: max(map(len, users)) >= 3 and len({item for items in users for item in items}) >= 2
)


def split_of(histories):
    rows = [(user, item) for user, items in enumerate(histories) for item in items]
    return LeaveOneOut()(clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s"))


@given(HISTORIES, st.booleans(), st.sampled_from([Part.VALIDATION, Part.TEST]))
def test_ranks_against_a_list(histories, filter_seen, part):
    split = split_of(histories)
    counts, rows = split.item_counts(part), split.rows(part)
    popular = sorted(range(1, len(counts)), key=lambda item: (-counts[item], item))
    expected, pairs = [], []
    for number, (target, start, stop) in enumerate(zip(rows.target, rows.start, rows.stop, strict=True)):
        seen = set(rows.items[start:stop].tolist()) - {int(target)}
        pairs += [(number, item) for item in sorted(seen)]
        expected.append([item for item in popular if not filter_seen or item not in seen].index(target) + 1)
    assert most_popular_ranks(counts, rows, filter_seen=filter_seen).tolist() == expected
    assert [tuple(pair) for pair in np.stack(seen_pairs(rows), axis=1).tolist()] == pairs


RATINGS = {"format": "tsv", "columns": ("user", "item", "rating", "timestamp")}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "source", "hr", "ndcg"),
    [
        ("amazon_beauty/sequences.txt", SequencesFile, ".0135", ".0061"),
        ("ml-1m/sequences.txt", SequencesFile, ".0363", ".0178"),
        ("ml-100k/u.data", lambda path: TableFile(path, **RATINGS), ".0859", ".0449"),
    ],
)
def test_known_numbers_of_real_data(shared_data, file, source, hr, ndcg):
    split = LeaveOneOut()(clean(source(str(shared_data / file)).read(), {}, source=file))
    ranks = most_popular_ranks(split.item_counts(Part.TEST), split.rows(Part.TEST), filter_seen=True)
    found = mean_metrics(ranks, ["hr@10", "ndcg@10"])
    assert {name: f"{value:.4f}"[1:] for name, value in found.items()} == {"hr@10": hr, "ndcg@10": ndcg}
