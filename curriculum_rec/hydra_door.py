"""The way through Hydra (host): compose, sweep, and turn its errors into one sentence each."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from curriculum_rec import config
from curriculum_rec.components import unknown_option
from curriculum_rec.errors import CurriculumRecError, OptionError, RunError
from curriculum_rec.training.interrupt import Interrupted

FOR_RUNS = {"study": "options", "tune": "overrides"}
"""Commands whose words after ``--`` go to every run that they start."""
DATABASE_WITH_PASSWORD = re.compile(
    r"postgres(?:ql)?://[^\s/?#]*:[^\s/?#]*@|postgres(?:ql)?://\S*[?&](?:ssl)?password=", re.I
)
NAMES_DATA = ("data_prepare", "data_describe")
"""Commands for which a word that is no option is short for ``data=WORD``."""
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
PLUGINS = {
    "hydra/launcher/joblib": ("hydra-joblib-launcher", "joblib"),
    "hydra/launcher/submitit_slurm": ("hydra-submitit-launcher", "slurm"),
    "hydra/launcher/submitit_local": ("hydra-submitit-launcher", "slurm"),
    "hydra/launcher/ray": ("hydra-ray-launcher", "ray"),
}
"""Configurations that plugins bring: the plugin's package, and the extra that installs it."""


def call(
    command: str, words: Sequence[str], task: Callable[[DictConfig], Any], *, searchpath: Sequence[Path] = ()
) -> None:
    """Compose a command's configuration and call its task, once or for every job of a sweep.

    Args:
        command: Name of the primary configuration.
        words: Hydra's own command line: flags and overrides in any order.
        task: What to do with the configuration.
        searchpath: Folders whose groups join the packaged ones.

    Raises:
        OptionError: The configuration cannot be composed.
        Exception: Whatever the task raises.
    """
    config.register()
    with _command_line(arrange(command, words, searchpath)), _failures_raised():
        main = hydra.main(version_base="1.3", config_path="pkg://curriculum_rec.conf", config_name=command)
        try:
            main(_Job(task))()
        except _TaskFailed as failed:
            raise failed.error from failed.error.__cause__
        except Exception as error:  # the task's own come as _TaskFailed, so this is Hydra's or OmegaConf's
            raise OptionError(explain(error)) from error


def arrange(command: str, words: Sequence[str], searchpath: Sequence[Path]) -> list[str]:
    """Check the flags and put them before the overrides, as Hydra's own parser wants them.

    Raises:
        OptionError: A flag does not exist or an override has no value.
    """
    parser = _Parser(prog=command.replace("_", " "), add_help=False, allow_abbrev=False)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--package", "-p")
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFO)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("overrides", nargs="*")
    words, for_runs = _cut_at_dashes(command, words)
    words = _with_part(words, command)
    given = parser.parse_intermixed_args(words)
    given.overrides += for_runs
    given.overrides = _with_controls(_with_bare_words(given.overrides, command), sweeps=given.multirun)
    for word in given.overrides:
        _check_override(word, command)
    sweeps = given.multirun or command == "study"
    if not (sweeps or given.cfg or given.info or "hydra.mode=MULTIRUN" in given.overrides):
        _check_no_launcher(given.overrides)
    flags = [flag for flag, wanted in (("--multirun", given.multirun), ("--resolve", given.resolve)) if wanted]
    for flag, value in (("cfg", given.cfg), ("package", given.package), ("info", given.info)):
        flags += [] if value is None else [f"--{flag}={value}"]
    if given.config_dir is not None:
        if not Path(given.config_dir).is_dir():
            raise OptionError(f"--config-dir={given.config_dir}: there is no such folder")
        flags.append(f"--config-dir={given.config_dir}")
    overrides = list(given.overrides)
    if searchpath and not any(word.startswith("hydra.searchpath=") for word in overrides):
        places = ",".join(map(_quoted, searchpath))
        overrides.insert(0, f"hydra.searchpath=[{places}]")
    return flags + overrides


def _with_bare_words(words: Sequence[str], command: str) -> list[str]:
    """Take the words of ``list`` that are no options for its folders, and the one of ``data`` for the data set."""
    if command in NAMES_DATA:
        return [f"data={word}" if re.fullmatch(r"\w+", word) else word for word in words]
    folders = [word for word in words if "=" not in word and not word.startswith("~")] if command == "list" else []
    if not folders:
        return list(words)
    quoted = ",".join("'" + word.replace("'", "\\'") + "'" for word in folders)
    return [*(word for word in words if word not in folders), f"folders=[{quoted}]"]


def _with_part(words: Sequence[str], command: str) -> list[str]:
    """Give ``split=test`` of ``evaluate`` to its option, which is a part of the data; ``split`` is also a group."""
    prefix = "split="
    return [
        f"part={word.removeprefix(prefix)}" if command == "evaluate" and word.startswith(prefix) else word
        for word in words
    ]


def _cut_at_dashes(command: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take what follows ``--`` for options of the runs that a command starts."""
    words = list(words)
    if "--" not in words:
        return words, []
    if command not in FOR_RUNS:
        raise OptionError(f"-- stands before options of the runs that {' or '.join(FOR_RUNS)} starts: leave it out")
    place = words.index("--")
    for word in words[place + 1 :]:
        _check_override(word, "train")
    quoted = ["'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'" for word in words[place + 1 :]]
    return words[:place], [f"{FOR_RUNS[command]}=[{','.join(quoted)}]"]


def _with_controls(overrides: Sequence[str], *, sweeps: bool) -> list[str]:
    """Replace ``curriculum.controls=all`` by the orders that a curriculum is compared with."""
    name = "curriculum.controls="
    if not any(word.startswith(name) for word in overrides):
        return list(overrides)
    if f"{name}all" not in overrides:
        raise OptionError(f"{name[:-1]} takes one value: {name}all")
    if not sweeps:
        raise OptionError(f"{name}all makes a sweep of every order: add -m, or choose one with curriculum.order")
    if any(word.startswith("curriculum.order=") for word in overrides):
        raise OptionError(f"{name}all sweeps curriculum.order itself: leave curriculum.order out")
    orders = "curriculum.order=curriculum,random,anti,standard"
    return [orders if word.startswith(name) else word for word in overrides]


def _check_no_launcher(overrides: Sequence[str]) -> None:
    for word in overrides:
        if word.startswith("hydra/launcher="):
            raise OptionError(f"{word} starts the runs of a sweep: add -m, or leave it out")


def _check_override(word: str, command: str) -> None:
    name, equals, value = word.partition("=")
    if not equals and not word.startswith("~"):
        said = command.replace("_", " ")
        raise OptionError(f"'{word}' is no option: write OPTION=VALUE; see 'curriculum-rec {said} --help'")
    if DATABASE_WITH_PASSWORD.search(value):
        # Before anything is composed: a sweep writes its words down at once.
        raise OptionError(f"{name} says a password: put it into the environment, and name it by data.password_env")
    group = resources.files("curriculum_rec.conf").joinpath(*name.split("/"))
    no_choice = ("[", "{") if name != "tracking" else ("{",)  # a run may have several trackers
    if group.is_dir() and name != "experiment" and (value == "null" or value.startswith(no_choice)):
        choices = sorted(entry.name.removesuffix(".yaml") for entry in group.iterdir() if entry.name.endswith(".yaml"))
        raise OptionError(f"{word}: {name} takes the name of a choice: {', '.join(choices)}")


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; 'curriculum-rec {self.prog} --help' explains the options")


class _TaskFailed(BaseException):
    """Carries an error past Hydra, which prints a line of its own for every ``Exception`` of a task."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def compose_choice(group: str, choice: str, option: str) -> dict[str, Any]:
    """Compose one choice of a group while a command runs, in the folders in which the command found its own.

    Args:
        group: For example ``curriculum/difficulty``.
        choice: A name in it.
        option: The option that named it, for the error.

    Returns:
        Plain data.

    Raises:
        OptionError: There is no such choice.
    """
    places = _search_path()
    there = GlobalHydra.instance().config_loader().get_group_options(group, overrides=places)
    if choice not in there:
        raise OptionError(f"{option}: there is no {group} '{choice}'; there are: {', '.join(there)}")
    node = hydra.compose(overrides=[*places, f"+{group}={choice}"])
    for name in group.split("/"):
        node = node[name]
    return config.to_data(node)


def compose_command(
    command: str, words: Sequence[str], *, place: Path | None = None
) -> tuple[DictConfig, dict[str, str]]:
    """Compose the configuration of a command while another one runs, in the folders in which this one found its own.

    Args:
        command: Name of the primary configuration.
        words: Overrides.
        place: One more folder whose groups join.

    Returns:
        The configuration, and the choice in every group.

    Raises:
        OptionError: It cannot be composed.
    """
    for word in words:
        _check_override(word, command)
    places = _search_path()
    if place is not None:
        before = places[0].partition("[")[2].removesuffix("]") + "," if places else ""
        places = [f"hydra.searchpath=[{before}{_quoted(place)}]"]
    try:
        composed = hydra.compose(command, overrides=[*places, *words], return_hydra_config=True)
    except Exception as error:
        raise OptionError(explain(error)) from error
    choices = {
        str(group): str(choice) for group, choice in composed.hydra.runtime.choices.items() if choice is not None
    }
    chosen = {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
    return OmegaConf.masked_copy(composed, [str(name) for name in composed if name != "hydra"]), chosen


def search_places() -> list[Path]:
    """List the folders whose groups joined the packaged ones for the command that runs."""
    sources = HydraConfig.get().runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file"]


def _quoted(place: Path) -> str:
    return "'file://" + str(place).replace("'", "\\'") + "'"


def hashes(words: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Give the hashes of the configurations that words make for ``curriculum-rec train``, one a seed.

    Raises:
        OptionError: They cannot be composed.
    """
    try:
        composed = hydra.compose("train", [*_search_path(), *words])
    except Exception as error:  # Hydra's or OmegaConf's
        raise OptionError(explain(error)) from error
    found = []
    for seed in seeds:
        composed.seed = seed
        found.append(config.config_hash(config.absolute_paths(config.to_data(composed))))
    return found


def launcher() -> str:
    """Name the launcher that the command line has chosen; ``basic`` unless it has."""
    return str(HydraConfig.get().runtime.choices["hydra/launcher"])


def launch(
    command: str, task: Callable[[DictConfig], Any], jobs: Sequence[Sequence[str]], *, root: Path
) -> list[str | None]:
    """Have the chosen launcher run a command once for each list of words, as a sweep does.

    Args:
        command: Name of the primary configuration.
        task: What to do with it.
        jobs: Words of each job; ``hydra.sweep.subdir`` among them names its folder.
        root: The folder of them all.

    Returns:
        Why each job failed, in a sentence; None for those that did not.
    """
    loader = GlobalHydra.instance().config_loader()
    words = [*HydraConfig.get().overrides.hydra, f"hydra.sweep.dir={root}", "hydra.mode=MULTIRUN"]
    chosen = loader.load_configuration(command, overrides=words, run_mode=RunMode.MULTIRUN)
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    hydra_launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=_Job(task), config=chosen
    )
    done = hydra_launcher.launch([list(job) for job in jobs], initial_job_idx=0)
    return [str(job._return_value) if job.status == JobStatus.FAILED else None for job in done]  # noqa: SLF001


def _search_path() -> list[str]:
    return [word for word in HydraConfig.get().overrides.hydra if word.startswith("hydra.searchpath=")]


def runs_apart() -> bool:
    """Whether this is a run of a sweep whose launcher starts runs in other processes, beside each other."""
    ours = HydraConfig.get()
    return ours.mode == RunMode.MULTIRUN and not ours.launcher["_target_"].endswith(".BasicLauncher")


@dataclass(frozen=True)
class _Job:
    """A command's task as Hydra calls it. A launcher pickles it, so it is no closure.

    Args:
        task: What to do with the configuration.
    """

    task: Callable[[DictConfig], Any]

    def __call__(self, composed: DictConfig) -> Any:
        try:
            return self.task(composed)
        except Exception as error:
            if runs_apart():
                raise _fit_to_send(error) from None
            raise _TaskFailed(error) from error
        except Interrupted as stop:
            if runs_apart():  # a signal of the cluster; the process that waits for results knows nothing of it
                raise _fit_to_send(RunError(f"interrupted; go on with: {stop.advice}")) from None
            raise


def _fit_to_send(error: Exception) -> Exception:
    """Name the run that failed, in an error that survives pickling, which drops tracebacks and causes."""
    run = f"run {HydraConfig.get().job.num}"
    if isinstance(error, CurriculumRecError):
        error.args = (f"{run}: {error}",)
    if isinstance(error, CurriculumRecError | OSError):
        return error
    if type(error).__module__.startswith("submitit."):  # raised by its signal handler when the cluster ends the job
        return RunError(f"{run}: {error}")
    return RuntimeError(f"{run} failed:\n{''.join(traceback.format_exception(error))}")


@contextmanager
def _failures_raised() -> Iterator[None]:
    """Have the failure of a run elsewhere raised as it is, where Hydra prints a line and then raises."""
    returned: Any = JobReturn
    before = returned.return_value

    def value(job: JobReturn) -> Any:
        if job.status == JobStatus.FAILED:
            raise _TaskFailed(job._return_value)  # noqa: SLF001 - its property is what this stands for
        return before.fget(job)

    returned.return_value = property(value, before.fset)
    try:
        yield
    finally:
        returned.return_value = before


@contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """Give Hydra its words, and have it raise its errors instead of printing them and leaving."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["curriculum-rec", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # absl, which Orbax brings, puts a handler on the root logger that would prefix every line of --info.
    logging.getLogger().handlers.clear()
    try:
        yield
    finally:
        sys.argv = before[0]
        del os.environ["HYDRA_FULL_ERROR"]
        if before[1] is not None:
            os.environ["HYDRA_FULL_ERROR"] = before[1]


def explain(error: Exception) -> str:
    """Put an error of Hydra or OmegaConf into one sentence."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in PLUGINS:
        package, extra = PLUGINS[error.missing_cfg_file]
        ours = re.match(r"In 'hydra/launcher/(\w+)'", str(error))
        choice = ours[1] if ours else error.missing_cfg_file.rpartition("/")[2]
        return f"hydra/launcher={choice} needs {package}: pip install 'curriculum-rec[{extra}]'"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"there is no {group} '{choice}'; there are: {', '.join(sorted(error.options))}"
    if unused := re.match(r"Could not override '([^']+)'\. No match in the defaults list", str(error)):
        return f"{unused[1]} cannot be chosen here: none of the other choices has such a part"
    root = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key, full_key = getattr(root, "key", None), getattr(root, "full_key", None)
    message = str(root).split("\n")[0].strip()
    if full_key and re.search(r"(not in|is not in struct)", message):
        parent = getattr(root, "parent_node", None)
        return unknown_option(str(full_key), list(parent) if parent is not None else [])
    if full_key and key is not None:
        return f"option '{full_key}': {message}"
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    lines = [line for line in lines if not line.startswith(("Config search path", "provider=", "Set the environment"))]
    return " ".join(lines) or type(error).__name__
