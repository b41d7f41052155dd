"""A person's mistakes at the command line: exit code 2, one sentence, no traceback, and nothing left behind."""

import shlex
import warnings

import pytest

from curriculum_rec import __version__
from curriculum_rec.cli import main
from curriculum_rec.help_texts import COMMANDS

HISTORIES = "".join(f"u{user} " + " ".join(f"i{user * n % 7}" for n in range(1, 6)) + "\n" for user in range(1, 9))
FILES = {
    "good.txt": HISTORIES,
    "empty.txt": "",
    "header.csv": "user,item,timestamp\n",
    "semicolon.csv": "user;item;timestamp\nu;a;1\nv;b;2\n",
    "others.csv": "customer,sku,time\n1,2,3\n",
    "one_user.txt": "u a b c d\n",
    "lone.csv": "user,item,timestamp\nu,a,1\nu,b,2\nv,a,3\n",
    "bad_time.csv": "user,item,timestamp\nu,a,1\nu,b,noon\n",
    "run/config.yaml": "name: train\n",
    "broken/config.yaml": "{{{ : [\n",
    "other/notes.txt": "mine\n",
    "with space, and comma/experiments/experiment/mine.yaml": "# @package _global_\nname: mine\n",
}
SMALL = ["data=sequences", "data.path=good.txt", "evaluation.k=[5]", "evaluation.metric=ndcg@5", "placement=jit"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the program sets its own
    return tmp_path


def tree(folder):
    return {(path, path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")}


def refusal(arguments, folder, capsys):
    """Run a command that must be refused and give its sentence."""
    before = tree(folder)
    code = main(arguments)
    output = capsys.readouterr()
    assert code == 2
    assert output.out == ""
    assert len(output.err.splitlines()) == 1, output.err
    assert output.err.startswith("curriculum-rec: ")
    assert "Traceback" not in output.err
    assert tree(folder) == before
    return output.err


DATA_MISTAKES = [
    ("data=sequences data.path=no.txt", ["no.txt does not exist", "data.path"]),
    ("data=sequences data.path=run", ["is a folder"]),
    ("data=sequences data.path=empty.txt", ["is empty"]),
    ("data=sequences data.path=2024", ["2024 does not exist"]),
    ("data=sequences", ["data.path is not set", "data.path=VALUE"]),
    ("data=table", ["data.path is not set"]),
    ("data=table data.path=header.csv", ["header but no rows"]),
    ("data=table data.path=semicolon.csv", ["no column 'user'", "data.separator="]),
    ("data=table data.path=others.csv", ["no column 'user'", "'customer', 'sku', 'time'"]),
    ("data=table data.path=bad_time.csv", ["line 3", "'noon'"]),
    ("data=table data.path=lone.csv", ["cleaning rule 'k_core' removed all 3 rows", "cleaning.k_core"]),
    ("data=table data.path=good.txt", ["data.format"]),
    ("data=sequences data.path=one_user.txt", ["only one user ('u')"]),
]
OPTION_MISTAKES = [
    ("curriculum=length curriculum.controls=all", ["controls=all makes a sweep", "add -m"]),
    ("-m curriculum=length curriculum.controls=some", ["takes one value: curriculum.controls=all"]),
    ("-m curriculum=length curriculum.controls=all curriculum.order=anti", ["leave curriculum.order out"]),
    ("objective=softmax objective/negatives=hardest", ["objective/negatives cannot be chosen here"]),
    ("curriculum=length curriculum/sampler=taught", ["pacing=Linear has no effect", "take constant"]),
    ("curriculum/sampler=mixture curriculum.sampler.weights={a:1}", ["needs data of several sources", "data=joined"]),
    ("curriculum/history=cut curriculum.history.start=99", ["curriculum.history.start=99 has no effect"]),
    ("curriculum.refresh=step", ["refresh=step has no effect without a difficulty"]),
    ("examples.max_length=abc", ["examples.max_length=abc", "an integer"]),
    ("examples.max_length=0", ["examples.max_length=0", "at least 1"]),
    ("seed=abc", ["seed", "abc"]),
    ("seed=-1", ["seed=-1", "between 0 and"]),
    ("seed=99999999999999999999", ["seed=99999999999999999999"]),
    ("progress=maybe", ["progress", "maybe"]),
    ("evaluation.k=[100000] evaluation.metric=ndcg@100000", ["evaluation.k=100000", "catalogue of 7 items"]),
    ("evaluation.k=[100000]", ["evaluation.k=[100000]"]),
    ("evaluation.k=[]", ["evaluation.k=[]"]),
    ("evaluation.k=5", ["evaluation.k=5", "a list of integers"]),
    ("evaluation.metric=auc@10", ["'auc@10' is no metric"]),
    ("evaluation.every_epochs=inf", ["evaluation.every_epochs=inf"]),
    ("model.widht=3", ["model.widht", "is 'width' meant?"]),
    ("model.width=1.5", ["model.width=1.5", "an integer"]),
    ("model.dropout=2", ["model.dropout=2", "[0, 1)"]),
    ("model.dropout=null", ["model.dropout=null", "a number"]),
    ("model.n_heads=3", ["model.n_heads=3", "divide"]),
    ("optimizer.learning_rate=-1", ["optimizer.learning_rate=-1"]),
    ("optimizer.learning_rate=inf", ["optimizer.learning_rate=inf"]),
    ("curriculum=length curriculum.pacing.start=2", ["curriculum.pacing.start=2", "(0, 1]"]),
    ("curriculum=length curriculum.order=backwards", ["curriculum.order=backwards", "one of"]),
    ("objective=bce objective/negatives=hard", ["'hard'", "cached_hard, hardest"]),
    (
        "objective=sampled_softmax objective/negatives=hardest",
        ["objective.negatives=Hardest", "which a batch cannot share"],
    ),
    ("objective=softmax objective/negatives=hardest", ["objective/negatives"]),
    ("objective=bce objective/negatives=hardest objective.negatives.top=64", ["objective.negatives.top=64", "=32"]),
    ("objective=bce objective/negatives=cached_hard", ["objective.negatives.size=100", "only 7 items"]),
    (
        "model=bprmf objective=bpr objective/negatives=cached_hard objective.negatives.size=5",
        ["CachedHard looks at histories that are nobody's", "BPRMF"],
    ),
    ("model=bprmf objective=bpr stages.train.depth=2", ["model=bprmf has no blocks"]),
    ("objective=bce objective.negatives=5", ["objective.negatives", "5"]),
    ("stages.train.epochs=nan", ["epochs=nan"]),
    ("stages.train.epochs=inf", ["epochs=inf"]),
    ("stages.train.steps=5", ["epochs=20", "steps=5"]),
    ("stages.train=5", ["stages.train"]),
    ("stages=grow_2_4", ["growth"]),
    ("stages=grow_2_4 growth=interleave +stages.train.epochs=5", ["no stage 'train'", "~stages.train"]),
    ("stages.train.warm_start=nowhere", ["nowhere holds no run"]),
    ("placement=auto placement.devices=99", ["placement.devices=99", "there are"]),
    ("steps_per_dispatch=0", ["steps_per_dispatch=0"]),
    ("keep_checkpoints=-1", ["keep_checkpoints=-1"]),
    ("checkpoint_every_steps=0", ["checkpoint_every_steps=0"]),
    ("on_existing=perhaps", ["on_existing=perhaps", "refuse, replace, resume"]),
    ("cleaning.missing=null", ["cleaning.missing"]),
    ("~model", ["model is empty"]),
    ("model=null", ["model"]),
    ("data=[1]", ["data"]),
    ("model=sasrek", ["sasrek", "sasrec"]),
    ("experiment=nope", ["nope", "quickstart"]),
    ("seed", ["'seed' is no option", "OPTION=VALUE"]),
    ("nope=1", ["option 'nope' does not exist"]),
    ("'model={a: 1'", ["{a: 1"]),
    ("model._target_=os.system", ["model._target_=os.system is refused", "trusted_packages"]),
    ("model._target_=curriculum_rec.nowhere.X", ["cannot be imported"]),
    ("run_dir=run", ["run holds a run already", "resume", "on_existing=replace"]),
    ("run_dir=other", ["holds other files"]),
    ("run_dir=good.txt", ["good.txt is a file"]),
    ("run_dir=good.txt/x", ["cannot be made"]),
    ("run_dir=broken on_existing=resume", ["broken/config.yaml cannot be read"]),
    ("--frobnicate", ["--frobnicate"]),
    ("--cfg nonsense", ["nonsense"]),
    ("--config-dir", ["--config-dir"]),
]


@pytest.mark.parametrize(("line", "words"), DATA_MISTAKES, ids=[line for line, _ in DATA_MISTAKES])
def test_mistakes_in_data(folder, capsys, line, words):
    sentence = refusal(["train", *shlex.split(line)], folder, capsys)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(("line", "words"), OPTION_MISTAKES, ids=[line for line, _ in OPTION_MISTAKES])
def test_mistakes_in_options(folder, capsys, line, words):
    sentence = refusal(["train", *SMALL, *shlex.split(line)], folder, capsys)
    assert all(word in sentence for word in words), sentence


RUN_MISTAKES = [
    ("run=nowhere", ["nowhere holds no run"]),
    ("run=good.txt", ["good.txt holds no run"]),
    ("run=other", ["other holds no run"]),
    ("run=run", ["run/config.yaml is not a configuration"]),
    ("run=broken", ["broken/config.yaml cannot be read"]),
    ("", ["run is not set"]),
    ("run=nowhere frob=1", ["option 'frob' does not exist"]),
]


@pytest.mark.parametrize("command", ["resume", "evaluate", "recommend", "inspect"])
@pytest.mark.parametrize(("line", "words"), RUN_MISTAKES, ids=[line for line, _ in RUN_MISTAKES])
def test_commands_on_what_is_no_run(folder, capsys, command, line, words):
    sentence = refusal([command, *line.split()], folder, capsys)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate run=run split=training", ["split=training", "one of validation, test"]),
        ("evaluate run=run output=x.txt", ["output=x.txt", ".parquet, .csv, .jsonl"]),
        ("evaluate run=run k=five", ["k"]),
        ("recommend run=run k=many", ["k", "many"]),
        ("recommend run=run output=x.txt", ["output=x.txt"]),
        ("recommend run=run output=other", ["output=other"]),
        ("inspect run=run output=x.txt", ["output=x.txt", ".svg, .png, .pdf, .html"]),
        ("inspect run=[]", ["run=[]", "at least one run"]),
        ("inspect run=[run,nowhere]", ["run/config.yaml is not a configuration"]),
        ("audit output=x.md", ["output=x.md", ".html"]),
        ("audit difficultys=[length]", ["option 'difficultys' does not exist", "is 'difficulties' meant?"]),
        ("recomend run=run", ["no command 'recomend'", "recommend"]),
        ("Train", ["no command 'Train'"]),
    ],
)
def test_mistakes_in_other_commands(folder, capsys, line, words):
    sentence = refusal(line.split(), folder, capsys)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("difficulties=[length,hardness]", ["no curriculum/difficulty 'hardness'", "length, loss, popularity"]),
        ("difficulties=[loss]", ["needs the running losses of a training run"]),
        ("difficulties=[time_gap]", ["needs timestamps"]),
        ("difficulties=length", ["difficulties"]),
        ("difficulties=[] seeds=1", ["seeds=1", "at least 2"]),
        ("difficulties=[] scores=[no.parquet]", ["scores=no.parquet does not exist"]),
        ("difficulties=[] scores=[good.txt]", ["scores=good.txt", "must end in one of .parquet"]),
        ("difficulties=[] flagged=no.parquet", ["no.parquet cannot be read"]),
        ("difficulties=[] runs=[nowhere]", ["nowhere holds no run"]),
        ("difficulties=[] output=other", ["output=other"]),
        ("difficulties=[] data.path=no.txt", ["no.txt does not exist"]),
    ],
)
def test_mistakes_in_audits(folder, capsys, line, words):
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    sentence = refusal(["audit", *SMALL, *line.split()], folder, capsys)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("command", ["audit", "inspect run=done"])
def test_figures_need_their_extra(finished_run, capsys, monkeypatch, command):
    monkeypatch.chdir(finished_run)
    monkeypatch.setattr("curriculum_rec.reports.figures.find_spec", lambda name: None)
    words = [*command.split(), *(SMALL if command == "audit" else [])]
    assert "pip install 'curriculum-rec[figures]'" in refusal(words, finished_run, capsys)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A run of one step, and its data beside it."""
    place = tmp_path_factory.mktemp("finished")
    (place / "good.txt").write_text(HISTORIES)
    (place / "changed.txt").write_text(HISTORIES.replace("u1 i1", "u1 i2"))
    options = ["stages.train.epochs=null", "stages.train.steps=1", "model.width=8", "model.depth=1", "progress=none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        assert main(["train", *SMALL, *options, "run_dir=done"]) == 0
    return place


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate run=done k=[]", ["k=[]"]),
        ("evaluate run=done k=[0]", ["k=[0]"]),
        ("evaluate run=done k=[8]", ["k=8", "7 items"]),
        ("evaluate run=done checkpoint=99", ["99"]),
        ("evaluate run=done checkpoint=worst", ["checkpoint=worst", "best, newest"]),
        ("evaluate run=done data_path=changed.txt", ["the data of done changed"]),
        ("evaluate run=done data_path=no.txt", ["no.txt does not exist"]),
        ("evaluate run=done output=good.txt/x.csv", ["cannot be written"]),
        ("inspect run=[done,nowhere]", ["nowhere holds no run"]),
        ("inspect run=[done,done,done,done,done,done,done]", ["7 runs", "between 1 and 6"]),
        ("recommend run=done k=8", ["k=8", "7 items"]),
        ("recommend run=done k=0", ["k=0"]),
        ("recommend run=done k=3 users=[u1,nobody]", ["user 'nobody' does not occur"]),
        ("recommend run=done k=3 output=good.txt/x.csv", ["cannot be written"]),
        ("train data=sequences data.path=good.txt seed=1 run_dir=done on_existing=resume", ["another configuration"]),
        ("train stages.train.warm_start=done", ["done"]),
    ],
)
def test_mistakes_on_a_finished_run(finished_run, capsys, monkeypatch, line, words):
    monkeypatch.chdir(finished_run)
    sentence = refusal(line.split(), finished_run, capsys)
    assert all(word in sentence for word in words), sentence


def test_a_hinted_separator_can_be_pasted_into_a_shell(folder, capsys):
    line = ["train", "data=table", "data.path=semicolon.csv"]
    sentence = refusal(line, folder, capsys)
    hint = next(word for word in shlex.split(sentence.replace("is ", "").rstrip()) if "data.separator=" in word)
    assert "removed all 2 rows" in refusal([*line, hint.rstrip("?")], folder, capsys)  # it was read


def test_experiments_are_found_in_folders_of_any_name(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder / "with space, and comma")
    assert main(["train", "experiment=mine", "--cfg", "job"]) == 0
    assert "name: mine" in capsys.readouterr().out


def test_flags_may_stand_anywhere(folder, capsys):
    # A sweep's folder is Hydra's, which makes it before the first job is looked at.
    assert main(["train", *SMALL, "-m", "seed=-1,-2"]) == 2
    assert capsys.readouterr().err.count("seed=-1") == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(folder, capsys, command, flag):
    assert main([command, "k=3", flag]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"usage: curriculum-rec {command} ")
    assert output.err == ""


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_of_the_program(capsys, arguments):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_no_arguments_print_the_help_and_fail(capsys):
    assert main([]) == 2
    assert "usage: curriculum-rec COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(capsys, flag):
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"curriculum-rec {__version__}\n"
