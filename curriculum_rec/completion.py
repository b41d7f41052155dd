"""What can stand at the cursor of a command line (host): read from folders and help texts, to answer Tab at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curriculum_rec import help_texts

CONF = Path(__file__).parent / "conf"
SHELLS = ("bash", "zsh", "fish")
FLAGS = ("--help", "--multirun", "--cfg", "--info", "--config-dir", "--resolve", "--package")
RUNS = ("run", "runs", "run_dir", "study_dir", "study")
"""Options that name run directories; so do ``warm_start`` and whatever ends in ``.run``."""

VALUES = {
    "progress": ("auto", "rich", "plain", "none"),
    "on_existing": ("refuse", "replace", "resume"),
    "precision": ("float32", "bfloat16"),
    "distributed": ("env", "slurm", "auto"),
    "against": ("step", "seconds", "operations"),
    "split": ("validation", "test"),
    "checkpoint": ("best", "newest"),
    "examples.target": ("class", "number"),
    "curriculum.order": ("curriculum", "anti", "random", "standard"),
    "curriculum.unit": ("sequence", "target"),
    "curriculum.refresh": ("pass", "epoch", "step"),
    "tracking.wandb.mode": ("offline", "online"),
}
MOST_RUNS = 200


def complete(words: Sequence[str], searchpath: Sequence[Path] = ()) -> list[str]:
    """Say what the last word can become.

    Args:
        words: Those after the program's name, the one at the cursor last; it may be empty.
        searchpath: Folders whose groups join the packaged ones.

    >>> complete(["comp"]), complete(["inspect", "against=s"])
    (['compare', 'completion', 'compress'], ['against=seconds', 'against=step'])
    >>> complete(["train", "curriculum/pacing=co"])
    ['curriculum/pacing=competence', 'curriculum/pacing=constant', 'curriculum/pacing=cosine']
    """
    current, command = (words[-1] if words else ""), words[0] if words else ""
    if len(words) < 2:
        return _beginning(current, help_texts.COMMANDS)
    if command == "completion":
        return _beginning(current, SHELLS)
    if current.startswith("-"):
        return _beginning(current, FLAGS)
    if command in help_texts.ACTIONS:
        return _of_action(command, words[1:], searchpath)
    return _of_command(command, words[1:], searchpath)


def _of_action(command: str, words: Sequence[str], searchpath: Sequence[Path]) -> list[str]:
    """Say what the last word of a command with actions can become: an action, a data set, or one of its options."""
    if len(words) < 2:
        return _beginning(words[-1], help_texts.ACTIONS[command])
    if words[0] not in help_texts.ACTIONS[command]:
        return []
    found = _of_command(f"{command}_{words[0]}", words[1:], searchpath)
    named = any("=" not in word or word.startswith("data=") for word in words[1:-1])
    if words[0] == "list" or named or "=" in words[-1]:
        return found
    return sorted({*found, *_beginning(words[-1], _Line("", (), (CONF, *searchpath)).choices("data"))})


def _of_command(command: str, words: Sequence[str], searchpath: Sequence[Path]) -> list[str]:
    current, given = words[-1], [f"data={word}" if re.fullmatch(r"\w+", word) else word for word in words[:-1]]
    line = _Line(command, given, (CONF, *searchpath))
    name, equals, value = current.partition("=")
    if equals:
        return [f"{name}={each}" for each in _values(line, name, value)]
    if command == "list":
        return _beginning(current, [*line.names(), *_folders(current)])
    return _beginning(current, line.dotted() if "." in current else line.names())


@dataclass(frozen=True)
class _Line:
    """A command line as far as it is written.

    Args:
        command: The command.
        given: Its words before the cursor.
        places: Folders of groups.
    """

    command: str
    given: Sequence[str]
    places: Sequence[Path]

    def groups(self) -> dict[str, str]:
        """Give the groups of the command with what is chosen, as far as that can be seen without composing."""
        main = _read(CONF / f"{self.command}.yaml").get("defaults", [])
        chosen = {name: choice for entry in main if isinstance(entry, Mapping) for name, choice in entry.items()}
        chosen = {name: str(choice or "") for name, choice in chosen.items() if not name.startswith("override ")}
        words = dict(word.split("=", 1) for word in self.given if "=" in word)
        if "experiment" in chosen and (experiment := self.file("experiment", words.get("experiment", ""))):
            for entry in _read(experiment).get("defaults", []):
                if isinstance(entry, Mapping):
                    chosen |= {name.removeprefix("override ").lstrip("/"): each for name, each in entry.items()}
        return chosen | {name: words[name] for name in chosen if name in words}

    def file(self, group: str, choice: str) -> Path | None:
        """Find the file of a choice."""
        return next((file for place in self.places if (file := place / group / f"{choice}.yaml").is_file()), None)

    def choices(self, group: str) -> list[str]:
        """List the choices of a group, whatever part of the configuration they are for."""
        folder = group.partition("@")[0]
        return sorted({file.stem for place in self.places for file in (place / folder).glob("*.yaml")})

    def names(self) -> list[str]:
        """List options, groups, groups inside groups, and the beginnings of options inside groups."""
        head, _, action = self.command.partition("_")
        text = help_texts.ACTIONS[head][action] if action else help_texts.COMMANDS[head]
        options = re.findall(r"^  (\w+)=", text.partition("\noptions:\n")[2], re.MULTILINE)
        groups = self.groups()
        inner = [
            f"{group}/{folder.name}"
            for group in groups
            for folder in sorted((CONF / group).glob("*/"))
            if folder.is_dir() and group != "stages"  # these need to be told of which stage
        ]
        launcher = ["hydra/launcher"] if "experiment" in groups and self.command == "train" else []
        heads = sorted({name.partition(".")[0] + "." for name in self.dotted()})
        run = ["run"] if "run=DIR" in text.partition("\n")[0] else []
        runs = ["runs"] if self.command == "compare" else []
        return [*(f"{name}=" for name in dict.fromkeys([*run, *runs, *groups, *inner, *launcher, *options])), *heads]

    def dotted(self) -> list[str]:
        """List the options inside the chosen groups."""
        found: dict[str, None] = {}
        for group, choice in self.groups().items():
            for name in re.findall(r"[\w-]+", str(choice)):
                node, place = self._node(group, name), group.replace("/", ".")
                paths = _paths(node, place)
                if self._is_global(group, name):
                    paths = (path.removeprefix(f"{place}.") for path in paths)
                found |= dict.fromkeys(f"{path}=" for path in paths)
        for group in ("split", "examples"):
            node = _read(CONF / f"{self.command}.yaml").get(group, {})
            found |= dict.fromkeys(f"{path}=" for path in _paths(node, group))
        return list(found)

    def _is_global(self, group: str, choice: str) -> bool:
        """Whether a choice's file says where in the whole configuration its options stand."""
        file = self.file(group, choice)
        return file is not None and file.read_text().startswith("# @package _global_")

    def _node(self, group: str, choice: str) -> dict[str, Any]:
        """Merge a choice's file with those that it builds upon."""
        if (file := self.file(group, choice)) is None:
            return {}
        own = _read(file)
        merged: dict[str, Any] = {}
        for entry in own.pop("defaults", []):
            if isinstance(entry, str) and entry != "_self_":
                merged |= self._node(group, entry)
            elif isinstance(entry, Mapping):
                for name, inner in entry.items():
                    folder, _, place = name.removeprefix("override ").partition("@")
                    home = folder.lstrip("/") if folder.startswith("/") else f"{group}/{folder}"
                    merged[place or folder.rpartition("/")[2]] = self._node(home, str(inner))
        return merged | own


def _values(line: _Line, name: str, value: str) -> list[str]:
    """List what an option or a group can be, the earlier entries of a list kept."""
    before = value[: max(value.rfind("["), value.rfind(",")) + 1]
    last = value[len(before) :]
    if choices := line.choices("studies" if (line.command, name) == ("study", "study") else name):
        taken = before.strip("[").split(",")
        return [before + each for each in choices if each.startswith(last) and each not in taken]
    if name in VALUES:
        return [before + each for each in sorted(VALUES[name]) if each.startswith(last)]
    if name in RUNS or name.endswith((".run", ".warm_start")):
        return [before + each for each in _runs(last)]
    if name in ("output", "folders", "store", "data_path", "scores", "flagged") or name.endswith((".path", ".folder")):
        return [before + each for each in [*_folders(last), *_files(last)]]
    return []


def _runs(typed: str) -> list[str]:
    """List run directories: below ``runs`` as long as nothing is typed, else those and the folders that begin so."""
    if typed:
        return _folders(typed)
    found: list[str] = []
    for file in Path("runs").rglob("config.yaml") if Path("runs").is_dir() else ():
        found.append(str(file.parent))
        if len(found) >= MOST_RUNS:
            break
    return sorted(found)


def _folders(typed: str) -> list[str]:
    """List the folders whose path begins as typed; a run directory without the slash that asks for more."""
    return [
        str(entry) if (entry / "config.yaml").is_file() else f"{entry}/" for entry in _entries(typed) if entry.is_dir()
    ]


def _files(typed: str) -> list[str]:
    return [str(entry) for entry in _entries(typed) if entry.is_file()]


def _entries(typed: str) -> Iterator[Path]:
    folder = Path(typed) if typed.endswith("/") else Path(typed).parent
    begin = "" if typed.endswith("/") else Path(typed).name
    if folder.is_dir():
        yield from sorted(entry for entry in folder.iterdir() if entry.name.startswith(begin) and entry.name[0] != ".")


def _paths(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, Mapping) and node:
        for name, inner in node.items():
            if name != "_target_":
                yield from _paths(inner, f"{path}.{name}")
    elif "." in path:
        yield path


def _read(file: Path) -> dict[str, Any]:
    """Read a YAML file; one that cannot be read has nothing to offer."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(file.read_text(), loader)  # noqa: S506 - a safe loader, in C where there is one
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _beginning(typed: str, words: Sequence[str] | Mapping[str, Any]) -> list[str]:
    return sorted({word for word in words if word.startswith(typed)})
