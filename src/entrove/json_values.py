"""Values as JSON has them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


def json_values(value: Any) -> Any:
    """Turn dataclasses, arrays and paths into what JSON knows, and what is not finite into None.

    >>> json_values({"errors": np.array([0.5, np.nan]), "out": Path("picked.xyz")})
    {'errors': [0.5, None], 'out': 'picked.xyz'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return json_values(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): json_values(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return json_values(value.tolist())
    if isinstance(value, list | tuple):
        return [json_values(entry) for entry in value]
    if isinstance(value, np.generic):
        return json_values(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
