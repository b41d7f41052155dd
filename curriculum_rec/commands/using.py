"""The commands that use a trained model: recommend and compress (host)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, load_run, refuse_fitted
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.components import build, check_type
from curriculum_rec.compression import Compression
from curriculum_rec.files import check_frame_path, write_frame
from curriculum_rec.inference.compressed_run import NewConfig, Source, compress
from curriculum_rec.inference.compression_report import report_table
from curriculum_rec.inference.recommend import recommend
from curriculum_rec.training.restore import snapshot_parameters
from curriculum_rec.training.run_directory import RunDirectory


def recommend_command(composed: DictConfig) -> None:
    """Write the top items of a run's users."""
    data = config.to_data(composed)
    output = Path(data["output"] or Path(data["run"]) / "recommendations.parquet")
    check_frame_path(output)
    begin(data)
    experiment, dataset, snapshot = load_run(data)
    interactions, examples = (
        dataset.interactions_for("recommend").interactions,
        experiment.for_items("recommend").examples,
    )
    structure, params = snapshot_parameters(snapshot, experiment, inputs=dataset.inputs)
    frame = recommend(
        structure,
        params,
        interactions,
        k=data["k"],
        max_length=examples.max_length,
        lengths=examples.bucket_lengths,
        users=data["users"],
        filter_seen=data["filter_seen"],
    )
    write_frame(output, frame)
    print(f"{len(frame):,} recommendations for {frame['user'].n_unique():,} users: {output}")


def compress_command(composed: DictConfig) -> None:
    """Compress a run's model into a run directory of its own, and print what it cost."""
    data = config.to_data(composed)
    on_existing = check_type(data["on_existing"], Literal["refuse", "replace"], "on_existing")
    chosen = str(HydraConfig.get().runtime.choices["method"])
    method = check_type(build(data["method"], "method", trusted=trusted_packages(data)), Compression, "method")
    target = RunDirectory(Path(data["run_dir"] or f"{Path(data['run']).absolute()}-{chosen}"))
    begin(data)
    experiment, dataset, snapshot = load_run(data)
    refuse_fitted(experiment, "compress")
    dataset.interactions_for("compress")
    source = Source(RunDirectory.existing(data["run"]), experiment, dataset, snapshot)
    made_from = {"run": str(source.directory.path.absolute()), "checkpoint": snapshot.step, "method": data["method"]}
    record = config.config_of_run(source.directory) | {"run_dir": str(target.path), "compressed": made_from}
    if data["data_path"] is not None:
        record = config.absolute_paths(record | {"data": record["data"] | {"path": data["data_path"]}})
    new_config = NewConfig(config.config_text(record), config.config_hash(record), chosen)
    report = compress(source, method, target, new_config, on_existing=on_existing)
    print_table(*report_table(report), f"run directory: {target.path}")
