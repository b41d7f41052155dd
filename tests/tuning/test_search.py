"""The file of a search: what it says, and what is refused in one sentence."""

import json
from pathlib import Path

import pytest
import yaml

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.tuning.search import check_same, read_search

SPACE = {"model.depth": {"int": [1, 4]}}
SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "tuning").glob("*.yaml"))


def read(folder, content, **others):
    path = folder / "space.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump({"space": SPACE, **content}))
    return read_search(path, **others)


def test_what_is_not_said_has_a_default(tmp_path):
    search = read(tmp_path, {})
    assert (search.base, search.folds, search.n_trials, search.seed, search.timeout) == ((), (), 40, 0, None)
    assert (search.sampler.name, search.sampler.options) == ("tpe", {"startup_trials": 10})
    assert (search.pruner.name, search.pruner.options) == ("median", {"startup_trials": 5, "warmup_evaluations": 1})


def test_the_command_line_goes_before_the_file(tmp_path):
    content = {"base": ["model=dnn"], "n_trials": 5, "timeout": 60, "sampler": "grid", "pruner": {"name": "halving"}}
    search = read(tmp_path, content, words=("model.width=8",), n_trials=7, timeout=None)
    assert search.base == ("model=dnn", "model.width=8")
    assert (search.n_trials, search.timeout) == (7, 60)
    assert search.pruner.options == {"warmup_evaluations": 1, "reduction_factor": 3}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1, 2", "cannot be read"),
        ("- a\n", "it must have base and space"),
        ({"spaces": {}}, "option 'spaces' does not exist; is 'space' meant"),
        ({"base": "model=dnn"}, "base must be a list of words"),
        ({"base": ["model"]}, "'model' is no option: write OPTION=VALUE"),
        ({"base": ["run_dir=x"]}, "run_dir=x: the search decides that itself"),
        ({"base": ["hydra.mode=RUN"]}, "the search decides that itself"),
        ({"folds": [["seed=0"]]}, "folds must be a number, or a list of at least two"),
        ({"folds": 1}, "folds=1: it must be at least 2"),
        ({"space": {"fold": {"choice": [0, 1]}}}, "space.fold: trials could not be compared"),
        ({"folds": [["seed=0"], "seed=1"]}, r"folds\[1\] must be a list of words"),
        ({"folds": [["seed=0"], ["on_existing=replace"]]}, "on_existing=replace: the search decides"),
        ({"sampler": "tpee"}, "sampler=tpee: it must be one of tpe, random, qmc, grid"),
        ({"sampler": {"name": "random", "startup_trials": 3}}, "option 'sampler.startup_trials' does not exist"),
        ({"sampler": {"name": "tpe", "startup_trials": 0}}, "sampler.startup_trials=0: it must be at least 1"),
        ({"sampler": {"name": "tpe", "startup_trials": 1.5}}, "sampler.startup_trials=1.5: it must be an integer"),
        ({"pruner": "asha"}, "pruner=asha: it must be one of none, median, halving, hyperband"),
        ({"pruner": {"name": "median", "reduction_factor": 3}}, "option 'pruner.reduction_factor' does not exist"),
        ({"n_trials": 0}, "n_trials=0: it must be at least 1"),
        ({"n_trials": "many"}, "n_trials=many: it must be an integer"),
        ({"timeout": -1}, "timeout=-1.0: it must be a number above 0, or null"),
        ({"seed": -1}, "seed=-1: it must be at least 0"),
        ({"max_failures": 0}, "max_failures=0"),
        ({"space": {"seed": {"int": [0, 9]}}}, "space.seed: trials could not be compared"),
        ({"space": {"evaluation.metric": {"choice": ["hr@10"]}}}, "space.evaluation.metric: trials could not"),
        ({"space": {"run_dir": {"choice": ["a"]}}}, "space.run_dir"),
        ({"space": {"a": {"float": [0, 1]}}, "sampler": "grid"}, "space.a: a grid needs a step"),
    ],
)
def test_mistakes(tmp_path, content, sentence):
    with pytest.raises(OptionError, match=sentence) as raised:
        read(tmp_path, content)
    assert str(raised.value).startswith(f"space={tmp_path / 'space.yaml'}")


def test_a_study_keeps_its_search_but_not_its_length(tmp_path):
    search = read(tmp_path, {"seed": 3, "folds": [["seed=0"], ["seed=1"]]})
    known = json.loads(json.dumps(search.identity))
    check_same(search, known, tmp_path)
    check_same(read(tmp_path, {"seed": 3, "n_trials": 99, "folds": [["seed=0"], ["seed=1"]]}), known, tmp_path)
    for change, name in (({"seed": 4}, "seed"), ({"base": ["model=dnn"]}, "base"), ({"sampler": "random"}, "sampler")):
        with pytest.raises(RunError, match=f"holds a study with another {name}: choose another study_dir"):
            check_same(read(tmp_path, {"seed": 3, "folds": [["seed=0"], ["seed=1"]], **change}), known, tmp_path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_searches(path):
    search = read_search(path)
    assert search.base[0] == f"experiment={path.stem}"
    assert len(search.space.cover()) > 1


def test_a_number_of_folds_stands_for_the_words_of_each(tmp_path):
    search = read(tmp_path, {"folds": 3})
    assert search.folds == tuple(("split.folds=3", f"fold={fold}") for fold in range(3))
