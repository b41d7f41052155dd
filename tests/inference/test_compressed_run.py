"""The command compress end to end: an ordinary run comes out of it, whole or not at all."""

import json
import math

import jax
import numpy as np
import polars as pl
import pytest
from runs import CHEAP, run_in

from curriculum_rec import config
from curriculum_rec.cli import main
from curriculum_rec.compression import Int8Rows
from curriculum_rec.compression.contract import tree_bytes
from curriculum_rec.compression.packing import dense
from curriculum_rec.data.inputs import Catalogue
from curriculum_rec.inference import compressed_run
from curriculum_rec.inference.comparison import list_overlap
from curriculum_rec.training.borrow import Borrower
from curriculum_rec.training.checkpoint import Checkpoints
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import load_snapshot, snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import WarmStart

N_ITEMS = 30
TRAIN = [
    *CHEAP,
    "data.path=sequences.txt",
    "stages.train.epochs=5",
    "evaluation.every_epochs=5",
    "placement=jit",
    "progress=none",
]
"""One small program, compiled once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run, and its model in 8 bits beside it."""
    folder = tmp_path_factory.mktemp("compressed")
    run_in(folder, "train", *TRAIN, "run_dir=run")
    run_in(folder, "compress", "run=run")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def parameters(run):
    """The model of a run as every command reads it."""
    directory = RunDirectory.existing(run)
    experiment, _ = config.experiment_of_run(directory, trusted=())
    return snapshot_parameters(load_snapshot(directory), experiment, inputs=Catalogue(N_ITEMS))[1]


def report_of(run):
    return json.loads(RunDirectory(RunDirectory.existing(run).path).compression.read_text())


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock")


def refused(capsys, *words):
    assert main(["compress", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    return output.err


def test_what_is_read_is_what_the_method_gave_bit_for_bit(folder):
    original = jax.tree.map(np.asarray, parameters("run"))
    packed = Int8Rows()(original, seed=0)
    jax.tree.map(np.testing.assert_array_equal, parameters("run-int8_rows"), dense(packed))
    checkpoints = Checkpoints(RunDirectory(folder / "run-int8_rows").checkpoints, read_only=True)
    [step] = checkpoints.steps()
    stored = checkpoints.restore(step)
    checkpoints.close()
    assert stored.arrays["packed.items.embedding.codes"].dtype == np.int8
    assert set(stored.meta["digests"]) == set(stored.arrays)
    sizes = report_of("run-int8_rows")["stored_bytes"]
    assert sizes == {"before": tree_bytes(original), "after": tree_bytes(packed)}
    assert sizes["after"] == sum(array.nbytes for array in stored.arrays.values())


def test_evaluate_recommend_inspect_and_resume_take_it_like_any_run(folder, capsys):
    report = report_of("run-int8_rows")
    assert main(["evaluate", "run=run-int8_rows"]) == 0
    assert f"{report['ndcg']['after']:.4f}" in capsys.readouterr().out
    summary = json.loads((folder / "run-int8_rows" / "summary.json").read_text())
    assert summary["test"]["ndcg@10"] == pytest.approx(report["ndcg"]["after"])
    assert summary["compressed_from"] == "run"
    for run in ("run", "run-int8_rows"):
        assert main(["recommend", f"run={run}", f"output={run}.csv", "filter_seen=false"]) == 0
    lists = [
        {key[0]: set(part["item"]) for key, part in pl.read_csv(f"{run}.csv").group_by("user")}
        for run in ("run", "run-int8_rows")
    ]
    shared = [len(items & lists[1][user]) / len(items) for user, items in lists[0].items()]
    assert report["overlap"] == pytest.approx(np.mean(shared))
    assert 0.9 < report["overlap"] <= 1
    assert main(["resume", "run=run-int8_rows"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    users = pl.read_parquet(folder / "run-int8_rows" / "evaluation" / "test.parquet")
    before = pl.read_parquet(folder / "run" / "evaluation" / "test.parquet")
    change = users["ndcg@10"] - before["ndcg@10"]
    assert report["ndcg"]["difference"] == pytest.approx(change.mean())
    low, high = report["ndcg"]["difference_interval"]
    assert low <= change.mean() <= high


def test_a_run_can_start_from_it():
    experiment, _ = config.experiment_of_run(RunDirectory.existing("run-int8_rows"), trusted=())
    dataset = experiment.read()
    borrower = Borrower(experiment, dataset)
    borrowed = borrower.borrow(WarmStart("run-int8_rows"), stage="train")
    assert set(borrowed.table["fate"]) == {"taken"}
    jax.tree.map(np.testing.assert_array_equal, borrowed.params, parameters("run-int8_rows"))
    assert (
        RunDirectory.existing("run-int8_rows").read_items().to_list() == dataset.split.interactions.items.ids.to_list()
    )


def test_the_report_is_printed_and_written_and_says_where_from(folder, capsys):
    assert main(["compress", "run=run", "run_dir=again"]) == 0
    output = capsys.readouterr().out
    assert output.rstrip().endswith("run directory: again")
    report = report_of("again")
    share = report["stored_bytes"]["after"] / report["stored_bytes"]["before"]
    page = (folder / "again" / "compression.md").read_text()
    for text in (output, page):
        assert f"{share:.1%}" in text
        assert f"{report['overlap']:.1%}" in text
        assert f"{report['ndcg']['after']:.4f}" in text
    assert "| items.embedding | ScaledRows |" in page
    made_from = config.config_of_run(RunDirectory(folder / "again"))["compressed"]
    assert made_from["run"] == str(folder / "run")
    assert made_from["method"] == {"_target_": "curriculum_rec.compression.Int8Rows", "scope": "all"}
    assert sum(entry["after"] for entry in report["parameters"]) == report["stored_bytes"]["after"]


def test_blocks_are_dropped_a_result_is_compressed_on_and_a_run_is_replaced(folder, capsys):
    assert main(["compress", "run=run", "method=blocks", "run_dir=shallow"]) == 0
    record = RunRecord.from_json(load_snapshot(RunDirectory.existing("shallow")).meta["record"])
    assert record.stage.depth == 1
    assert parameters("shallow")["blocks"]["up"]["kernel"].shape[0] == 1
    memory = report_of("shallow")["memory_bytes"]
    assert memory["after"] < memory["before"]
    assert main(["compress", "run=shallow", "method=low_rank", "method.energy=0.5", "run_dir=both"]) == 0
    assert report_of("both")["stored_bytes"]["before"] == memory["after"]
    assert np.linalg.matrix_rank(parameters("both")["items"]["embedding"]) < 8
    words = ["compress", "run=run", "run_dir=both", "method=magnitude", "on_existing=replace"]
    assert main(words) == 0
    assert report_of("both")["method"] == "magnitude"
    assert not [path for path in folder.iterdir() if path.name.startswith(".both")]
    capsys.readouterr()


@pytest.mark.parametrize("words", [[], ["on_existing=replace", "run_dir=run-int8_rows"]], ids=["new", "replaced"])
def test_an_interrupted_compression_leaves_everything_as_it_was(folder, capsys, monkeypatch, words):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = listing(folder)
    old = (folder / "run-int8_rows" / "compression.json").read_bytes()
    monkeypatch.setattr(compressed_run.Comparison, "of", interrupt)
    assert main(["compress", "run=run", "method=int4_rows", *words]) == 130
    assert listing(folder) == before
    assert (folder / "run-int8_rows" / "compression.json").read_bytes() == old
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run_dir=run"], "is the run itself"),
        (["run_dir=run", "on_existing=replace"], "is the run itself"),
        (["run_dir=run-int8_rows"], "holds a run already"),
        (["run_dir=run/checkpoints"], "holds other files"),
        (["run_dir=sequences.txt"], "is a file"),
        (["on_existing=resume"], "on_existing=resume: it must be one of refuse, replace"),
        (["method=int2"], "there is no method 'int2'; there are: blocks, dimensions, hashing"),
        (["method.rank=3"], "option 'method.rank' does not exist"),
        (["method=low_rank", "method.rank=3"], "method.rank=3 and method.energy=0.9: give exactly one"),
        (["method=dimensions"], "method.width=32: the item table has only 8 columns"),
        (["method=low_rank", "method.energy=0.999999"], "no less than its"),
        (["method={_target_:os.system}"], "method takes the name of a choice"),
        (["checkpoint=5000"], "has no checkpoint of step 5000"),
        (["run=nowhere"], "nowhere holds no run"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(folder, capsys, words, sentence):
    before = listing(folder)
    assert sentence in refused(capsys, *(["run=run"] if not words[0].startswith("run=") else []), *words)
    assert listing(folder) == before


def test_overlap_counts_shared_items_wherever_they_stand():
    before = pl.DataFrame({"user": [1, 1, 1, 1, 2, 2], "item": [1, 2, 3, 4, 5, 6]})
    after = pl.DataFrame({"user": [1, 1, 1, 1, 2, 2], "item": [4, 3, 2, 9, 1, 2]})
    assert list_overlap(before, after) == (3 / 4 + 0 / 2) / 2


@pytest.mark.slow
def test_a_run_that_starts_from_a_pruned_one_keeps_its_zeros(capsys):
    assert main(["compress", "run=run", "method=magnitude", "method.sparsity=0.5", "run_dir=half"]) == 0
    inner = [word.replace("optimizer.", "optimizer.optimizer.") for word in TRAIN]
    pruned = ["optimizer=pruned", "optimizer.sparsity=null"]
    assert main(["train", *inner, *pruned, "stages.train.warm_start=half", "run_dir=rewound"]) == 0
    before, after = (parameters(run)["blocks"]["up"]["kernel"] for run in ("half", "rewound"))
    np.testing.assert_array_equal(before == 0, after == 0)
    assert (before == 0).mean() == 0.5
    assert (before[before != 0] != after[before != 0]).mean() > 0.9
    capsys.readouterr()


@pytest.mark.slow
def test_eight_bits_keep_the_lists_of_the_packaged_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["experiment=quickstart", "stages.shallow.epochs=2", "stages.deep.epochs=2", "progress=none"]
    assert main(["train", *words, "run_dir=demo"]) == 0
    assert main(["compress", "run=demo", "run_dir=small"]) == 0
    report = json.loads((tmp_path / "small" / "compression.json").read_text())
    assert report["stored_bytes"]["after"] <= 0.27 * report["stored_bytes"]["before"]
    assert report["overlap"] >= 0.95
    assert math.isclose(report["ndcg"]["after"], report["ndcg"]["before"], rel_tol=0.01)
    capsys.readouterr()
