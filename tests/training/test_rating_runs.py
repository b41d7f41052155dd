"""Runs that predict a number: from the command line to the files, new rows, comparison; and every model of rows."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.inference.predict import predict
from curriculum_rec.training.run_directory import RunDirectory

QUIET = ["placement=jit", "progress=none", "compilation_cache=null"]
ROWS = [
    "data=rows",
    "data.path=ratings.csv",
    "examples.label=stars",
    "examples.batch_size=64",
    "+features/feature@features.interaction.features.user=categorical",
    "+features/feature@features.interaction.features.liked=history",
    "features.interaction.features.liked.label=stars",
    "features.interaction.features.liked.positive_from=4",
    "features.interaction.features.liked.length=3",
    "optimizer.learning_rate=0.02",
    *QUIET,
]
STARS = ["task=regression", *ROWS, "model=neumf", "model.width=8", "model.embedding_width=4", "model.dropout=0.0"]
LIKES = ["task=pointwise", *ROWS, "examples.positive_from=4", "objective=focal", "stages.train.epochs=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ratings that a user's and an item's own level decide together, with noise."""
    folder = tmp_path_factory.mktemp("ratings")
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 20, 600), rng.integers(0, 15, 600)
    stars = 3 + rng.normal(size=20)[user] + rng.normal(size=15)[item] + 0.3 * rng.normal(size=600)
    frame = pl.DataFrame({"user": user, "item": item, "timestamp": rng.integers(0, 1000, 600), "stars": stars})
    frame.write_csv(folder / "ratings.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *STARS, "stages.train.epochs=15", "run_dir=run"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def summary(name="run"):
    return json.loads(Path(name, "summary.json").read_text())


def test_it_learns_a_number():
    found = summary()
    assert found["metric"] == "r2"
    assert found["reference"]["model"] == "training mean"
    assert found["test"]["r2"] > 0.5 > 0.1 > found["reference"]["r2"]
    assert found["test"]["rmse"] < 0.7 * found["reference"]["rmse"]
    assert "classes" not in found["data"]
    table = pl.read_parquet("run/evaluation/test.parquet")
    assert np.sqrt(table["squared_error"].mean()) == pytest.approx(found["test"]["rmse"])
    assert table["label"].to_list() == pl.read_csv("ratings.csv")["stars"].gather(table["row"] - 1).to_list()


def test_evaluate_says_the_same(capsys):
    assert main(["evaluate", "run=run", "output=again.parquet", "compilation_cache=null"]) == 0
    printed = capsys.readouterr().out
    assert "training mean" in printed and f"{summary()['test']['rmse']:.4f}" in printed
    assert pl.read_parquet("again.parquet").equals(pl.read_parquet("run/evaluation/test.parquet"))
    assert main(["show", "run=run"]) == 0
    assert "600 rows, 3 features" in capsys.readouterr().out


def test_new_rows_get_a_number():
    directory = RunDirectory(Path("run"))
    experiment, _ = config.experiment_of_run(directory, trusted=())
    table = pl.read_parquet("run/evaluation/test.parquet")
    rows = pl.read_csv("ratings.csv", infer_schema=False).drop("stars")[(table["row"] - 1).to_list()]
    made = predict(experiment, directory, rows)
    assert made.columns == ["prediction"]
    assert made["prediction"].to_numpy() == pytest.approx(table["prediction"].to_numpy(), abs=1e-5)


def test_runs_are_compared_by_their_errors(capsys):
    assert main(["train", *STARS, "stages.train.epochs=1", "run_dir=short"]) == 0
    assert main(["compare", "runs=[short,run]", "metric=squared_error"]) == 0
    capsys.readouterr()
    assert main(["compare", "runs=[short,run]", "metric=rmse"]) == 0
    assert "squared_error and absolute_error are" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "model",
    [
        "deepfm",
        pytest.param("wide_deep", marks=pytest.mark.slow),
        "dcn_v2",
        "din",
        pytest.param("neumf", marks=pytest.mark.slow),
        pytest.param("logistic_regression", marks=pytest.mark.slow),
        pytest.param("transformer_classifier", marks=pytest.mark.slow),
    ],
)
def test_every_model_trains_by_every_loss(model):
    assert main(["train", *LIKES, f"model={model}", f"run_dir=likes_{model}"]) == 0
    assert 0 <= summary(f"likes_{model}")["test"]["auc"] <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["objective=cross_entropy"], "objective=cross_entropy is for classes"),
        (["evaluation=classification"], "evaluation=classification is for classes"),
        (["examples.target=class", "examples.positive_from=3"], "evaluation=regression is for numbers"),
        (["evaluation.metric=rmse"], "it must be one of r2"),
        (["examples.positive_from=4"], "examples.target=number predicts the number itself"),
        (["examples.label=nobody"], "there is no column 'nobody'"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(capsys, words, reason):
    names = tuple(f"{each.partition('=')[0]}=" for each in words)
    base = [word for word in STARS if not word.startswith(names)]
    assert main(["train", *base, *words, "run_dir=refused"]) == 2
    assert reason in capsys.readouterr().err
    assert not Path("refused").exists()
