"""Every experiment on rows composes and builds with every model of rows, or says in a sentence why it cannot."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from flax import nnx
from hydra import compose, initialize_config_module

from curriculum_rec import config
from curriculum_rec.errors import OptionError

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
MODELS = ("logistic_regression", "mlp_classifier", "residual_classifier", "transformer_classifier", "wide_deep",
          "deepfm", "dcn_v2", "din", "neumf")  # fmt: skip
N = 80

WORDS = {
    "criteo": ["data.path=criteo.csv"],
    "avazu": ["data.path=avazu.csv"],
    "avazu_din": ["data.path=avazu.csv"],
    "ml100k_ratings": [],
    "ml100k_stars": [],
    "ten_classes": ["data.path=data.npy", "data.labels=labels.npy"],
    "transformer_ten_classes": ["data.path=data.npy", "data.labels=labels.npy"],
}
"""The experiments, and where their data are."""

NO_HISTORY = "model=din weighs what a user did before, and no feature says it"
NO_USER = "model.user=user must name one categorical feature"
REFUSED = {
    ("criteo", "din"): NO_HISTORY,
    ("criteo", "neumf"): NO_USER,
    ("avazu", "din"): NO_HISTORY,
    ("avazu", "neumf"): NO_USER,
    ("avazu_din", "neumf"): NO_USER,
    ("ten_classes", "deepfm"): "one logit, for two classes or a number, and the label has 10",
    ("ten_classes", "din"): NO_HISTORY,
    ("ten_classes", "neumf"): NO_USER,
    **{
        ("transformer_ten_classes", name): r"option 'model\.\w+' does not exist"
        for name in MODELS
        if name != "transformer_classifier"
    },
}
"""What does not go together, and the sentence that says so."""


def built(name, *words):
    config.register()
    place = f"hydra.searchpath=['file://{EXPERIMENTS}']"
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return config.build_experiment(
            config.to_data(compose("train", [place, f"experiment={name}", *words])), trusted=()
        )


def test_every_experiment_on_rows_is_among_them():
    texts = {path.stem: path.read_text() for path in (EXPERIMENTS / "experiment").glob("*.yaml")}
    of_rows = {name for name, text in texts.items() if "override /task:" in text}
    assert of_rows | {"avazu_din"} == set(WORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A few rows of the form of each data set."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    flip, code = np.arange(N) % 2, lambda: rng.integers(0, 5, N)
    criteo = {"label": flip, **{f"I{n}": code() for n in range(13)}, **{f"C{n}": code() for n in range(26)}}
    pl.DataFrame(criteo).write_csv(folder / "criteo.csv", separator="\t", include_header=False)
    columns = built("avazu", "data.path=x.csv").features.interaction.features["categories"].columns
    avazu = {"click": flip, "hour": 14102100 + np.arange(N) % 24, **{name: code() for name in columns}}
    pl.DataFrame(avazu).write_csv(folder / "avazu.csv")
    ratings = pl.DataFrame({"user": code(), "item": rng.integers(0, 20, N), "rating": 3 + flip, "time": np.arange(N)})
    ratings.write_csv(folder / "u.data", separator="\t", include_header=False)
    users = [f"{n}|{20 + n}|F|artist|{n}" for n in range(5)]
    (folder / "u.user").write_text("\n".join(users) + "\n")
    items = [f"{n}|word{n % 10} word{n // 2}|||{'|0|1' * 9}|1" for n in range(20)]
    (folder / "u.item").write_text("\n".join(items) + "\n")
    np.save(folder / "data.npy", rng.normal(size=(N, 6)))
    np.save(folder / "labels.npy", np.arange(N) % 10)
    return folder


@pytest.fixture(scope="module")
def inputs_of(folder):
    """What an experiment's own model is told of these rows."""

    @cache
    def read(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            return built(name, *WORDS[name]).read().inputs

    return read


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_one_word(name, model, inputs_of):
    def build():
        return built(name, *WORDS[name], f"model={model}").build_model(inputs_of(name))

    if (name, model) in REFUSED:
        with pytest.raises(OptionError, match=REFUSED[name, model]):
            nnx.eval_shape(build)
    else:
        assert type(nnx.eval_shape(build)).__module__.startswith("curriculum_rec.models.")


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
