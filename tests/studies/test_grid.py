from pathlib import Path

import pytest

from curriculum_rec.errors import OptionError
from curriculum_rec.studies.grid import Choice, Place, plan
from curriculum_rec.studies.study import study_of

STUDY = study_of(
    {
        "question": "Which?",
        "seeds": [3, 1],
        "options": ["epochs=1"],
        "data": {"a": {"path": "a.txt", "options": ["x=1"]}},
        "conditions": {"clean": [], "noisy": ["noise=planted"]},
        "arms": {
            "plain": [],
            "after": {"options": ["run={beside}/plain/seed-${seed}"], "after": "plain"},
            "oracle": {"options": ["y=1"], "conditions": ["noisy"]},
        },
    },
    "study",
)


def hashes(words, seeds):
    return [f"{' '.join(words)} {seed}" for seed in seeds]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("")
    return tmp_path


def test_runs_come_seed_by_seed_each_in_its_folder(folder):
    runs = plan(STUDY, Path("root"), folder=folder, hashes=hashes)
    assert [run.seed for run in runs] == [3] * 5 + [1] * 5
    assert [run.name for run in runs[:5]] == [
        "a/clean/plain/seed-3",
        "a/clean/after/seed-3",
        "a/noisy/plain/seed-3",
        "a/noisy/after/seed-3",
        "a/noisy/oracle/seed-3",
    ]
    assert len({run.directory for run in runs}) == len({run.config_hash for run in runs}) == 10


def test_words_are_those_of_data_condition_study_call_and_arm(folder):
    runs = plan(STUDY, Path("root"), folder=folder, hashes=hashes, choice=Choice(words=("z=1",)))
    run = next(run for run in runs if run.arm == "oracle")
    assert run.words == ("x=1", f"data.path={folder / 'a.txt'}", "noise=planted", "epochs=1", "z=1", "y=1", "seed=3")
    assert run.place == Place("a", "noisy")


def test_an_arm_can_name_the_runs_beside_it_and_wait_for_them(folder):
    run = next(r for r in plan(STUDY, Path("root"), folder=folder, hashes=hashes) if r.arm == "after" and r.seed == 1)
    assert run.words[-2] == f"run={Path('root').absolute()}/a/clean/plain/seed-${{seed}}"
    assert run.after == "a/clean/plain/seed-1"


def test_an_arm_can_name_files_beside_the_data(folder):
    study = study_of(
        {"question": "", "arms": {"plain": [], "known": ["tags={folder}/tags.json"]}, "seeds": [3]}, "study"
    )
    run = plan(study, Path("r"), folder=folder, hashes=hashes)[1]
    assert run.words == (f"tags={folder}/tags.json", "seed=3")
    with pytest.raises(OptionError, match=r"tags=\{folder\}/tags.json: name the folder"):
        plan(study, Path("r"), folder=None, hashes=hashes)


def test_a_twin_has_other_seeds_and_the_same_pairs(folder):
    twins = study_of({"question": "", "arms": {"plain": [], "twin": {"seed_offset": 100}}, "seeds": [3]}, "study")
    runs = plan(twins, Path("r"), folder=folder, hashes=hashes)
    assert [(run.seed, run.words, run.config_hash) for run in runs] == [
        (3, ("seed=3",), " 3"),
        (3, ("seed=103",), " 103"),
    ]


def test_a_part_can_be_chosen(folder):
    choice = Choice(arms=["oracle"], seeds=[7], data_sets=["a"], conditions=["noisy"])
    assert [run.name for run in plan(STUDY, Path("r"), folder=folder, hashes=hashes, choice=choice)] == [
        "a/noisy/oracle/seed-7"
    ]


@pytest.mark.parametrize(
    ("choice", "there", "sentence"),
    [
        (Choice(arms=["orcle"]), True, "arms: the study has no 'orcle'; it has: plain, after, oracle"),
        (Choice(data_sets=["b"]), True, "data_sets: the study has no 'b'"),
        (Choice(conditions=["b"]), True, "conditions: the study has no 'b'"),
        (None, False, "name the folder that holds it, folder=DIR"),
    ],
)
def test_what_is_not_there_is_named(folder, choice, there, sentence):
    with pytest.raises(OptionError, match=sentence):
        plan(STUDY, Path("r"), folder=folder if there else None, hashes=hashes, choice=choice)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"has no a\.txt, where the data set 'a' of the study lies"):
        plan(STUDY, Path("r"), folder=tmp_path, hashes=hashes)
