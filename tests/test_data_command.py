"""``curriculum-rec data list | prepare | describe``."""

import subprocess
import sys

import pytest
from data.catalogue.test_preparing import archive, cache, server  # noqa: F401 - fixtures
from hydra import compose, initialize_config_module

from curriculum_rec import config, help_texts
from curriculum_rec.cli import main
from curriculum_rec.completion import complete

LOG = "customer,sku,time,price\n" + "".join(
    f"c{user},s{(user * n) % 7},{1_200_000_000 + n * 3600},{n}\n" for user in range(1, 9) for n in range(1, 8)
)
TABLE = ["data=table", "data.path=log.csv", "data.user=customer", "data.item=sku", "data.timestamp=time"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CURRICULUM_REC_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path


def test_list_names_every_set_with_its_size_and_licence(capsys):
    assert main(["data", "list"]) == 0
    said = capsys.readouterr().out
    for word in ("online_retail", "in the package", "movielens_25m", "25,000,095", "262 MB", "CC BY 4.0", "absent"):
        assert word in said


def test_describe_prints_and_draws_any_source(folder, capsys):
    assert main(["data", "describe", *TABLE, "output=log.html"]) == 0
    said = capsys.readouterr().out
    assert "interactions" in said
    assert "k_core" in said
    assert "drawn: log.html" in said
    assert "<svg" in (folder / "log.html").read_text()


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_describe_draws_pictures(folder, ending):
    assert main(["data", "describe", *TABLE, f"output=log.{ending}"]) == 0
    assert (folder / f"log.{ending}").stat().st_size > 1000


def test_describe_by_name_is_short_for_data(folder, capsys):
    assert main(["data", "describe", "eshop_clothing", "output=null"]) == 0
    by_name = capsys.readouterr().out
    assert main(["data", "describe", "output=null", "data=eshop_clothing"]) == 0
    assert capsys.readouterr().out == by_name
    for word in ("165,474", "24,026", "what is known of users (24,026)", "colour", "Poland"):
        assert word in by_name
    assert not list(folder.glob("*.html"))


def test_describe_says_what_cleaning_leaves_and_why_nothing(folder, capsys):
    assert main(["data", "describe", *TABLE, "output=null", "cleaning.k_core.min_user_interactions=99"]) == 0
    said = capsys.readouterr().out
    assert "Cleaning leaves nothing to train on: cleaning rule 'k_core' removed all" in said
    assert "56" in said


def test_prepare_downloads_and_names_what_was_written(folder, server, capsys):  # noqa: F811
    assert main(["data", "prepare", "movielens_100k"]) == 0
    said = capsys.readouterr()
    assert "licence: of GroupLens" in said.err
    assert "interactions.parquet" in said.out
    assert main(["data", "list"]) == 0
    assert "prepared" in capsys.readouterr().out
    assert main(["data", "describe", "movielens_100k", "output=null"]) == 0
    assert "genres" in capsys.readouterr().out
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["data needs to know what to do", "data list, data prepare, data describe"]),
        (["show"], ["there is no 'data show'", "data describe"]),
        (["describe"], ["name the data: 'curriculum-rec data describe NAME'"]),
        (["describe", "movielens"], ["there is no data 'movielens'", "movielens_100k"]),
        (["describe", "a-b"], ["'a-b' is no option", "'curriculum-rec data describe --help'"]),
        (["describe", "eshop_clothing", "output=page.txt"], ["output=page.txt", ".html"]),
        (["describe", "eshop_clothing", "model=sasrec"], ["model"]),
        (["describe", "movielens_1m", "data.path=none.zip"], ["none.zip does not exist", "data.path"]),
        (["prepare"], ["name the data"]),
        (["prepare", "online_retail"], ["Online Retail is inside the package", "nothing to prepare"]),
        (["prepare", *TABLE], ["nothing to prepare"]),
        (["list", "here"], ["'here' is no option", "data list"]),
    ],
)
def test_mistakes_are_one_sentence(folder, capsys, words, parts):
    assert main(["data", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert all(part in said.err for part in parts), said.err
    assert sorted(path.name for path in folder.iterdir()) == ["log.csv"]


@pytest.mark.parametrize("action", help_texts.ACTIONS["data"])
def test_help_names_every_option(action, capsys):
    assert main(["data", action, "--help"]) == 0
    text = capsys.readouterr().out
    assert text == help_texts.ACTIONS["data"][action]
    config.register()
    with initialize_config_module("curriculum_rec.conf", version_base="1.3"):
        options = set(compose(f"data_{action}"))
    assert {name for name in options - {"data", "cleaning"} if f"  {name}=" not in text} == set()
    assert main(["data", "--help"]) == 0
    assert f"  {action} " in capsys.readouterr().out


def test_completion_of_actions_sets_and_options():
    assert complete(["data", ""]) == ["describe", "list", "prepare"]
    assert complete(["data", "describe", "movielens_1"]) == ["movielens_100k", "movielens_1m"]
    assert complete(["data", "describe", "eshop_clothing", "o"]) == ["output="]
    assert complete(["data", "describe", "data=ta"]) == ["data=table"]
    assert complete(["data", "prepare", "movielens_1m", "data.p"]) == ["data.path="]
    assert complete(["data", "nothing", ""]) == []


def test_the_commands_load_no_jax():
    code = "import sys; from curriculum_rec.cli import main; main(['data', 'list']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
