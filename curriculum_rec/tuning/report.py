"""What a search found (host): the tables of its files and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curriculum_rec.tuning.search import Search
from curriculum_rec.tuning.trials import TrialRow, best_so_far, best_trial, count_states, show

MOST_ROWS = 20
Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Findings:
    """What a search found so far.

    Attributes:
        name: Of the study, for titles.
        search: The search.
        metric: Name of the validation metric that decides.
        rows: All trials.
        importances: By option, the greatest first; nothing where too few trials are finished.
        best: Means over the best trial's runs: ``validation``, ``test``, and ``reference``, MostPop's test metrics.
        train: The best trial as words of ``curriculum-rec train``, or how its experiment file is called.
    """

    name: str
    search: Search
    metric: str
    rows: Sequence[TrialRow]
    importances: Mapping[str, float]
    best: Mapping[str, Mapping[str, float]]
    train: str

    @property
    def options(self) -> list[str]:
        """The options that were chosen."""
        return [entry.option for entry in self.search.space.entries]


def summary(found: Findings) -> list[str]:
    """Say in a few sentences how the search went."""
    kind = f"{found.search.sampler.name} sampler, {found.search.pruner.name} pruner, seed {found.search.seed}"
    best = best_trial(found.rows)
    text = [f"{len(found.rows)} trials ({count_states(found.rows)}) by the {kind}."]
    if found.search.folds:
        text.append(f"A trial is {len(found.search.folds)} runs, and its value the mean of theirs.")
    if best is None:
        return [*text, "No trial is finished."]
    text.append(f"The best one is {best.number}, validation {found.metric} {best.value:.4f}. Only that decided.")
    if len(best_so_far(found.rows)) > 1:
        first = next(row for row in found.rows if row.state == "done")
        text.append(f"The first finished one, {first.number}, had {show(first.value)}.")
    return text


def trial_table(found: Findings) -> Table:
    """Give the best finished trials, those that were pruned or failed not among them."""
    done = sorted((row for row in found.rows if row.state == "done"), key=lambda row: (-(row.value or 0), row.number))
    rows = [
        [str(row.number), show(row.value), *(show(row.point.get(option)) for option in found.options)]
        for row in done[:MOST_ROWS]
    ]
    return ["trial", f"validation {found.metric}", *found.options], rows


def importance_table(found: Findings) -> Table:
    """Give the share of every option."""
    return ["option", "importance"], [[option, f"{share:.3f}"] for option, share in found.importances.items()]


def quality_table(found: Findings) -> Table:
    """Give the best trial's test metrics beside MostPop's; read it once, after the search."""
    test, reference = found.best["test"], found.best["reference"]
    return ["test metric", "best trial", "MostPop"], [
        [name, f"{value:.4f}", f"{reference[name]:.4f}"] for name, value in test.items()
    ]


def failure_table(found: Findings) -> Table:
    """Give the trials that failed, and why."""
    failed = [row for row in found.rows if row.state == "failed"]
    return ["trial", "why it failed"], [[str(row.number), row.reason or "-"] for row in failed]


def sections(found: Findings) -> list[tuple[str, str, Table]]:
    """Give heading, explanation and table of every part that has something to show."""
    parts = [("Best trials", "By validation alone.", trial_table(found))]
    if found.best:
        parts.append(
            (
                "The best trial on the test part",
                "Shown once and for this trial only; it decided nothing.",
                quality_table(found),
            )
        )
    parts += [
        (
            "Importance",
            "How much of what tells good trials from others lies in each option (PED-ANOVA, finished trials).",
            importance_table(found),
        ),
        ("Failures", "", failure_table(found)),
    ]
    return [part for part in parts if part[2][1]]


def tuning_text(found: Findings) -> str:
    """Write what was found as Markdown."""
    lines = [f"# {found.name}", "", *summary(found), ""]
    if found.train:
        lines += ["```", found.train, "```", ""]
    for heading, explanation, (header, rows) in sections(found):
        lines += [f"## {heading}", "", *([explanation, ""] if explanation else [])]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in (header, ["---"] * len(header), *rows)]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
