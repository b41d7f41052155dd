"""Every YAML file composes and builds, and lists exactly the options of its component."""

import inspect
from importlib import resources
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from curriculum_rec import config, help_texts
from curriculum_rec.components import _find, build
from curriculum_rec.compression import Compression
from curriculum_rec.errors import OptionError
from curriculum_rec.evaluation.policies import Policy
from curriculum_rec.training.experiment import Experiment

CONF = Path(str(resources.files("curriculum_rec.conf")))
COMMANDS = (
    "train",
    "resume",
    "evaluate",
    "recommend",
    "score",
    "compress",
    "inspect",
    "replay",
    "prequential",
    "show",
    "track",
)
ALL_CHOICES = sorted(
    (path.parent.relative_to(CONF).as_posix(), path.stem) for path in CONF.rglob("*.yaml") if path.parent != CONF
)
CHOICES = [(group, name) for group, name in ALL_CHOICES if group not in ("method", "policy")]
METHODS = [name for group, name in ALL_CHOICES if group == "method"]
POLICIES = [name for group, name in ALL_CHOICES if group == "policy"]
PLACES = {
    "distillation/term": "distillation/term@stages.student.distil.terms.first",
    "distillation/teacher": "distillation/teacher@stages.student.distil.teacher",
    "augmentation": "augmentation@objective.views",
    **{group: f"{group}@stages.train.{group.split('/')[1]}" for group in ("stages/until", "stages/freeze")},
    "cleaning/rule": "+cleaning/rule@cleaning.further",
    "features/feature": "+features/feature@features.interaction.features.first",
    "features/reduce": "+features/reduce@features.interaction.reduce.fewer",
}
"""Where a choice goes that belongs to a stage; elsewhere the group itself says it."""
TEACHER = "stages.student.distil.teacher"
DISTIL = {
    "run": [f"~{TEACHER}.stage", f"{TEACHER}.run=runs/x"],
    "average": [f"~{TEACHER}.stage"],
    "ensemble": [
        f"~{TEACHER}.stage",
        *(f"+distillation/teacher@{TEACHER}.members.{n}=stage" for n in ("a", "b")),
        *(f"{TEACHER}.members.{n}.stage=teacher" for n in ("a", "b")),
    ],
    "trajectory": [
        f"~{TEACHER}.stage",
        "distillation/term@stages.student.distil.terms.first=easy_to_hard",
        *(f"+distillation/teacher@{TEACHER}.versions.{n}=stage" for n in ("a", "b")),
        *(f"{TEACHER}.versions.{n}.stage=teacher" for n in ("a", "b")),
    ],
}
TAUGHT = ["curriculum=ordered", "curriculum/pacing=constant"]
POINTWISE = {
    ("split", "random_rows"),
    ("split", "latest_rows"),
    ("split", "row_folds"),
    ("examples", "pointwise"),
    ("evaluation", "classification"),
    ("objective", "cross_entropy"),
    ("objective", "logistic"),
    ("objective", "focal"),
    ("model", "logistic_regression"),
    ("model", "mlp_classifier"),
    ("model", "residual_classifier"),
    ("model", "transformer_classifier"),
    ("model", "wide_deep"),
    ("model", "deepfm"),
    ("model", "dcn_v2"),
    ("model", "din"),
    ("model", "neumf"),
}
"""Choices of the other task."""
REGRESSION = {("objective", "mse"), ("evaluation", "regression")}
A_FEATURE = "+features/feature@features.interaction.features.first=numeric"
FEATURE_OPTIONS = {
    "dense": ["features.interaction.features.first.path=x.parquet"],
    **{
        name: [A_FEATURE, "features.interaction.reduce.fewer.of=[first]"]
        for name in ("pca", "truncated_svd", "linear_discriminant", "topic_model")
    },
}
NEEDS = {
    ("data", "sequences"): ["data.path=x.txt"],
    ("data", "table"): ["data.path=x.csv"],
    ("data", "store"): ["data.path=x.store"],
    ("data", "log"): ["data.path=x.log"],
    ("data", "sqlite"): ["data.path=x.db", "data.table=events"],
    ("data", "postgresql"): ["data.uri=postgresql://me@localhost/shop", "data.table=events"],
    ("data", "joined"): [
        f"+data.sources.{name}={{_target_:curriculum_rec.data.sources.TableFile,path:{name}.csv,user:user,item:item,"
        "timestamp:timestamp,others:null,timestamp_format:auto,time_zone:null,format:auto,separator:null,quote:null,"
        "columns:null,encoding:utf8,sha256:null}"
        for name in ("books", "films")
    ],
    ("model", "bert4rec"): ["objective=masked_item"],
    ("objective", "masked_item"): ["model=bert4rec"],
    **{(group, name): ["objective=contrastive"] for group, name in CHOICES if group == "augmentation"},
    ("augmentation", "none"): ["objective=contrastive", "objective.pair=dropout"],
    ("data", "rows"): ["task=pointwise", A_FEATURE, "data.path=x.csv"],
    ("data", "arrays"): ["task=pointwise", "data.path=x.npy", "data.labels=y.npy"],
    **{(group, name): ["task=pointwise"] for group, name in CHOICES if (group, name) in POINTWISE},
    **{choice: ["task=regression"] for choice in REGRESSION},
    **{
        (group, name): ["task=pointwise", *FEATURE_OPTIONS.get(name, [])]
        for group, name in CHOICES
        if group.startswith("features/")
    },
    ("cleaning/rule", "fill_missing"): ["+cleaning.further.values={price:0}"],
    ("cleaning/rule", "out_of_range"): ["cleaning.further.low=1"],
    ("cleaning/rule", "incomplete"): ["cleaning.further.columns=[price]"],
    ("cleaning/rule", "outliers"): ["cleaning.further.columns=[price]"],
    ("cleaning/rule", "inhuman_activity"): ["cleaning.further.total=1000"],
    ("split", "user_folds"): ["fold=0"],
    ("split", "interaction_folds"): ["fold=4"],
    ("split", "row_folds"): ["task=pointwise", "fold=2"],
    ("stages", "grow_2_4"): ["growth=stack"],
    ("stages", "proportional"): ["growth=stack"],
    ("stages", "prefixes"): ["growth=prefix"],
    ("growth", "per_field"): ["stages=grow_fields"],
    ("stages", "rewind"): [
        "stages.train.warm_start.run=runs/x",
        "stages.train.warm_start.checkpoint=500",
        "optimizer=pruned",
        "optimizer.sparsity=null",
    ],
    **{(group, name): ["growth=interleave"] for group, name in CHOICES if group.startswith("growth/")},
    ("stages", "distil_from_growth"): ["growth=stack"],
    **{
        (group, name): ["stages=distil", *DISTIL.get(name, [])] for group, name in CHOICES if group.startswith("distil")
    },
    ("stages", "grow_2_4_8"): ["growth=stack"],
    ("stages", "grow_then_distil"): ["growth=stack"],
    ("stages", "continual"): ["growth=stack"],
    ("stages", "distil_from_run"): ["stages.student.distil.teacher.run=runs/x"],
    **{(group, name): ["objective=bce"] for group, name in CHOICES if group == "objective/negatives"},
    ("objective/negatives", "in_batch"): ["objective=sampled_softmax"],
    ("weighting", "reducible"): ["weighting.reference=x.parquet"],
    **{(group, name): ["curriculum=ordered"] for group, name in CHOICES if group.startswith("curriculum/")},
    ("curriculum/sampler", "mixture"): ["curriculum=ordered", "curriculum.sampler.weights={books:1,films:2}"],
    ("curriculum/sampler", "taught"): TAUGHT,
    **{
        (group, name): [*TAUGHT, "curriculum/sampler=taught"]
        for group, name in CHOICES
        if group == "curriculum/sampler/teacher"
    },
    ("curriculum", "file"): ["curriculum.difficulty.path=x.csv"],
    ("curriculum/difficulty", "file"): ["curriculum=ordered", "curriculum.difficulty.path=x.csv"],
}


def composed(command, overrides=()):
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        return compose(command, list(overrides))


def nodes(data, path=""):
    """Yield every node with a target, and where it stands."""
    if isinstance(data, dict):
        if "_target_" in data:
            yield path, data
        for name, value in data.items():
            yield from nodes(value, f"{path}.{name}")


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_builds_and_lists_all_options(group, choice):
    if choice == "ray_local":
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    data = config.to_data(composed("train", [*NEEDS.get((group, choice), []), f"{PLACES.get(group, group)}={choice}"]))
    assert isinstance(config.build_experiment(data, trusted=()), Experiment)
    found = list(nodes(data))
    assert len(found) >= 9
    for path, node in found:
        parameters = inspect.signature(_find(node["_target_"], path, ())).parameters
        assert set(node) - {"_target_"} == set(parameters), path


@pytest.mark.parametrize("choice", METHODS)
def test_every_method_composes_builds_and_lists_all_options(choice):
    data = config.to_data(composed("compress", ["run=x", f"method={choice}"]))
    assert isinstance(build(data["method"], "method"), Compression)
    [(path, node)] = nodes(data)
    assert set(node) - {"_target_"} == set(inspect.signature(_find(node["_target_"], path, ())).parameters)
    lines = [line for line in help_texts.COMPRESS.splitlines() if line.strip().startswith(f"{choice} ")]
    assert len(lines) == 1
    assert all(f".{option}=" in lines[0] for option in set(node) - {"_target_"})


@pytest.mark.parametrize("choice", POLICIES)
def test_every_policy_composes_builds_and_lists_all_options(choice):
    data = config.to_data(composed("replay", ["run=x", "log=y", f"policy={choice}"]))
    assert isinstance(build(data["policy"], "policy"), Policy)
    for path, node in nodes(data):
        assert set(node) - {"_target_"} == set(inspect.signature(_find(node["_target_"], path, ())).parameters)
        assert all(f".{option}=" in help_texts.REPLAY for option in set(node) - {"_target_"})


@pytest.mark.parametrize(("group", "choice"), ALL_CHOICES)
def test_defaults_in_yaml_are_those_of_the_class(group, choice):
    # A person who calls the class gets what a person who names the YAML gets, stages' lengths and growth's map aside.
    for path, node in nodes(OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml"))):
        parameters = inspect.signature(_find(node["_target_"], path, ())).parameters
        for name in set(node) & set(parameters):
            default = parameters[name].default
            if (
                name not in ("order", "longer")
                and isinstance(default, int | float | str | tuple)
                and group not in ("stages", "growth", "placement", "stages/freeze")
                and not (group == "data" and path == ".cleaning.k_core")  # as papers on that data set have it
            ):
                given = tuple(node[name]) if isinstance(node[name], list) else node[name]
                assert given == default, f"{path}.{name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command):
    needed = {"train": [], "prequential": [], "replay": ["run=x", "log=y"]}
    data = config.to_data(composed(command, needed.get(command, ["run=x"])))
    assert "hydra" not in data
    if command not in ("train", "score", "prequential", "evaluate"):  # evaluate takes run or runs
        with pytest.raises(OptionError, match="run is not set: give it as run=VALUE"):
            config.to_data(composed(command, needed.get(command, ["run=x"])[1:]))


def test_help_names_every_group_and_choice():
    for group, choice in CHOICES:
        if group == "curriculum/difficulty":  # chosen by curriculum=...
            continue
        assert group in help_texts.TRAIN
        assert choice in help_texts.TRAIN


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command):
    plain = {name for name, value in composed(command).items_ex(resolve=False) if not OmegaConf.is_dict(value)}
    text = help_texts.COMMANDS[command]
    unnamed = {name for name in plain if f"{name}=" not in text}
    assert unnamed <= {"name", "steps_per_dispatch", "keep_checkpoints"}


def test_an_audit_takes_an_experiment_and_options_of_its_own():
    words = ["experiment=quickstart", "seed=5", "difficulties=[length]", "scores=[a.parquet]", "examples.max_length=7"]
    data = config.to_data(composed("audit", words))
    train = config.to_data(composed("train", words[:2]))
    assert "hydra" not in data
    assert (data["difficulties"], data["scores"], data["examples"]["max_length"]) == (["length"], ["a.parquet"], 7)
    for name, value in train.items():  # whatever train knows, an audit knows, too
        assert name == "examples" or data[name] == value, name
    for name in set(data) - set(train):
        assert f"{name}=" in help_texts.COMMANDS["audit"]


@pytest.mark.parametrize(
    "empty",
    [name for name in config.COMPONENTS if name not in ("growth", "cleaning", "features", "noise", "weighting")],
)
def test_empty_components_are_refused(empty):
    data = config.to_data(composed("train"))
    with pytest.raises(OptionError, match=f"^{empty} is empty"):
        config.build_experiment(data | {empty: {}}, trusted=())


@pytest.mark.parametrize("part", ["growth", "cleaning", "noise", "weighting"])
def test_growth_cleaning_noise_and_weighting_may_be_empty(part):
    data = config.to_data(composed("train"))
    assert not getattr(config.build_experiment(data | {part: {}}, trusted=()), part)


@pytest.mark.parametrize(
    ("part", "node"),
    [
        ("evaluation", {"_target_": "curriculum_rec.data.cleaning.KCore"}),
        ("examples", {"_target_": "curriculum_rec.data.splits.LeaveOneOut"}),
        ("optimizer", {"_target_": "curriculum_rec.data.splits.LeaveOneOut"}),
        ("stages", {"train": 5}),
        ("stages", {"train": {"_target_": "curriculum_rec.data.splits.LeaveOneOut"}}),
        ("cleaning", {"missing": None}),
        ("cleaning", {"missing": "yes"}),
    ],
)
def test_components_of_another_kind_are_refused(part, node):
    data = config.to_data(composed("train"))
    with pytest.raises(OptionError, match=f"^{part}"):
        config.build_experiment(data | {part: node}, trusted=())


def test_the_hash_identifies_the_experiment_and_not_its_place():
    data = config.to_data(composed("train", ["data=sequences", "data.path=/a/x.txt"]))
    same = data | {"run_dir": "b", "progress": False, "data": data["data"] | {"path": "/c/x.txt"}}
    assert config.config_hash(data) == config.config_hash(same)
    for changed in ({"seed": 1}, {"model": data["model"] | {"width": 8}}, {"data": data["data"] | {"path": "/a/y"}}):
        assert config.config_hash(data) != config.config_hash(data | changed)


def test_options_that_came_later_leave_the_hash_as_it_was_where_they_change_nothing():
    data = config.to_data(composed("train"))
    before = data | {"model": {name: value for name, value in data["model"].items() if name != "item_table"}}
    assert "item_table" in data["model"] and config.config_hash(data) == config.config_hash(before)
    asked = {name: value for name, value in data["evaluation"].items() if name != "metrics"}
    assert config.config_hash(data) == config.config_hash(data | {"evaluation": asked})
    more = config.to_data(composed("train", ["evaluation.metrics=[gini]"]))
    assert config.config_hash(more) != config.config_hash(data)
    hashed = config.to_data(composed("train", ["model/item_table=hashed"]))
    assert config.config_hash(hashed) != config.config_hash(data)
    without = {name: value for name, value in data["model"].items() if name != "cosine_scale"}
    assert config.config_hash(data | {"model": without}) != config.config_hash(data)


@pytest.mark.parametrize("choice", ["table", "log", "sqlite", "sequences"])
def test_paths_of_sources_become_absolute(choice):
    words = [word.replace("data.path=x", "data.path=logs/*x") for word in NEEDS["data", choice]]
    data = config.absolute_paths(config.to_data(composed("train", [f"data={choice}", *words])))
    assert data["data"]["path"].startswith(str(Path.cwd() / "logs" / "*x"))


def test_written_configurations_read_back(tmp_path):
    data = config.to_data(composed("train", ["experiment=quickstart"]))
    (tmp_path / "config.yaml").write_text(config.config_text(data))
    experiment, back = config.experiment_of_run(config.RunDirectory(tmp_path), trusted=())
    assert back == data
    assert experiment == config.build_experiment(data, trusted=())
