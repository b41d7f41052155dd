"""Studies and workers: what is tried, by whom, and what becomes of trials that are stopped, broken or abandoned."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from searches import NONE, SPACE, make_search, pretend, quality

pytest.importorskip("optuna", reason="the extra 'tune' is not installed")

from curriculum_rec.errors import RunError, TrainingError
from curriculum_rec.training.interrupt import Interrupted
from curriculum_rec.tuning.optuna_study import FILE, MOST_ATTEMPTS, OptunaStudy
from curriculum_rec.tuning.search import Kind
from curriculum_rec.tuning.trials import best_so_far, best_trial
from curriculum_rec.tuning.worker import Outcome, Worker

HERE = Path(__file__).parent


@pytest.fixture
def studies():
    """Opens studies, and lets go of them in the end."""
    opened = []

    def open_study(folder, search):
        opened.append(OptunaStudy(folder, search))
        return opened[-1]

    yield open_study
    for study in opened:
        study.close()


def tried(study):
    return [(row.point, row.state, row.value, row.curve) for row in study.trials()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one process finds that nothing disturbs."""
    study = OptunaStudy(tmp_path_factory.mktemp("whole"), make_search())
    Worker(study, pretend).work()
    rows = tried(study)
    study.close()
    return rows


def test_one_process_finds_the_same_again_in_parts_too(tmp_path, studies, whole):
    for n_trials in (3, 5, 8):
        study = studies(tmp_path, make_search(n_trials=n_trials))
        Worker(study, pretend).work()
    assert tried(study) == whole
    assert len(whole) == 8


def test_another_seed_finds_others(tmp_path, studies, whole):
    study = studies(tmp_path, make_search(seed=1, n_trials=2))
    Worker(study, pretend).work()
    assert all(point not in [other for other, *_ in whole] for point, *_ in tried(study))


@pytest.mark.parametrize("when", ["before", "within"])
def test_an_interrupted_trial_goes_on_under_its_number(tmp_path, studies, whole, when):
    calls = []

    def interrupted(directory, words, watch):
        calls.append((directory.name, words))
        if len(calls) == 2:
            if when == "within":
                watch([quality(words) / 4, quality(words) / 2], False)
            raise Interrupted(str(directory))
        return pretend(directory, words, watch)

    first = studies(tmp_path, make_search())
    worker = Worker(first, interrupted)
    with pytest.raises(Interrupted):
        worker.work()
    assert [row.state for row in first.trials()][-1] == "running"
    second = studies(tmp_path, make_search())
    Worker(second, interrupted).work()
    assert calls[1] == calls[2]
    assert len(calls) == 9
    assert tried(second) == whole


def test_the_value_is_found_where_it_is(tmp_path, studies):
    study = studies(tmp_path, make_search(n_trials=12))
    Worker(study, lambda directory, words, watch: pretend(directory, words, None)).work()
    rows = study.trials()
    best = best_trial(rows)
    assert best.value == max(row.value for row in rows if row.state == "done")
    assert best.value == pytest.approx(quality([f"{name}={value}" for name, value in best.point.items()]))
    assert best_so_far(rows)[-1] == (best.number, best.value)
    assert 10**-2.7 < best.point["optimizer.learning_rate"] < 10**-1.3
    importances = study.importances()
    assert set(importances) == set(SPACE)  # those with a condition, too
    assert list(importances.values()) == sorted(importances.values(), reverse=True)
    assert sum(importances.values()) == pytest.approx(1)


def test_pruned_trials_are_those_below_the_median_of_the_others(tmp_path, studies):
    study = studies(tmp_path, make_search(n_trials=12))
    Worker(study, pretend).work()
    rows = study.trials()
    assert {row.state for row in rows} == {"done", "pruned"}
    for row in rows:
        # The first two are never pruned, the first evaluation does not decide, the last has nothing to save.
        for evaluation in range(2, 4):
            others = sorted(r.curve[evaluation - 1] for r in rows[: row.number] if r.state == "done")
            middle = len(others) // 2
            median = others[middle] if len(others) % 2 else sum(others[middle - 1 : middle + 1]) / 2 if others else 0
            worse = row.number >= 2 and len(others) >= 2 and max(row.curve[:evaluation]) < median
            if len(row.curve) == evaluation:
                assert row.state == "pruned"
                assert worse
            elif len(row.curve) > evaluation:
                assert not worse
        assert (row.state == "done") == (len(row.curve) == 4)


def test_without_a_pruner_nothing_is_pruned(tmp_path, studies):
    study = studies(tmp_path, make_search(pruner=NONE, sampler=Kind("random"), n_trials=5))
    Worker(study, pretend).work()
    assert {row.state for row in study.trials()} == {"done"}


@pytest.mark.parametrize("name", ["halving", "hyperband"])
def test_other_pruners_stop_trials(tmp_path, studies, name):
    pruner = Kind(name, {"warmup_evaluations": 1, "reduction_factor": 2})
    study = studies(tmp_path, make_search(pruner=pruner, sampler=Kind("random"), n_trials=12))
    Worker(study, pretend).work()
    assert Counter(row.state for row in study.trials())["pruned"] >= 1


def test_a_grid_ends_with_its_last_point(tmp_path, studies):
    space = {
        "optimizer.learning_rate": {"choice": [0.001, 0.01]},
        "curriculum": {"choice": ["none", "length"]},
        "model.depth": {"int": [1, 2], "when": {"curriculum": "length"}},
    }
    search = make_search(space=space, sampler=Kind("grid"), pruner=NONE, n_trials=100)
    study = studies(tmp_path, search)
    Worker(study, lambda directory, words, watch: Outcome(float(len(words)), 1.0)).work()
    assert [row.point for row in study.trials()] == search.space.grid()


def test_quasi_random_points_fill_every_part_of_the_space(tmp_path, studies):
    search = make_search(sampler=Kind("qmc"), pruner=NONE, n_trials=8)
    Worker(studies(tmp_path, search), pretend).work()
    rows = studies(tmp_path, search).trials()
    # Of the first eight of a Sobol sequence, each half of an axis has four, and each quarter two.
    assert Counter(row.point["curriculum"] for row in rows) == {"none": 4, "length": 4}
    assert Counter(row.point["model.depth"] for row in rows) == {1: 2, 2: 2, 3: 2, 4: 2}


def test_the_value_of_a_trial_is_the_mean_of_its_folds(tmp_path, studies):
    search = make_search(folds=(("seed=0",), ("seed=3",), ("seed=6",)), pruner=NONE, n_trials=2)
    places = []

    def train(directory, words, watch):
        assert watch is None
        places.append(directory.relative_to(tmp_path).as_posix())
        return pretend(directory, words, None)

    study = studies(tmp_path, search)
    Worker(study, train).work()
    assert places == [f"trials/000{trial}/fold-{fold}" for trial in (0, 1) for fold in (0, 1, 2)]
    for row in study.trials():
        alone = quality([f"{name}={value}" for name, value in row.point.items()])
        assert row.curve == pytest.approx((alone, alone + 0.015, alone + 0.03))
        assert row.value == pytest.approx(alone + 0.03)
        assert row.seconds == 6.0


def test_trials_are_pruned_between_folds(tmp_path, studies):
    search = make_search(folds=(("seed=0",), ("seed=3",), ("seed=6",)), n_trials=12, sampler=Kind("random"))
    study = studies(tmp_path, search)
    Worker(study, pretend).work()
    lengths = {len(row.curve) for row in study.trials() if row.state == "pruned"}
    assert lengths == {2}  # the first fold does not decide, and after the last there is nothing to save


def test_failed_trials_say_why_and_too_many_in_a_row_end_the_search(tmp_path, studies):
    def train(directory, words, watch):
        if int(directory.name) % 3 == 1 or int(directory.name) >= 6:
            raise TrainingError("the loss of step 5 is nan")
        return pretend(directory, words, watch)

    study = studies(tmp_path, make_search(pruner=NONE, n_trials=20, max_failures=3))
    sentence = "3 trials failed one after the other, the last one, 8, because: the loss of step 5 is nan"
    with pytest.raises(RunError, match=sentence):
        Worker(study, train).work()
    rows = study.trials()
    assert [row.state == "failed" for row in rows] == [False, True, False, False, True, False, True, True, True]
    assert {row.reason for row in rows if row.state == "failed"} == {"the loss of step 5 is nan"}
    assert best_trial(rows).state == "done"


def test_a_fault_of_the_program_is_none_of_the_trial(tmp_path, studies):
    def broken(directory, words, watch):
        raise KeyError("a fault")

    with pytest.raises(KeyError):
        Worker(studies(tmp_path, make_search()), broken).work()
    assert [row.state for row in studies(tmp_path, make_search()).trials()] == ["running"]


def test_no_new_trial_begins_after_the_timeout(tmp_path, studies):
    now = [100.0]

    def train(directory, words, watch):
        now[0] += 10
        return pretend(directory, words, watch)

    study = studies(tmp_path, make_search(timeout=25.0, pruner=NONE))
    Worker(study, train, clock=lambda: now[0]).work()
    assert len(study.trials()) == 3


def test_a_trial_is_worked_on_by_one_and_there_are_no_more_than_wanted(tmp_path, studies):
    first, second = (studies(tmp_path, make_search(n_trials=3)) for _ in range(2))
    claims = [first.claim(new=True), second.claim(new=True), first.claim(new=True)]
    assert [claim.number for claim in claims] == [0, 1, 2]
    assert first.claim(new=True) is None
    assert second.claim(new=True) is None
    first.leave(claims[0])
    again = second.claim(new=False)
    assert (again.number, again.point) == (0, claims[0].point)


def test_a_trial_that_takes_its_process_down_is_given_up(tmp_path, studies):
    claim = None
    for _ in range(MOST_ATTEMPTS):
        claim = studies(tmp_path, make_search()).claim(new=True)
        assert claim.number == 0
        claim.lock.release()  # as the system does when a process dies
    assert studies(tmp_path, make_search()).claim(new=True).number == 1
    row = studies(tmp_path, make_search()).trials()[0]
    assert (row.state, row.reason) == ("failed", f"its process died {MOST_ATTEMPTS} times")


def test_interruptions_are_no_deaths(tmp_path, studies):
    study = studies(tmp_path, make_search())
    for _ in range(2 * MOST_ATTEMPTS):
        study.leave(study.claim(new=True))
    assert [row.state for row in study.trials()] == ["running"]


def test_what_was_reported_but_not_saved_is_reported_once(tmp_path, studies):
    # The process died after the report of the second evaluation, and its checkpoint is that of the first.
    study = studies(tmp_path, make_search(n_trials=1))
    claim = study.claim(new=True)
    for value in (0.1, 0.2):
        study.report(claim, value)
    claim.lock.release()

    def train(directory, words, watch):
        for curve in ([0.1], [0.1, 0.2], [0.1, 0.2, 0.3]):
            watch(curve, len(curve) == 3)
        return Outcome(0.3, 1.0)

    again = studies(tmp_path, make_search(n_trials=1))
    Worker(again, train).work()
    assert again.trials()[0].curve == (0.1, 0.2, 0.3)


def test_another_search_and_a_damaged_file_are_refused(tmp_path, studies):
    studies(tmp_path, make_search())
    with pytest.raises(RunError, match="holds a study with another seed: choose another study_dir"):
        studies(tmp_path, make_search(seed=5))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(RunError, match="study.db cannot be used"):
        studies(tmp_path / "broken", make_search())


PROCESS = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from searches import make_search, pretend
from curriculum_rec.tuning.optuna_study import OptunaStudy
from curriculum_rec.tuning.worker import Worker

def train(directory, words, watch):
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "tried").open("a") as file:
        file.write(sys.argv[1] + "\\n")
    if sys.argv[1] == "hangs" and int(directory.name) >= 3:
        (Path({folder!r}) / "hangs").touch()
        time.sleep(600)
    time.sleep(0.02)
    return pretend(directory, words, watch)

Worker(OptunaStudy(Path({folder!r}), make_search(n_trials=20)), train).work()
"""


@pytest.mark.slow
def test_processes_share_a_study_and_one_of_them_is_killed(tmp_path, studies):
    folder = tmp_path / "study"
    program = textwrap.dedent(PROCESS).format(here=str(HERE), folder=str(folder))

    def start(name):
        return subprocess.Popen([sys.executable, "-c", program, name], stderr=subprocess.PIPE)

    hangs = start("hangs")
    deadline = time.monotonic() + 300
    while not (folder / "hangs").exists():
        assert time.monotonic() < deadline and hangs.poll() is None
        time.sleep(0.05)
    os.kill(hangs.pid, signal.SIGKILL)
    hangs.wait()
    hangs.stderr.close()
    others = [start("a"), start("b")]
    for process in others:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    rows = studies(folder, make_search(n_trials=20)).trials()
    assert [row.number for row in rows] == list(range(20))
    assert {row.state for row in rows} <= {"done", "pruned"}
    who = [(folder / "trials" / f"{number:04}" / "tried").read_text().split() for number in range(20)]
    assert who[:3] == [["hangs"]] * 3
    assert who[3][0] == "hangs" and len(who[3]) == 2  # the abandoned one, by whoever came first
    assert all(len(names) == 1 for names in who[4:])
