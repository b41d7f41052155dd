"""The page of an audit (host): what it found, in tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from curriculum_rec.curriculum.trained import N_DECILES
from curriculum_rec.reports.audit import Audit
from curriculum_rec.reports.figures import BLUE, COLOURS, GREY, SCALE, new_figure, styled, to_svg
from curriculum_rec.reports.page import heading, make_page, paragraph, table
from curriculum_rec.reports.run_log import RunLog

DASHES = ("solid", "dashed", "dashdot")
MOST_BARS = 60
"""Up to so many different scores get a bar each."""


def audit_page(title: str, audit: Audit, logs: Sequence[RunLog] = ()) -> str:
    """Write the page of an audit.

    Args:
        title: What was audited.
        audit: Its numbers.
        logs: Runs whose losses by difficulty are drawn, those of which it is known.

    Returns:
        HTML with everything inside.

    Raises:
        OptionError: Matplotlib is not installed.
    """
    n_targets = audit.scorers[0].scores.shape[1]
    with styled():
        parts = [
            paragraph(f"{n_targets:,} training targets. A higher score means harder."),
            heading("Scorers"),
            paragraph(_explain_table(audit)),
            table(*scorer_table(audit)),
            heading("Do they agree?"),
            paragraph("Spearman's rank correlation of every two scorers: near 1, one of the two is enough."),
            to_svg(draw_correlation(audit)),
            heading("What do the scores look like?"),
            paragraph(
                "Only the rank of a score travels on into a curriculum. Where one bar holds many targets, chance "
                "decides among them."
            ),
            to_svg(draw_distributions(audit)),
        ]
        if audit.noise_share is not None:
            parts += [
                heading("Where do the wrong targets lie?"),
                paragraph(
                    f"{audit.n_noise:,} targets ({audit.n_noise / n_targets:.1%}) are known to be wrong. A scorer that "
                    "takes them for hard has them on the right: easy first then also means clean first."
                ),
                to_svg(draw_noise(audit)),
            ]
        known = [log for log in logs if log.table("curriculum", "decile_losses") is not None]
        if known:
            parts += [
                heading("How is each tenth learnt?"),
                paragraph(
                    "Mean training loss of each tenth of the difficulty, as the steps saw it, a dynamic epoch each."
                ),
                to_svg(draw_learning_curves(known)),
            ]
    return make_page(title, parts)


def _explain_table(audit: Audit) -> str:
    words = ["Different scores: how many of the targets have a score of their own."]
    if any(value is not None for value in audit.split_half):
        words.append("Split-half: the rank correlation of the mean scores of two halves of the seeds.")
    if audit.noise_share is not None:
        words.append("AUC: how probably a wrong target is ranked as harder than a right one; 0.5 is chance.")
    return " ".join(words)


def scorer_table(audit: Audit) -> tuple[list[str], list[list[str]]]:
    """Give the header and one row a scorer, as texts; columns without any number are left out."""
    columns: dict[str, list[str]] = {
        "scorer": list(audit.names),
        "seeds": [str(len(scorer.scores)) for scorer in audit.scorers],
        "different scores": [f"{len(np.unique(scorer.mean)) / len(scorer.mean):.1%}" for scorer in audit.scorers],
    }
    if any(value is not None for value in audit.split_half):
        columns["split-half"] = [_text(value) for value in audit.split_half]
    if audit.noise_share is not None:
        columns["AUC against noise"] = [_text(value) for value in audit.noise_auc]
    for reference in ("popularity", "length"):
        if reference in audit.names:
            column = audit.correlation[:, audit.names.index(reference)]
            columns[f"with {reference}"] = [_text(float(value)) for value in column]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def draw_correlation(audit: Audit) -> Any:
    """Draw the matrix of rank correlations, each written into its cell."""
    n = len(audit.names)
    figure = new_figure(2.6 + 0.72 * n, 1.6 + 0.5 * n)
    axis = figure.subplots()
    mesh = axis.imshow(audit.correlation, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(audit.correlation):
        colour = "white" if abs(value) > 0.7 else "black"
        label = "-" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"  # no minus before a zero
        axis.annotate(label, (column, row), ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(n), audit.names, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(n), audit.names)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axis, label="rank correlation", pad=0.02)
    bar.outline.set_visible(False)
    return figure


def draw_distributions(audit: Audit) -> Any:
    """Draw a histogram of each scorer's scores."""
    columns = min(4, len(audit.names))
    rows = -(-len(audit.names) // columns)
    figure = new_figure(2.5 * columns + 0.4, 1.7 * rows + 0.2)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, scorer in zip(axes, audit.scorers, strict=False):
        finite = scorer.mean[np.isfinite(scorer.mean)]
        values, counts = np.unique(finite, return_counts=True)
        if 1 < len(values) <= MOST_BARS:
            axis.bar(values, counts / len(scorer.mean), width=np.diff(values).min(), color=BLUE)
        else:
            axis.hist(finite, bins=40, weights=np.full(len(finite), 1 / len(scorer.mean)), color=BLUE)
        axis.set_title(scorer.name, loc="left")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axis in axes[len(audit.names) :]:
        axis.axis("off")
    figure.supylabel("share of the targets", fontsize=9)
    return figure


def draw_noise(audit: Audit) -> Any:
    """Draw the share of wrong targets in each tenth of each scorer."""
    assert audit.noise_share is not None  # noqa: S101 - the caller looked
    figure = new_figure(8.2, 3.4)
    axis = figure.subplots()
    tenths = np.arange(1, N_DECILES + 1)
    for number, (name, auc, share) in enumerate(zip(audit.names, audit.noise_auc, audit.noise_share, strict=True)):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        label = f"{name}, AUC {_text(auc)}"
        axis.plot(tenths, share, color=colour, linestyle=dashes, marker="o", markersize=3.5, label=label)
    mean = audit.n_noise / audit.scorers[0].scores.shape[1]
    axis.axhline(mean, color=GREY, linewidth=0.8, linestyle=":", label="all alike")
    axis.set_xticks(tenths, ["easiest", *map(str, tenths[1:-1]), "hardest"])
    axis.set_ylim(0, None)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("tenth of the difficulty")
    axis.set_ylabel("wrong targets")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def draw_learning_curves(logs: Sequence[RunLog]) -> Any:
    """Draw the mean loss of each tenth of the difficulty over the steps, a run each."""
    from matplotlib import colormaps  # noqa: PLC0415 - optional

    figure = new_figure(4.4 * len(logs) + 1.6, 3.2)
    axes = figure.subplots(1, len(logs), squeeze=False, sharey=True)[0]
    for axis, log in zip(axes, logs, strict=True):
        losses = log.table("curriculum", "decile_losses")
        assert losses is not None  # noqa: S101 - the caller looked
        step = log.column("curriculum", "step")
        for decile, values in enumerate(losses.T):
            axis.plot(step, values, color=colormaps[SCALE](decile / 10), label=f"{decile + 1}")
        axis.set_title(log.name, loc="left", fontweight="bold")
        axis.set_xlabel("step")
    axes[0].set_ylabel("training loss")
    axes[-1].legend(title="tenth, 1 the\neasiest", loc="center left", bbox_to_anchor=(1.01, 0.5), title_fontsize=8)
    return figure
