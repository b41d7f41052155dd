import json

import numpy as np
import pytest
from runs import lasting_rows, make_runner

from curriculum_rec.training.profile import own_times, page, part_of


def test_times_are_added_up_by_part_and_direction():
    place = {
        "dot.1": "jit(f)/jvp(model and objective)/attention/dot_general",
        "dot.2": "jit(f)/transpose(jvp(model and objective))/attention/dot_general",
        "add.1": "jit(f)/optimizer/add",
        "mul.1": "jit(f)/mul",
    }
    busy = {"dot.1": 4_000_000, "dot.2": 10_000_000, "add.1": 1_000_000, "mul.1": 5_000_000, "unknown": 10**9}
    speed = {"seconds": 0.5, "positions_per_second": 200.0, "share_of_peak": 0.25}
    text = page(busy, place, steps=2, speed=speed)
    rows = [line.split() for line in text.splitlines()]
    assert text.startswith("2 steps in 0.500 s: 250.00 ms a step, 200 positions/s, 25.0% of what the devices reach")
    assert "reach" not in page(busy, place, steps=2, speed=speed | {"share_of_peak": None})
    assert rows[3:7] == [
        ["attention", "backward", "5.000", "50.0%"],
        ["the", "rest", "forward", "2.500", "25.0%"],
        ["attention", "forward", "2.000", "20.0%"],
        ["optimizer", "update", "0.500", "5.0%"],
    ]
    assert part_of("jit(f)/while/body/softmax/dot_general") == ("softmax", "forward")


def test_own_times_leave_nested_ones_out_and_keep_the_sum():
    rng = np.random.default_rng(0)
    events = [(0, 1000, "outer"), (100, 300, "inner"), (150, 100, "leaf"), (400, 50, "inner"), (2000, 10, "outer")]
    shuffled = [events[i] for i in rng.permutation(len(events))]
    own = own_times(shuffled)
    assert dict(own) == {"outer": 660, "inner": 250, "leaf": 100}
    assert own.total() == 1010  # what was covered by anything


@pytest.mark.slow
def test_a_profiled_run_writes_a_page_a_stage_and_is_the_same_run(tmp_path):
    words = ("placement=jit", "stages.shallow.epochs=2", "stages.deep.epochs=2", "steps_per_dispatch=2")
    make_runner(tmp_path, "plain", *words).run()
    runner = make_runner(tmp_path, "profiled", *words)
    runner.profile = True
    runner.run()
    for stage in ("shallow", "deep"):
        text = (tmp_path / "profiled" / "profile" / stage / "breakdown.txt").read_text()
        for part in ("attention", "feed forward", "optimizer", "embedding"):
            assert part in text
        assert list((tmp_path / "profiled" / "profile" / stage).rglob("*.xplane.pb"))
    last = [
        [json.loads(row) for row in lasting_rows(tmp_path / name / "metrics.jsonl")][-1]
        for name in ("plain", "profiled")
    ]
    assert last[0] == last[1]
