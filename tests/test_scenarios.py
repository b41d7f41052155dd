"""The scenario experiments compose and build, and their notes name the command and what was measured."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.data.catalogue import EshopClothing, NamedSet, OnlineRetail

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
DATA = {
    "ecommerce": OnlineRetail(),
    "social": NamedSet("lastfm"),
    "video": NamedSet("movielens_100k"),
    "sessions": EshopClothing(),
}


def built(name, *words):
    config.register()
    place = f"hydra.searchpath=['file://{EXPERIMENTS}']"
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return config.build_experiment(
            config.to_data(compose("train", [place, f"experiment={name}", *words])), trusted=()
        )


@pytest.mark.parametrize("name", DATA)
def test_they_compose_and_build_on_their_data(name):
    assert built(name).data == DATA[name]


def test_the_extract_of_lastfm_is_cleaned_like_the_whole():
    whole, extract = built("social"), built("social", "data=sequences", "data.path=x.txt")
    assert whole.cleaning["duplicates"] == extract.cleaning["duplicates"]
    assert whole.cleaning["duplicates"].same == "user_item"


@pytest.mark.parametrize("name", DATA)
def test_with_features_they_are_the_same_but_for_these(name):
    plain, joined = built(name), built(f"{name}_features")
    assert plain.features is None and joined.features is not None and joined.features.interaction is None
    for part in ("data", "split", "examples", "model", "objective", "optimizer", "stages", "evaluation", "cleaning"):
        assert getattr(joined, part) == getattr(plain, part), part
    note = (EXPERIMENTS / name / "README.md").read_text()
    assert f"experiment={name}_features" in note


@pytest.mark.parametrize("name", DATA)
def test_their_notes_name_the_command_and_the_result(name):
    note = (EXPERIMENTS / name / "README.md").read_text()
    assert f"curriculum-rec train experiment={name}" in note
    assert "**Features.**" in note
    assert len(re.findall(r"^\| NDCG@10 \| \.\d{4} \| \.\d{4} \|$", note, flags=re.MULTILINE)) == 1
