"""Training from a store is training from memory: the same batches and the same rows in the log, to the last bit."""

import numpy as np
import polars as pl
import pytest
from runs import lasting_rows, make_runner, write_sequences

from curriculum_rec.curriculum.difficulty import (
    Arrival,
    Length,
    Popularity,
    SequenceRarity,
    TimeGap,
    TransitionSurprisal,
    UserActivity,
)
from curriculum_rec.curriculum.length import GrowingLength
from curriculum_rec.curriculum.options import Curriculum
from curriculum_rec.curriculum.ordered_sampling import Stratified
from curriculum_rec.curriculum.scheduler import Scheduler
from curriculum_rec.data.cleaning import DropDuplicates, DropMissing
from curriculum_rec.data.examples import SequenceExamples, hold_out
from curriculum_rec.data.interactions import clean
from curriculum_rec.data.sources import TableFile
from curriculum_rec.data.splits import LeaveOneOut
from curriculum_rec.data.store import stored
from curriculum_rec.data.store.prepare import Recipe, prepare
from curriculum_rec.data.store.source import ExampleStore
from curriculum_rec.errors import OptionError
from curriculum_rec.training.feed import Feed
from curriculum_rec.training.placement import Placement

RULES = {"missing": DropMissing(), "duplicates": DropDuplicates()}
EXAMPLES = SequenceExamples(max_length=12, bucket_lengths=(6,), positions_per_batch=96)


def write_table(folder):
    """Write the histories of the tiny experiment as a table with times."""
    lines = (folder / "sequences.txt").read_text().split("\n")
    rows = [(line.split()[0], item, at) for line in lines if line for at, item in enumerate(line.split()[1:])]
    pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row").write_csv(folder / "table.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, and a store of it in several shards."""
    path = tmp_path_factory.mktemp("store")
    write_sequences(path / "sequences.txt", n_users=90)
    write_table(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recipe, "__post_init__", lambda self: None)
        made = prepare(Recipe(TableFile(str(path / "table.csv")), RULES, LeaveOneOut(), 30_000), path / "store")
    assert len(made.shards) > 2
    return path


@pytest.fixture
def both(folder):
    """The examples in memory and those of the store."""
    split = LeaveOneOut()(clean(TableFile(str(folder / "table.csv")).read(), RULES, source="the table"))
    return EXAMPLES(split), ExampleStore(str(folder / "store"), threads=0).open(LeaveOneOut(), EXAMPLES)[1]


def same_placed(n_devices):
    return Placement(devices=n_devices, examples="host").place()


def sent(examples, curriculum, *, devices=1, reading=None, cuts=(1, 3, 4, 2)):
    """Give all that is sent to the devices in some chunks."""
    if reading is not None:
        examples = stored.replace(examples, reading=reading)
    scheduler = Scheduler(curriculum, examples, seed=3, total_steps=60)
    scheduler.check()
    feed, state, step, chunks = Feed(scheduler, same_placed(devices), 4), scheduler.begin(), 0, []
    while step < 30:
        for at_most in cuts:
            draw, state = scheduler.draw(state, step=step, at_most=at_most)
            step += len(draw)
            own = feed.send(state, draw)[1]
            chunks.append({name: np.asarray(values) for name, values in own["sent"].items()} | {"rows": own["rows"]})
    return chunks


def assert_equal(mine, others):
    assert len(mine) == len(others)
    for one, other in zip(mine, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]))


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_are_the_same_bits(both, devices, threads):
    known, on_disk = both
    reading = stored.Reading(threads, ahead=5)
    assert_equal(
        sent(on_disk, Curriculum(), devices=devices, reading=reading), sent(known, Curriculum(), devices=devices)
    )


@pytest.mark.parametrize(
    "difficulty",
    [Length(), UserActivity(), Popularity(), SequenceRarity(), TimeGap(), Arrival()],
    ids=lambda d: type(d).__name__,
)
def test_difficulties_are_scored_block_by_block(both, monkeypatch, difficulty):
    monkeypatch.setattr(stored, "BLOCK_TARGETS", 40)
    known, on_disk = both
    assert len(list(on_disk.blocks())) > 5
    assert_equal(
        sent(on_disk, Curriculum(difficulty, order="curriculum")),
        sent(known, Curriculum(difficulty, order="curriculum")),
    )


@pytest.mark.parametrize("by", ["popularity", "activity"])
def test_strata_are_made_block_by_block(both, monkeypatch, by):
    monkeypatch.setattr(stored, "BLOCK_TARGETS", 40)
    options = Curriculum(Length(), sampler=Stratified(by=by, strata=3, min_examples=8), order="curriculum")
    assert_equal(sent(both[1], options), sent(both[0], options))


def test_known_items_are_put_together_when_they_are_needed(both):
    known, on_disk = (examples.with_positives() for examples in both)
    for mine, other in zip(on_disk.buckets, known.buckets, strict=True):
        np.testing.assert_array_equal(np.asarray(mine.arrays["positives"]), other.arrays["positives"])
    assert_equal(sent(on_disk, Curriculum()), sent(known, Curriculum()))


def test_examples_can_be_set_apart(both):
    for mine, other in zip(hold_out(both[1], 0.3, seed=1), hold_out(both[0], 0.3, seed=1), strict=True):
        assert_equal(sent(mine, Curriculum()), sent(other, Curriculum()))
        for name, values in other.in_one_shape().items():
            np.testing.assert_array_equal(mine.in_one_shape()[name], values)


@pytest.mark.parametrize(
    ("curriculum", "words"),
    [
        (Curriculum(Length(), order="curriculum", unit="target"), "curriculum.unit=target needs every single target"),
        (Curriculum(TransitionSurprisal(), order="curriculum"), "TransitionSurprisal needs every single target"),
        (Curriculum(history=GrowingLength()), "curriculum.history needs every single target"),
    ],
)
def test_what_needs_every_target_is_refused(both, curriculum, words):
    with pytest.raises(OptionError, match=words):
        Scheduler(curriculum, both[1], seed=0, total_steps=10).check()
    with pytest.raises(OptionError, match="no room for all single targets"):
        _ = both[1].targets


def test_each_host_reads_its_own_rows_and_together_they_read_all(folder, both, monkeypatch):
    """Two hosts of two devices each: every row of a batch is read by one of them."""
    on_disk, read = both[1], []
    at = stored.Column.at
    monkeypatch.setattr(stored.Column, "at", lambda self, rows: (read.append(rows), at(self, rows))[1])
    of_hosts = []
    for shards in ((0, 1), (2, 3), (0, 1, 2, 3)):
        placed = same_placed(4)
        placed.__dict__["local_shards"] = shards
        scheduler = Scheduler(Curriculum(), on_disk, seed=0, total_steps=60)
        feed, state = Feed(scheduler, placed, 4), scheduler.begin()
        read.clear()
        draw, state = scheduler.draw(state, step=0, at_most=4)
        feed._gather(state, draw, None)
        of_hosts.append(np.concatenate(read))
    first, second, alone = of_hosts
    assert len(first) + len(second) == len(alone)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.sort(alone))
    assert len(first) < 0.7 * len(alone)


BASE = [
    "examples.max_length=12",
    "examples.bucket_lengths=[6]",
    "examples.positions_per_batch=96",
    "model.width=8",
    "objective=sampled_softmax",
    "objective.n_negatives=8",
    "stages.train.epochs=3",
    "evaluation.k=[5,10]",
    "placement.examples=host",
    "progress=none",
    "steps_per_dispatch=4",
]


def run(folder, name, *words):
    runner = make_runner(folder, name, *words, base=BASE)
    return runner.run(), lasting_rows(folder / name / "metrics.jsonl")


@pytest.mark.parametrize("more", [[], ["curriculum=loss", "objective=bce"]], ids=["plain", "loss and known items"])
def test_a_run_from_a_store_is_the_run_from_memory(folder, more):
    name = f"run{len(more)}"
    table = ["data=table", f"data.path={folder / 'table.csv'}", "~cleaning.k_core"]
    store = ["data=store", f"data.path={folder / 'store'}"]
    from_memory, rows = run(folder, f"{name}-memory", *table, *more)
    from_store, stored_rows = run(folder, f"{name}-store", *store, *more)
    assert stored_rows == rows
    for key in ("test", "validation", "reference", "split_hash", "data", "operations"):
        assert from_store[key] == from_memory[key], key


def test_a_sample_of_users_is_evaluated(folder):
    split = ExampleStore(str(folder / "store"), evaluated_users=10).open(LeaveOneOut(), EXAMPLES)[0]
    whole = ExampleStore(str(folder / "store")).open(LeaveOneOut(), EXAMPLES)[0]
    for part in (1, 2):
        rows, others = split.rows(stored.Part(part)), whole.rows(stored.Part(part))
        assert len(rows) == 10
        assert len(rows.items) < len(others.items)
        place = np.searchsorted(others.user, rows.user)
        np.testing.assert_array_equal(rows.target, others.target[place])
        np.testing.assert_array_equal(rows.lengths, others.lengths[place])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["placement.examples=device"], "placement.examples=device puts all examples on every device"),
        (["noise=planted"], "noise is planted into data in memory"),
        (["+cleaning.missing._target_=curriculum_rec.data.cleaning.DropMissing"], "cleaning.missing has no effect"),
    ],
)
def test_options_that_do_not_go_with_a_store_are_refused(folder, words, sentence):
    with pytest.raises(OptionError, match=sentence):
        make_runner(folder, "refused", "data=store", f"data.path={folder / 'store'}", *words, base=BASE)
