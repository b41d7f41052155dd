import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cheap import agreement
from flax import nnx
from runs import make_runner

from curriculum_rec.errors import OptionError
from curriculum_rec.models import DNN, SASRec
from curriculum_rec.models.batch import Batch, BatchRng
from curriculum_rec.models.structure import join_model
from curriculum_rec.training.freezing import (
    FreezeEarlyLayers,
    Frozen,
    FrozenParts,
    GradualUnfreezing,
    Level,
    NewBlocksFirst,
    StageShape,
    check_freezing,
    frozen_at,
)
from curriculum_rec.training.optimizers import AdamW
from curriculum_rec.training.state import TrainState
from curriculum_rec.training.step import make_step

STAGE = StageShape(steps=100, steps_per_epoch=10, depth=4, depth_before=2)
SASREC = SASRec(width=8, depth=3, feed_forward_factor=1)


def make_batch():
    items = np.random.default_rng(0).integers(1, 13, (8, 7)).astype(np.int32)
    return Batch({"history": jnp.asarray(items[:, :-1]), "target": jnp.asarray(items[:, 1:])}, jnp.ones(8))


def rng():
    return BatchRng.for_rows(jax.random.key(0), jnp.arange(8, dtype=jnp.int32))


def build(options):
    return options(n_items=12, max_length=6, rngs=nnx.Rngs(0))


def shapes(options):
    return nnx.eval_shape(lambda: build(options))


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_what_is_frozen_stays_the_same_bit_for_bit_and_all_else_learns():
    optimizer = AdamW(learning_rate=0.01, weight_decay=0.1, clip_norm=1.0)(10)
    step = jax.jit(make_step(agreement, optimizer))
    state = TrainState.create(build(DNN(width=8, depth=2, feed_forward_factor=1)), optimizer)
    state, _ = step(state, make_batch(), rng())  # so that moments are not 0, which would hide a decay of them
    state.params["blocks"]["down"]["bias"] *= -0.0  # minus zero stays, too
    held = state.freeze(Frozen(1, frozenset({("norm", "bias")})))
    after = step(held, make_batch(), rng())[0]
    after, metrics = step(after, make_batch(), rng())
    assert float(metrics.gradient_norm) > 0
    for tree in ("params", "opt_state"):
        before, now = leaves(getattr(state, tree)), leaves(getattr(after, tree))
        for name, old in before.items():
            if name.endswith("['norm']['bias']") and "blocks" not in name:
                assert old.tobytes() == now[name].tobytes(), name
            elif "blocks" in name:
                assert old[:1].tobytes() == now[name][:1].tobytes(), name
                assert (old[1] != now[name][1]).any(), name
            else:
                assert (old != now[name]).any(), name
    thawed, _ = step(after.freeze(Frozen()), make_batch(), rng())
    assert step._cache_size() == 2  # one program a level: with everything thawed, the first one again
    assert all((leaf != leaves(after.params)[name]).any() for name, leaf in leaves(thawed.params).items())


def test_what_only_feeds_frozen_blocks_is_frozen_with_them():
    """With no gradient, an optimizer's momentum and weight decay would still move it."""
    model, shape = shapes(SASREC), StageShape(10, 10, 3, 3)
    frozen, _ = frozen_at(FrozenParts(blocks=2, leaves=("norm.*",)), shape, 0, model)
    below, norm = ("positions", "embedding"), {("norm", "bias"), ("norm", "scale")}
    assert frozen == Frozen(2, frozenset({below, *norm}))
    assert frozen_at(FrozenParts(leaves=("norm.*",)), shape, 0, model)[0] == Frozen(0, frozenset(norm))
    assert frozen_at(None, shape, 0, model) == (Frozen(), None)


def kept_for_backward(options, frozen):
    """Numbers that a forward pass keeps for the backward one."""
    state = nnx.eval_shape(lambda: TrainState.create(build(options), AdamW()(1)))
    state = state.freeze(frozen)

    def loss(params):
        return (join_model(state.structure, state.frozen.stop(params))(make_batch(), rng()) ** 2).sum()

    backward = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], state.params)
    return sum(leaf.size for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize("depth", [4, 12])  # unrolled and scanned
def test_frozen_first_blocks_keep_nothing_for_a_backward_pass(depth):
    """What is kept depends on the blocks that learn alone, however many are frozen below them."""
    blocks = {n: kept_for_backward(DNN(width=8, depth=depth), Frozen(n)) for n in (0, depth // 2, depth)}
    per_block = (blocks[0] - blocks[depth]) / depth
    assert blocks[0] > blocks[depth // 2] > blocks[depth]
    assert blocks[depth // 2] - blocks[depth] == pytest.approx(per_block * depth / 2, rel=0.2)


@pytest.mark.parametrize(
    ("freezing", "expected"),
    [
        (FrozenParts(blocks=3), [(0, 3)]),
        (GradualUnfreezing(every_epochs=1.0), [(0, 3), (10, 2), (20, 1), (30, 0)]),
        (GradualUnfreezing(every_epochs=4.0), [(0, 3), (40, 2), (80, 1)]),
        (NewBlocksFirst(until=0.8), [(0, 2), (80, 0)]),
        (NewBlocksFirst(until=1.0), [(0, 2)]),
        # half of the stage is left for four blocks: one every eighth of the stage, the last at its very end
        (FreezeEarlyLayers(start=0.5, level=1.0), [(0, 0), (63, 1), (75, 2), (88, 3)]),
        (FreezeEarlyLayers(start=0.0, level=0.5), [(0, 0), (50, 1)]),
    ],
)
def test_levels_by_hand(freezing, expected):
    assert freezing.levels(STAGE) == tuple(Level(*level) for level in expected)
    model = shapes(DNN(width=8, depth=4))
    for number, (step, blocks) in enumerate(expected):
        end = expected[number + 1][0] if number + 1 < len(expected) else None
        for now in {step, (end or STAGE.steps) - 1}:
            frozen, change = frozen_at(freezing, STAGE, now, model)
            assert (frozen.blocks, change) == (blocks, end)


@pytest.mark.parametrize(
    ("freezing", "message"),
    [
        (FrozenParts(blocks=5), "only 4 blocks"),
        (FrozenParts(leaves=("item.*",)), r"'item\.\*' fits no parameter.*items\.embedding"),
        (FrozenParts(leaves=("*",)), "nothing of the model is left"),
        (FrozenParts(blocks=4, leaves=("items.*", "norm.*")), "nothing of the model is left"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freezing, message):
    with pytest.raises(OptionError, match=f"stages.deep.freeze.*{message}"):
        check_freezing("deep", freezing, STAGE, shapes(DNN(width=8, depth=4)))


def test_new_blocks_need_growth():
    with pytest.raises(OptionError, match="does not grow in depth"):
        check_freezing("deep", NewBlocksFirst(), StageShape(10, 10, 4, 4), shapes(DNN(width=8, depth=4)))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (FrozenParts, "neither blocks nor leaves"),
        (lambda: FrozenParts(blocks=-1), "freeze.blocks=-1"),
        (lambda: GradualUnfreezing(0.0), "freeze.every_epochs=0"),
        (lambda: NewBlocksFirst(0.0), "freeze.until=0"),
        (lambda: FreezeEarlyLayers(start=1.0), "freeze.start=1"),
        (lambda: FreezeEarlyLayers(level=0.0), "freeze.level=0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(refused, message):
    with pytest.raises(OptionError, match=message):
        refused()


def test_new_blocks_first_needs_them_on_top(tmp_path):
    freeze = "stages/freeze@stages.deep.freeze=new_blocks_first"
    make_runner(tmp_path, "stack", "growth=stack", freeze).check()
    deeper = ["stages.shallow.depth=2", "stages.deep.depth=4"]
    with pytest.raises(OptionError, match="puts new blocks on top: growth=stack"):
        make_runner(tmp_path, "interleave", freeze, *deeper).check()
