"""Contestant of scripts/bench_peers: RecTools' SASRec, one fit with a callback that has lists made between epochs."""

import logging
import warnings

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from score import DROPOUT, HEADS, QUIET, K, Lists, Race, lightning_clock, parse


def dataset(histories: dict[int, np.ndarray]) -> Dataset:
    """Make RecTools' data set; the time is the place in the history."""
    lengths = [len(items) for items in histories.values()]
    day = np.concatenate([np.arange(length) for length in lengths])
    frame = pd.DataFrame({Columns.User: np.repeat(list(histories), lengths), Columns.Weight: 1.0})
    frame[Columns.Item] = np.concatenate(list(histories.values()))
    frame[Columns.Datetime] = pd.to_datetime(day, unit="D")
    return Dataset.construct(frame)


def main() -> None:
    """Train and recommend until the race is finished."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    arguments, sequences = parse(batch=128)
    seed_everything(arguments.seed)
    torch.set_float32_matmul_precision("high" if arguments.device == "cuda" else "highest")  # TF32 on a GPU, as in JAX
    training, known = (dataset({user: items[:-cut] for user, items in sequences.items()}) for cut in (2, 1))

    def lists() -> Lists:
        model.is_fitted = True  # it is, up to here
        top = model.recommend(users=list(sequences), dataset=known, k=K, filter_viewed=True)
        model.torch_model.train()
        top = top.sort_values([Columns.User, Columns.Rank])
        return top[Columns.User].to_numpy()[::K], top[Columns.Item].to_numpy().reshape(-1, K)

    with Race(arguments, sequences, lists, "RecTools", "torch", "pytorch-lightning", "numpy") as race:
        clock = lightning_clock(Callback, race, lambda batch: (batch["y"] > 0).sum())
        model = SASRecModel(
            n_blocks=arguments.depth,
            n_heads=HEADS,
            n_factors=arguments.width,
            session_max_len=arguments.max_length,
            dropout_rate=DROPOUT,
            loss="softmax",
            batch_size=arguments.batch,
            lr=arguments.learning_rate,
            recommend_torch_device=arguments.device,
            get_trainer_func=lambda: Trainer(
                max_epochs=arguments.epochs,
                accelerator=arguments.device,
                devices=1,
                precision="bf16-mixed" if arguments.precision == "bfloat16" else "32-true",
                callbacks=[clock],
                **QUIET,
            ),
        )
        model.fit(training)


if __name__ == "__main__":
    main()
