"""Warm starts: what is taken from another run, by name, by block and by item; and what is refused."""

import json
import re

import jax
import numpy as np
import polars as pl
import pytest
from runs import OVERRIDES, make_runner, write_sequences

from curriculum_rec import config
from curriculum_rec.data.interactions import IdMap
from curriculum_rec.errors import CheckpointError, OptionError, RunError
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.tree import BLOCKS
from curriculum_rec.models.structure import same_shapes, split_model
from curriculum_rec.training.borrow import Borrower
from curriculum_rec.training.matching import Matched
from curriculum_rec.training.restore import load_snapshot
from curriculum_rec.training.run_directory import RunDirectory
from curriculum_rec.training.stages import Rewinding, WarmStart

SHORT = ["stages.shallow.epochs=null", "stages.shallow.steps=2", "stages.deep.epochs=null", "stages.deep.steps=2"]
FOUR = ["stages.shallow.depth=4", "stages.deep.depth=4"]


@pytest.fixture(scope="module")
def lender(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lender")
    make_runner(folder, "run", *SHORT, *FOUR).run()
    return folder / "run"


def open_run(directory):
    return config.experiment_of_run(directory, trusted=())[0]


def borrow(lender, *overrides, folder=None, **options):
    """What a stage begins with that takes from the lender, in the lender's folder or another with other data."""
    runner = make_runner(
        folder or lender.parent, "borrower", "stages.shallow.depth=null", "stages.deep.depth=8", *overrides
    )
    borrower = Borrower(runner.experiment, runner.dataset, open_run)
    return borrower.borrow(WarmStart(str(lender), **options), stage="shallow")


def arrays_of(lender):
    return load_snapshot(RunDirectory(lender)).arrays


def fates(borrowed):
    return dict(zip(borrowed.table["parameter"], borrowed.table["fate"], strict=True))


def test_all_is_taken_bit_for_bit_at_the_depth_that_it_has(lender):
    borrowed = borrow(lender)
    assert stacked_depth(borrowed.params) == 4 and borrowed.items is None
    assert set(fates(borrowed).values()) == {"taken"}
    np.testing.assert_array_equal(
        borrowed.params["blocks"]["out"]["kernel"], arrays_of(lender)["params.blocks.out.kernel"]
    )


def test_a_deeper_stage_gets_what_its_growth_can_grow(lender):
    borrowed = borrow(lender, "stages.shallow.depth=8")
    assert stacked_depth(borrowed.params) == 4
    assert stacked_depth(split_model(borrowed.new)[1]) == 8
    found = fates(borrowed)
    assert found["blocks.out.kernel"] == "grown" and found["items.embedding"] == "taken"
    row = borrowed.table.filter(parameter="blocks.residual.gate").row(0)
    assert row == ("blocks.residual.gate", "grown", "(4,)", "(8,)")


@pytest.mark.parametrize(("blocks", "index"), [("every_second", [0, 2]), ((3, 1), [3, 1])])
def test_a_student_begins_with_some_of_the_blocks(lender, blocks, index):
    borrowed = borrow(lender, blocks=blocks)
    theirs = arrays_of(lender)
    for path, leaf in jax.tree_util.tree_leaves_with_path(borrowed.params["blocks"]):
        name = "params.blocks." + ".".join(str(key.key) for key in path)
        np.testing.assert_array_equal(leaf, theirs[name][index])
    assert same_shapes(split_model(borrowed.new)[1], borrowed.params)


def test_what_is_not_named_begins_at_random_and_is_listed(lender):
    borrowed = borrow(lender, "model=dnn", "model.width=8", "model.depth=1", take=("items.*",))
    found = fates(borrowed)
    assert found["items.embedding"] == "taken"
    assert found["norm.scale"] == found["blocks.up.kernel"] == "fresh"
    assert found["positions.embedding"] == found["blocks.query_key_value.kernel"] == "left"
    np.testing.assert_array_equal(borrowed.params["items"]["embedding"], arrays_of(lender)["params.items.embedding"])
    assert stacked_depth(borrowed.params) == 1  # its own, since no block was taken
    assert "1 taken" in borrowed.describe() and "left" in borrowed.describe()


def test_vectors_find_their_items_in_another_catalogue(lender, tmp_path):
    write_sequences(tmp_path / "sequences.txt", n_items=34, seed=1)
    with pytest.raises(CheckpointError, match="items=by_id"):
        borrow(lender, folder=tmp_path)
    borrowed = borrow(lender, folder=tmp_path, items="by_id")
    ours = make_runner(tmp_path, "borrower").dataset.split.interactions.items.ids.to_list()
    theirs = RunDirectory(lender).read_items().to_list()
    table, old = borrowed.params["items"]["embedding"], arrays_of(lender)["params.items.embedding"]
    common = sorted(set(ours) & set(theirs))
    assert borrowed.items.n_found == len(common) > 20
    for item in common:
        np.testing.assert_array_equal(table[ours.index(item) + 1], old[theirs.index(item) + 1])
    new = [ours.index(item) + 1 for item in ours if item not in theirs]
    assert new and (np.abs(table[new]).max(axis=1) > 0).all()
    left_out = borrow(lender, folder=tmp_path, take=("blocks.*", "positions.*", "norm.*"))
    assert fates(left_out)["items.embedding"] == "fresh"


@pytest.mark.parametrize(
    ("options", "overrides", "error", "words"),
    [
        ({"take": ("item*", "heads.*")}, [], OptionError, "heads.* names no parameter"),
        ({"blocks": (4,)}, [], OptionError, "blocks 0 to 3"),
        ({"checkpoint": 7_000}, [], CheckpointError, "no checkpoint of step 7000"),
        ({}, ["model=dnn", "model.width=8"], CheckpointError, "that run has no 'blocks.down.bias'"),
        ({"take": ("items.*",)}, ["model.width=16"], CheckpointError, "shape (128, 8) there and (128, 16) here"),
    ],
)
def test_never_a_silent_partial_load(lender, options, overrides, error, words):
    with pytest.raises(error, match=re.escape(words)):
        borrow(lender, *overrides, **options)


@pytest.mark.parametrize("options", [{"take": ()}, {"blocks": ()}, {"blocks": (-1,)}])
def test_options_out_of_range_are_sentences(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        WarmStart("runs/x", **options)


def test_a_run_without_its_catalogue_cannot_be_asked_by_ids(lender, tmp_path):
    with pytest.raises(RunError, match="which items"):
        RunDirectory(tmp_path).read_items()


def test_a_run_tells_what_became_of_every_parameter(lender):
    target = "curriculum_rec.training.stages.WarmStart"
    warm = f"{{_target_: {target}, run: {lender}, blocks: every_second}}"
    folder = lender.parent
    make_runner(folder, "told", *SHORT, "stages.shallow.depth=null", f"stages.shallow.warm_start={warm}").run()
    rows = [json.loads(line) for line in (folder / "told" / "metrics.jsonl").read_text().splitlines()]
    told = next(row for row in rows if row["event"] == "warm_start")
    assert told["grown"] == told["fresh"] == told["left"] == [] and "blocks.out.kernel" in told["taken"]
    table = pl.read_csv(folder / "told" / "warm_start.shallow.csv")
    assert sorted(table["parameter"]) == sorted(told["taken"])
    assert next(row for row in rows if row["event"] == "stage")["depth"] == 2


PRUNED = ["optimizer=pruned", "optimizer.sparsity=null"]


def is_matrix(name, leaf):
    return leaf.ndim - (".blocks." in name) >= 2


def test_early_weights_come_back_under_the_mask_of_the_late_ones(lender):
    borrowed = borrow(lender, *PRUNED, checkpoint=2, rewind=Rewinding(sparsity=0.5, checkpoint="newest"))
    early, late = (load_snapshot(RunDirectory(lender), step).arrays for step in (2, "newest"))
    n_matrices = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(borrowed.params):
        name = "params." + ".".join(str(key.key) for key in path)
        if not is_matrix(name, leaf):
            np.testing.assert_array_equal(leaf, early[name])
            continue
        layers = (
            zip(leaf, early[name], late[name], strict=True) if ".blocks." in name else [(leaf, early[name], late[name])]
        )
        for now, before, after in layers:
            n_matrices += 1
            kept = np.abs(after) > np.sort(np.abs(after).ravel())[round(0.5 * after.size) - 1]
            np.testing.assert_array_equal(now, np.where(kept, before, 0))
    assert n_matrices > 4 * 3 and (early["params.blocks.out.kernel"] != late["params.blocks.out.kernel"]).any()


def test_what_cannot_be_rewound_is_refused(lender, tmp_path):
    half = Rewinding(sparsity=0.5)
    with pytest.raises(OptionError, match="warm_start.rewind needs an optimizer that keeps what is 0"):
        borrow(lender, rewind=half)
    with pytest.raises(CheckpointError, match="a model that is rewound does not grow"):
        borrow(lender, *PRUNED, "stages.shallow.depth=8", rewind=half)
    make_runner(lender.parent, "narrow", *SHORT, *FOUR, "model.width=4").run()
    other = Rewinding(sparsity=0.5, run=str(lender.parent / "narrow"))
    with pytest.raises(CheckpointError, match="is of another model or catalogue"):
        borrow(lender, *PRUNED, rewind=other)
    with pytest.raises(OptionError, match=r"warm_start\.rewind\.sparsity=1"):
        Rewinding(sparsity=1.0)
    with pytest.raises(OptionError, match=r"warm_start\.rewind prunes a whole model"):
        WarmStart("x", take=("items.*",), rewind=half)


@pytest.mark.slow
def test_a_rewound_run_keeps_its_zeros_and_the_next_round_has_more(lender):
    base = [word for word in OVERRIDES if not word.startswith(("stages", "growth"))]
    words = ["model.depth=4", "stages=rewind", *PRUNED, f"stages.train.warm_start.run={lender}"]
    words += ["stages.train.warm_start.checkpoint=2", "stages.train.epochs=null", "stages.train.steps=3"]
    zeros = []
    rounds = {"once": ["sparsity=0.5"], "twice": ["sparsity=0.75", f"run={lender.parent / 'once'}"]}
    for name, options in rounds.items():
        rewind = [f"stages.train.warm_start.rewind.{word}" for word in options]
        made = make_runner(lender.parent, name, *words, *rewind, base=base)
        made.check()
        made.run()
        arrays = load_snapshot(RunDirectory(lender.parent / name), "newest").arrays
        matrices = {path: leaf for path, leaf in arrays.items() if path.startswith("params.") and is_matrix(path, leaf)}
        zeros.append({path: leaf == 0 for path, leaf in matrices.items()})
    for path, first in zeros[0].items():
        shares = (0.5, 0.75) if "items" not in path else (first.mean(), zeros[1][path].mean())  # its filling is 0
        assert (first.mean(), zeros[1][path].mean()) == pytest.approx(shares, abs=0.02) and min(shares) >= 0.5
        assert zeros[1][path][first].all()


def test_what_only_one_of_two_catalogues_has_is_told(lender, tmp_path):
    place = write_sequences(tmp_path / "sequences.txt", n_items=34, seed=1)
    place.write_text(re.sub(r"\bi7\b", "seven", place.read_text()))
    target = "curriculum_rec.training.stages.WarmStart"
    warm = f"{{_target_: {target}, run: {lender}, items: by_id}}"
    words = ["stages.shallow.depth=null", "stages.deep.depth=4", f"stages.shallow.warm_start={warm}"]
    runner = make_runner(tmp_path, "told", *SHORT, *words)
    runner.run()
    ours = set(runner.dataset.split.interactions.items.ids.to_list())
    theirs = set(RunDirectory(lender).read_items().to_list())
    rows = [json.loads(line) for line in (tmp_path / "told" / "metrics.jsonl").read_text().splitlines()]
    counts = {"found": len(ours & theirs), "new": len(ours - theirs), "left": len(theirs - ours)}
    assert next(row for row in rows if row["event"] == "warm_start")["items"] == counts and min(counts.values()) > 0
    table = pl.read_csv(tmp_path / "told" / "warm_start.shallow.items.csv", schema_overrides={"id": pl.String})
    assert set(table.filter(fate="new")["id"]) == ours - theirs
    assert set(table.filter(fate="left")["id"]) == theirs - ours


def test_vectors_of_users_find_their_users(tmp_path):
    """Users 1 to 60 lend to users 31 to 90 of the same items."""
    lines = [line.split() for line in sequence_lines(tmp_path)]
    for name, first in (("lender", 0), ("borrower", 30)):
        (tmp_path / name).mkdir()
        text = "\n".join(" ".join([f"u{first + n}", *line[1:]]) for n, line in enumerate(lines))
        (tmp_path / name / "sequences.txt").write_text(text + "\n")
    words = ["model=bprmf", "model.width=8", "objective=bpr", "stages.shallow.depth=null"]
    make_runner(tmp_path / "lender", "run", *SHORT, *words, "stages.deep.depth=null").run()
    lender = RunDirectory(tmp_path / "lender" / "run")
    runner = make_runner(tmp_path / "borrower", "run", *words)
    borrower = Borrower(runner.experiment, runner.dataset, open_run)
    with pytest.raises(CheckpointError, match="has other users"):
        borrower.borrow(WarmStart(str(lender.path)), stage="shallow")
    of_items = borrower.borrow(WarmStart(str(lender.path), take=("items.*",)), stage="shallow")
    assert of_items.users is None and fates(of_items)["users.embedding"] == "fresh"
    borrowed = borrower.borrow(WarmStart(str(lender.path), items="by_id"), stage="shallow")
    ours, theirs = runner.dataset.split.interactions.users.ids.to_list(), lender.read_users().to_list()
    table, old = borrowed.params["users"]["embedding"], load_snapshot(lender).arrays["params.users.embedding"]
    fresh = of_items.params["users"]["embedding"]
    assert borrowed.items is None and borrowed.users.counts() == {"found": 30, "new": 30, "left": 30}
    assert "30 users found by their ids, 30 new, 30 left behind" in borrowed.describe()
    for row, user in enumerate(ours, start=1):
        np.testing.assert_array_equal(table[row], old[theirs.index(user) + 1] if user in theirs else fresh[row])


def test_users_that_nobody_has_are_refused(tmp_path):
    matched = Matched.of(IdMap(pl.Series(["a"])), IdMap(pl.Series(["b"])))
    assert matched.n_found == 0 and matched.unmatched().rows() == [("a", "new"), ("b", "left")]
    with pytest.raises(RunError, match="which users"):
        RunDirectory(tmp_path).read_users()


def sequence_lines(folder):
    write_sequences(folder / "all.txt")
    return (folder / "all.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["model=deepfm"], "features.vectors.embedding"),
        (["model=neumf", "model.user=colour", "model.item=shape"], "factors.embedding"),
        (["model=wide_deep"], "wide.fields.embedding"),
        (["model=logistic_regression"], "fields.embedding"),
        (["model=transformer_classifier", "model.width=8"], "fields.embedding"),
    ],
)
def test_a_model_of_rows_lends_what_does_not_depend_on_features(tmp_path, words, name):
    """Values of the second file are other words, as many of them."""
    base = ["task=pointwise", "data=rows", "examples.batch_size=32", "objective=logistic", "placement=jit"]
    base += [f"+features/feature@features.interaction.features.{name}=categorical" for name in ("colour", "shape")]
    for folder, values in (("lender", "abc"), ("borrower", "xyz")):
        (tmp_path / folder).mkdir()
        rows = [f"{values[n % 3]},{'st'[n % 2]},{n % 7 % 2}" for n in range(200)]
        (tmp_path / folder / "rows.csv").write_text("\n".join(["colour,shape,label", *rows]) + "\n")

    def runner(folder):
        place = f"data.path={tmp_path / folder / 'rows.csv'}"
        return make_runner(tmp_path / folder, "run", place, *words, "stages.train.epochs=1", base=base)

    runner("lender").run()
    lender, ours = str(tmp_path / "lender" / "run"), runner("borrower")
    borrower = Borrower(ours.experiment, ours.dataset, open_run)
    with pytest.raises(CheckpointError, match=f"other features, so '.*' means other values; take {BLOCKS}"):
        borrower.borrow(WarmStart(lender), stage="train")
    assert f"params.{name}" in load_snapshot(RunDirectory.existing(lender)).arrays
    with pytest.raises(CheckpointError, match=f"so '{name}' means other values"):
        borrower.borrow(WarmStart(lender, take=(name,)), stage="train")
    if "logistic" not in words[0]:
        borrowed = borrower.borrow(WarmStart(lender, take=("blocks.*", "norm.*")), stage="train")
        assert fates(borrowed)["norm.scale"] == "taken" and fates(borrowed)[name] == "fresh"
