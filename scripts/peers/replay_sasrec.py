"""Contestant of scripts/bench_peers: RePlay's SASRec, one fit with a callback that has lists made between epochs."""

import logging
import warnings

import lightning
import numpy as np
import polars as pl
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms
from score import DROPOUT, HEADS, QUIET, K, Lists, Race, lightning_clock, parse


def main() -> None:
    """Train and recommend until the race is finished."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    arguments, sequences = parse(batch=32)  # RePlay has no default; this is its own SASRec example's
    lightning.seed_everything(arguments.seed)
    length, codes = arguments.max_length, np.unique(np.concatenate(list(sequences.values())))
    coded = [np.searchsorted(codes, items) for items in sequences.values()]
    pl.DataFrame({"item_id": [items[-length - 3 : -2] for items in coded]}).write_parquet("train.parquet")
    known = {"user_id": list(sequences), "item_id": [items[:-1][-length:] for items in coded]}
    pl.DataFrame(known | {"seen_ids": [items[:-1] for items in coded]}).write_parquet("predict.parquet")

    def padded(shape: int) -> dict[str, int]:
        return {"shape": shape, "padding": len(codes)}

    item = TensorFeatureInfo(
        "item_id",
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        embedding_dim=arguments.width,
        padding_value=len(codes),
        cardinality=len(codes),
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
    )
    schema = TensorSchema([item])
    seen_ids = padded(max(map(len, coded)))
    data = ParquetModule(
        batch_size={"train": arguments.batch, "predict": 256},
        metadata={
            "train": {"item_id": padded(length + 1)},
            "predict": {"user_id": {}, "item_id": padded(length), "seen_ids": seen_ids},
        },
        transforms=make_default_sasrec_transforms(schema),
        train_path="train.parquet",
        predict_path="predict.parquet",
    )
    sizes = {"embedding_dim": arguments.width, "num_heads": HEADS, "num_blocks": arguments.depth}
    network = SasRec.from_params(schema, dropout=DROPOUT, max_sequence_length=length, **sizes)
    optimizer = OptimizerFactory(learning_rate=arguments.learning_rate)
    module = LightningModule(network, optimizer)
    without_seen = SeenItemsFilter(len(codes))

    @torch.no_grad()
    def lists() -> Lists:
        module.eval()
        users, items = [], []
        for raw in data.predict_dataloader():
            batch = data.compiled_transforms["predict"](raw)
            scores = without_seen.on_prediction(batch, module(batch)["logits"])
            users.append(batch["user_id"].numpy())
            items.append(codes[scores.topk(K).indices.numpy()])
        module.train()
        return np.concatenate(users), np.concatenate(items)

    with Race(arguments, sequences, lists, "replay-rec", "torch", "lightning", "numpy") as race:
        clock = lightning_clock(lightning.Callback, race, lambda batch: batch["target_padding_mask"].sum())
        # There is no validation part, and Lightning would ask for it.
        options = {"max_epochs": arguments.epochs, "callbacks": [clock], "limit_val_batches": 0}
        lightning.Trainer(accelerator="cpu", **options, **QUIET).fit(module, datamodule=data)


if __name__ == "__main__":
    main()
