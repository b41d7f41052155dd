"""The objective as a whole: how the parts add up, that teachers stay as they are, and that devices agree."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from lessons import N_ITEMS, fixed_model, make_batch, make_rng, scores_of, voice_of

from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.distillation import (
    AverageTeacher,
    CatalogueDivergence,
    Distillation,
    Distilled,
    Ensemble,
    Experts,
    FullTopology,
    ItemSideRanking,
    RelaxedRanking,
    RunTeacher,
    Schedule,
    StageTeacher,
    Trajectory,
    UnbiasedRanking,
)
from curriculum_rec.distillation.contract import Needs, Sizes
from curriculum_rec.distillation.distilled import QUANTILE, Reused, Span, make_parts
from curriculum_rec.distillation.hearing import PARAMS, FromTeachers
from curriculum_rec.distillation.options import check_teaching_stages
from curriculum_rec.distillation.trajectory import advance
from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN
from curriculum_rec.models.batch import Batch
from curriculum_rec.models.structure import join_model, split_model
from curriculum_rec.objectives import Losses, Softmax
from curriculum_rec.training.engine import Engine
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.placement import Placement
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.student import carry_over, enter, leave, with_parts

TERMS = {
    "all": CatalogueDivergence(chunk=16),
    "listed": RelaxedRanking(k=4, n_uniform=4, weight=0.5),
    "experts": Experts(n_experts=2, coldest=0.1),
    "near": FullTopology(weight=0.1),
    "users": ItemSideRanking(k=2, n_uniform=2, weight=0.1),
}
STEPS = 4


def dnn(width, seed=0, n_items=40):
    return DNN(width=width, depth=1, dropout=0.3, feed_forward_factor=1)(
        n_items=n_items, max_length=12, rngs=nnx.Rngs(seed)
    )


def objective(terms, structures, schedule, *, axis_name=None, pacing=None, total=10):
    hearing = FromTeachers(structures, Needs.of(term.needs for term in terms.values()))
    return Distilled(Softmax(chunk=16), terms, schedule, hearing, Span(0, total, total, 5), axis_name, pacing)


@cache
def case():
    """A student and a teacher for the fixed batch of :mod:`lessons`."""
    teacher, params = split_model(dnn(8, 1, N_ITEMS))
    student = dnn(4, 0, N_ITEMS)
    parts = make_parts(TERMS, Sizes(4, 8), seed=0)
    student.distillation = parts
    return student, teacher, params


def test_task_and_terms_add_up_by_the_schedule():
    student, teacher, params = case()
    terms = {name: TERMS[name] for name in ("all", "listed")}
    schedule = Schedule(weight=0.4, full_until=0.5, zero_from=1.0)

    @jax.jit
    def losses(progress, weight):
        batch = Batch(make_batch().arrays, weight, progress=progress, teacher={PARAMS: [params]})
        result = objective(terms, (teacher,), schedule)(student, batch, make_rng())
        task = Softmax(chunk=16)(student, batch, make_rng())
        return result.per_example, task.per_example, result.metrics

    for progress, share in ((0.1, 0.4), (0.75, 0.2), (1.0, 0.0)):
        total, task, metrics = losses(progress, jnp.ones(4))
        assert float(metrics["distillation"]) == pytest.approx(share, abs=1e-6)
        present = np.asarray(make_batch()["target"]) > 0
        distilled = (np.asarray(total) - (1 - share) * np.asarray(task))[present].mean()
        named = {name: float(metrics[f"distillation/{name}"]) for name in terms}
        assert distilled == pytest.approx(share * (named["all"] + 0.5 * named["listed"]), rel=1e-3, abs=1e-5)


def test_the_teacher_gets_no_gradient_and_the_students_parts_do():
    student, teacher, params = case()
    structure, own = split_model(student)

    @jax.jit
    @jax.grad
    def gradient(trees):
        batch = Batch(make_batch().arrays, jnp.ones(4), progress=jnp.float32(0.2), teacher={PARAMS: [trees[1]]})
        whole = objective(TERMS, (teacher,), Schedule())
        return whole(join_model(structure, trees[0]), batch, make_rng()).per_example.sum()

    of_student, of_teacher = gradient((own, params))
    for leaf in jax.tree.leaves(of_teacher):
        np.testing.assert_array_equal(leaf, 0)
    for leaf in jax.tree.leaves(of_student["distillation"]["experts"]["up"]["kernel"]):
        assert np.abs(leaf).max() > 0
    assert np.abs(of_student["items"]["embedding"]).max() > 0


@pytest.mark.slow
def test_users_are_distilled_by_and_by():
    student, teacher, params = case()
    arrays = {**make_batch().arrays, QUANTILE: jnp.array([0.1, 0.4, 0.6, 0.9])}
    whole = objective(
        {"all": TERMS["all"]}, (teacher,), Schedule(full_until=1.0), pacing=Linear(start=0.2, full_at=1.0)
    )

    @jax.jit
    def losses(progress):
        batch = Batch(arrays, jnp.ones(4), progress=progress, teacher={PARAMS: [params]})
        task = Softmax(chunk=16)(student, batch, make_rng()).per_example
        return whole(student, batch, make_rng()).per_example - 0.5 * task

    for progress, expected in ((0.0, [1, 0, 0, 0]), (0.5, [1, 1, 0, 0]), (1.0, [1, 1, 1, 1])):
        np.testing.assert_array_equal(np.abs(np.asarray(losses(progress))).max(axis=1) > 1e-5, expected)


@pytest.mark.slow
def test_a_teacher_who_has_stopped_leaves_the_tasks_losses():
    student, teacher, params = case()
    batch = Batch(make_batch().arrays, jnp.ones(4), progress=jnp.float32(0.7), teacher={PARAMS: [params]})
    stopped = objective({"all": TERMS["all"]}, (teacher,), Schedule(full_until=0.5, zero_from=0.5))
    both = jax.jit(lambda: (stopped(student, batch, make_rng()), Softmax(chunk=16)(student, batch, make_rng())))()
    np.testing.assert_allclose(both[0].per_example, both[1].per_example, rtol=1e-6)
    assert float(both[0].metrics["distillation/all"]) == 0


def test_the_student_is_computed_once():
    calls = []

    def model(batch, rng=None):
        calls.append(batch)
        return fixed_model().hidden

    batch, rng = make_batch(), make_rng()
    once = Reused(model, batch, rng, model(batch, rng))
    once(Batch(batch.arrays, 2 * batch.weight), rng)
    assert len(calls) == 1
    once(make_batch(), rng)
    once(batch)
    assert len(calls) == 3


@pytest.mark.parametrize("how", ["mean", "borda"])
def test_several_teachers_have_one_voice(how):
    models = [fixed_model(width, seed, scale) for width, seed, scale in ((5, 1, 1.0), (7, 2, 10.0), (3, 3, 0.1))]
    voice = voice_of(*models, how=how)
    got = np.asarray(voice.scores([model.hidden[:, 0] for model in models]))
    assert np.isneginf(got[:, [0, *range(N_ITEMS + 1, 16)]]).all()
    each = np.stack([scores_of(model)[:, 0] for model in models])
    if how == "mean":
        deviation = each.std(axis=-1, keepdims=True)
        expected = ((each - each.mean(axis=-1, keepdims=True)) / deviation).mean(axis=0) * deviation.mean(axis=0)
    else:
        expected = np.stack([(scores[:, :, None] > scores[:, None, :]).sum(axis=-1) for scores in each]) / (N_ITEMS - 1)
        expected = expected.mean(axis=0)
    np.testing.assert_allclose(got[:, 1 : N_ITEMS + 1], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_versions_never_fall_and_the_last_one_stays():
    rng = np.random.default_rng(0)
    version, before = jnp.zeros(50, jnp.int32), jnp.full(50, -1.0)
    for _ in range(12):
        distance = jnp.asarray(rng.uniform(size=(50, 4)), jnp.float32)
        new, before = advance(version, before, distance, 1.05)
        assert (np.asarray(new) >= np.asarray(version)).all() and (np.asarray(new - version) <= 1).all()
        version = new
    assert int(version.max()) == 3
    again, _ = advance(jnp.full(50, 3), before, jnp.zeros((50, 4)), 1.05)
    np.testing.assert_array_equal(again, 3)


def test_a_user_goes_on_when_it_has_come_nearer_to_the_next_version():
    distance = jnp.array([[0.5, 0.6, 0.9]])
    version, before = advance(jnp.array([0]), jnp.array([-1.0]), distance, 1.1)
    assert (int(version[0]), float(before[0])) == (0, pytest.approx(0.6))
    for nearer, expected in ((0.55, 0), (0.5, 1)):  # 0.6 / 0.55 is below 1.1, 0.6 / 0.5 above
        new, after = advance(version, before, distance.at[0, 1].set(nearer), 1.1)
        assert int(new[0]) == expected
        assert float(after[0]) == pytest.approx(0.9 if expected else 0.6)


@pytest.fixture(scope="module")
def run(tiny_split):
    """Trains a student under a teacher on given devices, by a few terms."""
    examples = SequenceExamples(max_length=12, bucket_lengths=(), positions_per_batch=96)(tiny_split)

    @cache
    def train(kind, devices, table=1, names=("listed", "near")):
        terms = {name: TERMS[name] for name in names}
        placed = Placement(kind, devices, table).place()
        teacher, params = split_model(dnn(8, 1))
        student = dnn(4)
        parts = make_parts(terms, Sizes(4, 8), seed=0)
        tx = AdamW(learning_rate=1e-2, eps=1e-4)(STEPS)
        whole = objective(terms, (teacher,), Schedule(full_until=0.2), axis_name=placed.axis_name, total=STEPS)
        scheduler = Scheduler(Curriculum(), examples, 5, STEPS)
        shared = placed.replicate({PARAMS: [params]})
        engine = Engine(whole, tx, scheduler, placed, seed=5, steps_per_dispatch=STEPS, teacher=shared)
        state = enter(TrainState.create(student, tx), whole, parts, nnx.eval_shape(lambda: dnn(4)), tx)
        chunks = []
        state, _ = engine.train(placed.place_state(state), scheduler.begin(), stop_at=STEPS, on_chunk=chunks.append)
        return np.concatenate([c.loss for c in chunks]), jax.tree.map(np.asarray, state.params), chunks[0].metrics

    return train


@pytest.mark.parametrize(
    ("kind", "devices", "table", "names"),
    [
        ("pmap", 2, 1, ("near",)),
        pytest.param("pmap", 4, 1, tuple(TERMS), marks=pytest.mark.slow),
        pytest.param("shard_map", 4, 1, tuple(TERMS), marks=pytest.mark.slow),
        pytest.param("shard_map", 4, 2, tuple(TERMS), marks=pytest.mark.slow),
    ],
)
def test_devices_train_the_same_student(run, kind, devices, table, names):
    expected, got = run("jit", 1, names=names), run(kind, devices, table, names=names)
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-4), got[1], expected[1])
    for name, value in expected[2].items():
        assert got[2][name] == pytest.approx(value, rel=1e-3), name


def test_parts_come_and_go_and_the_optimizer_follows():
    tx = AdamW(learning_rate=1e-2)(10)
    student, teacher, _ = dnn(4), *split_model(dnn(8))
    template = nnx.eval_shape(lambda: dnn(4))
    state = TrainState.create(student, tx)
    grown = jax.tree.map(lambda leaf: leaf + 1, state.opt_state)
    state = TrainState(state.params, grown, state.step, state.structure)
    parts = make_parts(TERMS, Sizes(4, 8), seed=0)
    whole = objective(TERMS, (teacher,), Schedule())
    inside = enter(state, whole, parts, template, tx)
    assert jax.tree.structure(inside.opt_state) == jax.tree.structure(tx.init(inside.params))
    assert jax.tree.structure(split_model(with_parts(template, parts))[1]) == jax.tree.structure(inside.params)
    assert int(inside.opt_state[1].count["items"]["embedding"]) == 1
    assert int(inside.opt_state[1].count["distillation"]["experts"]["gate"]["kernel"]) == 0
    outside = leave(inside, tx)
    jax.tree.map(np.testing.assert_array_equal, (outside.params, outside.opt_state), (state.params, state.opt_state))
    assert carry_over({"a": 1}, {"a": 0, "b": 2}) == {"a": 1, "b": 2}


def distillation(**options):
    given = {"teacher": StageTeacher("x"), "terms": {"first": RelaxedRanking()}} | options
    return Distillation(**given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(weight=1.5), "distil.schedule.weight=1.5"),
        (lambda: Schedule(full_until=0.9, zero_from=0.8), r"zero_from=0.8: it must be in \[full_until, 1\]"),
        (lambda: Schedule(full_until=0.0, zero_from=0.0), "no effect with zero_from=0"),
        (lambda: Schedule(cooled_at=0.3), "cooled_at has no effect with heat=1"),
        (lambda: Ensemble({"a": RunTeacher("x")}), "an ensemble has at least two"),
        (lambda: Trajectory({"a": RunTeacher("x")}), "a trajectory has at least two"),
        (lambda: AverageTeacher(decay=1.0), "distil.teacher.decay=1.0"),
        (lambda: distillation(terms={}), "distil.terms is empty"),
        (lambda: distillation(terms={"a b": RelaxedRanking()}), "a plain Python name"),
        (lambda: distillation(cache="often"), "distil.cache=often"),
        (lambda: distillation(schedule=Schedule(heat=2.0)), "no term has a temperature"),
        (lambda: distillation(pacing=Linear()), "go together"),
        (lambda: distillation(teacher=AverageTeacher(), cache="always"), "an average changes"),
        (
            lambda: distillation(
                teacher=Trajectory({"a": RunTeacher("x"), "b": RunTeacher("y")}), terms={"a": CatalogueDivergence()}
            ),
            "which items are the best and no more",
        ),
        (
            lambda: distillation(terms={"a": UnbiasedRanking(groups=2), "b": UnbiasedRanking(groups=3)}).needs,
            "groups=2 and groups=3",
        ),
        (
            lambda: check_teaching_stages({"x": distillation()}),
            r"stages\.x\.distil\.teacher\.stage=x: .* there are: none",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.slow
def test_losses_of_a_task_without_a_mask_are_kept():
    def task(model, batch, rng):
        return Losses(model(batch, rng).sum(axis=-1), metrics={"own": jnp.float32(3)})

    student, teacher, params = case()
    batch = Batch(make_batch().arrays, jnp.ones(4), progress=jnp.float32(0), teacher={PARAMS: [params]})
    terms = {"all": TERMS["all"]}
    hearing = FromTeachers((teacher,), TERMS["all"].needs)
    result = jax.jit(
        lambda: Distilled(task, terms, Schedule(), hearing, Span(0, 1, 1, 1))(student, batch, make_rng())
    )()
    assert result.mask is None
    assert float(result.metrics["own"]) == 3
