"""Recommendations against a sort of all scores, and the files they are written to."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx

from curriculum_rec.data import padded
from curriculum_rec.data.interactions import clean
from curriculum_rec.errors import DataError, OptionError, RunError
from curriculum_rec.files import write_frame
from curriculum_rec.inference import recommend
from curriculum_rec.inference.ensemble import Ensemble, Member
from curriculum_rec.inference.recommend import top_of_rows
from curriculum_rec.models import MostPop
from curriculum_rec.models.queries import user_vectors
from curriculum_rec.models.sasrec import SASRec
from curriculum_rec.models.structure import join_model, split_model

MAX_LENGTH = 5
WRITTEN = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    rows = [(f"u{user}", f"i{item}") for user in range(20) for item in rng.integers(0, 12, rng.integers(1, 10))]
    return clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s")


@pytest.fixture(scope="module")
def model(data):
    built = SASRec(width=8, depth=1)(n_items=data.n_items, max_length=MAX_LENGTH, rngs=nnx.Rngs(0))
    structure, params = split_model(built)
    return structure, jax.tree.map(lambda leaf: leaf * 3, params)


def top(model, data, **options):
    return recommend(*model, data, **({"k": 4, "max_length": MAX_LENGTH, "lengths": (2,)} | options))


def sorted_top(model, data, user, *, k, filter_seen):
    network, code = join_model(*model), int(data.users.encode(pl.Series([user]))[0])
    begin, end = data.user_offsets()[code : code + 2]
    recent = data.item[begin:end][-MAX_LENGTH:]
    row = np.pad(recent, (0, MAX_LENGTH - len(recent)))
    scores = np.asarray(user_vectors(network, {"history": jnp.array(row[None])}) @ network.item_vectors().T)[0]
    seen = set(data.item[begin:end].tolist()) if filter_seen else set()
    candidates = [item for item in range(1, data.n_items + 1) if item not in seen]
    best = sorted(candidates, key=lambda item: -scores[item])[:k]
    return data.items.decode(np.array(best, np.int32)).to_list(), scores[best]


@pytest.mark.parametrize(("columns", "k", "block"), [(60, 3, 8), (61, 7, 8), (64, 8, 8), (500, 10, 16), (5, 5, 8)])
def test_the_top_of_rows_is_lax_top_k_ties_and_all(columns, k, block):
    rng = np.random.default_rng(columns)
    scores = rng.integers(0, 12, (50, columns)).astype(np.float32)  # many are equal
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    got, expected = top_of_rows(jnp.asarray(scores), k, block=block), jax.lax.top_k(jnp.asarray(scores), k)
    for mine, reference in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, reference)


@pytest.mark.parametrize("filter_seen", [True, False])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_top_items_against_a_sort(model, data, k, filter_seen, monkeypatch):
    monkeypatch.setattr(importlib.import_module("curriculum_rec.inference.recommend"), "BATCH", 8)
    frame = top(model, data, k=k, filter_seen=filter_seen)
    assert frame.columns == ["user", "rank", "item", "score"]
    found = frame.partition_by("user", as_dict=True, maintain_order=True)
    assert [user for (user,) in found] == data.users.ids.to_list()
    for (user,), rows in found.items():
        items, scores = sorted_top(model, data, user, k=k, filter_seen=filter_seen)
        assert rows["item"].to_list() == items
        assert rows["rank"].to_list() == list(range(1, len(items) + 1))
        np.testing.assert_allclose(rows["score"], scores, rtol=1e-4, atol=1e-6)


def test_an_ensemble_of_one_model_twice_lists_what_the_model_lists(model, data, monkeypatch):
    monkeypatch.setattr(padded, "PLACES_TO_SPARE", 0)
    listed = Ensemble((Member(*model, MAX_LENGTH, (2,)),) * 2).recommend(data, k=4)
    columns = ["user", "rank", "item"]
    assert listed.select(columns).equals(top(model, data).select(columns))


@pytest.mark.parametrize("name", ["recommend", "ensemble"])
def test_one_long_history_takes_no_more_memory_than_eight_of_its_length(name, monkeypatch):
    """Nobody else's row is as wide, though the model looks at all of a history."""
    module = importlib.import_module(f"curriculum_rec.inference.{name}")
    fold, laid_out = module.fold, []

    def counted(array, size):
        folded = fold(array, size)
        laid_out.append(folded.nbytes)
        return folded

    monkeypatch.setattr(module, "fold", counted)
    monkeypatch.setattr(padded, "PLACES_TO_SPARE", 0)
    monkeypatch.setattr(importlib.import_module("curriculum_rec.inference.recommend"), "BATCH", 8)

    def n_bytes(lengths):
        rows = [(user, item) for user, n in enumerate(lengths) for item in range(n)]
        data = clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s")
        model = split_model(MostPop()(n_items=data.n_items, max_length=MAX_LENGTH, rngs=nnx.Rngs(0)))
        laid_out.clear()
        if name == "recommend":
            top(model, data)
        else:
            Ensemble((Member(*model, MAX_LENGTH, ()),) * 2).recommend(data, k=4)
        return sum(laid_out)

    n, arrays = 1024, 3 if name == "ensemble" else 1
    others = [3, 5, 20, 60] * 50
    assert n_bytes([*others, n]) <= n_bytes(others) + 8 * 4 * n * arrays


def test_no_users_get_no_rows_of_the_same_columns(model, data):
    assert top(model, data, users=[]).schema == top(model, data, users=["u1"]).schema
    assert len(top(model, data, users=[])) == 0


def test_chosen_users_come_in_the_wanted_order(model, data):
    everyone = top(model, data)
    frame = top(model, data, users=["u7", "u12", "u3"])
    assert frame["user"].unique(maintain_order=True).to_list() == ["u7", "u12", "u3"]
    # Scores may differ in the last bit with the place in the batch, items may not.
    assert frame.filter(user="u12")["item"].to_list() == everyone.filter(user="u12")["item"].to_list()


def test_integer_ids_come_back_as_integers(model):
    rows = [(user, 100 + (user * n) % 5) for user in (30, 4, 5) for n in range(1, 4)]
    numbers = clean(pl.DataFrame(rows, schema=["user", "item"], orient="row"), {}, source="s")
    built = SASRec(width=8, depth=1)(n_items=numbers.n_items, max_length=MAX_LENGTH, rngs=nnx.Rngs(0))
    frame = top(split_model(built), numbers, k=2, users=["30"], filter_seen=False)
    assert frame["user"].to_list() == [30, 30]
    assert set(frame["item"]) <= set(range(100, 105))


@pytest.mark.parametrize("k", [0, 13, -1])
def test_k_lies_within_the_catalogue(model, data, k):
    with pytest.raises(OptionError, match=f"k={k}: it must lie between 1 and the 12 items"):
        top(model, data, k=k)


def test_unknown_user_is_named(model, data):
    with pytest.raises(DataError, match=r"user 'nobody' does not occur.*such as u0, u1, u10"):
        top(model, data, users=["u1", "nobody"])


@pytest.mark.parametrize("ending", WRITTEN)
def test_written_files_read_back(tmp_path, model, data, ending):
    frame = top(model, data)
    path = tmp_path / "new" / f"top{ending}"
    write_frame(path, frame)
    back = WRITTEN[ending](path)
    assert back.columns == frame.columns
    assert back.select("user", "item").rows() == frame.select("user", "item").rows()
    np.testing.assert_allclose(back["score"], frame["score"], rtol=1e-5)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_files_that_cannot_be_written(tmp_path, model, data):
    frame = pl.DataFrame({"a": [1]})
    with pytest.raises(OptionError, match=r"x\.txt: its ending must be one of \.parquet, \.csv, \.jsonl"):
        write_frame(tmp_path / "x.txt", frame)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        write_frame(tmp_path / "folder.csv", frame)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_frame(tmp_path / "file" / "x.csv", frame)
