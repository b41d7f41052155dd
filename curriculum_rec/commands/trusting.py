"""Whom a command trusts (host)."""

from __future__ import annotations

from typing import Any

from hydra.core.hydra_config import HydraConfig

from curriculum_rec.errors import OptionError


def trusted_packages(data: dict[str, Any]) -> tuple[str, ...]:
    """Give the packages that a person trusts."""
    if data["trusted_packages"] and "trusted_packages" not in str(HydraConfig.get().overrides.task):
        raise OptionError("trusted_packages is taken from the command line only: a file cannot widen what is trusted")
    return tuple(data["trusted_packages"])
