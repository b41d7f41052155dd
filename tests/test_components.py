"""From plain data to components: checked names, types and origins."""

from collections.abc import Mapping
from typing import Literal

import pytest

from curriculum_rec.components import build, check_type, describe_type
from curriculum_rec.curriculum.pacing import Linear
from curriculum_rec.data.cleaning import DropDuplicates, KCore
from curriculum_rec.data.examples import SequenceExamples
from curriculum_rec.data.sources import TableFile
from curriculum_rec.errors import OptionError
from curriculum_rec.models.sasrec import SASRec

CLEANING = "curriculum_rec.data.cleaning"
SASREC = {"_target_": "curriculum_rec.models.sasrec.SASRec"}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"_target_": f"{CLEANING}.KCore"}, KCore()),
        ({"_target_": f"{CLEANING}.KCore", "min_user_interactions": 3}, KCore(3)),
        ({"_target_": f"{CLEANING}.DropDuplicates", "keep": "last"}, DropDuplicates(keep="last")),
        ({"_target_": "curriculum_rec.curriculum.pacing.Linear", "start": 1}, Linear(1.0)),
        (SASREC | {"dropout": 0}, SASRec(dropout=0.0)),
        (
            {"_target_": "curriculum_rec.data.examples.SequenceExamples", "bucket_lengths": [4, 8]},
            SequenceExamples(bucket_lengths=(4, 8)),
        ),
        (
            {"_target_": "curriculum_rec.data.sources.TableFile", "path": "x", "timestamp": None, "columns": ["a"]},
            TableFile("x", timestamp=None, columns=("a",)),
        ),
        ({"a": {"_target_": f"{CLEANING}.KCore"}, "b": {"c": 1}}, {"a": KCore(), "b": {"c": 1}}),
        ({}, None),
        (5, 5),
    ],
)
def test_built_components(node, expected):
    built = build(node, "part")
    assert built == expected
    assert repr(built) == repr(expected)  # 1 and 1.0 are equal, and so are a list's and a tuple's entries


def test_nested_components():
    node = {
        "_target_": "curriculum_rec.curriculum.options.Curriculum",
        "difficulty": {"_target_": "curriculum_rec.curriculum.difficulty.Length"},
        "pacing": {"_target_": "curriculum_rec.curriculum.pacing.Linear", "start": 0.5},
        "sampler": {"_target_": "curriculum_rec.curriculum.sampling.Prefix"},
    }
    assert build(node, "curriculum").pacing == Linear(0.5)
    with pytest.raises(OptionError, match=r"option 'curriculum\.pacing\.begin' does not exist"):
        build(node | {"pacing": node["pacing"] | {"begin": 1}}, "curriculum")


def test_unknown_options_name_the_allowed_and_suggest():
    with pytest.raises(OptionError) as caught:
        build({"_target_": f"{CLEANING}.DropDuplicates", "kep": "last"}, "cleaning.duplicates")
    assert str(caught.value).startswith(
        "option 'cleaning.duplicates.kep' does not exist; is 'keep' meant? There are: keep, same"
    )
    with pytest.raises(OptionError, match=r"'model\.zzz' does not exist; there are: .*dropout"):
        build(SASREC | {"zzz": 3}, "model")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": "abc"}, "model.width=abc: it must be an integer"),
        ({"width": 1.5}, "model.width=1.5: it must be an integer"),
        ({"width": True}, "model.width=True: it must be an integer"),
        ({"width": None}, "model.width=null: it must be an integer"),
        ({"width": [8]}, "model.width=[8]: it must be an integer"),
        ({"dropout": "0.1"}, "model.dropout=0.1: it must be a number"),
        ({"dropout": False}, "model.dropout=False: it must be a number"),
        ({"dropout": {"_target_": f"{CLEANING}.KCore"}}, "it must be a number"),
        ({"n_heads": 3}, "model.n_heads=3"),
    ],
)
def test_wrong_values_name_option_value_and_type(options, sentence):
    with pytest.raises(OptionError) as caught:
        build(SASREC | options, "model")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, 1.0),
        (1, int | None, 1),
        (None, int | None, None),
        (1, str, "1"),
        (0.5, str, "0.5"),
        ("a", int | str, "a"),
        (1, int | str, 1),
        (True, bool, True),
        ([], tuple[int, ...], ()),
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        (["a", 1], tuple[str, ...], ("a", "1")),
        ("b", Literal["a", "b"], "b"),
        (0, Literal[0, 1], 0),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
    ],
)
def test_accepted_types(value, hint, expected):
    checked = check_type(value, hint, "x")
    assert (type(checked), repr(checked)) == (type(expected), repr(expected))


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (True, int, "an integer"),
        (True, float, "a number"),
        (True, str, "text"),
        (1, bool, "true or false"),
        ("true", bool, "true or false"),
        (1.0, int, "an integer"),
        ("1", int, "an integer"),
        (None, str, "text"),
        ("a", int | None, "an integer or null"),
        ("c", Literal["a", "b"], "one of a, b"),
        (False, Literal[0, 1], "one of 0, 1"),
        (5, tuple[int, ...], "a list of integers"),
        ([1, "a"], tuple[int, ...], "a list of integers"),
        ([True], tuple[float, ...], "a list of numbers"),
        ("ab", tuple[str, ...], "a list of texts"),
        (5, Mapping[str, int], "a mapping"),
        (5, SASRec, "a component (SASRec)"),
        (KCore(), SASRec, "a component (SASRec)"),
    ],
)
def test_refused_types(value, hint, words):
    assert describe_type(hint) == words
    with pytest.raises(OptionError) as caught:
        check_type(value, hint, "part.option")
    assert str(caught.value).startswith("part.option=")
    assert str(caught.value).endswith(f"it must be {words}")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "builtins.eval",
        "curriculum_recx.Evil",
        "optaxx.adam",
        "eval",
        "",
        ".os",
        "curriculum_rec.import_module",  # a name that our module imports is not ours
        "curriculum_rec.training.run_directory.shutil.rmtree",
        "curriculum_rec.config.Path",
    ],
)
def test_untrusted_targets_are_refused(target):
    with pytest.raises(OptionError, match=r"part\._target_="):
        build({"_target_": target}, "part")


def test_what_our_modules_import_cannot_be_called():
    with pytest.raises(OptionError, match=r"part\._target_="):
        build({"_target_": "curriculum_rec.import_module", "name": "json"}, "part")


def test_untrusted_targets_are_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OptionError, match="trusted_packages"):
        build({"_target_": "evil_module.f"}, "part")


def test_trusted_packages_are_allowed_and_only_these(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text("def twice(*, x: int = 1): return 2 * x")
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "my_models.twice", "x": 4}
    assert build(node, "model", trusted=("my_models",)) == 8
    assert build({"inner": node}, "model", trusted=("my_models",)) == {"inner": 8}
    with pytest.raises(OptionError, match=r"model\.x=a: it must be an integer"):
        build(node | {"x": "a"}, "model", trusted=("my_models",))
    for trusted in ((), ("my",), ("my_models.sub",)):
        with pytest.raises(OptionError, match="trusted_packages"):
            build(node, "model", trusted=trusted)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("curriculum_rec.models.sasrec.Nothing", "cannot be imported"),
        ("curriculum_rec.nowhere.Nothing", "cannot be imported"),
        ("curriculum_rec.data.sources.tables.OF_TEXT", "is no component"),
    ],
)
def test_targets_that_are_not_there(target, words):
    with pytest.raises(OptionError, match=words):
        build({"_target_": target}, "part")


@pytest.mark.parametrize("annotation", ["", ": Any", ": object", ": 'Nowhere'"])
def test_options_without_a_checkable_annotation_are_taken_as_they_are(tmp_path, monkeypatch, annotation):
    module = f"plain_{len(annotation)}"
    (tmp_path / f"{module}.py").write_text(f"from typing import Any\ndef same(*, x{annotation}): return x")
    monkeypatch.syspath_prepend(tmp_path)
    assert build({"_target_": f"{module}.same", "x": [1]}, "model", trusted=(module,)) == [1]


def test_missing_options_are_named():
    with pytest.raises(OptionError, match=r"data\.path is not set: curriculum_rec\.data\.sources\.TableFile needs it"):
        build({"_target_": "curriculum_rec.data.sources.TableFile"}, "data")


def test_optax_may_be_named():
    assert build({"_target_": "optax.sgd", "learning_rate": 0.1}, "optimizer").init is not None


@pytest.mark.parametrize(
    "target",
    [
        "curriculum_rec.config.experiment_of_run",
        "curriculum_rec.cli.main",
        "curriculum_rec.files.write_text",
        "curriculum_rec.data.sources.files.require_file",
        "curriculum_rec.data.interactions.clean",
        "curriculum_rec.training.run_directory.RunDirectory",
        "curriculum_rec.training.runner.Runner",
        "curriculum_rec.components.build",
        "curriculum_rec.data.sources.files.Path",
    ],
)
def test_our_own_plumbing_is_no_component(target):
    with pytest.raises(OptionError, match="is no component"):
        build({"_target_": target}, "data")


def test_components_in_a_list_are_built():
    node = {"_target_": "curriculum_rec.curriculum.pacing.Constant"}
    assert build([node, 1], "x")[1] == 1
    assert type(build([node], "x")[0]).__name__ == "Constant"


def test_a_component_that_fails_is_named():
    with pytest.raises(OptionError, match="optimizer: optax.linear_onecycle_schedule refuses its options"):
        build({"_target_": "optax.linear_onecycle_schedule", "transition_steps": 0, "peak_value": 1.0}, "optimizer")
