"""A run whose model is another run's, compressed (host): an ordinary run directory, and what the compression cost.

Its checkpoint holds the compact forms; whoever reads it gets dense parameters, so that it is evaluated, recommended
from and started from like any other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from curriculum_rec.compression.contract import Compression, Form, tree_bytes
from curriculum_rec.compression.packing import dense
from curriculum_rec.data.splits import Part
from curriculum_rec.errors import OptionError, RunError
from curriculum_rec.files import whole_folder, write_frame, write_text
from curriculum_rec.growth.depth import stacked_depth
from curriculum_rec.growth.tree import path_names
from curriculum_rec.inference.comparison import Comparison, Model
from curriculum_rec.inference.compression_report import page
from curriculum_rec.models.structure import Tree
from curriculum_rec.training.checkpoint import Checkpoints, Snapshot, flatten
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.record import RunRecord
from curriculum_rec.training.restore import PARAMS, load_snapshot, packed_arrays, snapshot_parameters
from curriculum_rec.training.run_directory import OnExisting, RunDirectory, to_json
from curriculum_rec.training.state import count_parameters
from curriculum_rec.training.summary import summarise


@dataclass(frozen=True)
class Source:
    """The run that is compressed.

    Attributes:
        directory: Where it lies.
        experiment: Its components.
        dataset: Its data.
        snapshot: The checkpoint.
    """

    directory: RunDirectory
    experiment: Experiment
    dataset: Dataset
    snapshot: Snapshot

    @cached_property
    def model(self) -> Model:
        """Structure and parameters, on the host."""
        return self.rebuild(self.snapshot)

    def rebuild(self, snapshot: Snapshot) -> Model:
        """Give the model of a checkpoint of this run or of one made from it."""
        return snapshot_parameters(snapshot, self.experiment, inputs=self.dataset.inputs)


@dataclass(frozen=True)
class NewConfig:
    """How the new run's configuration is written down.

    Attributes:
        text: Its ``config.yaml``.
        hash: Identifies it.
        method: What the report calls the method.
    """

    text: str
    hash: str
    method: str


def compress(
    source: Source,
    method: Compression,
    target: RunDirectory,
    config: NewConfig,
    *,
    on_existing: OnExisting = "refuse",
) -> dict[str, Any]:
    """Compress a run's model into a run directory of its own, which appears whole or not at all.

    Args:
        source: The run.
        method: How.
        target: Where the new run is kept.
        config: The new run's configuration.
        on_existing: ``refuse`` or ``replace`` a run that is there.

    Returns:
        The report, which also stands in ``compression.json``.

    Raises:
        OptionError: The method does not suit the model, or saves nothing.
        RunError: The target is taken.
    """
    check_target(source, target, on_existing)
    params = jax.tree.map(np.asarray, source.model[1])
    packed = method(params, seed=source.experiment.seed)
    if (size := tree_bytes(packed)) >= tree_bytes(params):
        raise OptionError(
            f"method: with these options the model takes {size:,} bytes, no less than its {tree_bytes(params):,} now: "
            "take a stronger setting"
        )
    with whole_folder(target.path) as folder:
        made = RunDirectory(folder)
        write_text(made.config, config.text)
        if source.directory.metrics.is_file():
            shutil.copyfile(source.directory.metrics, made.metrics)
        if source.directory.features.is_dir():
            shutil.copytree(source.directory.features, made.features)
        write_frame(
            made.items, source.dataset.interactions_for("compress").interactions.items.ids.alias("item").to_frame()
        )
        _write_checkpoint(made.checkpoints, source.snapshot, packed, config_hash=config.hash)
        # What is measured is what was stored, read as any other command reads it.
        snapshot = load_snapshot(made)
        report = _describe(source, snapshot, packed, method=config.method, stored=made.checkpoints)
        report |= _evaluate(source, snapshot, made, config_hash=config.hash)
        write_text(made.compression, to_json(report))
        write_text(made.compression_page, page(report))
    return report


def check_target(source: Source, target: RunDirectory, on_existing: OnExisting) -> None:
    """Refuse a folder that the new run cannot be kept in.

    Raises:
        RunError: It is the run itself, is trained in, or holds something.
    """
    if target.path.resolve() == source.directory.path.resolve():
        raise RunError(f"run_dir={target.path} is the run itself: choose another folder")
    target.check_free(on_existing)
    if target.config.exists():
        target.lock()  # nobody may be training there
        target.unlock()


def _write_checkpoint(folder: Path, snapshot: Snapshot, packed: Tree, *, config_hash: str) -> None:
    arrays, description = packed_arrays(packed)
    record = _record(snapshot, packed)
    meta = {
        **{name: snapshot.meta[name] for name in ("split_hash", "items_digest", "log_position")},
        "features_digest": snapshot.meta.get("features_digest"),
        **description,
        "record": record.to_json(),
        "config_hash": config_hash,
    }
    _save(folder, snapshot.step, arrays, meta)


def _record(snapshot: Snapshot, packed: Tree) -> RunRecord:
    """Give the run's history, of whose checkpoints one is left, with the size that its model has now."""
    record, whole = RunRecord.from_json(snapshot.meta["record"]), dense(packed)
    record = replace(
        record, best_step=snapshot.step, stages=tuple(replace(stage, best_step=-1) for stage in record.stages)
    )
    return record.with_stage(
        best_step=snapshot.step, depth=stacked_depth(whole), parameters=count_parameters(whole), done=True
    )


def _save(folder: Path, step: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    checkpoints = Checkpoints(folder)
    try:
        checkpoints.save(step, arrays, meta, pinned=[step])
    finally:
        checkpoints.close()


def _describe(source: Source, snapshot: Snapshot, packed: Tree, *, method: str, stored: Path) -> dict[str, Any]:
    """Count bytes: of the arrays, of a checkpoint's folder with parameters alone, and in memory once read."""
    params = source.model[1]
    with tempfile.TemporaryDirectory() as folder:
        _save(Path(folder), snapshot.step, flatten(params, PARAMS), {})
        before = _folder_bytes(Path(folder))
    before_of = {path_names(path): leaf.nbytes for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    return {
        "run": str(source.directory.path),
        "checkpoint": snapshot.step,
        "method": method,
        "stored_bytes": {"before": tree_bytes(params), "after": tree_bytes(packed)},
        "checkpoint_bytes": {"before": before, "after": _folder_bytes(stored)},
        "memory_bytes": {"before": tree_bytes(params), "after": tree_bytes(source.rebuild(snapshot)[1])},
        "parameters": [
            {
                "name": ".".join(path_names(path)),
                "form": type(leaf).__name__ if isinstance(leaf, Form) else "float32",
                "before": before_of[path_names(path)],
                "after": leaf.nbytes,
            }
            for path, leaf in jax.tree_util.tree_leaves_with_path(packed)
        ],
    }


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _evaluate(source: Source, snapshot: Snapshot, made: RunDirectory, *, config_hash: str) -> dict[str, Any]:
    """Evaluate the new run, write its results and its summary, and compare it with its source."""
    experiment, dataset = source.experiment, source.dataset
    placed, compressed = experiment.placement.place(), source.rebuild(snapshot)
    split, (examples, options) = dataset.interactions_for("compress"), experiment.for_items("compress")
    evaluators = {part: options.on(split, part, examples, placed) for part in (Part.VALIDATION, Part.TEST)}
    answers, quality = {}, {}
    for part, evaluator in evaluators.items():
        answers[part] = evaluator.answers(compressed[0], placed.replicate(compressed[1]))
        quality[part.name.lower()] = evaluator.quality(answers[part])
        write_frame(made.evaluation / f"{part.name.lower()}.parquet", evaluator.table(answers[part]))
    summary = summarise(
        experiment,
        dataset,
        RunRecord.from_json(snapshot.meta["record"]),
        quality=quality,
        reference=evaluators[Part.TEST].reference(),
        config_hash=config_hash,
        placed=placed,
        best_step=snapshot.step,
    )
    write_text(made.summary, to_json(summary | {"compressed_from": str(source.directory.path)}))
    before = evaluators[Part.TEST].answers(source.model[0], placed.replicate(source.model[1]))
    both, judge = [before, answers[Part.TEST]], evaluators[Part.TEST].judge
    return Comparison.of([source.model, compressed], both, judge, experiment, dataset).to_json()
