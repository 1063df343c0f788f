"""Load the page templates of this package."""

from functools import cache
from typing import Any

from entrove._optional import require
from entrove.report.formatting import (
    format_count,
    format_duration,
    format_interval,
    format_number,
    format_share,
    plain_words,
)


@cache
def load_template(name: str) -> Any:
    """Return a template of the folder `template`, with the filters that all pages share.

    Raises `EntroveError` when the extra `report` is not installed.
    """
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
