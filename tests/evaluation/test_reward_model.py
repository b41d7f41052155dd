"""The model of rewards foretells nobody from themselves."""

import numpy as np
import pytest

from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.reward_model import ItemMeans

RNG = np.random.default_rng(0)
USER, ITEM, REWARD = RNG.integers(0, 20, 200), RNG.integers(1, 6, 200), RNG.random(200)


def test_a_fold_is_foretold_by_the_others():
    fold, means = ItemMeans(folds=4, prior_rows=2.0).fit(USER, ITEM, REWARD, n_items=6)
    for number in range(4):
        others = fold != number
        mean = REWARD[others].mean()
        for item in range(1, 6):
            own = REWARD[others & (item == ITEM)]
            assert means[number, item] == pytest.approx((own.sum() + 2 * mean) / (len(own) + 2))
        assert means[number, 6] == pytest.approx(mean)


def test_a_users_rows_are_in_one_fold_and_change_nothing_of_it():
    model = ItemMeans(folds=4)
    fold, means = model.fit(USER, ITEM, REWARD, n_items=6)
    assert all(len(np.unique(fold[user == USER])) == 1 for user in range(20))
    assert np.bincount(fold[np.unique(USER, return_index=True)[1]]).tolist() == [5] * 4
    other = model.fit(USER, ITEM, np.where(USER == 3, 9.0, REWARD), n_items=6)[1]
    own = fold[USER == 3][0]
    np.testing.assert_allclose(other[own], means[own], rtol=1e-12)
    assert not np.allclose(other, means, rtol=1e-3)


def test_an_item_that_others_never_saw_has_the_mean():
    user, item = np.array([0, 0, 1]), np.array([1, 1, 2])
    fold, means = ItemMeans(folds=2, prior_rows=0).fit(user, item, np.array([1.0, 0.0, 4.0]), n_items=2)
    assert means[fold[0]].tolist() == [4, 4, 4]
    assert means[fold[2]].tolist() == [0.5, 0.5, 0.5]


def test_mistakes():
    with pytest.raises(DataError, match="5 folds needs as many users; the log has 2"):
        ItemMeans().fit(np.array([0, 1]), np.array([1, 1]), np.ones(2), n_items=1)
    with pytest.raises(OptionError, match=r"reward_model\.folds=1"):
        ItemMeans(folds=1)
