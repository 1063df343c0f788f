"""Gaussian overlap matrix fingerprints: what surrounds an atom, as a row of eigenvalues.

Read in this order:

    config.py           settings: cutoff, length, orbitals, widths, precision
    from_structures.py  `fingerprint`: a list of Atoms in, arrays and their gradients out
    gom.py              `GaussianOverlap`: the feature map of a batch, and its pull-back
    overlaps.py         overlap matrices of spheres, and the contraction of their derivative
    spectrum.py         eigenvalues of many small matrices, and their pull-back
    neighbours.py       all neighbours within a cutoff, for a whole batch
    linked_cells.py     the same for many atoms
    radii.py            Gaussian widths by element
    lengths.py          how many eigenvalues a set of structures needs
    batching.py         ASE Atoms to batches

What every feature map offers is in `entrove.features`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrove.fingerprints.config import FingerprintConfig
    from entrove.fingerprints.from_structures import Fingerprints, fingerprint
    from entrove.fingerprints.gom import GaussianOverlap
    from entrove.fingerprints.lengths import resolve_length

_PUBLIC = {
    "FingerprintConfig": "entrove.fingerprints.config",
    "Fingerprints": "entrove.fingerprints.from_structures",
    "GaussianOverlap": "entrove.fingerprints.gom",
    "fingerprint": "entrove.fingerprints.from_structures",
    "resolve_length": "entrove.fingerprints.lengths",
}

__all__ = [  # loaded on first use, below
    "FingerprintConfig",
    "Fingerprints",
    "GaussianOverlap",
    "fingerprint",
    "resolve_length",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: torch takes seconds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entrove.fingerprints' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
