"""The truth ranks better than popularity and than chance, and what is planted is found by what knows transitions."""

from dataclasses import replace

import numpy as np
import pytest

from curriculum_rec.curriculum.difficulty.from_data import TransitionSurprisal
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.false_positives import split_around
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.simulated import Simulated, Truth
from curriculum_rec.data.splits import LastN, LeaveOneOut, Part
from curriculum_rec.evaluation.metrics import mean_metrics
from curriculum_rec.evaluation.mostpop import most_popular_ranks
from curriculum_rec.evaluation.scorers import roc_auc

WORLD = Simulated(n_users=1500, n_items=300, mean_length=20.0)


def split_of(world, splitter=None):
    return split_around(splitter or LeaveOneOut(), clean(world.read(), {}, source=world.name))


def ndcg(ranks):
    return mean_metrics(ranks, ["ndcg@10"])["ndcg@10"]


@pytest.mark.parametrize("filter_seen", [True, False])
def test_ranks_are_those_of_the_distribution_row_by_row(filter_seen):
    world = replace(WORLD, n_users=60, n_items=40, false_positives=0.2)
    split, truth = split_of(world, LastN(validation=1, test=2)), Truth(world)
    ranks = truth.oracle_ranks(split, Part.TEST, filter_seen=filter_seen)
    rows, data = split.rows(Part.TEST), split.interactions
    users, items = data.users.ids.to_numpy(), data.items.ids.to_numpy()
    clean_frame = replace(world, false_positives=0.0).read()
    for number in range(len(rows)):
        user, target = users[rows.user[number] - 1], items[rows.target[number] - 1]
        mine = clean_frame.filter(clean_frame["user"] == user)["item"].to_numpy()
        step = len(mine) - (2 if number == 0 or rows.user[number] != rows.user[number - 1] else 1)
        assert mine[step] == target
        chance = truth.next_item(np.array([user]), mine[[step - 1]], step=np.array([step]))[0]
        seen = set(items[rows.items[rows.start[number] : rows.stop[number]] - 1]) if filter_seen else set()
        others = [item for item in items if item != target and item not in seen]
        above = sum(chance[item] > chance[target] for item in others)
        level = sum(chance[item] == chance[target] for item in others)
        assert ranks[number] == 1 + above + level / 2


def test_nothing_ranks_better_than_the_truth():
    split = split_of(WORLD)
    rows = split.rows(Part.TEST)
    best = ndcg(Truth(WORLD).oracle_ranks(split, Part.TEST, filter_seen=False))
    popular = ndcg(most_popular_ranks(split.item_counts(Part.TEST), rows, filter_seen=False))
    blurred = Truth(replace(WORLD, markov=0.25)).oracle_ranks(split, Part.TEST, filter_seen=False)
    unmoved = Truth(replace(WORLD, markov=0.0)).oracle_ranks(split, Part.TEST, filter_seen=False)
    assert best > ndcg(blurred) - 0.01 and best > ndcg(unmoved) + 0.1 and ndcg(unmoved) > popular
    chance = (1 / np.log2(np.arange(2, 12))).sum() / split.interactions.n_items
    assert best > 2 * popular > 4 * chance


def test_without_noise_in_training_the_best_is_the_same():
    noisy = replace(WORLD, false_positives=0.3)
    found = [ndcg(Truth(world).oracle_ranks(split_of(world), Part.TEST, filter_seen=False)) for world in (WORLD, noisy)]
    assert found[0] == pytest.approx(found[1], abs=0.005)  # the catalogue has more items where false ones are drawn


def test_a_scorer_of_transitions_finds_the_false_positives():
    split = split_of(replace(WORLD, false_positives=0.2))
    examples = SequenceExamples(max_length=50, bucket_lengths=(8, 16), positions_per_batch=512)(split)
    assert 0.15 < examples.noise.mean() < 0.25
    scores = TransitionSurprisal()(examples, "target", None)
    assert roc_auc(scores, examples.noise) > 0.65
    shuffled = np.random.default_rng(0).permutation(scores)
    assert roc_auc(shuffled, examples.noise) == pytest.approx(0.5, abs=0.02)
