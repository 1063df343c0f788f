"""What running a command line gives, and what is documented of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., tuple[int, str, str]]
"""Called with the arguments of `entrove`; returns exit code, output and errors."""

PAGE = Path(__file__).parents[2] / "docs/reference/json.md"
ROW = re.compile(r"^\| `(?P<command>\w+)[^|]*\| (?P<keys>.*) \|$", re.M)
ON_ANOTHER_PAGE = ("run", "status", "report")
"""Commands whose document is that of `report.json`."""


def documented_keys(command: str) -> set[str]:
    """Return the keys that the page of the documents names in the rows of a command."""
    rows = [row["keys"] for row in ROW.finditer(PAGE.read_text()) if row["command"] == command]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def check_document(command: str, text: str) -> None:
    """Assert that a text is one document in strict JSON, whose keys are documented."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name}, which Python reads, is no JSON")

    document: Any = json.loads(text, parse_constant=refuse)
    if command not in ON_ANOTHER_PAGE:
        first = document[:1] if isinstance(document, list) else [document]
        assert {key for each in first for key in each} <= documented_keys(command)
