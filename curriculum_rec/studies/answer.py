"""The answer of a study in words (host), with the numbers, and no more than they allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curriculum_rec.evaluation.statistics import FEWEST_SEEDS, Comparison
from curriculum_rec.studies.comparisons import Family, against_baseline, against_controls, counted, mean_of, verdict
from curriculum_rec.studies.grid import Place
from curriculum_rec.studies.results import Cell, Options, Results
from curriculum_rec.studies.tables import chance, interval


def answer(results: Results) -> list[str]:
    """Say what came out, a paragraph a place and one on what that is worth.

    Args:
        results: The finished runs.

    Returns:
        Paragraphs of plain text.
    """
    paragraphs = [" ".join(_of_place(place, cell, results.options)) for place, cell in results.cells.items()]
    return [*paragraphs, " ".join(_worth(results))]


def _of_place(place: Place, cell: Cell, options: Options) -> Iterator[str]:
    where = place.data if place.condition == "all" else f"{place.data}, {place.condition}"
    base = options.baseline
    if base in cell:
        yield f"{where}: {base} has a test {options.metric} of {mean_of(cell[base], options.metric):.4f}."
    else:
        yield f"{where}: no run of {base} is finished."
    controls, baseline = against_controls(cell, options), against_baseline(cell, options)
    own = "its control" if controls and controls.n_arms == 1 else "their controls"
    for against, family in ((own, controls), (base, baseline)):
        yield from _claims(against, family)
        yield from _fold_claims(against, family)


def _claims(against: str, family: Family) -> Iterator[str]:
    """Say which arms differ from what they are compared with."""
    if not family:
        return
    compared = f"the {family.n_arms} arms" if family.n_arms > 1 else next(iter(family.over_seeds))
    shown = False
    for word, comparative in (("helps", "better"), ("harms", "worse")):
        if names := [name for name, found in family.over_seeds.items() if verdict(found) == word]:
            shown = True
            count = f"{len(names)} of {compared} {_are(names)}" if family.n_arms > 1 else f"{compared} is"
            yield f"Against {against}, {count} shown to be {comparative}: {_list(names, family)}."
    if not shown:
        ordered = sorted(family.over_seeds, key=lambda name: family.over_seeds[name].difference)
        nobody = f"none of {compared} is" if family.n_arms > 1 else f"{compared} is not"
        if family.n_arms == 1:
            numbers = f"the difference is {_numbers(family.over_seeds[ordered[0]])}"
        else:
            numbers = f"differences: highest {_list(ordered[-1:], family)}; lowest {_list(ordered[:1], family)}"
        yield f"Against {against}, {nobody} shown to differ; {numbers}."


def _fold_claims(against: str, family: Family) -> Iterator[str]:
    """Say which arms differ over folds."""
    if not family.over_folds:
        return
    found = family.over_folds
    n_folds = max(each.n for each in found.values())
    told = [
        f"{name} {verdict(each)}, {each.difference:+.4f} ({interval((each.low, each.high))}, corrected p "
        f"{chance(each.adjusted_p)}, {each.won} of {each.n} folds)"
        for name, each in found.items()
        if verdict(each) != "not shown"
    ]
    said = "; ".join(told) if told else "no arm is shown to differ" if len(found) > 1 else "no difference is shown"
    yield f"Over the {n_folds} folds, against {against}: {said}."


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _list(names: Sequence[str], family: Family) -> str:
    return "; ".join(f"{name}, {_numbers(family.over_seeds[name])}" for name in names)


def _numbers(found: Comparison) -> str:
    if found.low is None or found.high is None:
        return f"{found.difference:+.4f} with one seed"
    return f"{found.difference:+.4f} ({interval((found.low, found.high))}, corrected p {chance(found.adjusted_p)})"


def _worth(results: Results) -> Iterator[str]:
    """Say how much was tried, and what so many seeds could show."""
    if results.n_finished < results.n_planned:
        yield f"{results.n_finished} of {results.n_planned} planned runs are finished: this is an interim state."
    families = [
        family
        for cell in results.cells.values()
        for family in (against_baseline(cell, results.options), against_controls(cell, results.options))
        if family
    ]
    if not families:
        yield "There is nothing to compare."
        return
    fewest, most = min(f.fewest_seeds for f in families), max(f.n_arms for f in families)
    raw, corrected = 2 / 2**fewest, min(1.0, 2 / 2**fewest * most)
    yield (
        "Every arm that was tried is in the tables and in the corrections. With "
        f"{counted(fewest, 'paired seed')} no p is below {raw:.2g}, and after the correction over "
        f"{counted(most, 'comparison')} none below {corrected:.2g}"
        + (": these seeds can show no difference whatever its size." if corrected > 0.05 else ".")
    )
    if fewest < FEWEST_SEEDS:
        yield f"Fewer than {FEWEST_SEEDS} seeds are too few for a claim; take 10."
