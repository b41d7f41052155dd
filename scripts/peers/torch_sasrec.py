"""Contestant of scripts/bench_peers: a SASRec in plain PyTorch, as its own engineers would write it.

The same blocks as ours (pre-norm, GELU, a hidden layer four times as wide), PyTorch's fused attention, and the full
softmax over the positions that hold a target. The data lie on the device; histories are padded to the longest of their
batch. On a GPU the step is compiled by torch.compile.
"""

import numpy as np
import torch
from score import DEPTH, DROPOUT, HEADS, WIDTH, K, Lists, Race, parse
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention, then feed-forward, each a pre-norm residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.query_key_value, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on ``[batch, length, width]``."""
        heads = self.query_key_value(self.norms[0](x)).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + functional.dropout(self.out(mixed.transpose(1, 2).flatten(2)), DROPOUT, self.training)
        return x + functional.dropout(self.feed_forward(self.norms[1](x)), DROPOUT, self.training)


class SASRec(nn.Module):
    """Item 0 is padding; histories are filled from the left."""

    def __init__(self, n_items: int, max_length: int) -> None:
        super().__init__()
        self.items, self.positions = nn.Embedding(n_items + 1, WIDTH), nn.Embedding(max_length, WIDTH)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(DEPTH)]), nn.LayerNorm(WIDTH)

    def forward(self, history: Tensor) -> Tensor:
        """Map int64 ``[batch, length]`` to ``[batch, length, width]``."""
        x = self.items(history) + self.positions.weight[: history.shape[1]]
        return self.norm(self.blocks(functional.dropout(x, DROPOUT, self.training)))

    def loss(self, history: Tensor, target: Tensor) -> Tensor:
        """Compute the mean cross-entropy over all items."""
        at = target > 0
        scores = self(history)[at] @ self.items.weight[1:].T
        return functional.cross_entropy(scores.float(), target[at] - 1)


def rows(histories: list[np.ndarray], length: int) -> np.ndarray:
    """Put the last ``length`` items of each history into a row, from the left; 0 beyond."""
    table = np.zeros((len(histories), length), np.int64)
    for row, items in zip(table, histories, strict=True):
        row[: min(len(items), length)] = items[-length:]
    return table


def main() -> None:
    """Train and recommend until the race is finished."""
    arguments, sequences = parse(batch=128)
    device, length = torch.device(arguments.device), arguments.max_length
    torch.manual_seed(arguments.seed)
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")  # TF32 on a GPU, as in JAX
    codes = np.unique(np.concatenate(list(sequences.values())))
    coded = [np.searchsorted(codes, items) + 1 for items in sequences.values()]
    train = torch.as_tensor(rows([items[:-2] for items in coded], length + 1), device=device)
    known = torch.as_tensor(rows([items[:-1] for items in coded], length), device=device)
    seen = torch.as_tensor(rows([items[:-1] for items in coded], max(map(len, coded))), device=device)
    model = SASRec(len(codes), length).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.0)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16")

    def step(items: Tensor) -> None:
        optimizer.zero_grad()
        with autocast:
            loss = model.loss(items[:, :-1] * (items[:, 1:] > 0), items[:, 1:])
        loss.backward()
        optimizer.step()

    if device.type == "cuda":
        model.loss = torch.compile(model.loss, dynamic=True)

    @torch.no_grad()
    def lists() -> Lists:
        model.eval()
        best = []
        for history, old in zip(known.split(512), seen.split(512), strict=True):
            last = (history > 0).sum(dim=1) - 1
            with autocast:
                scores = model(history)[torch.arange(len(history), device=device), last] @ model.items.weight.T
            scores = scores.float().scatter(1, old, -torch.inf)  # padding is item 0, which goes as well
            best.append(codes[scores.topk(K).indices.cpu().numpy() - 1])
        model.train()
        return np.array(list(sequences)), np.concatenate(best)

    with Race(arguments, sequences, lists, "torch", "numpy") as race:
        for _ in range(arguments.epochs):
            race.epoch_begin()
            for chosen in torch.randperm(len(train), device=device).split(arguments.batch):
                items = train[chosen]
                counts = (items > 0).sum(dim=1) - 1
                step(items[:, : int(counts.max()) + 1])
                race.batch(int(counts.sum()))
            race.epoch_end()


if __name__ == "__main__":
    main()
