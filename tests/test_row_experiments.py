"""The experiments on rows compose and build with every model of rows."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from curriculum_rec import config

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
MODELS = ("logistic_regression", "mlp_classifier", "residual_classifier", "transformer_classifier", "wide_deep",
          "deepfm", "dcn_v2", "din", "neumf")  # fmt: skip


def built(name, *words):
    config.register()
    place = f"hydra.searchpath=['file://{EXPERIMENTS}']"
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return config.build_experiment(
            config.to_data(compose("train", [place, f"experiment={name}", *words])), trusted=()
        )


@pytest.mark.parametrize("name", ["criteo", "avazu", "ml100k_ratings", "ml100k_stars"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_one_word(name, model):
    experiment = built(name, f"model={model}", "data.path=x.csv")
    assert type(experiment.model).__module__.startswith("curriculum_rec.models.")


def test_stars_are_numbers():
    experiment = built("ml100k_stars")
    assert (experiment.examples.target, experiment.examples.positive_from) == ("number", None)
    assert experiment.evaluation.metric == "r2"
    assert experiment.features == built("ml100k_ratings").features


def test_avazu_with_histories():
    experiment = built("avazu_din", "data.path=x.csv")
    features = built("avazu", "data.path=x.csv").features.interaction.features
    assert experiment.features.interaction.features == features | {
        "clicked": experiment.features.interaction.features["clicked"]
    }
    assert experiment.features.interaction.features["clicked"].label == "click"
