"""Checkpoints: what goes in comes out, damage is noticed and named, and the one before is used."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from curriculum_rec.errors import CheckpointError
from curriculum_rec.training.checkpoint import Checkpoints, flatten, unflatten

ARRAYS = {
    "params.a": np.arange(2000, dtype=np.float32).reshape(20, 100) ** 0.5,
    "params.b.c": np.array([True, False]),
    "curriculum.position": np.array([1, 2, 3], np.int64),
    "optimizer.count": np.array(7, np.int32),
}


def saved(directory, *steps, keep=3, best=-1):
    checkpoints = Checkpoints(directory, keep=keep)
    for step in steps:
        arrays = {**ARRAYS, "params.a": ARRAYS["params.a"] + step}
        checkpoints.save(step, arrays, {"record": {"x": step}}, pinned=[best])
    checkpoints.wait()
    return checkpoints


def data_files(directory, step):
    files = [path for path in (directory / str(step) / "state").rglob("*") if path.is_file() and "/d/" in str(path)]
    return max(files, key=lambda path: path.stat().st_size)


def test_round_trip_keeps_values_types_and_meta(tmp_path):
    snapshot = saved(tmp_path, 4).restore(4)
    for name, array in ARRAYS.items():
        expected = array + 4 if name == "params.a" else array
        np.testing.assert_array_equal(snapshot.arrays[name], expected)
        assert snapshot.arrays[name].dtype == array.dtype
    assert snapshot.meta["record"] == {"x": 4}


def test_the_newest_are_kept_and_what_they_call_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 6)):
        checkpoints.save(step, ARRAYS, {}, pinned=[best])
    checkpoints.wait()
    assert checkpoints.steps() == [2, 4, 5, 6]  # what was there before the last save: the newest two and their best
    again = Checkpoints(tmp_path, keep=2)
    again.save(7, ARRAYS, {}, pinned=[6])
    again.wait()
    assert again.steps() == [2, 5, 6, 7]  # 5 could still be gone on from, and its best is 2
    again.save(8, ARRAYS, {}, pinned=[6])
    again.wait()
    assert again.steps() == [6, 7, 8]


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_flipped_bit_is_noticed_and_named_and_the_one_before_is_used(tmp_path, place):
    checkpoints = saved(tmp_path, 1, 2)
    path = data_files(tmp_path, 2)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="checkpoint 2 .*the one before it is used"):
        snapshot = checkpoints.restore_newest()
    assert snapshot.step == 1


def test_a_truncated_file_is_noticed(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    path = data_files(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match="checkpoint 2"):
        assert checkpoints.restore_newest().step == 1


def test_a_changed_description_is_noticed(tmp_path):
    checkpoints = saved(tmp_path, 1, 2)
    path = tmp_path / "2" / "meta" / "metadata"
    path.write_text(path.read_text().replace('"x": 2', '"x": 3'))
    with pytest.warns(RuntimeWarning, match="its description changed"):
        assert checkpoints.restore_newest().step == 1


def test_a_step_folder_without_content_is_passed_over(tmp_path):
    saved(tmp_path, 1).close()
    (tmp_path / "9").mkdir()
    with pytest.warns(RuntimeWarning, match="checkpoint 9"):
        assert Checkpoints(tmp_path).restore_newest().step == 1


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    checkpoints = saved(tmp_path, 1)
    path = data_files(tmp_path, 1)
    path.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CheckpointError, match="all 1 checkpoints"):
            checkpoints.restore_newest()


def test_a_damaged_best_is_named_and_the_newest_stands_in(tmp_path):
    checkpoints = saved(tmp_path, 1, 2, 3, best=1)
    assert checkpoints.restore_best(1).step == 1
    path = data_files(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(RuntimeWarning, match="checkpoint 1 .*instead of the best"):
        assert checkpoints.restore_best(1).step == 3


def test_no_checkpoint_is_none(tmp_path):
    assert Checkpoints(tmp_path).restore_newest() is None


def test_flatten_names_leaves_by_path_and_unflatten_undoes_it():
    tree = {"blocks": {"w": jnp.ones((2, 3))}, "list": [jnp.zeros(1), jnp.ones(())]}
    arrays = {name: np.asarray(leaf) for name, leaf in flatten(tree, "params").items()}
    assert set(arrays) == {"params.blocks.w", "params.list.0", "params.list.1"}
    back = unflatten(arrays, "params", tree)
    np.testing.assert_array_equal(back["blocks"]["w"], tree["blocks"]["w"])
    with pytest.raises(CheckpointError, match="params.list.1"):
        unflatten({k: v for k, v in arrays.items() if k != "params.list.1"}, "params", tree)
    with pytest.raises(CheckpointError, match="has shape"):
        unflatten({**arrays, "params.blocks.w": np.ones((3, 3))}, "params", tree)
