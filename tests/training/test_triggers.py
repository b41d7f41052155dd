import numpy as np
import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.training.record import RunRecord, Standing
from curriculum_rec.training.stage_plans import ProportionalStages, proportional_steps, proportions
from curriculum_rec.training.triggers import CurriculumShare, LossSlope, OperationShare, Plateau, data_has_grown


def history(*, metric=None, loss=None, operations=None, share=None):
    """A history in which only some columns matter."""
    columns = {"metric": metric, "loss": loss, "operations": operations, "share": share}
    n = max(len(column) for column in columns.values() if column is not None)
    columns = {name: [0.5] * n if column is None else column for name, column in columns.items()}
    return [Standing(i, **{name: float(column[i]) for name, column in columns.items()}) for i in range(n)]


def fires_at(rule, evaluations):
    """The first evaluation after which a rule ends the stage."""
    return next((n for n in range(len(evaluations) + 1) if rule(evaluations[:n])), None)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ([0.1, 0.2, 0.2, 0.2], 4),
        ([0.1, 0.2, 0.2001, 0.2002], 4),  # better, but by less than 0.1 %
        ([0.1, 0.2, 0.2003, 0.2005], None),  # an improvement counts from the best that counted
        ([0.3, 0.2, 0.31, 0.3, 0.3], 5),
        ([0.0, 0.0, 0.0], 3),
        ([-0.5, -0.4, -0.3], None),
    ],
)
def test_plateau(metric, expected):
    assert fires_at(Plateau(patience=2, min_improvement=0.001), history(metric=metric)) == expected


def test_the_slope_waits_while_a_power_law_holds_and_fires_within_a_window_after_it_flattens():
    rule = LossSlope(slope=-0.0575, window=20)
    operations = np.arange(1, 101) / 100
    steep, flat = 3 * operations**-0.2, 3 * operations**-0.03
    assert fires_at(rule, history(loss=steep, operations=operations)) is None
    assert fires_at(rule, history(loss=flat, operations=operations)) == 20
    flattened = np.where(np.arange(100) < 60, steep, steep[60])
    fired = fires_at(rule, history(loss=flattened, operations=operations))
    assert 60 < fired <= 80


def test_the_slope_is_that_of_the_last_window():
    """Without smoothing it is a line through logarithms: halves for a fourfold expense are a slope of -1/2."""
    evaluations = history(loss=[9, 9, 4, 2, 1], operations=[0.1, 0.2, 0.25, 1, 4])
    assert not LossSlope(slope=-0.501, window=3, smoothing=0)(evaluations[:-1])
    assert LossSlope(slope=-0.501, window=3, smoothing=0)(evaluations)
    assert not LossSlope(slope=-0.499, window=3, smoothing=0)(evaluations)
    assert not LossSlope(slope=-0.501, window=3, smoothing=0)(history(loss=[4, 2, -1], operations=[0.25, 1, 4]))


def test_shares_fire_when_they_are_reached():
    assert fires_at(OperationShare(0.3), history(operations=[0.1, 0.29, 0.3, 0.4])) == 3
    assert fires_at(CurriculumShare(1.0), history(share=[0.3, 0.99, 1.0])) == 3
    assert fires_at(CurriculumShare(0.5), history(share=[0.3, 0.4])) is None


def test_data_arrival():
    assert not data_has_grown(1000, 1249)
    assert data_has_grown(1000, 1250)
    with pytest.raises(OptionError, match="by=0"):
        data_has_grown(1000, 1250, by=0)


@pytest.mark.parametrize("alpha", [0, 1, 2.5])
@pytest.mark.parametrize("steps", [7, 100, 1001])
def test_proportional_lengths_add_up(alpha, steps):
    lengths = proportional_steps(steps, 4, alpha)
    assert sum(lengths) == steps
    ideal = steps * np.arange(1, 5) ** alpha / (np.arange(1, 5) ** alpha).sum()
    assert np.abs(np.array(lengths) - ideal).max() <= 1
    assert sum(proportions(4, alpha)) == pytest.approx(1)


def test_a_plan_gives_stages():
    stages = ProportionalStages(depths=(2, 4, 8), epochs=12, alpha=1, warmup_steps=5).stages()
    assert {name: (stage.depth, stage.epochs, stage.warmup_steps) for name, stage in stages.items()} == {
        "depth_2": (2, 12 * 1 / 6, 0),
        "depth_4": (4, 12 * 2 / 6, 5),
        "depth_8": (8, 12 * 3 / 6, 5),
    }
    in_steps = ProportionalStages(depths=(1, 2), epochs=None, steps=10, alpha=2).stages()
    assert [stage.steps for stage in in_steps.values()] == [2, 8]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: Plateau(patience=0), "until.patience=0"),
        (lambda: Plateau(min_improvement=-1), "until.min_improvement=-1"),
        (lambda: LossSlope(slope=0.0), "until.slope=0"),
        (lambda: LossSlope(window=2), "until.window=2"),
        (lambda: LossSlope(smoothing=1.0), "until.smoothing=1"),
        (lambda: OperationShare(1.0), "until.at=1.0"),
        (lambda: CurriculumShare(1.5), "until.at=1.5"),
        (lambda: ProportionalStages(depths=(2, 2)), "stages.depths"),
        (lambda: ProportionalStages(depths=()), "stages.depths"),
        (lambda: ProportionalStages(alpha=-1), "stages.alpha=-1"),
        (lambda: ProportionalStages(steps=10), "exactly one of them"),
        (lambda: ProportionalStages(epochs=None, steps=2), "too few for 3 stages"),
    ],
)
def test_options_out_of_range_are_refused_by_name(refused, message):
    with pytest.raises(OptionError, match=message):
        refused()


def test_a_record_keeps_what_rules_ask_for():
    record = RunRecord(planned_operations=400.0).begin_stage("first", 2, 100, 0)
    for step, value, loss in ((4, 0.1, 8.0), (8, 0.2, 4.0)):
        record = record.computed(50.0, np.full(4, loss / 4))
        record = record.evaluated(step, {"ndcg@10": value}, "ndcg@10", share=step / 8)
    assert record.stage.evaluations == (
        Standing(4, 0.1, loss=2.0, share=0.5, operations=50 / 400),
        Standing(8, 0.2, loss=1.0, share=1.0, operations=100 / 400),
    )
    assert RunRecord.from_json(record.to_json()) == record
    uncounted = record.computed(None, np.full(4, 0.25))
    uncounted = uncounted.evaluated(12, {"ndcg@10": 0.3}, "ndcg@10")
    assert uncounted.stage.evaluations[-1].operations is None
    assert uncounted.begin_stage("second", 4, 200, 12, depth_before=2).stage.evaluations == ()
