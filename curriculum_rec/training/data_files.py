"""What a run keeps of its data (host): the catalogue or the features, what was planted, what cleaning removed."""

from __future__ import annotations

from curriculum_rec.data.features.saving import load_features, save_features
from curriculum_rec.data.noise import planted_interactions
from curriculum_rec.data.splits import Split
from curriculum_rec.files import write_frame, write_text
from curriculum_rec.training.experiment import Dataset, Experiment
from curriculum_rec.training.run_directory import RunDirectory, to_json


def read_again(experiment: Experiment, directory: RunDirectory) -> Dataset:
    """Read the data of a run, its features being those that it was trained with.

    Args:
        experiment: The run's.
        directory: Where it lies.
    """
    fitted = load_features(directory.features) if directory.features.is_dir() else None
    return experiment.read(fitted=fitted)


def write_data_files(directory: RunDirectory, dataset: Dataset, *, has_users: bool) -> None:
    """Write them into a run's directory.

    Args:
        directory: The run's.
        dataset: Its data.
        has_users: Whether the run's model has a vector for every user, so that others must know whose they are.
    """
    split = dataset.split
    if isinstance(split, Split):
        if split.noise is not None:
            write_frame(directory.noise, planted_interactions(split))
        write_frame(directory.items, split.interactions.items.ids.alias("item").to_frame())
        if has_users:
            write_frame(directory.users, split.interactions.users.ids.alias("user").to_frame())
        if split.features is not None and split.features.fitted is not None:
            save_features(split.features.fitted, directory.features)
    else:
        save_features(split.fitted, directory.features)
    removed = [
        {"rule": entry.rule, "rows_in": entry.rows_in, "rows_out": entry.rows_out, "examples": list(entry.examples)}
        for entry in dataset.ledger
    ]
    write_text(directory.cleaning, to_json(removed))
