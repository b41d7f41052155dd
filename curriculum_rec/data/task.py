"""What is learnt from the data (host): which item comes next, or the label of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from curriculum_rec.errors import OptionError

Task = Literal["next_item", "pointwise"]
"""A component that serves one of them alone says which as ``TASK``; one that does not say serves any."""


def check_task(task: Task, components: Mapping[str, object]) -> None:
    """Refuse components that serve another task.

    Args:
        task: What the examples are for.
        components: By the names of their groups.

    Raises:
        OptionError: One does.

    >>> check_task("pointwise", {"optimizer": object()})  # says nothing, and so serves any
    """
    for name, component in components.items():
        theirs = getattr(component, "TASK", task)
        if theirs != task and theirs in get_args(Task):
            raise OptionError(
                f"{name}: {type(component).__name__} is for task={theirs}, and the examples are for task={task}: "
                "choose another, or the whole task by task=NAME"
            )
