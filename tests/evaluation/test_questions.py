"""Several held-out items a user: what is asked, and the whole evaluation against sorting with a pen."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx

from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.splits import GlobalTime, LastN, Part, RatioPerUser
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.evaluator import FullRanking
from curriculum_rec.evaluation.lines import lines_of
from curriculum_rec.evaluation.questions import Questions
from curriculum_rec.evaluation.slices import slices_of
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.training.placement import Placement

MAX_LENGTH = 6
SPLITS = {
    "last_n": LastN(test=3, validation=1),
    "ratio": RatioPerUser(test=0.3, validation=0.1),
    "global_time": GlobalTime(test=0.3, validation=0.1),
}
ALL_KINDS = (
    "hr", "ndcg", "mrr", "recall", "precision", "f1", "map_n", "map_min", "auc", "gauc", "serendipity", "novelty",
    "popularity", "tail_share", "diversity_groups", "diversity_vectors", "calibration", "coverage", "gini", "entropy",
)  # fmt: skip


@pytest.fixture(scope="module")
def interactions():
    rng = np.random.default_rng(5)
    genres = {item: "|".join(sorted({f"g{item % 3}", f"g{item % 5}"})) for item in range(25)}
    rows = [
        (user, int(item), float(time), genres[int(item)])
        for user in range(40)
        for item, time in zip(rng.integers(0, 25, 15), np.sort(rng.random(15)) + user / 80, strict=True)
        if rng.random() < 0.8
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp", "genres"], orient="row")
    return clean(frame, {}, source="s")


@pytest.fixture(scope="module")
def model(interactions):
    options = SASRec(width=8, depth=1, n_heads=2)
    built = options(n_items=interactions.n_items, max_length=MAX_LENGTH, rngs=nnx.Rngs(0))
    structure, params = split_model(built)
    return structure, jax.tree.map(lambda leaf: leaf * 3, params)


def ranking_of(split, *, part=Part.TEST, devices=1, lengths=(), **options):
    placed = Placement("shard_map" if devices > 1 else "jit", devices).place()
    options = FullRanking(**{"k": (3, 5), "metric": "ndcg@5", **options})
    return options.on(split, part, SequenceExamples(max_length=MAX_LENGTH, bucket_lengths=lengths), placed)


def answers_of(ranking, model):
    return ranking.answers(model[0], ranking.evaluation.placed.replicate(model[1]))


@pytest.mark.parametrize("name", SPLITS)
def test_together_asks_once_a_user_for_different_items_after_what_came_before_the_first(interactions, name):
    split = SPLITS[name](interactions)
    rows = split.rows(Part.TEST)
    together = Questions.of(rows, "together", filter_seen=True)
    offsets = interactions.user_offsets()
    asked = 0
    for user in range(1, interactions.n_users + 1):
        own = slice(offsets[user], offsets[user + 1])
        items, parts = interactions.item[own], split.part[own]
        held_out = np.flatnonzero(parts == Part.TEST)
        held_out = held_out[held_out > 0]  # after nothing, nothing is asked
        mine = together.rows.user == user
        if not len(held_out):
            assert not mine.any()
            continue
        assert sorted(together.rows.target[mine]) == sorted(set(items[held_out].tolist()))
        for row in np.flatnonzero(mine):
            history = together.rows.items[together.rows.start[row] : together.rows.stop[row]]
            assert history.tolist() == items[: held_out[0]].tolist()
        asked += 1
    assert len(together) == asked
    assert (np.diff(together.question) >= 0).all()


def by_hand(network, ranking, *, filter_seen):
    """Sort the candidates of every question: relevant items, and all candidates from the best on."""
    rows, question = ranking.evaluation.questions.rows, ranking.evaluation.questions.question
    vectors = np.asarray(network.item_vectors())[: network.n_items + 1]
    recent = [rows.items[start:stop][-MAX_LENGTH:] for start, stop in zip(rows.start, rows.stop, strict=True)]
    padded = np.stack([np.pad(each, (0, MAX_LENGTH - len(each))) for each in recent])
    scores = np.asarray(user_vectors(network, {"history": jnp.array(padded)})) @ vectors.T
    found = []
    for number in range(question[-1] + 1):
        mine = np.flatnonzero(question == number)
        history = rows.items[rows.start[mine[0]] : rows.stop[mine[0]]]
        relevant = rows.target[mine].tolist()
        seen = set(history.tolist()) - set(relevant) if filter_seen else set()
        order = [int(item) for item in np.argsort(-scores[mine[0]], kind="stable") if item and item not in seen]
        found.append((relevant, order))
    return found


@pytest.mark.parametrize(
    ("name", "targets", "filter_seen"),
    [
        ("last_n", "each", True),
        ("last_n", "together", True),
        ("last_n", "together", False),
        ("ratio", "together", True),
        ("global_time", "together", True),
    ],
)
def test_the_whole_evaluation_against_sorting(interactions, model, name, targets, filter_seen):
    split = SPLITS[name](interactions)
    kinds = ("recall", "map_n", "auc", "coverage", "popularity")
    ranking = ranking_of(split, metrics=kinds, targets=targets, filter_seen=filter_seen)
    answers = answers_of(ranking, model)
    questions = by_hand(join_model(*model), ranking, filter_seen=filter_seen)
    counts = split.item_counts(Part.TEST)
    values = {"recall@5": [], "map_n@5": [], "auc": [], "popularity@5": [], "ndcg@5": []}
    listed = set()
    for relevant, order in questions:
        places = sorted(order.index(item) + 1 for item in relevant)
        hits = [(number, place) for number, place in enumerate(places, start=1) if place <= 5]
        others = len(order) - len(relevant)
        above = sum(place - number for number, place in enumerate(places, start=1))
        values["recall@5"].append(len(hits) / len(relevant))
        values["map_n@5"].append(sum(number / place for number, place in hits) / len(relevant))
        values["ndcg@5"].append(
            sum(1 / np.log2(1 + place) for _, place in hits)
            / sum(1 / np.log2(2 + place) for place in range(min(5, len(relevant))))
        )
        values["auc"].append(1 - above / (others * len(relevant)))
        values["popularity@5"].append(counts[order[:5]].mean())
        listed |= set(order[:5])
    quality = ranking.quality(answers)
    user = ranking.evaluation.questions.user
    for metric, of_questions in values.items():
        of_users = [np.mean(np.array(of_questions)[user == each]) for each in np.unique(user)]
        assert quality[metric] == pytest.approx(np.mean(of_users)), metric
    assert quality["coverage@5"] == len(listed) / interactions.n_items
    places = ranking.table(answers)["rank"].to_numpy()
    expected = [order.index(item) + 1 for relevant, order in questions for item in relevant]
    assert places.tolist() == expected


@pytest.fixture(scope="module")
def plain_answers(interactions, model):
    split = SPLITS["last_n"](interactions)
    return answers_of(ranking_of(split, targets="together", metrics=("ndcg", "coverage")), model)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 8, "lengths": (3,)},
        {"devices": 4},
        {"item_chunk": 7},
        {"item_chunk": 25},
        {"item_chunk": 1},
        {"item_chunk": 3, "devices": 2, "batch_size": 24},
    ],
)
def test_answers_do_not_depend_on_how_they_are_computed(interactions, model, plain_answers, changed):
    split = SPLITS["last_n"](interactions)
    ranking = ranking_of(split, targets="together", metrics=("ndcg", "coverage"), **changed)
    np.testing.assert_array_equal(answers_of(ranking, model), plain_answers)


def test_ranks_in_chunks_of_a_model_that_knows_nothing_or_diverged(interactions, model):
    split = SPLITS["last_n"](interactions)
    for value in (0.0, np.nan):
        other = model[0], jax.tree.map(lambda leaf, value=value: jnp.full_like(leaf, value), model[1])
        whole, chunks = (answers_of(ranking_of(split, item_chunk=chunk), other) for chunk in (None, 4))
        np.testing.assert_array_equal(whole, chunks)
        assert whole.mean() > 5


def test_every_metric_together_with_mostpop_slices_and_intervals(interactions, model):
    split = SPLITS["ratio"](interactions)
    ranking = ranking_of(split, metrics=ALL_KINDS, targets="together", groups="genres")
    answers = answers_of(ranking, model)
    quality, reference = ranking.quality(answers), ranking.reference().quality
    assert quality.keys() == reference.keys()
    assert all(np.isfinite(value) for value in (*quality.values(), *reference.values()))
    assert reference["serendipity@5"] == 0 <= quality["serendipity@5"] <= quality["precision@5"]
    assert reference["novelty@5"] < quality["novelty@5"]
    assert reference["popularity@5"] > quality["popularity@5"]
    assert reference["gini@5"] > quality["gini@5"]
    lines = lines_of("run", ranking, answers, slices=("activity", "popularity", "cold"), intervals=True)
    whole = {line.metric: line for line in lines if line.slice == "all"}
    assert {name for name, line in whole.items() if line.low is None} == {
        f"{kind}@{k}" for kind in ("coverage", "gini", "entropy") for k in (3, 5)
    }
    assert all(line.low <= line.value <= line.high for line in lines if line.low is not None)
    for names in (("few events", "some events", "many events"), ("rare items", "known items", "popular items")):
        sizes = [line.n for line in lines if line.metric == "ndcg@5" and line.slice in names]
        assert sum(sizes) == len(ranking)


def test_a_slice_of_items_is_the_evaluation_with_those_items_alone(interactions, model):
    split = SPLITS["last_n"](interactions)
    ranking = ranking_of(split, targets="together", metrics=("recall", "auc"))
    answers = answers_of(ranking, model)
    questions = by_hand(join_model(*model), ranking, filter_seen=True)
    chosen = slices_of(split, ranking.evaluation.questions, ("popularity",))["popular items"]
    wanted = iter(chosen)
    recall = []
    for relevant, order in questions:
        inside = [item for item in relevant if next(wanted)]
        left = [item for item in order if item in inside or item not in relevant]
        if inside:
            recall.append(np.mean([left.index(item) < 5 for item in inside]))
    assert ranking.judge.quality(answers, rows=chosen)["recall@5"] == pytest.approx(np.mean(recall))


def test_metrics_of_lists_by_hand(interactions, model):
    split = SPLITS["last_n"](interactions)
    ranking = ranking_of(
        split, k=(4,), metric="ndcg@4", metrics=("calibration", "diversity_groups", "novelty"), groups="genres"
    )
    answers = answers_of(ranking, model)
    rows, lists = ranking.evaluation.rows, answers[:, 1:].astype(int)
    known = split.part < Part.TEST
    genres_of = dict(zip(interactions.item.tolist(), interactions.columns["genres"].str.split("|"), strict=True))
    holders = {item: set(interactions.user[known & (interactions.item == item)]) for item in range(1, 26)}

    def shares(items):
        found = dict.fromkeys([f"g{number}" for number in range(5)], 0.0)
        for item in items:
            for genre in genres_of[item]:
                found[genre] += 1 / len(genres_of[item]) / len(items)
        return np.array(list(found.values()))

    def cosine(one, other):
        return len(set(one) & set(other)) / np.sqrt(len(one) * len(other))

    values = {"calibration@4": [], "diversity_groups@4": [], "novelty@4": []}
    for start, stop, listed in zip(rows.start, rows.stop, lists, strict=True):
        p, q = shares(rows.items[start:stop].tolist()), shares(listed.tolist())
        with np.errstate(divide="ignore", invalid="ignore"):
            values["calibration@4"].append(np.nansum(p * np.log(p / (0.99 * q + 0.01 * p))))
        pairs = [(a, b) for place, a in enumerate(listed) for b in listed[:place]]
        values["diversity_groups@4"].append(np.mean([1 - cosine(genres_of[a], genres_of[b]) for a, b in pairs]))
        values["novelty@4"].append(
            np.mean([-np.log2(max(len(holders[item]), 1) / interactions.n_users) for item in listed])
        )
    found = ranking.judge.of_questions(answers)
    for name, expected in values.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ("calibration",)}, "name the column of the data by evaluation.groups"),
        ({"groups": "genres"}, "evaluation.groups=genres has no effect"),
        ({"metric": "gini@5"}, "must be better when higher"),
        ({"metrics": ("novelti",)}, "'novelti@3' is no metric"),
        ({"targets": "all"}, "evaluation.targets=all"),
        ({"item_chunk": 0}, "evaluation.item_chunk=0"),
    ],
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(OptionError, match=words):
        FullRanking(**{"k": (3, 5), "metric": "ndcg@5", **options})


def test_what_is_not_asked_for_is_not_computed(interactions, monkeypatch):
    split = SPLITS["last_n"](interactions)
    ranking = ranking_of(split)
    assert ranking.judge.n_listed == 0
    assert ranking.evaluation.options.metric_names == tuple(
        f"{kind}@{k}" for kind in ("hr", "ndcg", "mrr", "recall") for k in (3, 5)
    )
    monkeypatch.setattr("curriculum_rec.evaluation.evaluator.list_batches", None)
    for fact in ("groups", "vectors", "tail", "self_information"):
        monkeypatch.setattr(f"curriculum_rec.evaluation.item_facts.ItemFacts.{fact}", None)
    ranking.quality(np.ones(len(ranking)))
    ranking.reference()
