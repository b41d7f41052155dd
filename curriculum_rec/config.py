"""Hydra and OmegaConf (host): typed top-level configuration, and from it to an experiment. Below here: dataclasses.

What an experiment is made of is imported when one is built, so that commands that only read runs start at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from yaml import YAMLError

from curriculum_rec.components import TARGET, build, check_type
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.tracking.contract import Tracker
from curriculum_rec.tracking.mirror import Mirror
from curriculum_rec.training.run_directory import OnExisting, RunDirectory

if TYPE_CHECKING:
    import curriculum_rec.training.experiment

Node = dict[str, Any]
COMPONENTS = (
    "data",
    "cleaning",
    "features",
    "split",
    "noise",
    "examples",
    "model",
    "objective",
    "optimizer",
    "curriculum",
    "weighting",
    "growth",
    "stages",
    "placement",
    "evaluation",
)
LATER = {"features"}
"""Components that runs of earlier versions do not have."""

LATER_OPTIONS: dict[str, dict[str, Any]] = {
    "model": {
        "item_table": {},
        "item_features": "add",
        "user_features": "add",
        "dense_vectors": "frozen",
        "time_features": "none",
        "example_age": "none",
    },
    "evaluation": {"metrics": None, "targets": None, "item_chunk": None, "groups": None},
}
"""Options of components that earlier versions do not have, with what they did: so set, they change no hash."""

CACHE = "~/.cache/curriculum_rec"
"""Where compiled programs lie unless a person says otherwise."""

SCORE_CACHE = "~/.cache/curriculum_rec/scores"
"""Where what teachers said of targets lies unless a person says otherwise."""

NOT_PART_OF_THE_EXPERIMENT = (
    "fold",  # a part of the split, which says it too
    "run_dir",
    "on_existing",
    "progress",
    "trusted_packages",
    "distributed",
    "profile",
    "compilation_cache",
    "score_cache",
    "tracking",
)


@dataclass
class TrainConfig:
    """``curriculum-rec train``.

    Attributes:
        name: Name of the experiment; the default run directory has it.
        seed: Decides everything random.
        fold: Which fold of a split that has folds is tested, from 0.
        run_dir: Where the run is kept; None makes ``runs/NAME/DATE_TIME``.
        on_existing: What happens if ``run_dir`` holds a run: ``refuse``, ``replace`` or ``resume``.
        progress: How it is shown: ``rich``, ``plain`` or ``none``; ``auto`` is rich in a terminal and plain elsewhere.
        steps_per_dispatch: Most steps that one call to the device makes.
        checkpoint_every_steps: Steps between checkpoints, besides those at evaluations.
        keep_checkpoints: The newest checkpoints that are kept, besides the best.
        precision: What models compute in, ``float32`` or ``bfloat16``; parameters and optimizer are float32.
        accumulate: Parts into which a device cuts its share of a batch, one after the other, for memory.
        distributed: How the hosts of this run find each other: ``env``, ``slurm`` or ``auto``; None is one host alone.
        profile: Whether a few chunks of every stage are traced, into ``profile/`` of the run directory.
        compilation_cache: Folder for compiled programs that later runs load; None compiles everything anew.
        score_cache: Folder for what teachers said of targets, where later runs find it; None keeps it in the run alone.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
    """

    name: str = "train"
    seed: int = 0
    fold: int | None = None
    run_dir: str | None = None
    on_existing: str = "refuse"
    progress: str = "auto"
    steps_per_dispatch: int = 16
    checkpoint_every_steps: int | None = None
    keep_checkpoints: int = 3
    precision: str = "float32"
    accumulate: int = 1
    distributed: str | None = None
    profile: bool = False
    compilation_cache: str | None = CACHE
    score_cache: str | None = SCORE_CACHE
    trusted_packages: list[str] = field(default_factory=list)
    data: Node = field(default_factory=dict)
    cleaning: Node = field(default_factory=dict)
    features: Node = field(default_factory=dict)
    split: Node = field(default_factory=dict)
    noise: Node = field(default_factory=dict)
    examples: Node = field(default_factory=dict)
    model: Node = field(default_factory=dict)
    objective: Node = field(default_factory=dict)
    optimizer: Node = field(default_factory=dict)
    curriculum: Node = field(default_factory=dict)
    weighting: Node = field(default_factory=dict)
    growth: Node = field(default_factory=dict)
    stages: Node = field(default_factory=dict)
    placement: Node = field(default_factory=dict)
    evaluation: Node = field(default_factory=dict)
    tracking: Node = field(default_factory=dict)


@dataclass
class ResumeConfig:
    """``curriculum-rec resume``."""

    run: str = MISSING
    progress: str = "auto"
    distributed: str | None = None
    compilation_cache: str | None = CACHE
    score_cache: str | None = SCORE_CACHE
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class EvaluateConfig:
    """``curriculum-rec evaluate``; None takes the (first) run's own choice, and ``part`` is written ``split=``.

    Attributes:
        run: The run.
        runs: Several runs instead, on the same data and split.
        ensemble: How several are also evaluated as one: ``mean`` of scores or ``borda``, of places.
        part: ``test`` or ``validation``.
        checkpoint: ``best``, ``newest`` or the number of a step.
        k: Cut-offs.
        metrics: What is measured.
        targets: ``each`` held-out item alone or a user's ``together``.
        filter_seen: Whether items of the user's history are no candidates.
        item_chunk: Items scored at once.
        groups: Column of the data with items' groups, such as genres.
        slices: What questions are cut by: ``activity``, ``popularity``, ``cold``.
        intervals: Whether each number gets its bootstrap interval over users.
        report: A file for all numbers, .json, .csv, .jsonl or .parquet.
        data_path: Where the data file lies now, if it moved.
        output: A file for one row a target.
        compilation_cache: Folder for compiled programs; None compiles everything anew.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
    """

    run: str | None = None
    runs: list[str] | None = None
    ensemble: str | None = None
    part: str = "test"
    checkpoint: str = "best"
    k: list[int] | None = None
    metrics: list[str] | None = None
    targets: str | None = None
    filter_seen: bool | None = None
    item_chunk: int | None = None
    groups: str | None = None
    slices: list[str] = field(default_factory=list)
    intervals: bool = False
    report: str | None = None
    data_path: str | None = None
    output: str | None = None
    compilation_cache: str | None = CACHE
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class RecommendConfig:
    """``curriculum-rec recommend``."""

    run: str = MISSING
    k: int = 10
    users: list[str] | None = None
    filter_seen: bool = True
    checkpoint: str = "best"
    output: str | None = None
    data_path: str | None = None
    compilation_cache: str | None = CACHE
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class ScoreConfig(TrainConfig):
    """``curriculum-rec score``; what concerns training alone has no effect.

    Attributes:
        run: A run whose data, model and curriculum are taken; None takes those of this configuration.
        data_path: Where the run's data file lies now, if it moved.
        output: The file that is written.
    """

    run: str | None = None
    data_path: str | None = None
    output: str = "scores.parquet"


@dataclass
class CompressConfig:
    """``curriculum-rec compress``.

    Attributes:
        run: The run whose model is compressed.
        run_dir: Where the compressed run is kept; None makes ``RUN-METHOD`` beside the run.
        on_existing: What happens if ``run_dir`` holds a run: ``refuse`` or ``replace``.
        checkpoint: ``best``, ``newest`` or the number of a step.
        data_path: Where the run's data file lies now, if it moved.
        compilation_cache: Folder for compiled programs; None compiles everything anew.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
        method: How it is compressed.
    """

    run: str = MISSING
    run_dir: str | None = None
    on_existing: str = "refuse"
    checkpoint: str = "best"
    data_path: str | None = None
    compilation_cache: str | None = CACHE
    trusted_packages: list[str] = field(default_factory=list)
    method: Node = field(default_factory=dict)


@dataclass
class InspectConfig:
    """``curriculum-rec inspect``; ``run`` is one folder or a list.

    Attributes:
        run: The runs.
        against: What the horizontal axis counts: ``step``, ``seconds`` or ``operations``.
        output: Where the picture or the page goes.
    """

    run: Any = MISSING
    against: str = "step"
    output: str | None = None


@dataclass
class ListConfig:
    """``curriculum-rec list``.

    Attributes:
        folders: Where run directories are looked for.
        sort: A column; with a minus before it, the greatest first.
        metric: The metric that is shown; None takes each run's own.
        output: ``table``, ``csv`` or ``json`` on standard output, or a file that ends in .csv or .json.
    """

    folders: list[str] = field(default_factory=lambda: ["runs"])
    sort: str = "age"
    metric: str | None = None
    output: str = "table"


@dataclass
class ShowConfig:
    """``curriculum-rec show``."""

    run: str = MISSING


@dataclass
class CompareConfig:
    """``curriculum-rec compare``.

    Attributes:
        runs: Run directories; the first is what the others are compared with.
        metric: The metric whose differences are tested; None takes the first run's own.
    """

    runs: list[str] = MISSING
    metric: str | None = None


@dataclass
class TrackConfig:
    """``curriculum-rec track``.

    Attributes:
        run: The run whose rows are sent.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
        tracking: Where they are sent.
    """

    run: str = MISSING
    trusted_packages: list[str] = field(default_factory=list)
    tracking: Node = field(default_factory=dict)


@dataclass
class AuditConfig(TrainConfig):
    """``curriculum-rec audit``: an experiment, of which data and examples are read, and what is to be audited.

    Attributes:
        difficulties: Names of the group ``curriculum/difficulty``.
        scores: Parquet files of scores, or folders of such files, one a seed.
        flagged: Parquet file of interactions that are known to be wrong.
        runs: Runs whose losses by difficulty are drawn.
        seeds: How many seeds of a difficulty that chance plays a part in.
        output: Where the page is written.
    """

    difficulties: list[str] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)
    flagged: str | None = None
    runs: list[str] = field(default_factory=list)
    seeds: int = 4
    output: str = "audit.html"


@dataclass
class PrequentialConfig(TrainConfig):
    """``curriculum-rec prequential``: an experiment, and how time is cut.

    Attributes:
        windows: How many windows are tested and then trained on.
        warm_up: Share of the data before the first window.
        cut: ``interactions`` makes windows of equally many interactions, ``time`` equally long ones.
        tested: ``all`` interactions of a window, or each user's ``first``.
        validation: Share of what came before a window, the latest, that decides which checkpoint is best.
        update_epochs: Length of the training from the second window on; None takes that of the last stage.
    """

    windows: int = 8
    warm_up: float = 0.5
    cut: str = "interactions"
    tested: str = "all"
    validation: float = 0.05
    update_epochs: float | None = None


@dataclass
class ReplayConfig:
    """``curriculum-rec replay``.

    Attributes:
        run: The run whose model is the policy.
        log: The log, a ``.parquet``, ``.csv`` or ``.jsonl`` file.
        policy: How scores become probabilities.
        candidates: ``column``, ``log`` or ``catalogue``; None takes the log's column where there is one, else ``log``.
        filter_seen: Whether items of the user's history are no candidates.
        reward_model: A model of rewards for the doubly robust estimate; None leaves it out.
        clip: The largest weight of the clipped estimate; None takes the square root of the number of rows.
        level: How often the intervals shall hold the true value.
        seed: Decides what is resampled, and what rejection keeps.
        checkpoint: ``best``, ``newest`` or the number of a step.
        output: A file for the table of estimates.
        data_path: Where the run's data file lies now, if it moved.
        compilation_cache: Folder for compiled programs; None compiles everything anew.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
    """

    run: str = MISSING
    log: str = MISSING
    policy: Node = field(default_factory=dict)
    candidates: str | None = None
    filter_seen: bool = True
    reward_model: Any = None
    clip: float | None = None
    level: float = 0.95
    seed: int = 0
    checkpoint: str = "best"
    output: str | None = None
    data_path: str | None = None
    compilation_cache: str | None = CACHE
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class StudyConfig:
    """``curriculum-rec study``.

    Attributes:
        study: Name of a file in ``experiments/studies``, or its path.
        study_dir: Where its runs, its ledger and its report are kept; None makes ``runs/studies/NAME``.
        folder: The folder that holds the data sets of the study.
        arms: Arms that are run; None takes all. So for ``seeds``, ``data_sets`` and ``conditions``.
        seeds: See there.
        data_sets: See there; what stands under ``data`` in the file.
        conditions: See there.
        folds: See there.
        options: Words for every run: what followed ``--``.
        jobs: Runs at a time on this machine.
        on_failure: Whether the others go on when a run fails: ``continue`` or ``stop``.
        progress: ``rich`` shows a table, ``plain`` a line a run, ``none`` neither; ``auto`` is ``rich`` in a terminal,
            ``plain`` elsewhere.
        report: Whether the report is written at the end.
        trusted_packages: Packages besides our own and optax that runs may name.
    """

    study: str = MISSING
    study_dir: str | None = None
    folder: str | None = None
    arms: list[str] | None = None
    seeds: list[int] | None = None
    data_sets: list[str] | None = None
    conditions: list[str] | None = None
    folds: list[int] | None = None
    options: list[str] = field(default_factory=list)
    jobs: int = 1
    on_failure: str = "continue"
    progress: str = "auto"
    report: bool = True
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class ReportConfig:
    """``curriculum-rec report``.

    Attributes:
        study: Folder of a study, or of a Hydra sweep.
        runs: Run directories, instead of a study.
        baseline: The arm that the others are compared with; None takes the study's, or the first.
        metric: What decides; None takes the study's, or the runs' own.
        output: Folder of the report; None takes that of the study.
        into: Markdown file with two markers, between which the report is written too.
    """

    study: str | None = None
    runs: list[str] = field(default_factory=list)
    baseline: str | None = None
    metric: str | None = None
    output: str | None = None
    into: str | None = None


@dataclass
class TuneConfig:
    """``curriculum-rec tune``; None takes what the file of the search says.

    Attributes:
        space: A name in ``experiments/tuning/``, or a file.
        study_dir: The folder of the study; None makes ``runs/tune/NAME``.
        overrides: Words of ``curriculum-rec train`` for every trial, after those of the file.
        n_trials: All trials of the study, those of other processes among them.
        timeout: Seconds after which no new trial begins.
        seed: Decides what the sampler draws.
        jobs: Processes that work on the study.
        progress: ``rich`` shows a table, ``plain`` a line a trial, ``none`` neither; ``auto`` is ``rich`` in a
            terminal, ``plain`` elsewhere.
        compilation_cache: Folder for compiled programs that later trials load; None compiles everything anew.
        score_cache: Folder for what teachers said of targets; None keeps it in the run alone.
        trusted_packages: Packages besides our own and optax that ``_target_`` may name.
    """

    space: str = MISSING
    study_dir: str | None = None
    overrides: list[str] = field(default_factory=list)
    n_trials: int | None = None
    timeout: float | None = None
    seed: int | None = None
    jobs: int = 1
    progress: str = "auto"
    compilation_cache: str | None = CACHE
    score_cache: str | None = SCORE_CACHE
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class DataListConfig:
    """``curriculum-rec data list``, which has no options."""


@dataclass
class DataPrepareConfig:
    """``curriculum-rec data prepare``.

    Attributes:
        data: The data set, or what a store is made of.
        cleaning: Comes with it; the rules of a store.
        store: The folder of a store that is made; None makes none, and the following have no effect.
        split: Gives every interaction of a store its part.
        memory_gib: About how much memory its rows may take at once, ids not counted; None takes 2.
        engine: ``here``, or ``ray`` for the workers of Ray Data; None is ``here``.
        ray_address: The Ray cluster; None starts one on this machine.
        workers: Parts that Ray works on at once; None takes two.
        trusted_packages: Packages besides our own that ``_target_`` may name.
    """

    data: Node = field(default_factory=dict)
    cleaning: Node = field(default_factory=dict)
    store: str | None = None
    split: Node = field(default_factory=dict)
    memory_gib: float | None = None
    engine: str | None = None
    ray_address: str | None = None
    workers: int | None = None
    trusted_packages: list[str] = field(default_factory=list)


@dataclass
class DataDescribeConfig:
    """``curriculum-rec data describe``.

    Attributes:
        data: The source.
        cleaning: The rules whose effect is shown.
        output: The page or the picture; None draws nothing.
        trusted_packages: Packages besides our own that ``_target_`` may name.
    """

    data: Node = field(default_factory=dict)
    cleaning: Node = field(default_factory=dict)
    output: str | None = "data.html"
    trusted_packages: list[str] = field(default_factory=list)


def register() -> None:
    """Make the typed schemas known to Hydra, where the YAML files extend them."""
    store = ConfigStore.instance()
    for name, schema in (
        ("train", TrainConfig),
        ("resume", ResumeConfig),
        ("evaluate", EvaluateConfig),
        ("recommend", RecommendConfig),
        ("score", ScoreConfig),
        ("compress", CompressConfig),
        ("inspect", InspectConfig),
        ("track", TrackConfig),
        ("list", ListConfig),
        ("show", ShowConfig),
        ("compare", CompareConfig),
        ("audit", AuditConfig),
        ("prequential", PrequentialConfig),
        ("replay", ReplayConfig),
        ("study", StudyConfig),
        ("report", ReportConfig),
        ("tune", TuneConfig),
        ("data_list", DataListConfig),
        ("data_prepare", DataPrepareConfig),
        ("data_describe", DataDescribeConfig),
    ):
        store.store(name=f"{name}_schema", node=schema)


def to_data(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain data.

    Raises:
        OptionError: A mandatory option is not set.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise OptionError(f"{missing[0]} is not set: give it as {missing[0]}=VALUE")
    data: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return data


def absolute_paths(data: dict[str, Any]) -> dict[str, Any]:
    """Make the paths in a configuration absolute, so that a run can be resumed and evaluated from any folder."""
    return _map_paths(data, lambda path: str(Path(path).absolute()))


def _map_paths(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Change every ``path`` in ``data``, and what stages, their teachers, weightings and difficulties name."""

    def within(node: Any, name: str) -> Any:
        return node | {name: change(str(node[name]))} if isinstance(node, dict) and node.get(name) else node

    def in_stage(node: Any) -> Any:
        if isinstance(node, dict) and isinstance(node.get("warm_start"), dict):
            return node | {"warm_start": anywhere(node["warm_start"])}
        return within(node, "warm_start")

    def anywhere(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        inner = {name: anywhere(value) for name, value in node.items()}
        return inner | {
            name: change(inner[name]) for name in ("path", "run", "labels", "ids") if isinstance(inner.get(name), str)
        }

    stages, curriculum = data.get("stages"), data.get("curriculum")
    if isinstance(curriculum, dict) and "difficulty" in curriculum:
        curriculum = curriculum | {"difficulty": anywhere(curriculum["difficulty"])}
    if isinstance(stages, dict):
        stages = {name: in_stage(stage) for name, stage in stages.items()}
        stages = {
            name: stage | {"distil": anywhere(stage["distil"])}
            if isinstance(stage, dict) and "distil" in stage
            else stage
            for name, stage in stages.items()
        }
    source = within(within(data.get("data"), "path"), "labels")
    if isinstance(source, dict) and isinstance(source.get("sources"), dict):
        source = source | {"sources": {name: within(node, "path") for name, node in source["sources"].items()}}
    if isinstance(source, dict) and isinstance(source.get("source"), dict):
        source = source | {"source": _map_paths({"data": source["source"]}, change)["data"]}
    features = anywhere(data.get("features"))
    changed = {
        "data": source,
        "features": features,
        "weighting": within(data.get("weighting"), "reference"),
        "curriculum": curriculum,
    }
    return data | changed | {"stages": stages, "tracking": _map_tracker_paths(data.get("tracking"), change)}


def _map_tracker_paths(tracking: Any, change: Callable[[str], str]) -> Any:
    """Change the folders and the files of databases that trackers name."""
    file = "sqlite:///"

    def of_tracker(node: Any) -> Any:
        if isinstance(node, dict) and str(node.get("uri")).startswith(file):
            return node | {"uri": file + change(node["uri"].removeprefix(file))}
        return node | {"folder": change(node["folder"])} if isinstance(node, dict) and node.get("folder") else node

    return {name: of_tracker(node) for name, node in tracking.items()} if isinstance(tracking, dict) else tracking


def build_experiment(
    data: dict[str, Any], *, trusted: tuple[str, ...]
) -> curriculum_rec.training.experiment.Experiment:
    """Build all components of an experiment.

    Args:
        data: Plain data of a :class:`TrainConfig`.
        trusted: Packages that ``_target_`` may name; a configuration's own wish is the caller's to grant.

    Raises:
        OptionError: Anything in it is wrong.
    """
    from curriculum_rec.training.experiment import Experiment  # noqa: PLC0415 - loads JAX
    from curriculum_rec.training.stage_plans import StagePlan  # noqa: PLC0415

    nodes = dict(data) | {"features": _with_targets(data.get("features"))}
    built = {name: build(nodes.get(name), name, trusted=trusted) for name in COMPONENTS}
    check_fold(data.get("fold"), built["split"])
    for name in set(COMPONENTS) - {"growth", "cleaning", "features", "noise", "weighting"}:
        if built[name] is None:
            raise OptionError(f"{name} is empty: choose one, for example {name}=...")
    built["cleaning"] = built["cleaning"] or {}
    if isinstance(built["stages"], StagePlan):
        built["stages"] = built["stages"].stages()
    for name, stage in (built["stages"] or {}).items():
        if isinstance(stage, dict):  # options of a stage that nothing began
            raise OptionError(
                f"stages.{name}={stage}: the chosen plan has no stage {name!r}; leave these options out (those of an "
                f"experiment by '~stages.{name}'), or choose a plan that has it"
            )
    hints = get_type_hints(Experiment)
    plain = {f.name: data.get(f.name, f.default) for f in fields(Experiment) if f.name not in COMPONENTS}
    return Experiment(**{name: check_type(value, hints[name], name) for name, value in (built | plain).items()})


def _with_targets(features: Any) -> Any:
    """Name the classes of the groups of features, which their places say already."""
    if not isinstance(features, Mapping) or not features or TARGET in features:
        return features
    module = "curriculum_rec.data.features.owners"
    kinds = {"user": "EntityFeatures", "item": "EntityFeatures", "interaction": "InteractionFeatures"}
    owners = {
        name: {TARGET: f"{module}.{kinds[name]}", **own} if name in kinds and isinstance(own, Mapping) else own
        for name, own in features.items()
    }
    return {TARGET: f"{module}.Features", **owners}


def check_fold(fold: int | None, split: Any) -> None:
    """Refuse a fold that the split knows nothing of.

    Raises:
        OptionError: It has no folds, or says another one.
    """
    from curriculum_rec.data.splits import Folds  # noqa: PLC0415 - Polars, which light commands do without

    if fold is None:
        return
    if not isinstance(split, Folds):
        of_rows = getattr(split, "TASK", None) == "pointwise"
        choice = "split=row_folds" if of_rows else "split=user_folds or split=interaction_folds"
        raise OptionError(f"fold={fold} has no effect on this split: choose {choice}")
    if split.fold != fold:
        raise OptionError(f"fold={fold} and split.fold={split.fold}: say fold alone")


def build_mirror(
    tracking: Node | None, data: Mapping[str, Any], directory: RunDirectory, *, trusted: tuple[str, ...]
) -> Mirror:
    """Build what mirrors a run's log in its trackers.

    Args:
        tracking: Trackers by name; none in a run from before there were any.
        data: The run's configuration.
        directory: The run's.
        trusted: Packages that ``_target_`` may name.

    Raises:
        OptionError: A tracker is wrong, or its package is not installed.
    """
    trackers = build(tracking or {}, "tracking", trusted=trusted) or {}
    for name, tracker in trackers.items():
        check_type(tracker, Tracker, f"tracking.{name}")
    return Mirror(trackers, f"{data['name']}-{directory.path.absolute().name}", directory.path, data)


def config_of_run(directory: RunDirectory) -> dict[str, Any]:
    """Read the configuration of a run from its ``config.yaml``, as plain data.

    Raises:
        RunError: The file is not a configuration.
    """
    try:
        loaded: Any = OmegaConf.to_container(OmegaConf.load(directory.config), resolve=False)
        if not isinstance(loaded, dict) or not set(COMPONENTS) - LATER <= set(loaded):
            raise RunError(f"{directory.config} is not a configuration of curriculum-rec train")
    except (OSError, ValueError, YAMLError) as error:
        reason = str(error).split("\n")[0]
        raise RunError(f"{directory.config} cannot be read: {reason}") from error
    return loaded


def experiment_of_run(
    directory: RunDirectory, *, trusted: tuple[str, ...], data_path: str | None = None
) -> tuple[curriculum_rec.training.experiment.Experiment, dict[str, Any]]:
    """Build the experiment of a run from its ``config.yaml``, which is data: it cannot widen what is trusted.

    Returns:
        The experiment, and the configuration as plain data.

    Raises:
        RunError: The file is not a configuration.
    """
    data = config_of_run(directory)
    if data_path is not None:
        data["data"] = _with_path(data["data"], data_path)
    return build_experiment(data, trusted=trusted), data


def _with_path(source: Node, path: str) -> Node:
    """Say where a source's file lies, be it within a window of time."""
    if isinstance(source.get("source"), dict):
        return source | {"source": _with_path(source["source"], path)}
    return source | {"path": path}


def config_text(data: dict[str, Any]) -> str:
    """Write plain data as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(data), sort_keys=False)


def config_hash(data: dict[str, Any]) -> str:
    """Identify what an experiment is, wherever it is kept and wherever its file lies.

    The data's contents are identified by the split's hash, not here.
    """
    record = {name: value for name, value in data.items() if name not in NOT_PART_OF_THE_EXPERIMENT}
    changed = _map_paths(record | {"stages": None}, lambda path: Path(path).name)
    record |= {"data": changed["data"], "features": changed["features"]}
    if not record["features"]:
        del record["features"]  # as in a run from before there were any
    for component, later in LATER_OPTIONS.items():
        if isinstance(node := record.get(component), dict):
            record[component] = {
                name: value for name, value in node.items() if name not in later or later[name] != value
            }
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8).hexdigest()


def on_existing(value: str) -> OnExisting:
    """Check the option ``on_existing``."""
    return check_type(value, OnExisting, "on_existing")
