"""The console program (host): ``curriculum-rec COMMAND [Hydra overrides]``."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from curriculum_rec import __version__, help_texts
from curriculum_rec.errors import CurriculumRecError

OK, MISTAKE, INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: The words after the program's name; None takes them from the command line.

    Returns:
        The shell's exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_texts.PROGRAM, end="")
        return OK if words else MISTAKE
    if words[0] in ("-V", "--version"):
        print(f"curriculum-rec {__version__}")
        return OK
    command, rest = words[0], words[1:]
    if command == "__complete":
        return _complete(rest)
    if command not in help_texts.COMMANDS:
        return _refuse(f"there is no command '{command}'; there are {', '.join(help_texts.COMMANDS)}")
    return _obey(command, rest)


def _obey(command: str, rest: list[str]) -> int:
    wants_help = any(word in ("-h", "--help") for word in rest)
    actions = help_texts.ACTIONS.get(command, {})
    if actions and not (wants_help and rest[0] not in actions):
        return _act(command, rest, wants_help=wants_help)
    if wants_help:
        print(help_texts.COMMANDS[command], end="")
        return OK
    return _print_script(rest) if command == "completion" else _run(command, rest)


def _act(command: str, words: list[str], *, wants_help: bool) -> int:
    """Run one action of a command that has several, whose primary configuration is named ``COMMAND_ACTION``."""
    actions = help_texts.ACTIONS[command]
    if not words or words[0] not in actions:
        said = f"there is no '{command} {words[0]}'" if words else f"{command} needs to know what to do"
        return _refuse(f"{said}; there are {', '.join(f'{command} {action}' for action in actions)}")
    if wants_help:
        print(actions[words[0]], end="")
        return OK
    return _run(f"{command}_{words[0]}", words[1:])


def _complete(words: list[str]) -> int:
    """Answer a shell, a line a word."""
    from curriculum_rec.completion import complete  # noqa: PLC0415 - help need not load it

    print("\n".join(complete(words, config_folders())))
    return OK


def _print_script(words: list[str]) -> int:
    from curriculum_rec.completion_scripts import SCRIPTS  # noqa: PLC0415

    if len(words) != 1 or words[0] not in SCRIPTS:
        return _refuse(f"completion takes the name of a shell: {', '.join(SCRIPTS)}")
    print(SCRIPTS[words[0]], end="")
    return OK


def _run(command: str, rest: list[str]) -> int:
    from curriculum_rec import commands, hydra_door  # noqa: PLC0415 - help must not load JAX
    from curriculum_rec.training.interrupt import Interrupted  # noqa: PLC0415

    warnings.showwarning = _show_warning
    logging.raiseExceptions = False  # a reader that left (`| head`) is no error of the log
    try:
        hydra_door.call(command, rest, commands.task(command), searchpath=config_folders())
    except CurriculumRecError as error:
        return _refuse(str(error))
    except Interrupted as stop:
        print(f"\ninterrupted; go on with: {stop.advice}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, as `| head` does
            return OK
        return _refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    return OK


def config_folders() -> list[Path]:
    """List the folders whose groups join the packaged ones: ``experiments/`` here, and that of a source checkout."""
    checkout = Path(__file__).parents[1]
    places = [Path.cwd() / "experiments"]
    if (checkout / "pyproject.toml").is_file():
        places.append(checkout / "experiments")
    return list(dict.fromkeys(place for place in places if place.is_dir()))


def _refuse(sentence: str) -> int:
    print(f"curriculum-rec: {sentence}", file=sys.stderr)
    return MISTAKE


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, RuntimeWarning | UserWarning):
        print(f"curriculum-rec: warning: {message}", file=sys.stderr)
