"""Docstrings for the site: what reads well in the source becomes what Markdown shows well.

Three habits of the source differ from what the Google style knows: several arguments may share one
line of an `Args:` block, doctests stand without a heading, and an example follows a double colon.
"""

import re
from typing import Any

import griffe

SHARED = re.compile(
    r"(?m)^(?P<indent> +)(?P<names>\w+(?:,\s+\w+)+): (?P<text>.*(?:\n(?P=indent) +.*)*)"
)
"""Lines of an `Args:` or `Attributes:` block that describe several names together."""
DOCTEST = re.compile(r"(?m)^>>> .*(?:\n(?!\n).+)*")
"""A doctest, up to the next empty line."""


class Docstrings(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each class, function and attribute."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(text: str) -> str:
    """Return a docstring with an entry per argument, and its examples as code.

    >>> print(rewrite("Move.\\n\\nArgs:\\n    x, y: The place, in A."))
    Move.
    <BLANKLINE>
    Args:
        x: The place, in A.
        y: The place, in A.
    >>> print(rewrite("Add.\\n\\n>>> add(1, 1)\\n2"))
    Add.
    <BLANKLINE>
    ```python
    >>> add(1, 1)
    2
    ```
    """
    text = SHARED.sub(
        lambda match: "\n".join(
            f"{match['indent']}{name}: {match['text']}"
            for name in re.split(r",\s+", match["names"])
        ),
        text,
    )
    text = DOCTEST.sub(lambda match: f"```python\n{match[0]}\n```", text)
    return re.sub(r"(?m)::$", ":", text)
