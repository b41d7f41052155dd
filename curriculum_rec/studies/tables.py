"""The tables of a report (host)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from curriculum_rec.evaluation.cross_validation import FoldComparison
from curriculum_rec.evaluation.curves import Unit
from curriculum_rec.evaluation.statistics import Comparison
from curriculum_rec.studies.comparisons import Family, against_baseline, against_controls, counted, mean_of, verdict
from curriculum_rec.studies.folds import by_run, fold_table
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.results import Cell, Options, Result, Results, Seeds, shared_seeds
from curriculum_rec.studies.slices import SLICES, Slices
from curriculum_rec.studies.table import Form, Table, rows_to_table

UNITS: tuple[Unit, ...] = ("step", "operations", "seconds")
Row = dict[str, Any]


def chance(p: float) -> str:
    """Write a p-value.

    >>> chance(0.00042), chance(0.0625)
    ('<.001', '.062')
    """
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def interval(ends: tuple[float, float]) -> str:
    """Write an interval of differences.

    >>> interval((-0.01, 0.002))
    '-0.0100 to +0.0020'
    """
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def place_tables(place: Place, cell: Cell, options: Options, slices: Slices | None = None) -> Iterator[Table]:
    """Make the tables of one place.

    Args:
        place: The data and the condition.
        cell: Its runs.
        options: What they are compared by.
        slices: The slices of users and items; None where the data cannot be read any more.
    """
    name = f"{place.data}-{place.condition}"
    yield quality(f"{name}-quality", cell, options)
    yield published(f"{name}-published", cell, options.published.get(place.data, {}))
    yield fold_table(f"{name}-folds", cell, options)
    yield comparison(f"{name}-baseline", f"Against {options.baseline}", against_baseline(cell, options), options)
    yield comparison(f"{name}-controls", "Against each arm's own control", against_controls(cell, options), options)
    if options.baseline in cell:
        yield budgets(f"{name}-budgets", by_run(cell), options)
    if slices is not None:
        yield sliced(f"{name}-slices", cell, options, slices)
    yield cost(f"{name}-cost", by_run(cell))


def quality(name: str, cell: Cell, options: Options) -> Table:
    """Give each arm's test metrics."""
    metrics = list(dict.fromkeys((*options.metrics, options.metric)))
    some = next(iter(next(iter(cell.values())).values()))
    reference = some.summary["reference"]
    rows: list[Row] = [{"arm": some.reference, **{m: reference.get(m) for m in metrics}}]
    for arm, runs in cell.items():
        found = {m: np.array([run.test(m) for run in runs.values()]) for m in metrics}
        row: Row = {"arm": arm, "seeds": len(runs), **{m: float(v.mean()) for m, v in found.items()}}
        if len(runs) > 1:
            row["sd over seeds"] = float(found[options.metric].std(ddof=1))
        rows.append(row)
    forms: dict[str, str | Form] = {"arm": "", "seeds": "", **dict.fromkeys(metrics, ".4f"), "sd over seeds": ".4f"}
    how = "" if some.of_rows else ", full ranking of the catalogue"
    note = f"Test split{how}, means over seeds; sd is that of {options.metric}."
    return rows_to_table(name, "Quality", note, forms, rows)


def published(name: str, cell: Cell, figures: Mapping[str, Mapping[str, float]]) -> Table:
    """Set each arm's test metrics beside those that others reported, by arm and metric."""
    rows: list[Row] = []
    for arm, reported in figures.items():
        for metric, value in reported.items() if arm in cell else ():
            here = mean_of(cell[arm], metric)
            row: Row = {"arm": arm, "seeds": len(cell[arm]), "metric": metric, "published": value, "here": here}
            rows.append(row | {"difference": here / value - 1})
    forms: dict[str, str | Form] = {"arm": "", "seeds": "", "metric": "", "published": ".4f", "here": ".4f"}
    note = "Test split, means over seeds; the difference is relative to what was published."
    return rows_to_table(name, "Beside published figures", note, {**forms, "difference": "+.1%"}, rows)


def comparison(name: str, title: str, family: Family, options: Options) -> Table:
    """Give a family of comparisons."""
    rows = []
    for arm, seeds in family.over_seeds.items():
        row: Row = {"arm": arm, "against": family.against[arm], "seeds": seeds.n, "difference": seeds.difference}
        row |= {"effect": seeds.effect, "won": seeds.won, "Wilcoxon over seeds": seeds.wilcoxon_p}
        row |= _tested(seeds, "seeds") | {"over seeds": verdict(seeds)}
        if (users := family.over_users.get(arm)) is not None:
            row |= _tested(users, "users")
        if (folds := family.over_folds.get(arm)) is not None:
            row |= _tested(folds, "folds") | {"folds won": f"{folds.won} of {folds.n}", "over folds": verdict(folds)}
        rows.append(row)
    forms: dict[str, str | Form] = {"arm": "", "against": "", "seeds": "", "difference": "+.4f"}
    forms |= {"effect": "+.2f", "won": ".0%"}
    for over in ("seeds", "users"):
        forms |= {f"95 % over {over}": interval, f"p over {over}": chance, f"Holm over {over}": chance}
        forms |= {"Wilcoxon over seeds": chance} if over == "seeds" else {}
    forms |= {"folds won": "", "95 % over folds": interval, "p over folds": chance, "Holm over folds": chance}
    note = ""
    if family:
        raw, corrected = family.smallest_p
        note = (
            f"Test {options.metric}, paired by seed. Exact sign-flip tests, BCa bootstrap intervals, Holm's "
            f"correction over {counted(family.n_arms, 'comparison')}, all that were made. With "
            f"{counted(family.fewest_seeds, 'seed')} no p is below {raw:.2g}, and none below {corrected:.2g} after the "
            "correction. The effect is the mean difference in standard deviations over seeds, with Hedges' correction; "
            "won is the share of seeds that are better, level ones counting half."
        )
        note += USERS_NOTE if family.over_users else ""
        note += FOLDS_NOTE if family.over_folds else ""
    return rows_to_table(name, title, note, {**forms, "over seeds": "", "over folds": ""}, rows)


USERS_NOTE = (
    " The columns over users say what other users would say under the same seeds; they support no claim about other "
    "runs."
)

FOLDS_NOTE = (
    " A seed's difference is that of its folds together. The columns over folds say what other users or rows of the "
    "same kind would say: t-tests over the folds' differences, the mean of their seeds, whose variance is corrected "
    "for the training data that folds share (Nadeau and Bengio)."
)


def _tested(found: Comparison | FoldComparison, over: str) -> Row:
    ends = None if found.low is None else (found.low, found.high)
    return {f"95 % over {over}": ends, f"p over {over}": found.p, f"Holm over {over}": found.adjusted_p}


def budgets(name: str, cell: Cell, options: Options) -> Table:
    """Compare on the validation split at equal cost, and by what it took to get somewhere."""
    forms: dict[str, str | Form] = {"arm": ""}
    forms |= {f"at equal {unit}": ".4f" for unit in ("steps", "operations", "seconds")}
    forms |= {"steps": _spent, "1e12 operations": _spent, "seconds": _spent, "reached": ""}
    rows = []
    for arm, runs in cell.items():
        found = budget_values(runs, cell[options.baseline], options)
        if len(found):
            best = dict(zip(list(forms)[1:4], found[:, :3].mean(axis=0).tolist(), strict=True))
            # The higher of two middle values: a mean with "never" would be none.
            middle = np.sort(found[:, 3:], axis=0)[len(found) // 2] / (1, 1e12, 1)
            spent = dict(zip(list(forms)[4:7], middle.tolist(), strict=True))
            rows.append({"arm": arm, **best, **spent, "reached": f"{np.isfinite(found[:, 3]).sum()} of {len(found)}"})
    note = (
        f"Validation {options.metric}: the best within the steps, the operations and the seconds of {options.baseline} "
        f"(training alone, without compilation); what it took to {options.share:.0%} of {options.baseline}'s best of "
        "the same seed (medians, and how many seeds got there)."
    )
    return rows_to_table(name, "At equal cost, and the way to quality", note, forms, rows)


def budget_values(runs: Seeds, baseline: Seeds, options: Options) -> np.ndarray:
    """Give for every shared seed the best value within the baseline's three budgets, and what it took to its share.

    Returns:
        ``[n_seeds, 6]``; infinity where the share was never reached.
    """
    rows = []
    for seed in shared_seeds(runs, baseline):
        theirs, ours = baseline[seed].curve(options.metric), runs[seed].curve(options.metric)
        goal = options.share * float(theirs.value.max())
        known = [unit for unit in UNITS if not np.isnan(getattr(theirs, unit)).any()]
        known = [unit for unit in known if not np.isnan(getattr(ours, unit)).any()]
        within = [ours.best_within(float(getattr(theirs, u)[-1]), u) if u in known else np.nan for u in UNITS]
        rows.append([*within, *(ours.first_at(goal, u) if u in known else np.nan for u in UNITS)])
    return np.array(rows)


def _spent(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def sliced(name: str, cell: Cell, options: Options, slices: Slices) -> Table:
    """Give the deciding metric of each slice of the users, and of the items that were to be found."""
    rows = [{"arm": arm, **slices.means(runs, options.metric)} for arm, runs in cell.items()]
    note = f"Test {options.metric}, means over seeds. {slices.describe()}"
    return rows_to_table(name, "Who gains", note, {"arm": "", **dict.fromkeys(SLICES, ".4f")}, rows)


def cost(name: str, cell: Cell) -> Table:
    """Give what training cost."""
    forms: dict[str, str | Form] = {
        "arm": "", "blocks": "", "parameters": ",", "steps": ",.0f", "1e12 operations": ".3g", "seconds": ",.0f",
        "seconds compiling": ",.0f", "positions a second": ",.0f",
    }  # fmt: skip
    rows = [{"arm": arm, **_cost_of(list(runs.values()))} for arm, runs in cell.items()]
    note = "Means over seeds; the largest model. Seconds are those of the machine and of what else ran on it."
    return rows_to_table(name, "Cost", note, forms, rows)


def _cost_of(runs: Sequence[Result]) -> Row:
    def mean(name: str, scale: float = 1.0) -> float | None:
        values = [run.summary[name] for run in runs]
        return None if None in values else float(np.mean(values)) / scale

    depths = [[str(stage["depth"]) for stage in run.summary["stages"]] for run in runs]
    return {
        "blocks": " to ".join(dict.fromkeys(depths[0])),
        "parameters": max(run.summary["parameters"] for run in runs),
        "steps": mean("steps"),
        "1e12 operations": mean("operations", 1e12),
        "seconds": mean("train_seconds"),
        "seconds compiling": mean("compile_seconds"),
        "positions a second": mean("positions_per_second"),
    }


def conditions(results: Results) -> Iterator[Table]:
    """Give what every condition costs each arm, and how much of the baseline's loss it makes good, by data set."""
    by_data: dict[str, dict[str, Cell]] = {}
    for place, cell in results.cells.items():
        by_data.setdefault(place.data, {})[place.condition] = cell
    for data, cells in by_data.items():
        (first, clean), *others = cells.items()
        for condition, cell in others:
            yield _condition_table(f"{data}-{condition}-cost", (first, clean), (condition, cell), results.options)


def _condition_table(name: str, first: tuple[str, Cell], second: tuple[str, Cell], options: Options) -> Table:
    (before, clean), (after, cell) = first, second
    metric, base, rows = options.metric, options.baseline, []
    lost = None
    if base in clean and base in cell:
        lost = mean_of(clean[base], metric) - mean_of(cell[base], metric)
    for arm in (arm for arm in clean if arm in cell):
        seeds = shared_seeds(clean[arm], cell[arm])
        if not seeds:
            continue
        there, here = (float(np.mean([runs[arm][seed].test(metric) for seed in seeds])) for runs in (clean, cell))
        row: Row = {"arm": arm, "seeds": len(seeds), before: there, after: here, "change": here / there - 1}
        if lost is not None and lost > 0 and arm != base:
            row["of the loss made good"] = (here - mean_of(cell[base], metric)) / lost
        rows.append(row)
    forms: dict[str, str | Form] = {"arm": "", "seeds": "", before: ".4f", after: ".4f", "change": "+.1%"}
    note = (
        f"Test {metric}. The last column: how much more than {base} an arm has here, as a share of what {base} loses "
        f"between the two conditions."
    )
    return rows_to_table(name, f"From {before} to {after}", note, {**forms, "of the loss made good": "+.1%"}, rows)


def all_tables(results: Results, slices: Mapping[Place, Slices]) -> dict[Place | None, list[Table]]:
    """Make all tables that have a row, by place; those across places under None."""
    found: dict[Place | None, list[Table]] = {}
    for place, cell in results.cells.items():
        tables = place_tables(place, cell, results.options, slices.get(place))
        found[place] = [table for table in tables if table.rows()]
    across = [table for table in conditions(results) if table.rows()]
    return found | ({None: across} if across else {})
