"""evaluate: chosen metrics, slices, intervals and reports; several runs, and as one against averaging by hand."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from runs import CHEAP, run_in, write_sequences
from scipy.stats import rankdata

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import OptionError
from curriculum_rec.inference.ensemble import Ensemble, Member
from curriculum_rec.inference.trained import TrainedRun
from curriculum_rec.models.structure import join_model
from curriculum_rec.training.run_directory import RunDirectory

WORDS = [*CHEAP, "data.path=sequences.txt", "progress=none", "compilation_cache=null"]
WORDS += ["split=last_n", "split.test=2", "evaluation.filter_seen=true", "stages.train.epochs=2"]
SHORT = ["examples.max_length=6", "model=sasrec", "model.width=8", "model.depth=1"]
NAMES = ("dnn", "sasrec", "ease")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("evaluate")
    fitted = ["model=ease", "model.fit_on=training"]
    plain = [word for word in WORDS if not word.startswith(("model", "objective", "optimizer"))]
    run_in(place, "train", *WORDS, "run_dir=dnn")
    run_in(place, "train", *WORDS, *SHORT, "run_dir=sasrec")
    run_in(place, "train", *plain, *fitted, "run_dir=ease")
    run_in(place, "train", *WORDS, "split.test=1", "run_dir=other_split")
    write_sequences(place / "other.txt", n_items=29)
    run_in(place, "train", *WORDS, "data.path=other.txt", "run_dir=other_items")
    return place


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def evaluate(*words):
    assert main(["evaluate", *words, "compilation_cache=null"]) == 0


def refusal(capsys, *words):
    capsys.readouterr()
    assert main(["evaluate", *words, "compilation_cache=null"]) == 2
    return " ".join(capsys.readouterr().err.split())


def opened(name):
    directory = RunDirectory(Path(name))
    return TrainedRun.open(config.experiment_of_run(directory, trusted=())[0], directory)


def test_by_default_it_says_what_the_run_said(capsys):
    evaluate("run=dnn", "output=again.parquet")
    said = json.loads(Path("dnn/summary.json").read_text())["test"]
    printed = capsys.readouterr().out
    assert all(f"{value:.4f}" in printed for value in said.values())
    assert "interval" not in printed
    assert pl.read_parquet("again.parquet").equals(pl.read_parquet("dnn/evaluation/test.parquet"))


def test_the_report_has_every_metric_slice_and_interval(capsys):
    words = ["metrics=[recall,coverage,auc]", "k=[5]", "targets=together", "slices=[activity,cold]", "intervals=true"]
    evaluate("run=dnn", *words, "report=one.json")
    printed = capsys.readouterr().out
    assert "95 % interval" in printed and "ndcg@5 by slice" in printed and "few events" in printed
    record = json.loads(Path("one.json").read_text())
    assert (record["split"], record["ensemble"], record["reference"]["model"]) == ("test", None, "mostpop")
    lines = pl.DataFrame(record["results"])
    whole = lines.filter(slice="all")
    assert whole["metric"].to_list() == ["recall@5", "coverage@5", "auc", "ndcg@5"]
    assert whole.filter(pl.col("low").is_null())["metric"].to_list() == ["coverage@5"]
    by_activity = lines.filter(pl.col("slice").str.ends_with("events"), metric="recall@5")
    assert by_activity["n"].sum() == whole["n"][0]
    evaluate("run=dnn", *words, "report=one.csv")
    np.testing.assert_allclose(pl.read_csv("one.csv")["value"], lines["value"])


def test_validation_in_chunks_is_validation(capsys):
    outputs = []
    for chunk in ("null", "7"):
        evaluate("run=sasrec", "split=validation", f"item_chunk={chunk}")
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def scores_by_hand(name):
    """A run's scores of every test question of the others' split, from its model alone."""
    run = opened(name)
    member = Member(*run.model(), run.experiment.examples.max_length, run.experiment.examples.bucket_lengths)
    rows = run.dataset.split.rows(Part.TEST)
    queries = member.queries(rows)(np.arange(len(rows)))
    if name == "ease":
        weight = np.asarray(member.params["weight"])
        scores = np.stack([weight[np.unique(row[row > 0])].sum(axis=0) for row in queries])
    else:
        network = join_model(member.structure, jax.tree.map(jnp.asarray, member.params))
        scores = queries @ np.asarray(network.item_vectors()).T
    return rows, scores[:, : run.dataset.n_items + 1]


def averaged(rows, scores, rule):
    expected = []
    for number in range(len(rows)):
        history = rows.items[rows.start[number] : rows.stop[number]]
        target = int(rows.target[number])
        left = [item for item in range(1, scores[0].shape[1]) if item == target or item not in history]
        own = [each[number, left].astype(np.float64) for each in scores]
        if rule == "mean":
            total = sum((each - each.mean()) / each.std() for each in own)
        else:
            total = sum(rankdata(each) for each in own)
        place = left.index(target)
        expected.append(1 + (total > total[place] + 1e-6).sum() + ((abs(total - total[place]) <= 1e-6).sum() - 1) / 2)
    return np.array(expected)


@pytest.mark.parametrize("rule", ["mean", "borda"])
def test_an_ensemble_is_the_average_by_hand(rule, capsys):
    evaluate(f"runs=[{','.join(NAMES)}]", f"ensemble={rule}", "output=all.parquet", "report=all.json")
    printed = capsys.readouterr().out
    assert f"ensemble {rule}" in printed and "sasrec" in printed
    table = pl.read_parquet("all.parquet")
    assert table["run"].unique(maintain_order=True).to_list() == [*NAMES, f"ensemble {rule}"]
    for name in NAMES:
        assert table.filter(run=name).drop("run").equals(pl.read_parquet(f"{name}/evaluation/test.parquet"))
    rows = opened("dnn").dataset.split.rows(Part.TEST)
    expected = averaged(rows, [scores_by_hand(name)[1] for name in NAMES], rule)
    np.testing.assert_allclose(table.filter(run=f"ensemble {rule}")["rank"], expected)
    assert json.loads(Path("all.json").read_text())["ensemble"] == rule


def test_lists_of_an_ensemble_agree_with_its_ranks():
    runs = [opened(name) for name in NAMES]
    ensemble = Ensemble.of(runs, "mean")  # hardly ever are two averages of scores the same
    options = runs[0].experiment.evaluation.asking(metrics=("hr", "coverage"), targets="together", k=(10,))
    ranking = runs[0].evaluator(options, Part.TEST)
    answers = ensemble.answers(ranking)
    places, question = ranking.judge.places_of_rows(answers[:, 0]), ranking.evaluation.questions.question
    listed = answers[:, 1:].astype(int)
    for row, target in enumerate(ranking.evaluation.questions.rows.target):
        inside = listed[row].tolist().index(target) + 1 if target in listed[row] else None
        assert inside == (places[row] if places[row] <= 10 else None)
    assert (np.diff(question) >= 0).all()


def test_an_ensemble_recommends_unseen_items_best_first():
    runs = [opened(name) for name in NAMES]
    interactions = runs[0].dataset.split.interactions
    lists = Ensemble.of(runs, "mean").recommend(interactions, k=4, users=["u3", "u1"])
    assert lists["user"].to_list() == ["u3"] * 4 + ["u1"] * 4
    assert lists["rank"].to_list() == [1, 2, 3, 4] * 2
    assert (np.diff(lists["score"].to_numpy().reshape(2, 4), axis=1) <= 0).all()
    seen = interactions.items.decode(
        interactions.item[interactions.user == interactions.users.encode(pl.Series(["u3"]))]
    )
    assert not set(lists["item"][:4]) & set(seen)
    whole = Ensemble.of(runs, "mean").recommend(interactions, k=4, filter_seen=False)
    assert len(whole) == 4 * interactions.n_users
    with pytest.raises(OptionError, match="k=99"):
        Ensemble.of(runs).recommend(interactions, k=99)


def test_twice_the_same_model_is_that_model(capsys):
    run = opened("sasrec")
    ranking = run.evaluator(run.experiment.evaluation, Part.TEST)
    for rule in ("mean", "borda"):
        np.testing.assert_array_equal(Ensemble.of([run, run], rule).answers(ranking), run.answers(ranking))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["runs=[dnn,other_split]", "ensemble=mean"], "other_split has another split than dnn"),
        (["runs=[dnn,other_items]"], "other_items numbers its items otherwise than dnn"),
        (["runs=[dnn,dnn]"], "a run is named twice"),
        (["runs=[]"], "at least one run"),
        (["run=dnn", "runs=[sasrec]"], "leave one out"),
        (["run=dnn", "ensemble=mean"], "at least two runs"),
        (["runs=[dnn,sasrec]", "ensemble=median"], "ensemble=median"),
        (["run=dnn", "metrics=[ndgc]"], "'ndgc@10' is no metric"),
        (["run=dnn", "metrics=[calibration]"], "evaluation.groups"),
        (["run=dnn", "metrics=[calibration]", "groups=genres"], "the data have no such column"),
        (["run=dnn", "slices=[age]"], "slices=age: it must be one of activity, popularity, cold"),
        (["run=dnn", "report=all.txt"], "report=all.txt: its ending must be one of .json"),
        (["run=ease", "item_chunk=7"], "item_chunk has no effect on EASEModel"),
        (["run=dnn", "metrics=[ndcg@99]"], "larger than the catalogue"),
        (["run=dnn", "targets=all"], "targets=all"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_reason(capsys, words, reason):
    assert reason in refusal(capsys, *words)


def test_training_reports_what_is_asked_for_and_keeps_its_hash_where_nothing_is(folder):
    words = ["evaluation.metrics=[recall,gini]", "evaluation.targets=together", "run_dir=asked"]
    assert main(["train", *WORDS, *words]) == 0
    summary = json.loads(Path("asked/summary.json").read_text())
    assert list(summary["test"]) == ["recall@10", "gini@10", "ndcg@10"]
    assert summary["reference"].keys() == {"model", *summary["test"]}
    assert main(["compare", "runs=[asked,dnn]", "metric=recall@10"]) == 0
    plain = config.config_of_run(RunDirectory(Path("dnn")))
    later = config.LATER_OPTIONS["evaluation"]
    before = {name: value for name, value in plain["evaluation"].items() if name not in later}
    assert config.config_hash(plain) == config.config_hash(plain | {"evaluation": before})
    assert config.config_of_run(RunDirectory(Path("asked")))["evaluation"]["targets"] == "together"
