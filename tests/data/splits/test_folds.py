"""Folds test everything once, and share nothing that they promise not to."""

from collections import Counter

import numpy as np
import pytest
from histories import many, rows_of

from curriculum_rec import config
from curriculum_rec.data.rows import RandomRows
from curriculum_rec.data.splits import Folds, InteractionFolds, LeaveOneOut, Part, UserFolds
from curriculum_rec.errors import OptionError

DATA = many(101, seed=6)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_user_is_tested_in_one_fold(folds):
    splits = [UserFolds(folds=folds, fold=fold)(DATA) for fold in range(folds)]
    asked = Counter(user for split in splits for user, _, _ in rows_of(split, Part.TEST))
    counts = np.bincount(DATA.user)
    assert asked == {user: 1 for user in range(1, DATA.n_users + 1) if counts[user] > 1}
    assert len({split.hash for split in splits}) == folds
    sizes = [len(set(DATA.user[np.isin(split.part, [Part.TEST])])) for split in splits]
    assert max(sizes) - min(sizes) <= 1 + folds


@pytest.mark.parametrize("folds", [2, 5])
def test_every_interaction_but_a_users_first_is_tested_in_one_fold_after_its_whole_history(folds):
    splits = [InteractionFolds(folds=folds, fold=fold)(DATA) for fold in range(folds)]
    offsets = DATA.user_offsets()
    everything = [
        (user, DATA.item[begin:row].tolist(), DATA.item[row])
        for user in range(1, DATA.n_users + 1)
        for begin in [offsets[user]]
        for row in range(begin + 1, offsets[user + 1])
    ]
    assert sorted(row for split in splits for row in rows_of(split, Part.TEST)) == sorted(everything)
    assert (sum((split.part == Part.TEST).astype(int) for split in splits) == 1).all()


@pytest.mark.parametrize("kind", [UserFolds, InteractionFolds])
def test_validation_is_a_share_of_the_other_folds(kind):
    split = kind(folds=4, fold=2, validation=0.2)(DATA)
    if kind is UserFolds:
        others = set(DATA.user[split.part == Part.TRAIN])
        users = np.isin(DATA.user, list(others))
        held_out = {int(u) for u in DATA.user[~users]}
        test = {user for user in held_out if user in set(DATA.user[split.part == Part.TEST])}
        assert abs(len(held_out - test) - round(0.2 * (DATA.n_users - 26))) <= 3  # those of one interaction are silent
    else:
        n_test = np.count_nonzero(split.part == Part.TEST)
        assert np.count_nonzero(split.part == Part.VALIDATION) == round(0.2 * (len(DATA) - n_test))


def test_a_fold_is_told_from_other_splits():
    assert isinstance(UserFolds(fold=0), Folds)
    assert not isinstance(LeaveOneOut(), Folds)


def test_fold_says_the_same_as_the_split_or_is_refused():
    config.check_fold(None, LeaveOneOut())
    config.check_fold(2, UserFolds(fold=2))
    with pytest.raises(OptionError, match="fold=2 has no effect on this split: choose split=user_folds"):
        config.check_fold(2, LeaveOneOut())
    with pytest.raises(OptionError, match="fold=2 has no effect on this split: choose split=row_folds"):
        config.check_fold(2, RandomRows())
    with pytest.raises(OptionError, match=r"fold=2 and split.fold=1: say fold alone"):
        config.check_fold(2, UserFolds(fold=1))
