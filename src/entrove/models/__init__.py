"""Machine-learned potentials: load them by name, evaluate batches, and check the batches.

Read in this order:

    loaded.py         what a loaded model offers: batches, its own ASE calculator, its elements
    frameworks.py     what is known of a framework: its models, files, what can be tuned
    registry.py       one entry per framework; `load` by name, file or import path
    prediction.py     energy, forces and stress of a list of structures
    verify.py         batches against the model's own ASE calculator
    committee.py      several models as one: mean and spread
    ase.py            any ASE calculator as a model, and any model as an ASE calculator
    sevennet/ nequip/ chgnet/
                      one folder per framework, with its entry in its loading.py

Below them: batches.py and neighbours.py (memory, cuts, neighbour lists), edge_features.py
(per-atom features with gradients), torch_settings.py (torch as each framework needs it).

A framework is added as a folder with a `Framework` in its loading.py and a line in registry.py.
One that can be tuned also gets a folder and a line in `entrove.training`.
"""

import importlib
from typing import Any

_PUBLIC = {
    "LoadedModel": "entrove.models.loaded",
    "committee_of": "entrove.models.committee",
    "load": "entrove.models.registry",
    "predict": "entrove.models.prediction",
    "verified": "entrove.models.verify",
}

__all__ = [  # loaded on first use, below
    "LoadedModel",
    "committee_of",
    "load",
    "predict",
    "verified",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.models' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
