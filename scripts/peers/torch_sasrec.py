"""Contestant of scripts/bench_peers: a SASRec in plain PyTorch, as its own engineers would write it.

The same blocks as ours (pre-norm, GELU, a hidden layer four times as wide), PyTorch's fused attention, and the full
softmax over the positions that hold a target. Histories are padded to about the longest of their batch. On a GPU the
loss is compiled by torch.compile, the optimizer is the fused one, and the host sends batches without waiting.
"""

import numpy as np
import torch
from score import DROPOUT, HEADS, K, Lists, Race, parse
from torch import Tensor, nn
from torch.nn import functional

LENGTHS = (8, 16, 32, 64, 100)
"""Batches are as long as the first of these that holds their longest history: torch.compile sees few shapes."""


class Block(nn.Module):
    """Attention, then feed-forward, each a pre-norm residual branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on ``[batch, length, width]``."""
        heads = self.query_key_value(self.norms[0](x)).unflatten(-1, (3, HEADS, x.shape[-1] // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + functional.dropout(self.out(mixed.transpose(1, 2).flatten(2)), DROPOUT, self.training)
        return x + functional.dropout(self.feed_forward(self.norms[1](x)), DROPOUT, self.training)


class SASRec(nn.Module):
    """Item 0 is padding; histories are filled from the left."""

    def __init__(self, n_items: int, max_length: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.items, self.positions = nn.Embedding(n_items + 1, width), nn.Embedding(max_length, width)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks, self.norm = nn.Sequential(*[Block(width) for _ in range(depth)]), nn.LayerNorm(width)

    def forward(self, history: Tensor) -> Tensor:
        """Map int64 ``[batch, length]`` to ``[batch, length, width]``."""
        x = self.items(history) + self.positions.weight[: history.shape[1]]
        return self.norm(self.blocks(functional.dropout(x, DROPOUT, self.training)))

    def loss(self, history: Tensor, place: Tensor, target: Tensor) -> Tensor:
        """Compute the mean cross-entropy over all items of the targets int64 ``[n]`` at flat places ``[n]``."""
        scores = self(history).flatten(0, 1)[place] @ self.items.weight[1:].T
        return functional.cross_entropy(scores.float(), target - 1)


def rows(histories: list[np.ndarray], length: int) -> np.ndarray:
    """Put the last ``length`` items of each history into a row, from the left; 0 beyond."""
    table = np.zeros((len(histories), length), np.int64)
    for row, items in zip(table, histories, strict=True):
        row[: min(len(items), length)] = items[-length:]
    return table


def batch_of(items: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the history, the flat places of the targets in it, and the targets, from rows of :func:`rows`."""
    longest = int((items > 0).sum(axis=1).max()) - 1
    items = items[:, : min(next((n for n in LENGTHS if n >= longest), length), length) + 1]
    target = np.ascontiguousarray(items[:, 1:]).reshape(-1)
    place = np.flatnonzero(target)
    return items[:, :-1] * (items[:, 1:] > 0), place, target[place]


def main() -> None:
    """Train and recommend until the race is finished."""
    arguments, sequences = parse(batch=128)
    device, length = torch.device(arguments.device), arguments.max_length
    torch.manual_seed(arguments.seed)
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")  # TF32 on a GPU, as in JAX
    codes = np.unique(np.concatenate(list(sequences.values())))
    coded = [np.searchsorted(codes, items) + 1 for items in sequences.values()]
    train, shuffled = rows([items[:-2] for items in coded], length + 1), np.random.default_rng(arguments.seed)
    known = torch.as_tensor(rows([items[:-1] for items in coded], length), device=device)
    seen = torch.as_tensor(rows([items[:-1] for items in coded], max(map(len, coded))), device=device)
    model = SASRec(len(codes), length, width=arguments.width, depth=arguments.depth).to(device)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.0, fused=on_gpu)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16")

    def step(*arrays: np.ndarray) -> None:
        tensors = [torch.from_numpy(array) for array in arrays]
        if on_gpu:  # the host runs ahead of the device: nothing here waits for it
            tensors = [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
        optimizer.zero_grad()
        with autocast:
            loss = compiled(*tensors)
        loss.backward()
        optimizer.step()

    compiled = torch.compile(model.loss, dynamic=True) if on_gpu else model.loss

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
            order = shuffled.permutation(len(train))
            for begin in range(0, len(order), arguments.batch):
                history, place, target = batch_of(train[order[begin : begin + arguments.batch]], length)
                step(history, place, target)
                race.batch(len(target))
            race.epoch_end()


if __name__ == "__main__":
    main()
