"""Growth field by field: what a dimension is worth by hand and by brute force, and who gets one more."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import leaves
from test_rows_in_width import RNG, model_of
from test_rows_in_width import make_batch as make_rows

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import FieldGrowth
from curriculum_rec.growth.contract import Decision
from curriculum_rec.growth.per_field import importances
from curriculum_rec.models import DeepFM, MLPClassifier, ResidualClassifier
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives import Logistic
from curriculum_rec.training.optimizers import AdamW, ScheduleFree

PLANNED = MLPClassifier((4,), activation="gelu", embedding_width={"colour": 3, "genres": 2, "item": 1})
NOW = replace(PLANNED, embedding_width={"colour": 2, "genres": 1, "item": 1})


@dataclass
class Task:
    """A loss of real batches, or one by hand."""

    compute: Any

    def batch(self, step):
        return make_rows(step)

    def arrays(self, batch):
        return batch.arrays

    def loss(self, params, batch):
        return self.compute(params, batch)


def tables():
    return model_of(NOW).fields.tables()


def make_params(options, seed=0):
    rng = np.random.default_rng(seed)
    shapes = split_model(model_of(options))[1]
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)), shapes)


def test_the_worth_of_a_dimension_by_hand():
    """The loss is 10 less the variance of the newest entries looked up: without them it is 10."""
    params = make_params(NOW)

    def loss(params, batch):
        newest = params["fields"]["vectors"]["field_0"]["embedding"][:, -1]
        return 10 - jnp.var(newest[batch["categorical"][:, 0]])

    found = importances(params, tables(), task=Task(loss), batches=range(3, 5))
    newest = np.asarray(params["fields"]["vectors"]["field_0"]["embedding"])[:, 1]
    losses = [10 - newest[np.asarray(make_rows(step)["categorical"])[:, 0]].var() for step in (3, 4)]
    assert found["colour"] == pytest.approx((20 - sum(losses)) / sum(losses), rel=1e-4)
    assert found["genres"] == found["item"] == 0


def test_the_worth_of_dimensions_by_brute_force():
    params, structure = make_params(NOW), split_model(model_of(NOW))[0]
    loss = jax.jit(lambda params, batch: Logistic()(join_model(structure, params), batch, RNG).per_example.mean())
    found = importances(params, tables(), task=Task(loss), batches=[7])
    codes = np.asarray(make_rows(7)["categorical"])
    looked_up = {
        "field_0": codes[:, 0],
        "field_1": codes[:, 1:4][codes[:, 1:4] > 0],  # several values, filled up with 0
        "field_2": np.concatenate([codes[:, 4], codes[:, 5:][codes[:, 5:] > 0]]),  # the row's item and a history
    }
    whole = float(loss(params, make_rows(7)))
    for (field, values), name in zip(looked_up.items(), ("colour", "genres", "item"), strict=True):
        table = np.array(params["fields"]["vectors"][field]["embedding"])
        table[:, -1] = table[values, -1].mean()
        vectors = {**params["fields"]["vectors"], field: {"embedding": jnp.asarray(table)}}
        without = float(loss({**params, "fields": {"vectors": vectors}}, make_rows(7)))
        assert abs(without - whole) > 1e-3
        assert found[name] == pytest.approx((without - whole) / whole, abs=1e-5)


def decide(growth, worths, before=None, widths=None):
    """Let growth decide by a loss that rises by what each field is worth."""
    memory = {"importance": {}, "streak": dict.fromkeys(("colour", "genres", "item"), 0)} if before is None else before
    widths = dict(NOW.embedding_width) if widths is None else widths
    model = model_of(replace(PLANNED, embedding_width=widths))
    params = make_params(replace(PLANNED, embedding_width=widths))
    marked = dict(zip(("field_0", "field_1", "field_2"), worths, strict=True))
    kept = {name: params["fields"]["vectors"][name]["embedding"][:, -1] for name in marked}

    def loss(params, batch):
        now = {name: params["fields"]["vectors"][name]["embedding"][:, -1] for name in marked}
        return 1 + sum(worth * (now[name] != kept[name]).any() for name, worth in marked.items())

    return growth.decide(
        params,
        Decision({"embedding_width": widths}, memory),
        model=model,
        planned=model_of(PLANNED),
        border=0,
        task=Task(loss),
    )


def test_a_field_grows_once_it_was_of_use_often_enough_and_never_beyond_its_most():
    growth = FieldGrowth(threshold=0.125, checks=2, batches=1)
    first = decide(growth, (0.2, 0.05, 9.0))
    assert first.sizes == {"embedding_width": NOW.embedding_width}
    assert first.memory["streak"] == {"colour": 1, "genres": 0, "item": 0}
    assert first.memory["importance"] == {"colour": pytest.approx(0.2), "genres": pytest.approx(0.05)}  # item is full
    second = decide(growth, (0.2, 0.2, 9.0), before=first.memory)
    assert second.sizes == {"embedding_width": {"colour": 3, "genres": 1, "item": 1}}
    assert second.memory["streak"] == {"colour": 0, "genres": 1, "item": 0}
    third = decide(growth, (9.0, 0.125, 9.0), before=second.memory, widths=second.sizes["embedding_width"])
    assert third.sizes == second.sizes  # a rise that is not above the threshold breaks the series
    assert third.memory == {
        "importance": {"genres": 0.125},
        "streak": dict.fromkeys(first.memory["streak"], 0),
    }


def test_full_fields_are_not_measured():
    full = decide(FieldGrowth(batches=1), (1.0, 1.0, 1.0), widths=dict(PLANNED.embedding_width))
    assert full.memory["importance"] == {}
    assert full.sizes == {"embedding_width": PLANNED.embedding_width}


def test_every_field_begins_narrow_and_no_wider_than_its_most():
    assert FieldGrowth(first_width=2).begin(model_of(PLANNED)).sizes == {
        "embedding_width": {"colour": 2, "genres": 2, "item": 1}
    }
    one = FieldGrowth().begin(model_of(replace(PLANNED, embedding_width=16)))
    assert one.sizes == {"embedding_width": {"colour": 1, "genres": 1, "item": 1}}
    assert one.memory == {"importance": {}, "streak": {"colour": 0, "genres": 0, "item": 0}}


@pytest.mark.parametrize("optimizer", [AdamW(weight_average=0.9), ScheduleFree()], ids=["average", "schedule-free"])
def test_a_new_dimension_changes_nothing_and_is_silent_for_unknown_values(optimizer):
    params = make_params(NOW)
    state = optimizer(10).init(params)
    new = replace(PLANNED, embedding_width={"colour": 3, "genres": 1, "item": 1})
    models = {"old": model_of(NOW), "new": model_of(new)}
    growth = FieldGrowth()
    assert growth.preserves_function(**models)
    grown, state = growth(params, state, **models, seed=3)
    logits = [
        join_model(split_model(model)[0], p)(make_rows())
        for model, p in zip(models.values(), (params, grown), strict=True)
    ]
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-5)
    before, after = (np.asarray(p["fields"]["vectors"]["field_0"]["embedding"]) for p in (params, grown))
    np.testing.assert_array_equal(after[:, :2], before)
    assert after[0, 2] == 0 and (after[1:, 2] != 0).all()
    averages = [
        leaf for path, leaf in leaves(state).items() if "field_0" in path and ("average" in path or ".z" in path)
    ]
    assert averages
    for average in averages:
        np.testing.assert_array_equal(average[:, 2], after[:, 2])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (NOW, replace(NOW, hidden=(8,)), r"fields alone, and a stage changes other sizes of the model \(hidden 0\)"),
        (NOW, replace(NOW, embedding_width={"colour": 1, "genres": 1, "item": 1}), "fall from 2 to 1"),
    ],
)
def test_nothing_else_grows(old, new, sentence):
    with pytest.raises(OptionError, match=sentence):
        FieldGrowth().check(model_of(old), model_of(new))


def test_models_without_fields_of_their_own_are_refused():
    with pytest.raises(OptionError, match="DeepFMModel has none whose widths may differ: take mlp_classifier"):
        FieldGrowth().begin(model_of(DeepFM(width=8, embedding_width=3)))
    with pytest.raises(OptionError, match="growth.first_width=2: model.embedding_width lets no field have more"):
        FieldGrowth(first_width=2).begin(model_of(ResidualClassifier(width=8, embedding_width=2)))
    with pytest.raises(OptionError, match="growth.checks=3: this run has 2 borders between stages"):
        FieldGrowth(checks=3).check_borders(2)


@pytest.mark.parametrize(
    ("option", "value"), [("threshold", -0.1), ("checks", 0), ("first_width", 0), ("batches", 0), ("scale", 0.0)]
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(OptionError, match=f"growth.{option}="):
        FieldGrowth(**{option: value})
