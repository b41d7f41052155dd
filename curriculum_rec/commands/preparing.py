"""``data prepare`` with a store (host): from files to a store beyond memory; it loads no JAX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from curriculum_rec.components import build, check_type
from curriculum_rec.data.interactions import CleaningRule, describe_ledger
from curriculum_rec.data.sources import Source
from curriculum_rec.data.splits import Splitter
from curriculum_rec.data.store.engines import Engine, Here, OnRay
from curriculum_rec.data.store.manifest import Manifest
from curriculum_rec.data.store.prepare import Recipe, prepare
from curriculum_rec.errors import OptionError
from curriculum_rec.ranges import POSITIVE, at_least, check_value, one_of

OPTIONS = ("memory_gib", "engine", "ray_address", "workers")
"""Options of a store alone; its split is another."""


def make_store(source: Source, data: dict[str, Any], *, trusted: tuple[str, ...]) -> None:
    """Make a store, or go on with one that was begun, and say how to train on it."""
    manifest = prepare_store(source, data, Path(data["store"]), trusted=trusted)
    sizes = sum(file.bytes for file in (*manifest.shards, *manifest.tables))
    if manifest.ledger:
        print(describe_ledger(manifest.ledger))
    print(
        f"{data['store']}: {manifest.interactions:,} interactions of {manifest.users:,} users and {manifest.items:,} "
        f"items in {len(manifest.shards)} shards, {sizes / 2**20:,.1f} MiB, split {manifest.split_hash}"
    )
    print(f"train on it: curriculum-rec train data=store data.path={data['store']} placement.examples=host ...")


def prepare_store(source: Source, data: dict[str, Any], folder: Path, *, trusted: tuple[str, ...]) -> Manifest:
    """Make a store of what a configuration says.

    Args:
        source: The files.
        data: ``cleaning``, ``split``, ``memory_gib``, ``engine``, ``ray_address`` and ``workers``.
        folder: The store-to-be.
        trusted: Packages that ``_target_`` may name.

    Raises:
        OptionError: An option is wrong.
        DataError: The data cannot be used.
    """
    rules = build(data["cleaning"], "cleaning", trusted=trusted) or {}
    for name, rule in rules.items():
        check_type(rule, CleaningRule, f"cleaning.{name}")
    split = check_type(build(data["split"], "split", trusted=trusted), Splitter, "split")
    memory = 2.0 if data["memory_gib"] is None else data["memory_gib"]
    check_value("memory_gib", memory, POSITIVE)
    recipe = Recipe(source, rules, split, int(memory * 2**30))
    return prepare(recipe, folder, engine=_engine(data), say=_say)


def refuse_options_of_a_store(data: dict[str, Any]) -> None:
    """Refuse options that have no effect without a store.

    Raises:
        OptionError: One is given.
    """
    given = [name for name in OPTIONS if data[name] is not None]
    given += [word for word in HydraConfig.get().overrides.task if word.lstrip("+").startswith("split")]
    if given:
        raise OptionError(f"{given[0].partition('=')[0]} has no effect without store=DIR")


def _engine(data: dict[str, Any]) -> Engine:
    engine = data["engine"] or "here"
    check_value("engine", engine, one_of("here", "ray"))
    given = [name for name in ("ray_address", "workers") if data[name] is not None]
    if engine == "here":
        if given:
            raise OptionError(f"{given[0]}={data[given[0]]} has no effect without engine=ray")
        return Here()
    check_value("workers", data["workers"], at_least(1).or_null())
    return OnRay(data["ray_address"], data["workers"] or 2)


def _say(text: str) -> None:
    print(f"prepare: {text}", file=sys.stderr)
