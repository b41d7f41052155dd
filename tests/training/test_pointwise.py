"""Runs that predict labels of rows: from the command line to the files, under a curriculum, resumed and evaluated."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.data.features.saving import load_features
from curriculum_rec.inference.predict import predict
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.runner import Runner

WORDS = [
    "task=pointwise",
    "data=rows",
    "data.path=rows.csv",
    "examples.batch_size=32",
    "+features/feature@features.interaction.features.x=numeric",
    "+features/feature@features.interaction.features.colour=categorical",
    "model=residual_classifier",
    "model.width=8",
    "model.embedding_width=4",
    "model.dropout=0.0",
    "objective=logistic",
    "optimizer.learning_rate=0.02",
    "stages=grow_2_4",
    "stages.shallow.depth=1",
    "stages.shallow.epochs=3",
    "stages.deep.depth=2",
    "stages.deep.epochs=3",
    "growth=interleave",
    "curriculum=loss",
    "curriculum.sampler.min_examples=32",
    "placement=jit",
    "progress=none",
    "compilation_cache=null",
]


def write_rows(path, n=400, seed=0):
    """A label that a number and a colour decide together, with noise, and a row that cleaning must take away."""
    rng = np.random.default_rng(seed)
    x, colour = rng.normal(size=n), rng.choice(["red", "green", "blue"], n)
    score = 2 * x + 2 * (colour == "red") - 1
    label = (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)
    frame = pl.DataFrame({"x": x, "colour": colour, "label": label})
    pl.concat([frame, frame[-1:]]).write_csv(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pointwise")
    write_rows(folder / "rows.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["+cleaning/rule@cleaning.twice=duplicates", "cleaning.twice.same=row"]
        assert main(["train", *WORDS, *words, "run_dir=run"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def summary():
    return json.loads(Path("run/summary.json").read_text())


def test_it_learns_and_grows(folder):
    found = summary()
    assert [stage["depth"] for stage in found["stages"]] == [1, 2]
    assert found["metric"] == "auc"
    assert found["test"]["auc"] > 0.75 > found["reference"]["auc"] == 0.5
    assert found["test"]["log_loss"] < found["reference"]["log_loss"]
    assert {name: found["data"][name] for name in ("rows", "classes", "features", "examples")} == {
        "rows": 400,
        "classes": 2,
        "features": 2,
        "examples": 320,
    }


def test_results_of_rows_average_to_the_summary(folder):
    frame = pl.read_parquet("run/evaluation/test.parquet")
    assert frame.columns == ["row", "label", "prediction", "probability", "accuracy", "log_loss"]
    for name in ("accuracy", "log_loss"):
        assert frame[name].mean() == pytest.approx(summary()["test"][name])
    rows = pl.read_csv("rows.csv", infer_schema=False)
    assert rows["label"].gather(frame["row"] - 1).to_list() == frame["label"].to_list()
    assert ((frame["probability"] > 0.5) == (frame["prediction"] == "1")).all()


def test_the_run_keeps_what_cleaning_removed_and_what_features_learnt(folder):
    (entry,) = json.loads(Path("run/cleaning.json").read_text())
    assert (entry["rule"], entry["rows_in"], entry["rows_out"]) == ("twice", 401, 400)
    assert [example["row"] for example in entry["examples"]] == [401]
    fitted = load_features(RunDirectory(Path("run")).features)
    assert fitted.classes == ("0", "1")
    assert fitted.interaction.features["colour"].vocabulary.values == ("blue", "green", "red")


def test_the_curriculum_was_one(folder):
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    shares = [row["share"] for row in rows if row["event"] == "train"]
    assert shares[0] < 1 == shares[-1]
    assert {"objective/accuracy"} <= rows[1].keys()


def test_evaluate_applies_the_saved_features_and_says_the_same(folder, capsys):
    assert main(["evaluate", "run=run", "output=again.parquet", "compilation_cache=null"]) == 0
    printed = capsys.readouterr().out
    assert "40 rows" in printed and "base rate" in printed and f"{summary()['test']['auc']:.4f}" in printed
    assert pl.read_parquet("again.parquet").equals(pl.read_parquet("run/evaluation/test.parquet"))


def test_new_rows_need_no_label(folder):
    directory = RunDirectory(Path("run"))
    experiment, _ = config.experiment_of_run(directory, trusted=())
    table = pl.read_parquet("run/evaluation/test.parquet")
    rows = pl.read_csv("rows.csv", infer_schema=False).drop("label")[(table["row"] - 1).to_list()]
    made = predict(experiment, directory, rows)
    assert made.columns == ["0", "1"]
    assert made["1"].to_numpy() == pytest.approx(table["probability"].to_numpy(), abs=1e-6)
    other = predict(experiment, directory, rows.with_columns(x=pl.lit("9"), colour=pl.lit("never seen")))
    assert other["1"].n_unique() == 1


def test_runs_are_compared_row_by_row(folder, capsys):
    base = [word for word in WORDS if not word.startswith(("model", "stages", "growth", "curriculum"))]
    cleaning = ["+cleaning/rule@cleaning.twice=duplicates", "cleaning.twice.same=row"]
    stages = ["stages=single", "stages.train.epochs=1"]
    assert main(["train", *base, "model=logistic_regression", *stages, *cleaning, "run_dir=plain"]) == 0
    capsys.readouterr()
    assert main(["compare", "runs=[plain,run]", "metric=log_loss"]) == 0
    printed = capsys.readouterr().out
    frames = [pl.read_parquet(f"{name}/evaluation/test.parquet") for name in ("run", "plain")]
    assert f"{(frames[0]['log_loss'] - frames[1]['log_loss']).mean():+.4f}" in printed
    assert main(["compare", "runs=[plain,run]", "metric=auc"]) == 0
    assert "an AUC is no mean over rows" in " ".join(capsys.readouterr().out.split())
    evaluate = ["evaluate", "runs=[plain,run]", "compilation_cache=null"]
    assert main([*evaluate, "ensemble=mean", "output=both.parquet"]) == 0
    both = pl.read_parquet("both.parquet").filter(run="ensemble mean")
    expected = (frames[0]["probability"] + frames[1]["probability"]) / 2
    np.testing.assert_allclose(both["probability"], expected)
    np.testing.assert_array_equal(both["prediction"], (expected > 0.5).cast(int).cast(str))
    capsys.readouterr()
    assert main([*evaluate, "ensemble=borda"]) == 2
    assert "of what is predicted for rows take ensemble=mean" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_of_folds_tests_every_row_once_and_ends_in_a_table(folder, capsys):
    base = [word for word in WORDS if not word.startswith(("model", "stages", "growth", "curriculum"))]
    words = ["model=logistic_regression", "stages=single", "stages.train.epochs=1", "split=row_folds", "split.folds=2"]
    assert main(["train", "-m", *base, *words, "fold=0,1", "hydra.sweep.dir=folds"]) == 0
    assert "all rows" in capsys.readouterr().out
    tests = [pl.read_parquet(f"folds/{fold}/evaluation/test.parquet")["row"] for fold in (0, 1)]
    assert sorted(pl.concat(tests)) == list(range(1, 402))
    assert Path("folds/folds.csv").read_text().startswith("arm,seeds,fold 0,fold 1,all rows,sd over folds\nbase rate,")


def test_arrays_of_ten_classes(folder):
    rng = np.random.default_rng(0)
    centres, label = 3 * rng.normal(size=(10, 20)), rng.integers(0, 10, 600)
    np.save("train_data.npy", 5 + centres[label] + rng.normal(size=(600, 20)))
    np.save("train_labels.npy", label)
    words = ["task=pointwise", "data=arrays", "data.path=train_data.npy", "data.labels=train_labels.npy"]
    plain = [word for word in WORDS if word.startswith(("placement", "progress", "compilation", "optimizer"))]
    assert main(["train", *words, *plain, "evaluation.metric=accuracy", "stages=single", "stages.train.epochs=10",
                 "examples.batch_size=64", "run_dir=ten"]) == 0  # fmt: skip
    found = json.loads(Path("ten/summary.json").read_text())
    assert found["test"]["accuracy"] > 0.9 > 0.3 > found["reference"]["accuracy"]
    assert "auc" not in found["test"]
    assert found["parameters"] == 21 * 128 + 129 * 64 + 65 * 10


def test_commands_about_items_say_so(folder, capsys):
    for words in (["recommend"], ["compress"]):
        assert main([*words, "run=run", "compilation_cache=null"]) == 2
        assert "about lists of items" in capsys.readouterr().err
    assert main(["evaluate", "run=run", "k=[5]", "compilation_cache=null"]) == 2
    assert "k has no effect" in capsys.readouterr().err
    assert main(["show", "run=run"]) == 0
    assert "400 rows, 2 classes, 2 features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["model=sasrec"], "model: SASRec is for task=next_item"),
        (["model=gru4rec"], "model: GRU4Rec is for task=next_item"),
        (["model=bprmf"], "model: BPRMF is for task=next_item"),
        (["evaluation=full_ranking"], "evaluation: FullRanking is for task=next_item"),
        (["split=leave_one_out"], "split: LeaveOneOut divides users' histories"),
        (["noise=planted"], "noise: PlantedNoise is for task=next_item"),
        (["examples=sequences"], "for task=pointwise, and the examples are for task=next_item"),
        (["curriculum=popularity"], "Popularity is about sequences"),
        (["curriculum.unit=target"], "unit=target is about sequences"),
        (["curriculum/history=cut"], "history is about sequences"),
        (["evaluation.metric=log_loss"], "it must be one of auc, accuracy"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(folder, capsys, words, reason):
    names = tuple(f"{each.partition('=')[0]}{mark}" for each in words for mark in ".=")
    base = [word for word in WORDS if not word.startswith(names)]
    assert main(["train", *base, *words, "run_dir=refused"]) == 2
    assert reason in capsys.readouterr().err
    assert not Path("refused").exists()


def test_features_of_rows_have_no_effect_on_sequences(folder, capsys):
    Path("s.txt").write_text("u1 a b c d\nu2 b c d a\n")
    words = ["data=sequences", "data.path=s.txt", "+features/feature@features.interaction.features.x=numeric"]
    assert main(["train", *words]) == 2
    assert "features.interaction describes rows, and task=next_item predicts items" in capsys.readouterr().err


def compose_runner(name):
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        data = config.to_data(compose("train", [*WORDS, "steps_per_dispatch=2", "checkpoint_every_steps=4"]))
    experiment, directory = config.build_experiment(data, trusted=()), RunDirectory(Path(name))
    if not directory.path.exists():
        directory.create("refuse")
        directory.unlock()
    return Runner(experiment, experiment.read(), directory, config.config_hash(data), progress="none")


@pytest.mark.slow
def test_an_interrupted_run_ends_in_the_same_bits(folder):
    whole = compose_runner("whole").run()

    class StopHere(Exception):  # noqa: N818
        pass

    seen = []

    def stop(curve, over):
        seen.append(len(curve))
        if len(curve) == 2 and not over:
            raise StopHere

    runner = compose_runner("parts")
    runner.watch = stop
    with pytest.raises(StopHere):
        runner.run()
    again = compose_runner("parts").run()
    assert seen and again["test"] == whole["test"] and again["steps"] == whole["steps"]
    first, second = (pl.read_parquet(f"{name}/evaluation/test.parquet") for name in ("whole", "parts"))
    assert first.equals(second)
