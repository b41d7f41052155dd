"""The command replay: what a run's model would have earned, from the log of another policy (host)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig

from curriculum_rec import config
from curriculum_rec.commands.opening import begin, load_run, refuse_fitted
from curriculum_rec.commands.printing import print_table
from curriculum_rec.commands.trusting import trusted_packages
from curriculum_rec.components import build, check_type
from curriculum_rec.data.feedback import FeedbackLog
from curriculum_rec.data.splits import Part, Split
from curriculum_rec.evaluation.off_policy import Estimate, Overlap, estimates
from curriculum_rec.evaluation.policies import Policy
from curriculum_rec.evaluation.reward_model import ItemMeans
from curriculum_rec.files import check_frame_path, write_frame
from curriculum_rec.inference.replay import Candidates, Replay
from curriculum_rec.ranges import INSIDE_ONE, POSITIVE, check_value
from curriculum_rec.training.restore import snapshot_parameters


def replay(composed: DictConfig) -> None:
    """Estimate what a run's model would have earned, from the log of another policy."""
    data = config.to_data(composed)
    look = _replay_of(data)
    if data["output"] is not None:
        check_frame_path(Path(data["output"]))
    begin(data)
    experiment, dataset, snapshot = load_run(data)
    refuse_fitted(experiment, "replay")
    split, examples = dataset.interactions_for("replay"), experiment.for_items("replay").examples
    interactions = split.interactions
    log = FeedbackLog.read(Path(data["log"]), users=interactions.users, items=interactions.items)
    _warn_of_the_past(split, log)
    structure, params = snapshot_parameters(snapshot, experiment, inputs=dataset.inputs)
    feedback, unsupported = look(
        structure, params, interactions, log, max_length=examples.max_length, lengths=examples.bucket_lengths
    )
    overlap = Overlap.of(feedback, unsupported)
    for doubt in overlap.doubts():
        warnings.warn(doubt, stacklevel=1)
    found = estimates(feedback, clip=data["clip"], level=data["level"], seed=data["seed"])
    if data["output"] is not None:
        write_frame(Path(data["output"]), _estimate_frame(found))
    _print_estimates(data, found, overlap)


def _replay_of(data: dict[str, Any]) -> Replay:
    """Build and check what the options say before anything is read."""
    trusted = trusted_packages(data)
    check_value("clip", data["clip"], POSITIVE.or_null())
    check_value("level", data["level"], INSIDE_ONE)
    policy = check_type(build(data["policy"], "policy", trusted=trusted), Policy, "policy")
    model = check_type(build(data["reward_model"], "reward_model", trusted=trusted), ItemMeans | None, "reward_model")
    candidates = check_type(data["candidates"], Candidates | None, "candidates")
    return Replay(policy, candidates, data["filter_seen"], model)


def _warn_of_the_past(split: Split, log: FeedbackLog) -> None:
    """Say where the model was trained on what came after rows of the log."""
    times = split.interactions.timestamp
    if times is None or log.timestamp is None:
        return
    last = times[split.part == Part.TRAIN].max()
    if n_before := int((log.timestamp <= last).sum()):
        warnings.warn(
            f"{n_before:,} of {len(log):,} rows of the log are not after the last interaction that the run was trained "
            "on: its model may know what followed them",
            stacklevel=2,
        )


def _estimate_frame(found: dict[str, Estimate]) -> pl.DataFrame:
    return pl.DataFrame([{"estimate": name, **vars(each)} for name, each in found.items()])


def _print_estimates(data: dict[str, Any], found: dict[str, Estimate], overlap: Overlap) -> None:
    def interval(each: Estimate) -> str:
        return "" if each.low is None else f"{each.low:.4f} to {each.high:.4f}"

    rows = [[name, f"{each.value:.4f}", interval(each), f"{each.rows:,}"] for name, each in found.items()]
    print_table(
        ["estimate", "mean reward", f"{data['level']:.0%} over users", "rows"],
        rows,
        f"the policy shows what was logged in {overlap.matched:.1%} of the rows; they tell as much as "
        f"{overlap.effective_rows:,.0f} rows of its own; largest weight {overlap.max_weight:.3g}, mean "
        f"{overlap.mean_weight:.3f} +- {overlap.mean_weight_error:.3f}; {overlap.unsupported:.1%} of its probability "
        "falls on items that were never shown",
        title=f"{data['run']} on {data['log']}: {overlap.rows:,} rows, {overlap.users:,} users:",
    )
