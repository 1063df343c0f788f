"""Which candidates are worth a label: greedy selection, given what the dataset holds already.

Read in this order:

    config.py           settings
    from_structures.py  `select`: structures in, a `Selection` out
    result.py           `Selection`: picks, gains, and why the others were left out
    greedy.py           lazy greedy (information gain) and plain greedy (paper)
    gains.py            what many candidates would add, while the dataset grows
    duplicates.py       equal structures by content, near-equal ones by features
    quotas.py           places reserved for each pool
    pool.py             candidates as feature rows, streamed
    farthest_point.py   the control arm: farthest-point sampling
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrove.selection.config import SelectionConfig
    from entrove.selection.farthest_point import select_farthest
    from entrove.selection.from_structures import select
    from entrove.selection.result import Selection

_PUBLIC = {
    "Selection": "entrove.selection.result",
    "SelectionConfig": "entrove.selection.config",
    "select": "entrove.selection.from_structures",
    "select_farthest": "entrove.selection.farthest_point",
}

__all__ = ["Selection", "SelectionConfig", "select", "select_farthest"]  # loaded on first use


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.selection' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
