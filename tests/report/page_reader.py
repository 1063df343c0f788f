"""Parse a report as a browser does: its texts, tables and plots, and what it loads."""

import base64
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np

LOADING = {"src", "href", "srcset", "data", "poster", "action", "background"}
DTYPES = {
    "f8": "<f8",
    "f4": "<f4",
    "i1": "<i1",
    "i2": "<i2",
    "i4": "<i4",
    "u1": "<u1",
    "u2": "<u2",
    "u4": "<u4",
}


class Page(HTMLParser):
    """The parsed report: `elements`, `visible` text, `tables` by heading, `figures` by name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.visible = ""
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        self._inside: list[tuple[str, str]] = []
        self._heading = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append((tag, dict(attrs).get("id") or ""))
        if tag in ("h2", "h3", "summary"):
            self._heading = ""
        if tag == "table":
            self.tables.setdefault(self._heading.strip(), []).append([])
        if tag == "tr":
            self._rows().append([])
        if tag in ("td", "th"):
            self._rows()[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._inside]
        if "script" in tags:
            if ("script", "figures") in self._inside:
                self.figures = json.loads(data)
            return
        if "style" in tags:
            return
        self.visible += data
        if tags and tags[-1] in ("h2", "h3", "summary"):
            self._heading += data
        if "td" in tags or "th" in tags:
            self._rows()[-1][-1] += data

    def _rows(self) -> list[list[str]]:
        return self.tables[self._heading.strip()][-1]

    def trace(self, figure: str, name: str, number: int = 0) -> dict[str, Any]:
        """Return a trace by its name; with several of one name, the `number`-th."""
        return [trace for trace in self.figures[figure]["data"] if trace.get("name") == name][
            number
        ]

    def loads(self) -> list[str]:
        """List every address that an element could load or link to."""
        return [
            value
            for tag, attributes in self.elements
            for name, value in attributes.items()
            if name in LOADING and value and not (tag == "a" and name == "href")
        ]


def numbers(values: Any) -> np.ndarray:
    """Decode an array of a Plotly figure, written as a list or as base64."""
    if isinstance(values, dict):
        return np.frombuffer(
            base64.b64decode(values["bdata"]), dtype=DTYPES[values["dtype"]]
        ).astype(float)
    return np.array([np.nan if value is None else value for value in values], dtype=float)
