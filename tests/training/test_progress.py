"""What a person sees of a run: facts, speed, and a terminal that is left as it was."""

import os
import pty
import re
import subprocess
import sys

import pytest
from rich.console import Console

from curriculum_rec.errors import OptionError
from curriculum_rec.training.progress import RunProgress, Speed, check_mode


def run(shown: RunProgress) -> None:
    """Two stages, an evaluation in each."""
    with shown:
        shown.stage("shallow", 2, 0, number=1)
        for step in (10, 20):
            shown.trained(step, 640.0)
            shown.chunk(step, 3.25, 0.5)
        shown.evaluation(20, {"ndcg@10": 0.125}, "ndcg@10", best=True)
        shown.stage("deep", 4, 20, number=2)
        shown.trained(30, 640.0)
        shown.chunk(30, 3.0, 1.0)
        shown.evaluation(30, {"ndcg@10": 0.1}, "ndcg@10", best=False)


def test_plain_lines_tell_all_facts_without_control_characters(capsys):
    run(RunProgress(40, "plain", n_stages=2))
    output, error = capsys.readouterr()
    lines = error.splitlines()
    assert output == ""
    assert lines[0] == "step 0: stage 1/2 shallow, depth 2"
    assert re.fullmatch(
        r"step 20/40  stage 1/2 shallow  depth 2  share 0\.50  loss 3\.2500  ndcg@10 0\.1250  "
        r"[\d,]+ positions/s  \d:\d\d:\d\d left  \(best so far\)",
        lines[1],
    )
    # One chunk of a stage, which compiles, says nothing about how fast the stage is.
    assert lines[3] == "step 30/40  stage 2/2 deep  depth 4  share 1.00  loss 3.0000  ndcg@10 0.1000"
    assert len(lines) == 4
    assert error.isprintable() or not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", error)


def test_none_is_silent_and_auto_is_plain_without_a_terminal(capsys):
    run(RunProgress(40, "none", n_stages=2))
    assert capsys.readouterr() == ("", "")
    run(RunProgress(40, "auto", n_stages=2))
    assert "positions/s" in capsys.readouterr().err


def test_the_bar_shows_the_same_facts(capsys):
    console = Console(force_terminal=True, width=160, stderr=True)
    run(RunProgress(40, "auto", n_stages=2, console=console))
    last = capsys.readouterr().err.rpartition("stage 2/2 deep")[2]
    for fact in ("30/40", "depth 4", "share 1.00", "loss 3.0000", "ndcg@10 0.1000"):
        assert fact in last


@pytest.mark.parametrize("how", ["end", "signal"])
def test_a_terminal_gets_its_cursor_back(how):
    code = (
        "import os, signal\n"
        "from curriculum_rec.training.progress import RunProgress\n"
        "with RunProgress(40, 'auto') as shown:\n"
        "    shown.stage('train', None, 0)\n"
        "    shown.chunk(10, 3.0, 1.0)\n" + ("    os.kill(os.getpid(), signal.SIGINT)\n" if how == "signal" else "")
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    process.wait()
    os.close(ours)
    hidden, shown = b"\x1b[?25l", b"\x1b[?25h"
    assert b"stage 1/1 train" in seen
    assert seen.count(hidden) == seen.count(shown) == 1
    assert seen.index(hidden) < seen.index(shown)


def test_the_speed_leaves_compilation_and_evaluations_out_and_the_time_left_counts_these():
    ticks = iter([10.0, 12.0, 14.0, 24.0, 26.0])
    speed = Speed(clock=lambda: next(ticks))
    speed.begin()
    speed.add(4, 100.0)  # at 10 s, compiled until then
    assert (speed.positions_per_second, speed.seconds_left(10)) == (None, None)
    speed.add(8, 100.0)
    speed.add(12, 100.0)
    assert speed.positions_per_second == 200 / 4
    assert speed.seconds_left(10) == 10 * 4 / 8
    speed.pause()  # an evaluation of 10 s
    speed.add(16, 100.0)
    assert speed.positions_per_second == 200 / 4
    speed.add(20, 100.0)
    assert speed.positions_per_second == 300 / 6
    assert speed.seconds_left(8) == 8 * 16 / 16


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("True", "progress=true is written progress=auto now; there are auto, rich, plain, none"),
        ("false", "progress=false is written progress=none now"),
        ("loud", "progress=loud: it must be one of auto, rich, plain, none"),
    ],
)
def test_other_words_are_refused_and_old_ones_are_translated(word, sentence):
    with pytest.raises(OptionError, match=re.escape(sentence)):
        check_mode(word)
