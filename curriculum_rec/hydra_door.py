"""The way through Hydra (host): compose, sweep, and turn its errors into one sentence each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from curriculum_rec import config
from curriculum_rec.components import unknown_option
from curriculum_rec.errors import OptionError

SWEEPING_OR_SHOWING = ("-m", "--multirun", "--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")


def call(
    command: str, overrides: Sequence[str], task: Callable[[DictConfig], Any], *, searchpath: Sequence[Path] = ()
) -> None:
    """Compose a command's configuration and call its task, once or for every job of a sweep.

    Args:
        command: Name of the primary configuration.
        overrides: Hydra's own command line.
        task: What to do with the configuration.
        searchpath: Folders whose groups join the packaged ones.

    Raises:
        OptionError: The configuration cannot be composed.
    """
    config.register()
    for word in overrides:
        if (
            not word.startswith("-")
            and "=" not in word
            and not word.startswith("~")
            and not _follows_flag(word, overrides)
        ):
            raise OptionError(
                f"'{word}' is no option: write OPTION=VALUE; 'curriculum-rec {command} --help' lists them"
            )
    words = list(overrides)
    if searchpath and not any(word.startswith("hydra.searchpath=") for word in words):
        words.insert(0, f"hydra.searchpath=[{','.join(f'file://{place}' for place in searchpath)}]")
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["curriculum-rec", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them and leaving
    try:
        hydra.main(version_base="1.3", config_path="pkg://curriculum_rec.conf", config_name=command)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise OptionError(explain(error)) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]


def _follows_flag(word: str, words: Sequence[str]) -> bool:
    place = words.index(word)
    return place > 0 and words[place - 1].startswith("-")


def explain(error: Exception) -> str:
    """Put an error of Hydra or OmegaConf into one sentence."""
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
    return " ".join(lines)
