"""What a finished run reports (host): summary.json and one row a user."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax

from curriculum_rec.data.splits import Split
from curriculum_rec.evaluation.contract import Reference
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.placement import Placed
from curriculum_rec.training.record import RunRecord

PACKAGES = ("curriculum-rec", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "polars", "hydra-core")


def summarise(
    experiment: Experiment,
    dataset: Dataset,
    record: RunRecord,
    *,
    quality: Mapping[str, Mapping[str, float]],
    reference: Reference,
    config_hash: str,
    placed: Placed,
    best_step: int,
) -> dict[str, Any]:
    """Put a finished run into one record.

    Args:
        experiment: The components.
        dataset: Its data.
        record: The run's history. ``train_seconds`` counts compilation, evaluation and checkpoints, but not reading the
            data and the final evaluation.
        quality: Metrics of the best checkpoint on ``test`` and ``validation``.
        reference: What learns nothing, on the test split.
        config_hash: Identifies the configuration.
        placed: The devices.
        best_step: Step of the checkpoint that was evaluated.

    Returns:
        JSON data.
    """
    return {
        "test": dict(quality["test"]),
        "validation": dict(quality["validation"]),
        "reference": {"model": reference.name, **reference.quality},
        "metric": experiment.evaluation.metric,
        "train_seconds": record.train_seconds,
        "compile_seconds": record.compile_seconds,
        "positions_per_second": record.positions / max(record.step_seconds, 1e-9),
        "steps": record.stage.first_step + record.stage.steps,
        "best_step": best_step,
        "operations": record.operations,
        "parameters": record.stage.parameters,
        "stages": [
            {
                "name": stage.name,
                "depth": stage.depth,
                "parameters": stage.parameters,
                "steps": stage.steps,
                "seconds": stage.seconds,
                "operations": stage.operations,
                "quality": stage.quality,
                **({} if stage.sizes is None else {"sizes": stage.sizes}),
            }
            for stage in record.stages
        ],
        "data": describe_dataset(dataset),
        "seed": experiment.seed,
        "split_hash": dataset.split.hash,
        "config_hash": config_hash,
        "placement": {
            "kind": placed.kind,
            "devices": placed.n_devices,
            "table": placed.table,
            "hosts": jax.process_count(),
        },
        "versions": versions(),
    }


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Give counts and the cleaning ledger as JSON data."""
    split = dataset.split
    if isinstance(split, Split):
        counts = {
            "users": split.interactions.n_users,
            "items": split.interactions.n_items,
            "interactions": len(split.interactions),
            "planted": 0 if split.noise is None else int(split.noise.sum()),
        }
        if split.features is not None:
            known = {"user": split.features.user, "item": split.features.item}
            counts["features"] = sum(len(each.schema) for each in known.values() if each is not None)
    else:
        classes = {"classes": split.inputs.n_classes} if split.inputs.n_classes else {}
        counts = {"rows": len(split), **classes, "features": len(split.inputs.schema)}
    return {
        **counts,
        "examples": len(dataset.examples),
        **({} if dataset.meta is None else {"meta_examples": len(dataset.meta)}),
        "ledger": [
            {"rule": entry.rule, "rows_in": entry.rows_in, "rows_out": entry.rows_out} for entry in dataset.ledger
        ],
    }


def versions() -> dict[str, str]:
    """Name the versions that decide a result."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
