"""Contestant of scripts/bench_peers: RecBole's SASRec.

RecBole makes a training row of every prefix of a history and predicts its last item only. An epoch has as many targets
as the histories have, those that max_length cuts off elsewhere included.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from score import DROPOUT, HEADS, K, Lists, Race, parse

# RecBole 1.2 still uses names that numpy 2 has dropped.
dropped = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "unicode": str}
for name, kind in (dropped | {kind.__name__: kind for kind in (bool, int, float, complex, object, str)}).items():
    if name not in np.__dict__:
        setattr(np, name, kind)

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402


def main() -> None:
    """Train and recommend until the race is finished."""
    arguments, sequences = parse(batch=2048)
    del sys.argv[1:]  # RecBole reads the command line, too
    lines = (f"{user}\t{item}\t{time}\n" for user, items in sequences.items() for time, item in enumerate(items))
    Path("race").mkdir()
    Path("race/race.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    options = {
        "data_path": str(Path.cwd()),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "hidden_size": arguments.width,
        "n_layers": arguments.depth,
        "n_heads": HEADS,
        "hidden_dropout_prob": DROPOUT,
        "attn_dropout_prob": DROPOUT,
        "MAX_ITEM_LIST_LENGTH": arguments.max_length,
        "train_batch_size": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
        "use_gpu": False,
        "state": "ERROR",
    }
    config = Config(model="SASRec", dataset="race", config_dict=options)
    init_seed(arguments.seed, reproducibility=True)
    data = create_dataset(config)
    train, _, test = data_preparation(config, data)
    model = get_model("SASRec")(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    user_of, item_of = (np.array([-1, *map(int, data.field2id_token[name][1:])]) for name in ("user_id", "item_id"))
    seen = {user: data.token2id("item_id", [*map(str, items[:-1])]) for user, items in sequences.items()}

    rows: list[int] = []  # of the batch in work

    @torch.no_grad()
    def lists() -> Lists:
        model.eval()
        users, items = [], []
        for interaction, *_ in test:
            scores = model.full_sort_predict(interaction)
            scores[:, 0] = -torch.inf  # padding
            users.append(user_of[interaction["user_id"].numpy()])
            for row, user in enumerate(users[-1].tolist()):
                scores[row, seen[user]] = -torch.inf
            items.append(item_of[scores.topk(K).indices.numpy()])
        model.train()
        return np.concatenate(users), np.concatenate(items)

    def loss(interaction: dict) -> torch.Tensor:
        rows.append(len(interaction))
        return model.calculate_loss(interaction)

    with Race(arguments, sequences, lists, "recbole", "torch", "numpy") as race:
        trainer.optimizer.register_step_post_hook(lambda *_: race.batch(rows.pop()))
        for epoch in range(arguments.epochs):
            race.epoch_begin()
            trainer._train_epoch(train, epoch, loss_func=loss)  # noqa: SLF001 - fit() has no door between epochs
            race.epoch_end()


if __name__ == "__main__":
    main()
