"""What is stored is read back: every form, through arrays and JSON."""

import json

import jax
import numpy as np
import pytest

from curriculum_rec import compression
from curriculum_rec.compression.packing import FORMS, dense, pack, unpack
from curriculum_rec.errors import CheckpointError

METHODS = [
    compression.Int8Rows(),
    compression.Int8Affine(),
    compression.Int4Rows(scope="all"),
    compression.LowRank(),
    compression.ProductQuantisation(parts=2, centres=4, rounds=2),
    compression.Hashing(rounds=1),
    compression.QuotientRemainder(rounds=1),
    compression.Magnitude(),
    compression.Dimensions(width=3),
]
PARAMS = {
    "items": {"embedding": np.random.default_rng(0).normal(size=(21, 6)).astype(np.float32)},
    "items2": {"embedding": np.random.default_rng(2).normal(size=(4, 7)).astype(np.float32)},
    "blocks": {"out": {"kernel": np.random.default_rng(1).normal(size=(2, 6, 5)).astype(np.float32)}},
    "norm": {"scale": np.ones(6, np.float32)},
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_forms_come_back_bit_for_bit_through_arrays_and_json(method):
    packed = method(PARAMS, seed=1)
    arrays, description = pack(packed)
    read = unpack(arrays, json.loads(json.dumps(description)))
    whole = {".".join(k.key for k in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(dense(packed))}
    assert set(read) == set(description) <= set(whole)
    for name, array in read.items():
        np.testing.assert_array_equal(array, whole[name])
        assert array.dtype == np.float32
    assert "norm.scale" not in read
    assert sum(array.nbytes for array in arrays.values()) + 4 * sum(
        leaf.size for name, leaf in whole.items() if name not in read
    ) == compression.contract.tree_bytes(packed)


def test_a_form_of_a_later_version_is_named():
    with pytest.raises(CheckpointError, match="'items.embedding' is stored as Ternary"):
        unpack({}, {"items.embedding": {"form": "Ternary"}})


def test_every_form_is_made_by_some_method():
    used = set()
    for method in METHODS:
        used |= {entry["form"] for entry in pack(method(PARAMS, seed=1))[1].values()}
    assert used == set(FORMS)
