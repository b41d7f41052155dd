"""What each command does with its composed configuration (host)."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

TASKS = {
    "train": "training.train",
    "resume": "training.resume",
    "evaluate": "evaluating.evaluate",
    "recommend": "using.recommend_command",
    "score": "looking.score",
    "compress": "using.compress_command",
    "inspect": "looking.inspect",
    "audit": "looking.audit_command",
    "track": "tracking.track",
    "list": "listing.list_command",
    "show": "listing.show",
    "compare": "listing.compare",
    "replay": "replay.replay",
    "prequential": "prequential.prequential",
    "study": "studying.study",
    "report": "studying.report",
    "tune": "tuning.tune",
    "data_list": "data.list_sets",
    "data_prepare": "data.prepare_set",
    "data_describe": "data.describe",
}
"""Where each command's function is, that of ``data list`` under ``data_list``.

Its module is loaded when it is asked for, so that light commands start at once.
"""


def task(command: str) -> Callable[..., Any]:
    """Give the function of a command, which takes the composed configuration."""
    module, function = TASKS[command].split(".")
    return getattr(import_module(f"{__name__}.{module}"), function)
