"""Colours, symbols and axes that all plots share.

The colours are those of Okabe and Ito (2008), which can be told apart with every common kind of
colour blindness; phases also differ in their symbols. On a dark page each colour is replaced by a
lighter one.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from entrove.campaign.results.results import CampaignResults
from entrove.report.formatting import plain_words, shorten
from entrove.report.summary import ALL

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B58900", "#56B4E9", "#7A5195", "#8A8F98")
DARK_PALETTE = (
    "#4FA8DE",
    "#F08A3C",
    "#2FC79B",
    "#E3A3C6",
    "#E3B93C",
    "#9AD4F5",
    "#B08CCB",
    "#A9AFB8",
)
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "star", "x")

INK, DARK_INK = "#1F252B", "#E8EAED"
MUTED, DARK_MUTED = "#69737D", "#9AA4AE"

DARK_COLOURS = dict(
    zip((*PALETTE, INK, MUTED), (*DARK_PALETTE, DARK_INK, DARK_MUTED), strict=True)
)
"""The colour that replaces each colour on a dark page."""


@dataclass(frozen=True)
class Figure:
    """A plot: `data` and `layout` are Plotly's; colours are those of the light page.

    `name` is the id on the page, `title` the heading above the plot, `description` the text for
    screen readers.
    """

    name: str
    title: str
    description: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height_px: int


@dataclass(frozen=True)
class Style:
    """Colour and symbol of one phase or pool; `index` is that in the palette."""

    label: str
    index: int

    @property
    def colour(self) -> str:
        """Colour on a light page."""
        return PALETTE[self.index % len(PALETTE)]

    @property
    def symbol(self) -> str:
        """Marker symbol."""
        return SYMBOLS[self.index % len(SYMBOLS)]


def styles_of(labels: Iterable[str], first: int = 0) -> dict[str, Style]:
    """Give each label, in the order of first occurrence, its own style."""
    distinct = dict.fromkeys(label for label in labels if label != ALL)
    return {label: Style(label, first + number) for number, label in enumerate(distinct)}


def phase_styles(results: CampaignResults) -> dict[str, Style]:
    """Give each phase one style for the whole page."""
    labels = [row.phase for row in results.errors] + [label.phase for label in results.labels]
    labels += [str(phase) for parity in results.parity for phase in parity.phases]
    if results.fingerprint_map is not None:
        labels += [point.phase for point in results.fingerprint_map.points]
    return styles_of(labels)


def plot_text(text: str, limit: int = 200) -> str:
    """Escape a text for Plotly, which interprets some HTML in texts."""
    return html.escape(plain_words(shorten(text, limit)), quote=False)


def part_title(phase: str, kind: str, limit: int = 26) -> str:
    """Return the title of a part of the validation set."""
    if phase == kind == ALL:
        return "all structures"
    # A long phase is cut, but not the kind, by which the parts of one phase differ.
    words = [shorten(phase, max(limit - len(kind) - 2, 8)), kind]
    return plot_text(", ".join(word for word in words if word != ALL), limit)


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """Return an axis with its title, which includes the unit."""
    return {"title": {"text": title, "standoff": 10}, "automargin": True, **settings}


def layout(x: dict[str, Any], y: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Return a layout without legend and title, which the page has outside of the plot."""
    margin = {"l": 56, "r": 14, "t": 10, "b": 48}
    return {
        "xaxis": x,
        "yaxis": y,
        "margin": margin,
        "showlegend": False,
        "hovermode": "closest",
        **settings,
    }


def vertical_line(at: float) -> dict[str, Any]:
    """Return a dotted line from the bottom to the top of a plot."""
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}
