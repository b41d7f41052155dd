"""A researcher's own model and data, the package's loop, a curriculum against its control: a script in cells.

Run it as it is, or cell by cell where an editor knows percent cells: ``python experiments/own_model.py``.
"""

# %% [markdown]
# # Does it help to show easy clicks first?
#
# Our own data: users click what suits them, and a quarter of the labels is wrong. Our own model: two towers that meet
# in an inner product. The loop, the curriculum and its control are the package's.

# %%
import os
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from curriculum_rec import Batch, BatchRng, Curriculum, Examples, Losses, fit
from curriculum_rec.curriculum.difficulty import Loss
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.evaluation.statistics import compare
from curriculum_rec.reports.curves import draw_curves
from curriculum_rec.reports.figures import write_figure

STEPS = int(os.environ.get("OWN_MODEL_STEPS", "1000"))
OUTPUT = Path(os.environ.get("OWN_MODEL_OUTPUT", "own_model.svg"))
SEEDS, LEARNING_RATE = (0, 1, 2), 1e-2
N_USERS, N_ITEMS, N_TASTES = 100, 100, 2

# %% [markdown]
# ## Data
# Plain arrays, one row a click. The held-out rows have true labels.


# %%
def draw_clicks(n: int, *, wrong: float, seed: int) -> dict[str, np.ndarray]:
    """Draw users, items and whether they suit each other, some of the labels wrong."""
    tastes = np.random.default_rng(0)
    users, items = (tastes.normal(size=(size, N_TASTES)) for size in (N_USERS, N_ITEMS))
    rng = np.random.default_rng(seed)
    user, item = rng.integers(N_USERS, size=n), rng.integers(N_ITEMS, size=n)
    suits = (users[user] * items[item]).sum(axis=1) > 0
    return {
        "user": user.astype(np.int32),
        "item": item.astype(np.int32),
        "suits": (suits ^ (rng.random(n) < wrong)).astype(np.float32),
    }


train, held_out = draw_clicks(12_000, wrong=1 / 4, seed=1), draw_clicks(4000, wrong=0.0, seed=2)

# %% [markdown]
# ## Model and objective
# The model is any Flax NNX module; the objective gives one loss an example, so that the package can order and weigh
# them.


# %%
class TwoTowers(nnx.Module):
    """A vector for every user and item; their inner product is the score."""

    def __init__(self, *, seed: int, width: int = 16) -> None:
        rngs = nnx.Rngs(seed)
        self.users = nnx.Embed(N_USERS, width, rngs=rngs)
        self.items = nnx.Embed(N_ITEMS, width, rngs=rngs)

    def __call__(self, user: jax.Array, item: jax.Array) -> jax.Array:
        """Score pairs."""
        return (self.users(user) * self.items(item)).sum(axis=-1)


def objective(model: TwoTowers, batch: Batch, rng: BatchRng) -> Losses:
    """Binary cross-entropy, one a click; nothing in it is random."""
    del rng
    return Losses(optax.sigmoid_binary_cross_entropy(model(batch["user"], batch["item"]), batch["suits"]))


def accuracy(model: TwoTowers) -> float:
    """Give the share of held-out pairs that are told right."""
    scores = np.asarray(model(held_out["user"], held_out["item"]))
    return float(((scores > 0) == held_out["suits"]).mean())


# %% [markdown]
# ## Two arms that differ in the order alone
# Easy first by the running loss, and the control: the same pacing, in random order. Without it, what the pacing does
# would be taken for what the order does.

# %%
ARMS = {
    order: Curriculum(Loss(), pacing=Linear(start=0.3, full_at=0.6), order=order) for order in ("curriculum", "random")
}
examples = Examples.from_arrays(train, batch_size=64)
results = {
    name: {
        seed: fit(
            TwoTowers(seed=seed),
            objective,
            examples,
            optimizer=optax.adam(LEARNING_RATE),
            steps=STEPS,
            curriculum=curriculum,
            seed=seed,
            evaluate=accuracy,
            evaluate_every=max(1, STEPS // 20),
        )
        for seed in SEEDS
    }
    for name, curriculum in ARMS.items()
}

# %% [markdown]
# ## Curves

# %%
at = results["curriculum"][SEEDS[0]].evaluated_at
curves = {name: np.stack([result.quality for result in by_seed.values()]) for name, by_seed in results.items()}
figure = draw_curves(at, curves, label="accuracy, held out")
write_figure(OUTPUT, figure)
figure  # noqa: B018 - a notebook shows it

# %% [markdown]
# ## Is the difference more than chance?
# The final accuracies, paired by seed. Three seeds cannot make p smaller than 1/4, whatever the difference: look at its
# size, and take more seeds for a claim.

# %%
final = {arm: {seed: float(result.quality[-1]) for seed, result in runs.items()} for arm, runs in results.items()}
comparison = compare({"curriculum": (final["curriculum"], final["random"])})["curriculum"]
for name, values in final.items():
    print(f"{name:10} {np.mean(list(values.values())):.4f}, by seed {', '.join(f'{v:.4f}' for v in values.values())}")
print(
    f"curriculum - random: {comparison.difference:+.4f}, 95 % from {comparison.low:+.4f} to {comparison.high:+.4f}, "
    f"p {comparison.p:.2f}, which no {comparison.n} seeds can make smaller than {comparison.smallest_p:.2f}"
)
