"""Weights that are learnt beside the model (device): from losses on data held out for it, or from the losses alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from curriculum_rec.data.examples import Examples
from curriculum_rec.ranges import INSIDE_ONE, POSITIVE, at_least, check_ranges
from curriculum_rec.streams import host_stream
from curriculum_rec.weighting.contract import Memory, Normalise, Rule, Seen
from curriculum_rec.weighting.groups import target_counts

BEARING = "bearing"
"""The fact that a meta split gives: how much a small step against one loss alone lowers the loss of the meta split."""
RARITY, PLACE = "rarity", "place"
OF_NETWORK = {"hidden": at_least(1), "learning_rate": POSITIVE, "weight_decay": at_least(0)}
"""The ranges of a small network's options."""


@dataclass(frozen=True, kw_only=True)
class MetaLearned(Rule):
    """A rule that looks at losses on examples which are held out of the training part for it.

    Args:
        meta_share: Share of the training examples that is held out, in (0, 1); never validation or test targets.
        meta_batch: Examples of these that a step looks at, a multiple of the number of devices.
    """

    meta_share: float = 0.1
    meta_batch: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {"meta_share": INSIDE_ONE, "meta_batch": at_least(1)})

    @property
    def look_ahead_rate(self) -> float:
        """Learning rate of the step after which the meta split is looked at; 0 looks at it where the model stands."""
        return 0.0

    def preview(self, seen: Seen, memory: Memory) -> Float[Array, "batch *length"]:
        """Give the weights of that step."""
        del memory
        return jnp.ones_like(seen.losses)


@dataclass(frozen=True)
class LearnToReweight(MetaLearned):
    """Weights in proportion to how much a step against a loss lowers the loss of a meta split, 0 where it raises it.

    ``max(0, <g, g_i>)``, where ``g`` is the gradient of the meta split's mean loss and ``g_i`` that of the loss,
    brought to the sum 1. The gradient is that of the weighted sum of the losses, whatever the batch's size.

    Source: Ren et al. (2018), algorithm 1, whose derivative by the weights at 0 is this product.
    """

    normalise: Normalise = field(default="weight", kw_only=True)

    def weigh(self, seen: Seen) -> Float[Array, "batch *length"]:
        """Give the weights of a batch."""
        helps = jnp.where(seen.all_counts, jnp.maximum(seen.all_facts[BEARING], 0), 0)
        total = helps.sum()
        return seen.own(helps / jnp.where(total > 0, total, 1))


@dataclass(frozen=True)
class MetaWeightNet(MetaLearned):
    """Weights ``V(l)`` by a small network, which learns what lowers the loss of a meta split.

    Every step first takes a plain gradient step with the network's weights, asks for the gradient of the meta split's
    loss after it, lets the network learn from that by Adam, and then weighs by the new network.

    Args:
        hidden: Width of the network's hidden layer, at least 1.
        learning_rate: Adam's, for the network, above 0.
        weight_decay: Added to the network's gradient, in parts of its parameters; at least 0.
        virtual_rate: Learning rate of the step that is taken for a look only, above 0.
        seed: Decides the network's first parameters.

    Source: Shu et al. (2019), algorithm 1.
    """

    hidden: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    virtual_rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {**OF_NETWORK, "virtual_rate": POSITIVE})

    @property
    def look_ahead_rate(self) -> float:
        """Learning rate of the step that is taken for a look only."""
        return self.virtual_rate

    @property
    def network(self) -> Network:
        """The network."""
        return Network(1, self.hidden, self.learning_rate, self.weight_decay, self.seed)

    def begin(self) -> Memory:
        """Give the network's first parameters and Adam's first moments."""
        return self.network.begin()

    def preview(self, seen: Seen, memory: Memory) -> Float[Array, "batch *length"]:
        """Give the weights of the step that is taken for a look only."""
        return self.network.apply(memory, seen.losses[..., None])

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        counts = seen.all_counts
        bearing = jnp.where(counts, seen.all_facts[BEARING], 0) / jnp.maximum(counts.sum(), 1)

        def meta_loss(weight: Array) -> Array:
            return -self.virtual_rate * (bearing * weight).sum()

        memory = self.network.learn(memory, seen.all_losses[:, None], meta_loss)
        return self.network.apply(memory, seen.losses[..., None]), memory


@dataclass(frozen=True)
class Screener(Rule):
    """Weights by a small network that looks at the target and not at its loss, and weighs high what is hard.

    The network minimises ``(1 - w)^2 l + w^2 max(margin - l, 0)`` by Adam. It knows the rarity of the target and its
    place in the sequence.

    Args:
        margin: Losses above it draw the weight to 1, losses of 0 to 0; above 0.
        hidden: Width of the network's hidden layer, at least 1.
        learning_rate: Adam's, for the network, above 0.
        weight_decay: Added to the network's gradient, in parts of its parameters; at least 0.
        seed: Decides the network's first parameters.

    Source: ScreenerNet (Kim and Choi, 2018), whose network is as large as the model and sees what the model sees.
    """

    margin: float = 1.0
    hidden: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "weighting", {**OF_NETWORK, "margin": POSITIVE})

    @property
    def network(self) -> Network:
        """The network."""
        return Network(2, self.hidden, self.learning_rate, self.weight_decay, self.seed)

    def facts(self, examples: Examples) -> dict[str, np.ndarray]:
        """Say of every target how rare it is and where it stands, from 0 to 1."""
        counts = target_counts(examples)
        length = np.diff(examples.target_offsets)
        place = np.arange(length.sum()) - np.repeat(examples.target_offsets[:-1], length)
        return {
            RARITY: (1 - np.log1p(counts) / np.log1p(counts.max())).astype(np.float32),
            PLACE: (place / length.max()).astype(np.float32),
        }

    def begin(self) -> Memory:
        """Give the network's first parameters and Adam's first moments."""
        return self.network.begin()

    def __call__(self, seen: Seen, memory: Memory) -> tuple[Float[Array, "batch *length"], Memory]:
        """Weigh a batch."""
        inputs = jnp.stack([seen.all_facts[RARITY], seen.all_facts[PLACE]], axis=-1)
        weight = seen.own(self.network.apply(memory, inputs))
        losses, counts = seen.all_losses, seen.all_counts

        def objective(weight: Array) -> Array:
            each = (1 - weight) ** 2 * losses + weight**2 * jnp.maximum(self.margin - losses, 0)
            return jnp.where(counts, each, 0).sum() / jnp.maximum(counts.sum(), 1)

        return weight, self.network.learn(memory, inputs, objective)


@dataclass(frozen=True)
class Network:
    """One hidden layer of rectifiers, then a sigmoid; its parameters and Adam's moments are the memory of a rule.

    Args:
        inputs: Numbers that it sees.
        hidden: Width of the hidden layer.
        learning_rate: Adam's.
        weight_decay: Added to the gradient, in parts of the parameters.
        seed: Decides the first parameters, uniform within ``1 / sqrt(inputs of the layer)`` about 0.
    """

    inputs: int
    hidden: int
    learning_rate: float
    weight_decay: float
    seed: int

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, the decay being a part of the gradient."""
        return optax.chain(optax.add_decayed_weights(self.weight_decay), optax.adam(self.learning_rate))

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "in kernel": (self.inputs, self.hidden),
            "in bias": (self.hidden,),
            "out kernel": (self.hidden, 1),
            "out bias": (1,),
        }

    def begin(self) -> Memory:
        """Give the first memory: the leaves of parameters and optimizer state, numbered."""
        stream, inputs = host_stream(self.seed, "weighting network"), {"in": self.inputs, "out": self.hidden}
        params = {
            name: jnp.asarray(stream.uniform(-1, 1, shape) / math.sqrt(inputs[name.split()[0]]), jnp.float32)
            for name, shape in self._shapes.items()
        }
        return _number((params, self.optimizer.init(params)))

    def apply(self, memory: Memory, x: Float[Array, "*rows inputs"]) -> Float[Array, "*rows"]:
        """Compute ``[*rows]`` in (0, 1)."""
        return self._output(self._tree(memory)[0], x)

    def learn(self, memory: Memory, x: Float[Array, "rows inputs"], loss: Callable[[Array], Array]) -> Memory:
        """Take one step against a loss of the outputs."""
        params, state = self._tree(memory)
        gradient = jax.grad(lambda params: loss(self._output(params, x)))(params)
        updates, state = self.optimizer.update(gradient, state, params)
        return _number((optax.apply_updates(params, updates), state))

    def _output(self, params: dict[str, Array], x: Array) -> Array:
        flat = x.reshape(-1, self.inputs)
        hidden = jax.nn.relu(flat @ params["in kernel"] + params["in bias"][None])
        return jax.nn.sigmoid(hidden @ params["out kernel"] + params["out bias"][None]).reshape(x.shape[:-1])

    def _tree(self, memory: Memory) -> tuple[dict[str, Array], Any]:
        params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in self._shapes.items()}
        structure = jax.tree.structure((params, jax.eval_shape(self.optimizer.init, params)))
        return jax.tree.unflatten(structure, [memory[name] for name in sorted(memory)])


def _number(tree: Any) -> Memory:
    return {f"leaf_{number:02}": leaf for number, leaf in enumerate(jax.tree.leaves(tree))}
