"""Packages that only some features need (host)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from curriculum_rec.errors import OptionError


def needed(module: str, extra: str) -> Any:
    """Import a module when it is needed.

    Args:
        module: Its dotted name.
        extra: What installs it.

    Raises:
        OptionError: It is not installed.

    >>> needed("no_such_package.part", "features")
    Traceback (most recent call last):
    curriculum_rec.errors.OptionError: this feature needs no_such_package: pip install 'curriculum-rec[features]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise OptionError(f"this feature needs {package}: pip install 'curriculum-rec[{extra}]'") from error
