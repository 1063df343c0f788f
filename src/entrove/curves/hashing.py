"""One hash of everything that a step depends on."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ase import Atoms
from pydantic import BaseModel

from entrove.structures import content_hash


def digest(*parts: Any) -> str:
    """Hash settings, structures, numbers and text, in their order.

    Args:
        parts: Settings, structures, lists of structures, or what JSON can hold.

    Returns 24 hexadecimal digits.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    text = json.dumps([_plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _plain(part: Any) -> Any:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if isinstance(part, Atoms):
        return content_hash(part)
    if isinstance(part, Sequence) and not isinstance(part, str):
        return [_plain(member) for member in part]
    return part
