"""The way through Matplotlib (host): figures that look alike, and files that are the same for the same figure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curriculum_rec.errors import OptionError
from curriculum_rec.files import write_bytes

FIGURE_ENDINGS = (".svg", ".png", ".pdf")
BLUE, ORANGE, GREEN, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#6F6F6F"
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008)."""
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", SKY, "#000000")
SCALE = "viridis"
"""The colour scale of what has an order; the same people, and printers, tell its ends apart."""
STYLE: dict[Any, Any] = {
    "font.monospace": ["DejaVu Sans Mono"],
    "font.sans-serif": ["DejaVu Sans"],  # which comes with Matplotlib; a viewer without it takes its own, narrower ones
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "curriculum-rec",
    "text.parse_math": False,
}


def check_installed() -> None:
    """Look for Matplotlib, before anything is computed in vain.

    Raises:
        OptionError: It is not installed.
    """
    if find_spec("matplotlib") is None:
        raise OptionError("figures need Matplotlib: pip install 'curriculum-rec[figures]'")


@contextmanager
def styled() -> Iterator[Any]:
    """Give the module of Matplotlib, in our style as long as the block lasts.

    Raises:
        OptionError: It is not installed.
    """
    check_installed()
    import matplotlib as mpl  # noqa: PLC0415 - optional

    with mpl.rc_context(STYLE):
        yield mpl


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure, sizes in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    return Figure(figsize=(width, height), layout="constrained")


def to_bytes(figure: Any, ending: str) -> bytes:
    """Write a figure in the format of an ending; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    when = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[ending]
    with styled():
        figure.savefig(buffer, format=ending[1:], metadata=when)
    return buffer.getvalue()


def to_svg(figure: Any) -> str:
    """Write a figure as an SVG element that can stand inside a page."""
    text = to_bytes(figure, ".svg").decode()
    return text[text.index("<svg") :]


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure into a file of one of :data:`FIGURE_ENDINGS`."""
    write_bytes(path, to_bytes(figure, path.suffix))
