"""Growth from a prefix to the next: what stays, what begins anew, and the stages that lead there."""

import numpy as np
import pytest
from states import grow, leaves, shapes_of, trained_state

from curriculum_rec.errors import OptionError
from curriculum_rec.growth import PrefixGrowth
from curriculum_rec.growth.prefix import head_paths
from curriculum_rec.training.freezing import Level, NewBlocksFirst, StageShape
from curriculum_rec.training.stage_plans import PrefixStages

PREFIX = PrefixGrowth(allow_lossy=True)


@pytest.mark.parametrize("name", ["dnn", "sasrec"])
def test_the_trained_prefix_stays_and_what_is_above_it_begins_anew(name):
    trained = trained_state(name)
    grown = grow(PREFIX, trained, 3, seed=5)
    for tree in ("params", "opt_state"):
        before, after = leaves(getattr(trained, tree)), leaves(getattr(grown, tree))
        for path, old in before.items():
            if "['blocks']" in path:
                np.testing.assert_array_equal(after[path][:2], old, err_msg=path)
                assert (after[path][2] != old[0]).any(), path
                if tree == "opt_state":
                    assert not after[path][2].any(), path
            elif "['norm']" in path:
                begun = float(tree == "params" and "scale" in path)
                np.testing.assert_array_equal(after[path], np.full_like(old, begun), err_msg=path)
            else:
                np.testing.assert_array_equal(after[path], old, err_msg=path)
    new = grown.params["blocks"]
    gates = [leaf[2] for path, leaf in leaves(new).items() if path.endswith("['gate']")]
    np.testing.assert_array_equal(gates, 1)
    kernels = [leaf[2] for path, leaf in leaves(new).items() if path.endswith("['kernel']")]
    for kernel in kernels:
        assert kernel.std() == pytest.approx(len(kernel) ** -0.5, rel=0.35)
    assert not PREFIX.preserves_function(shapes_of(trained), shapes_of(trained, 3))
    assert PREFIX.is_new(2, 3).tolist() == [False, False, True]


def test_it_must_be_allowed_and_a_model_must_say_what_its_head_is():
    trained = trained_state("dnn")
    with pytest.raises(OptionError, match="growth=prefix begins blocks and head anew.*allow_lossy=true"):
        grow(PrefixGrowth(), trained, 3)
    with pytest.raises(OptionError, match="growth.moments=none"):
        PrefixGrowth(moments="none")
    model = shapes_of(trained)
    assert head_paths(model) == {("norm", "scale"), ("norm", "bias")}
    type(model).ABOVE_BLOCKS, names = (), type(model).ABOVE_BLOCKS
    try:
        with pytest.raises(OptionError, match="DNNModel has no ABOVE_BLOCKS"):
            head_paths(model)
    finally:
        type(model).ABOVE_BLOCKS = names


def test_the_stages_are_those_of_the_paper():
    """Its runs of 3000 rounds have 4 stages, of which 3 last 375 and warm what is new for 25."""
    stages = PrefixStages(depth=8, n_stages=4, epochs=None, steps=3000, new_alone=1 / 15).stages()
    assert {name: (stage.depth, stage.steps) for name, stage in stages.items()} == {
        "prefix_2": (2, 375),
        "prefix_4": (4, 375),
        "prefix_6": (6, 375),
        "prefix_8": (8, 1875),
    }
    first, *others = stages.values()
    assert first.freeze is None
    for stage in others:
        assert isinstance(stage.freeze, NewBlocksFirst)
        shape = StageShape(stage.steps, 100, stage.depth, stage.depth - 2)
        assert stage.freeze.levels(shape) == (Level(0, stage.depth - 2), Level(25, 0))
    in_epochs = PrefixStages(depth=5, n_stages=3, epochs=30.0, new_alone=0.0).stages()
    assert [(stage.depth, stage.epochs, stage.freeze) for stage in in_epochs.values()] == [
        (2, 5.0, None),
        (4, 5.0, None),
        (5, 20.0, None),
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_stages": 9}, "stages.n_stages=9: of 8 blocks there are no more prefixes"),
        ({"n_stages": 0}, "stages.n_stages=0"),
        ({"epochs": None}, "exactly one of them"),
        ({"epochs": None, "steps": 7}, "too few for 4 stages"),
        ({"new_alone": 1.5}, "stages.new_alone=1.5"),
    ],
)
def test_plans_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        PrefixStages(**options)
