"""A model's policy on a log: against recommendations, softmax by hand, and histories before a row."""

import jax
import numpy as np
import polars as pl
import pytest
from flax import nnx

from curriculum_rec.data.feedback import FeedbackLog
from curriculum_rec.data.interactions import clean
from curriculum_rec.errors import DataError, OptionError
from curriculum_rec.evaluation.policies import Greedy, Softmax
from curriculum_rec.evaluation.reward_model import ItemMeans
from curriculum_rec.inference import recommend
from curriculum_rec.inference import replay as replaying
from curriculum_rec.inference.replay import Replay, contexts
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.structure import split_model

SHAPE = {"max_length": 5, "lengths": (2,)}
N_ITEMS = 12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", f"i{item}", float(10 * place))
        for user in range(20)
        for place, item in enumerate(rng.integers(0, N_ITEMS, rng.integers(1, 6)))
    ]
    return clean(pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row"), {}, source="s")


@pytest.fixture(scope="module")
def model(data):
    structure, params = split_model(SASRec(width=8, depth=1)(n_items=data.n_items, max_length=5, rngs=nnx.Rngs(0)))
    return structure, jax.tree.map(lambda leaf: leaf * 3, params)


def make_log(data, *, n=300, seed=0, **more):
    rng = np.random.default_rng(seed)
    columns = {
        "user": [f"u{user}" for user in rng.integers(0, 20, n)],
        "item": [f"i{item}" for item in rng.integers(0, N_ITEMS, n)],
        "reward": rng.random(n),
        "propensity": np.full(n, 1 / N_ITEMS),
    }
    return FeedbackLog.from_frame(pl.DataFrame(columns | more), users=data.users, items=data.items, name="log")


@pytest.mark.parametrize("filter_seen", [True, False])
def test_greedy_shows_what_is_recommended(model, data, filter_seen, monkeypatch):
    monkeypatch.setattr(replaying, "BLOCK", 64)  # a few rows at a time
    log = make_log(data)
    look = Replay(Greedy(k=3), candidates="catalogue", filter_seen=filter_seen)
    feedback, unsupported = look(*model, data, log, **SHAPE)
    top = recommend(*model, data, k=3, filter_seen=filter_seen, **SHAPE)
    listed = set(zip(top["user"], top["item"], strict=True))
    pairs = zip(log.user_id, data.items.decode(log.item), strict=True)
    assert feedback.probability.tolist() == [pytest.approx(1 / 3) if pair in listed else 0 for pair in pairs]
    assert not unsupported.any()
    assert feedback.predicted is None


def test_softmax_over_a_rows_own_candidates(model, data):
    log = make_log(data, n=30)
    ids = data.items.decode(log.item).to_list()
    listed = [list(dict.fromkeys([own, "i0", "i1", "unknown"])) for own in ids]
    log = make_log(data, n=30, candidates=listed)
    feedback, _ = Replay(Softmax(temperature=0.5), filter_seen=False)(*model, data, log, **SHAPE)
    scores = recommend(*model, data, k=data.n_items, filter_seen=False, **SHAPE)
    score = dict(zip(zip(scores["user"], scores["item"], strict=True), scores["score"], strict=True))
    for row, (user, own) in enumerate(zip(log.user_id, ids, strict=True)):
        weights = {item: np.exp(score[user, item] / 0.5) for item in listed[row] if item != "unknown"}
        assert feedback.probability[row] == pytest.approx(weights[own] / sum(weights.values()), rel=1e-4)


def test_what_the_log_never_shows_is_no_candidate_unless_asked_for(model, data):
    rng = np.random.default_rng(3)
    log = make_log(data, n=200, item=[f"i{item}" for item in rng.integers(0, 4, 200)])
    everywhere = Greedy(epsilon=1.0)
    feedback, unsupported = Replay(everywhere, filter_seen=False)(*model, data, log, **SHAPE)
    assert feedback.probability == pytest.approx(1 / 4) and not unsupported.any()
    feedback, unsupported = Replay(everywhere, candidates="catalogue", filter_seen=False)(*model, data, log, **SHAPE)
    assert feedback.probability == pytest.approx(1 / N_ITEMS)
    assert unsupported == pytest.approx(1 - 4 / N_ITEMS)


def test_the_reward_model_foretells_what_the_policy_shows(model, data):
    log = make_log(data)
    look = Replay(Greedy(epsilon=1.0), filter_seen=False, reward_model=ItemMeans(folds=2))
    feedback, _ = look(*model, data, log, **SHAPE)
    fold, means = ItemMeans(folds=2).fit(log.user, log.item, log.reward, n_items=N_ITEMS)
    np.testing.assert_allclose(feedback.predicted, means[fold, log.item])
    np.testing.assert_allclose(feedback.expected, means[fold, 1:].mean(axis=1))


def test_a_rows_history_is_what_came_before_it(data):
    times = np.random.default_rng(4).integers(0, 60, 300).astype(float)
    log = make_log(data, timestamp=times)
    start, stop = contexts(data, log)
    for row in range(len(log)):
        mine = np.flatnonzero((data.user == log.user[row]) & (data.timestamp < times[row]))
        assert stop[row] - start[row] == len(mine)
        assert not len(mine) or (start[row], stop[row] - 1) == (mine[0], mine[-1])


def test_rows_without_a_history_are_left_out_with_a_warning(model, data):
    users = ["u1", "stranger", "u2", "u3"] * 20
    log = make_log(data, n=80, user=users)
    with pytest.warns(UserWarning, match="20 of 80 rows of the log are left out"):
        feedback, _ = Replay(Greedy(epsilon=0.5), filter_seen=False)(*model, data, log, **SHAPE)
    assert len(feedback.reward) == 60
    with pytest.raises(DataError, match="no user of the log has a history"):
        Replay(Greedy())(*model, data, make_log(data, n=2, user=["x", "y"]), **SHAPE)


def test_an_item_that_the_run_does_not_know_is_never_shown(model, data):
    log = make_log(data, n=40, item=["new"] * 20 + ["i1"] * 20)
    feedback, _ = Replay(Softmax(), filter_seen=False)(*model, data, log, **SHAPE)
    assert not feedback.probability[:20].any() and (feedback.probability[20:] == 1).all()


def test_mistakes(model, data):
    with pytest.raises(OptionError, match="candidates=column: the log has no column"):
        Replay(Greedy(), candidates="column")(*model, data, make_log(data), **SHAPE)
    users, seen = data.users.ids.to_list(), data.items.decode(data.item).to_list()
    log = make_log(data, n=2, user=[users[0]] * 2, item=[seen[0]] * 2)
    with pytest.raises(DataError, match="may show to user 'u0': set filter_seen=false"):
        Replay(Greedy())(*model, data, log, **SHAPE)
