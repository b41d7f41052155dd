"""Ray Data's workers make the store that one machine makes, row for row."""

import warnings

import pytest
from stored_tables import small, write_table

from curriculum_rec.data.sources import TableFile
from curriculum_rec.data.store import engines
from curriculum_rec.data.store.engines import Here, OnRay
from curriculum_rec.data.store.prepare import Recipe, prepare
from curriculum_rec.errors import OptionError, RunError


def test_one_part_after_the_other():
    assert Here().map(lambda part, more: part * more, [1, 3], more=10) == [10, 30]


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(OptionError, match=r"pip install 'curriculum-rec\[ray_data\]'"):
        OnRay().map(print, [1])


def test_a_mistake_of_a_worker_comes_back_as_its_sentence():
    def refuse(part):
        raise RunError(f"part {part} is wrong")

    assert "part 3 is wrong" in engines._call({"part": 3}, function=refuse, options={})["result"]


@pytest.mark.slow
def test_a_local_ray_of_two_workers_makes_the_same_store(tmp_path, monkeypatch):
    pytest.importorskip("ray.data")
    monkeypatch.setattr(Recipe, "__post_init__", lambda self: None)
    for number in range(3):
        (tmp_path / "table").mkdir(exist_ok=True)
        write_table(tmp_path / "table" / f"{number}.parquet", seed=number)
    recipe = small(TableFile(str(tmp_path / "table" / "0.parquet")), 4)
    recipe = Recipe(TableFile(str(tmp_path / "table")), recipe.rules, recipe.split, recipe.memory_bytes)
    here = prepare(recipe, tmp_path / "here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        try:
            there = prepare(recipe, tmp_path / "there", engine=OnRay(workers=2))
        finally:
            import ray

            ray.shutdown()
    assert there == here
    assert len(here.shards) > 3
    for file in sorted((tmp_path / "here").iterdir()):
        assert file.read_bytes() == (tmp_path / "there" / file.name).read_bytes(), file.name
