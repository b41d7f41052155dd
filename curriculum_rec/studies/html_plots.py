"""Plots inside a page (host): the place that each is drawn in, its buttons and its legend."""

from __future__ import annotations

from html import escape

from curriculum_rec.studies.looks import Look
from curriculum_rec.studies.plots import Looks, Plot

HIDE_CONTROLS_FROM = 9
"""A legend of so many arms shows the controls only when asked."""
DASHES = {"solid": "none", "longdash": "7 3", "longdashdot": "7 2 2 2", "dashdot": "4 2 2 2", "dot": "2 2",
          "dash": "4 2"}  # fmt: skip
MARKS = {
    "circle": '<circle cx="13" cy="6" r="3.2"/>',
    "square": '<rect x="10" y="3" width="6" height="6"/>',
    "diamond": '<path d="M13 2l4 4-4 4-4-4z"/>',
    "triangle-up": '<path d="M13 2l4 7h-8z"/>',
}


def plot_block(plot: Plot, number: int, looks: Looks) -> str:
    """Make the place of a plot.

    Args:
        plot: What is drawn there.
        number: Of the plot on the page, by which the script finds its figures.
        looks: Of every arm.
    """
    kind = "plot many" if len(plot.panels) > 1 else "plot"
    heights = (figure["layout"]["height"] for figure in plot.panels)
    panels = "".join(f'<div class="panel" style="min-height:{height}px"></div>' for height in heights)
    parts = [f'<figure class="{kind}" data-plot="{number}">', _choices(plot), f'<div class="panels">{panels}</div>']
    parts += [_scale(plot), _legend(plot, looks), f"<figcaption>{escape(plot.note)}</figcaption>", "</figure>"]
    return "\n".join(part for part in parts if part)


def _choices(plot: Plot) -> str:
    if not plot.choices:
        return ""
    first = next(iter(plot.choices))
    buttons = "".join(
        f'<button type="button" data-choice="{escape(name)}" aria-pressed="{str(name == first).lower()}">'
        f"{escape(name)}</button>"
        for name in plot.choices
    )
    return f'<div class="choices" role="group" aria-label="horizontal axis">against {buttons}</div>'


def _scale(plot: Plot) -> str:
    ticks = "".join(f'<span style="left:{place:.1%}">{escape(word)}</span>' for word, place in plot.scale.items())
    return f'<div class="scale">{ticks}</div>' if ticks else ""


def _legend(plot: Plot, looks: Looks) -> str:
    if not plot.legend:
        return ""
    has_controls = any(looks[arm].is_control for arm in plot.legend)
    hide = has_controls and len(plot.legend) >= HIDE_CONTROLS_FROM
    tools = {"arms": "without controls", "all": "all"} if has_controls else {"all": "all"}
    buttons = [
        f'<button type="button" data-show="{show}">{word}</button>' for show, word in (tools | {"none": "none"}).items()
    ]
    ordered = sorted(plot.legend, key=lambda arm: looks[arm].is_control)
    arms = [_legend_entry(arm, looks[arm], hidden=hide and looks[arm].is_control) for arm in ordered]
    return f'<div class="legend" role="group" aria-label="arms">{"".join((*arms, *buttons))}</div>'


def _legend_entry(arm: str, look: Look, *, hidden: bool) -> str:
    control = ' data-control=""' if look.is_control else ""
    return (
        f'<button type="button" data-arm="{escape(arm)}"{control} aria-pressed="{str(not hidden).lower()}">'
        f"{_swatch(look)}{escape(arm)}</button>"
    )


def _swatch(look: Look) -> str:
    """Draw how an arm's lines and points look."""
    colour = f"var(--{look.colour.removeprefix('$')})"
    fill = "var(--paper)" if look.mark.endswith("-open") else colour
    return (
        f'<svg width="26" height="12" aria-hidden="true" style="stroke:{colour};fill:{fill}">'
        f'<path d="M1 6h24" stroke-width="2" stroke-dasharray="{DASHES[look.dash]}"/>'
        f'<g stroke-width="1.3">{MARKS[look.mark.removesuffix("-open")]}</g></svg>'
    )
