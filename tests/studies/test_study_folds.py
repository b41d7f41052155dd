"""Cross-validation in studies and sweeps: folds are pooled by seed, paired within a fold, and never half."""

import json

import numpy as np
import polars as pl
import pytest
from finished import finished_run

from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.evaluation.cross_validation import corrected_t_test
from curriculum_rec.studies.answer import answer
from curriculum_rec.studies.comparisons import against_baseline
from curriculum_rec.studies.findings import Report
from curriculum_rec.studies.folds import Pooled, by_run, fold_table
from curriculum_rec.studies.grid import Choice, Place, plan
from curriculum_rec.studies.planned import results_of_study
from curriculum_rec.studies.report import to_page
from curriculum_rec.studies.results import user_differences
from curriculum_rec.studies.study import study_of
from curriculum_rec.studies.unplanned import results_of_runs
from curriculum_rec.training.run_directory import RunDirectory

SIZES = (40, 30, 20)
STUDY = study_of(
    {
        "question": "Does it?",
        "seeds": [0, 1],
        "folds": 3,
        "options": ["split=user_folds"],
        "data": {"d": []},
        "arms": {"plain": [], "better": {"options": ["run={beside}/plain/seed-${seed}"], "after": "plain"}},
    },
    "study",
)
D = Place("d", "all")


def quality(arm, fold, seed):
    return 0.2 + 0.02 * fold + 0.005 * seed + (0.05 + 0.01 * fold if arm == "better" else 0)


def make(folder, arm, fold, seed, **options):
    return finished_run(
        folder,
        seed=seed * 10 + fold,
        quality=quality(arm, fold, seed),
        split_hash=f"s{fold}",
        first=sum(SIZES[:fold]),
        n_users=SIZES[fold],
        **options,
    )


@pytest.fixture
def root(tmp_path):
    for arm in ("plain", "better"):
        for fold in range(3):
            for seed in (0, 1):
                make(tmp_path / "d" / "all" / f"fold-{fold}" / arm / f"seed-{seed}", arm, fold, seed)
    return tmp_path


def test_every_fold_is_planned_with_its_words_and_its_neighbours(tmp_path):
    runs = plan(STUDY, tmp_path, folder=None, hashes=lambda words, seeds: [" ".join(words)] * len(seeds))
    assert len(runs) == 12
    assert [run.seed for run in runs] == [0] * 6 + [1] * 6
    run = next(run for run in runs if (run.arm, run.fold, run.seed) == ("better", 2, 1))
    beside = tmp_path / "d" / "all" / "fold-2"
    assert run.name == "d/all/fold-2/better/seed-1" and run.after == "d/all/fold-2/plain/seed-1"
    words = ("split=user_folds", "split.folds=3", "fold=2", f"run={beside.absolute()}/plain/seed-${{seed}}", "seed=1")
    assert run.words == words
    chosen = plan(STUDY, tmp_path, folder=None, hashes=lambda w, s: ["a"] * len(s), choice=Choice(folds=[1], seeds=[0]))
    assert [run.name for run in chosen] == ["d/all/fold-1/plain/seed-0", "d/all/fold-1/better/seed-0"]


def test_folds_that_are_not_there_are_refused(tmp_path):
    plain = study_of({"question": "", "arms": {"plain": []}}, "study")
    for study, sentence in ((STUDY, "the study has no fold 3; it has 0 to 2"), (plain, "the study has no folds")):
        with pytest.raises(OptionError, match=sentence):
            plan(study, tmp_path, folder=None, hashes=lambda w, s: ["a"] * len(s), choice=Choice(folds=[3]))
    with pytest.raises(OptionError, match="folds=1: it must be at least 2, or null"):
        study_of({"question": "", "arms": {"plain": []}, "folds": 1}, "study")


def test_a_seed_is_its_folds_together_every_user_counting_the_same(root):
    results = results_of_study(root, STUDY)
    assert results.n_finished == 12
    pooled = results.cells[D]["plain"][1]
    assert isinstance(pooled, Pooled) and pooled.users["user"].n_unique() == sum(SIZES)
    rows = [
        pl.read_parquet(root / "d" / "all" / f"fold-{f}" / "plain" / "seed-1" / "evaluation/test.parquet")
        for f in range(3)
    ]
    assert pooled.test("ndcg@10") == pytest.approx(np.concatenate([frame["ndcg@10"] for frame in rows]).mean())
    assert pooled.summary["reference"]["ndcg@10"] == pytest.approx(0.05)
    assert user_differences(results.cells[D]["better"], results.cells[D]["plain"], "ndcg@10").shape == (2, sum(SIZES))


def test_a_user_of_several_rows_counts_once(tmp_path):
    for fold in range(2):
        for arm in ("plain", "better"):
            make(tmp_path / f"d/all/fold-{fold}/{arm}/seed-0", arm, fold, 0)
            place = tmp_path / f"d/all/fold-{fold}/{arm}/seed-0/evaluation/test.parquet"
            frame = pl.read_parquet(place).with_columns(user=pl.lit("same") if fold else pl.col("user"))
            frame.write_parquet(place)
    study = study_of({"question": "", "arms": {"plain": [], "better": []}, "folds": 2, "data": {"d": []}}, "s")
    cell = results_of_study(tmp_path, study).cells[D]
    differences = user_differences(cell["better"], cell["plain"], "ndcg@10")
    assert differences.shape == (1, SIZES[0] + 1)
    ours, theirs = (cell[arm][0].users["ndcg@10"].to_numpy() for arm in ("better", "plain"))
    assert differences[0, -1] == pytest.approx((ours - theirs)[SIZES[0] :].mean())


def test_folds_are_compared_within_a_fold_their_seeds_averaged(root):
    results = results_of_study(root, STUDY)
    family = against_baseline(results.cells[D], results.options)
    cell = results.cells[D]
    expected = [
        np.mean([cell["better"][s].runs[f].test("ndcg@10") - cell["plain"][s].runs[f].test("ndcg@10") for s in (0, 1)])
        for f in range(3)
    ]
    found = family.over_folds["better"]
    assert found.difference == pytest.approx(np.mean(expected))
    assert (found.p, found.low, found.high) == pytest.approx(corrected_t_test(np.array(expected)))
    assert family.over_seeds["better"].n == 2


def test_runs_are_paired_by_seed_and_fold_where_each_is_looked_at_alone(root):
    cell = by_run(results_of_study(root, STUDY).cells[D])
    assert {arm: sorted(runs) for arm, runs in cell.items()} == {"plain": list(range(6)), "better": list(range(6))}
    assert all(
        cell["plain"][key].directory.path.parent.parent == cell["better"][key].directory.path.parent.parent
        for key in range(6)
    )


def test_a_seed_without_all_of_its_folds_is_left_out(root):
    (root / "d/all/fold-1/plain/seed-1/summary.json").unlink()
    cell = results_of_study(root, STUDY).cells[D]
    assert {arm: list(seeds) for arm, seeds in cell.items()} == {"plain": [0], "better": [0, 1]}


def test_other_data_in_one_fold_are_refused(root):
    place = root / "d/all/fold-1/plain/seed-1/summary.json"
    place.write_text(place.read_text().replace('"s1"', '"s2"'))
    with pytest.raises(RunError, match="had different data"):
        results_of_study(root, STUDY)


def test_the_report_says_what_the_folds_say(root):
    results = results_of_study(root, STUDY)
    page = to_page(Report.of(results, {}, command="x"))
    assert "| arm | seeds | fold 0 | fold 1 | fold 2 | all users | sd over folds |" in page
    assert "p over folds" in page and "Nadeau and Bengio" in page
    found = against_baseline(results.cells[D], results.options).over_folds["better"]
    assert f"Over the 3 folds, against plain: better helps, {found.difference:+.4f}" in answer(results)[0]


def test_without_folds_nothing_is_said_of_them(tmp_path):
    for arm in ("plain", "better"):
        make(tmp_path / f"d/all/{arm}/seed-0", arm, 0, 0)
    results = results_of_study(
        tmp_path, study_of({"question": "", "arms": {"plain": [], "better": []}, "data": {"d": []}}, "s")
    )
    page = to_page(Report.of(results, {}, command="x"))
    assert "fold" not in page and fold_table("t", results.cells[D], results.options).rows() == []


def sweep(root, folds, *, n_folds=3, arms=("plain", "better")):
    configs, runs = [], []
    for arm in arms:
        for fold in folds:
            split = {"_target_": "curriculum_rec.data.splits.UserFolds", "folds": n_folds, "fold": fold}
            config = {
                "seed": 0,
                "fold": fold,
                "split": split,
                "model": {"width": arm},
                "evaluation": {"metric": "ndcg@10"},
            }
            runs.append(RunDirectory(make(root / str(len(runs)), arm, fold, 0, config=config)))
            configs.append(config)
    return results_of_runs(runs, configs)


def test_a_sweep_of_folds_is_one_place(tmp_path):
    results = sweep(tmp_path, range(3))
    [cell] = results.cells.values()
    assert list(cell) == ["model.width=plain", "model.width=better"]
    table = fold_table("folds", cell, results.options)
    assert [row[0] for row in table.rows()] == ["MostPop", *cell]
    assert table.header[2:6] == ["fold 0", "fold 1", "fold 2", "all users"]


def test_folds_of_rows_are_averaged_by_their_rows(tmp_path):
    aucs = {"plain": (0.6, 0.7, 0.8), "better": (0.7, 0.9, 0.8)}
    for arm, values in aucs.items():
        for fold, auc in enumerate(values):
            run = make(tmp_path / f"d/all/fold-{fold}/{arm}/seed-0", arm, fold, 0)
            pl.DataFrame({"row": range(SIZES[fold])}).write_parquet(run / "evaluation/test.parquet")
            summary = json.loads((run / "summary.json").read_text())
            summary |= {"test": {"auc": auc}, "reference": {"model": "base rate", "auc": 0.5}}
            (run / "summary.json").write_text(json.dumps(summary))
            log = run / "metrics.jsonl"
            log.write_text(log.read_text().replace("ndcg@10", "auc"))
    asked = {"question": "", "arms": {"plain": [], "better": []}, "folds": 3, "metric": "auc", "metrics": ["auc"]}
    results = results_of_study(tmp_path, study_of({**asked, "data": {"d": []}}, "s"))
    table = fold_table("folds", results.cells[D], results.options)
    assert table.header[-2:] == ["all rows", "sd over folds"]
    together = {arm: f"{sum(n * v for n, v in zip(SIZES, aucs[arm], strict=True)) / 90:.4f}" for arm in aucs}
    assert [(row[0], row[-2]) for row in table.rows()] == [("base rate", "0.5000"), *together.items()]
    page = to_page(Report.of(results, {}, command="x"))
    assert "over users" not in page and "catalogue" not in page and "MostPop" not in page
    assert "p over folds" in page


def test_a_sweep_that_lacks_a_fold_is_not_pooled(tmp_path):
    with pytest.raises(RunError, match="seed 0 fold 2 of 3 is missing"):
        sweep(tmp_path, [0, 1])


def test_runs_of_one_fold_are_compared_as_they_are(tmp_path):
    results = sweep(tmp_path, [1])
    assert list(results.cells) == [Place("data", "all")]
    assert not against_baseline(*[next(iter(results.cells.values())), results.options]).over_folds
