"""The k-core of data in parts (host): users are counted part by part, items over all parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curriculum_rec.data.cleaning import KCore
from curriculum_rec.data.interactions import ITEM, USER
from curriculum_rec.data.numbering import places
from curriculum_rec.data.store.arrow import map_columns, write_columns
from curriculum_rec.data.store.engines import Engine
from curriculum_rec.data.store.parts import Counts, read_part, write_part
from curriculum_rec.data.store.workbench import Workbench

STAYS, ROWS = "stays", "rows"


def core_parts(bench: Workbench, engine: Engine, phase: int, name: str, rule: KCore, *, n_parts: int) -> Counts:
    """Remove rare users and items, again and again until none is left that is too rare.

    Args:
        bench: Where the parts are.
        engine: Where they are worked on.
        phase: The number of the phase whose parts are read.
        name: What the configuration calls the rule.
        rule: The rule.
        n_parts: How many parts.

    Returns:
        Rows before and after the rule.
    """
    done = bench.facts(f"phase-{phase + 1}-core")
    if done is not None:
        return done
    bench.clear(f"core-{phase}")
    own = [
        pl.read_ipc(_place(bench, phase, part, "items"))
        for part in engine.map(_items, range(n_parts), bench=bench, phase=phase)
        if part >= 0
    ]
    if not own:
        return bench.finish(f"phase-{phase + 1}-core", {name: [0, 0]})
    items = pl.concat(own).unique().sort(ITEM)
    items.write_ipc(bench.place(f"core-{phase}", "items.arrow"))
    before = engine.map(_number, range(n_parts), bench=bench, phase=phase)
    stays = np.ones(len(items), np.uint8)
    changed = True
    while changed:
        write_columns(bench.place(f"core-{phase}", "stays.arrow"), {STAYS: stays})
        changed = any(engine.map(_count, range(n_parts), bench=bench, phase=phase, least=rule.min_user_interactions))
        of_item = np.zeros(len(items), np.int64)
        for part in range(n_parts):
            if (file := _place(bench, phase, part, "counts")).is_file():
                of_item += map_columns(file)[ROWS]
        enough = of_item >= rule.min_item_interactions
        changed = changed or bool((~enough & (of_item > 0)).any())
        stays = enough.astype(np.uint8)
    write_columns(bench.place(f"core-{phase}", "stays.arrow"), {STAYS: stays})
    after = engine.map(_keep, range(n_parts), bench=bench, phase=phase)
    bench.clear(f"core-{phase}")
    return bench.finish(f"phase-{phase + 1}-core", {name: [sum(before), sum(after)]})


def _place(bench: Workbench, phase: int, part: int, what: str) -> Path:
    return bench.place(f"core-{phase}", f"{part:05d}-{what}.arrow")


def _items(part: int, *, bench: Workbench, phase: int) -> int:
    """Write the distinct items of a part; -1 if it is empty."""
    frame = read_part(bench, phase, part)
    if frame is None:
        return -1
    frame.select(ITEM).unique().write_ipc(_place(bench, phase, part, "items"))
    return part


def _number(part: int, *, bench: Workbench, phase: int) -> int:
    """Write users and items of a part as small numbers; items have the same ones in all parts."""
    frame = read_part(bench, phase, part)
    if frame is None:
        return 0
    items = pl.read_ipc(bench.place(f"core-{phase}", "items.arrow")).with_row_index("number")
    item = frame.select(ITEM).join(items, on=ITEM, how="left", maintain_order="left", nulls_equal=True)["number"]
    user = places(frame[USER]).astype(np.int32)
    write_columns(_place(bench, phase, part, "rows"), {USER: user, ITEM: item.to_numpy().astype(np.int32)})
    write_columns(_place(bench, phase, part, "users"), {STAYS: np.ones(int(user.max()) + 1, np.uint8)})
    return len(frame)


def _count(part: int, *, bench: Workbench, phase: int, least: int) -> bool:
    """Count what stays of a part, first its users, then its items; say whether a user became too rare."""
    if not _place(bench, phase, part, "rows").is_file():
        return False
    columns, users = map_columns(_place(bench, phase, part, "rows")), _place(bench, phase, part, "users")
    item_stays = map_columns(bench.place(f"core-{phase}", "stays.arrow"))[STAYS]
    user, item, user_stays = columns[USER], columns[ITEM], map_columns(users)[STAYS]
    rows = (user_stays[user] & item_stays[item]).astype(bool)
    often = np.bincount(user[rows], minlength=len(user_stays))
    enough = often >= least
    write_columns(users, {STAYS: enough.astype(np.uint8)})
    counts = np.bincount(item[rows & enough[user]], minlength=len(item_stays))
    write_columns(_place(bench, phase, part, "counts"), {ROWS: counts})
    return bool((~enough & (often > 0)).any())


def _keep(part: int, *, bench: Workbench, phase: int) -> int:
    """Write what stays of a part; count it."""
    frame = read_part(bench, phase, part)
    if frame is None:
        return 0
    columns = map_columns(_place(bench, phase, part, "rows"))
    users = map_columns(_place(bench, phase, part, "users"))[STAYS]
    items = map_columns(bench.place(f"core-{phase}", "stays.arrow"))[STAYS]
    rows = (users[columns[USER]] & items[columns[ITEM]]).astype(bool)
    write_part(bench, phase + 1, part, frame.filter(pl.Series(rows)))
    return int(rows.sum())
