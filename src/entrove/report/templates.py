"""Fill the page templates of this package, and write the pages."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from entrove._optional import require
from entrove.counts import format_count
from entrove.errors import EntroveError
from entrove.files import replace_text
from entrove.report.figures import style
from entrove.report.figures.style import Figure
from entrove.report.formatting import (
    format_duration,
    format_interval,
    format_number,
    format_share,
    plain_words,
)


def render_page(template: str, figures: Sequence[Figure], **values: object) -> str:
    """Return a page that needs no network and no other file.

    Args:
        template: Name of a file in the folder `template`.
        figures: The plots of the page.
        values: What the template names, beside plots and style.

    Raises `EntroveError` when the extra `report` is not installed.
    """
    return _load_template(template).render(
        **values,
        style=style,
        figures_json=figures_as_json(figures),
        dark_colours_json=json.dumps(style.DARK_COLOURS),
        plotly_js=require("plotly.offline", extra="report").get_plotlyjs(),
    )


def write_page(
    path: str | Path, text: str, error: type[EntroveError], what: str = "the page"
) -> Path:
    """Write a page, replacing an older one in one step, and return its path.

    Raises `error` when the file cannot be written; `what` is how the message names it.
    """
    path = Path(path)
    try:
        replace_text(path, text)
    except OSError as problem:
        raise error(
            f"{path}: {what} cannot be written ({problem.strerror}); check that its folder "
            "exists, that you may write there and that the disk is not full"
        ) from problem
    return path


def figures_as_json(figures: Sequence[Figure]) -> str:
    """Serialise figures for a script element; Plotly checks them, arrays become base64."""
    plotly = require("plotly.graph_objects", extra="report")
    parts = [
        f"{json.dumps(figure.name)}:{plotly.Figure(figure.data, figure.layout).to_json()}"
        for figure in figures
    ]
    # The characters '</' and '<!--' would end or change the script element around them.
    return ("{" + ",".join(parts) + "}").replace("<", "\\u003c")


@cache
def _load_template(name: str) -> Any:
    """Return a template of the folder `template`, with the filters that all pages share."""
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("entrove.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": format_count,
        "duration": format_duration,
        "interval": format_interval,
        "number": format_number,
        "share": format_share,
        "words": plain_words,
    }
    return environment.get_template(name)
