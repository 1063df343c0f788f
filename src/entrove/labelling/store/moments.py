"""The magnetic state that a label was computed in, or from: part of what a label is known by.

One crystal has a label for each magnetic state. Moments are compared by sign and whole Bohr
magnetons, in canonical order of the atoms: a start of 2.2 ends at 2.24, and a ferromagnet is not
an antiferromagnet. Turning all moments over changes no energy without spin-orbit coupling.
"""

import hashlib
import json

import numpy as np
from ase import Atoms

from entrove.structures import canonical_order

UNKNOWN = "?"
"""The state of labels whose moments nobody wrote down: found whatever state is asked for."""

NONE = ""
"""No atom has a moment beyond what the settings of the engine give its element."""


def magnetic_state(atoms: Atoms) -> str:
    """Return the state that the initial moments of a structure, or computed ones, say.

    Args:
        atoms: A structure; initial moments come first, then those of its results.

    Returns `NONE` where all are zero or there are none.
    """
    moments = np.asarray(atoms.get_initial_magnetic_moments(), dtype=float)
    if moments.any():
        # Any moment that was asked for counts, however small.
        whole = np.sign(moments) * np.maximum(np.round(np.abs(moments)), np.abs(moments) > 0)
    else:
        results = getattr(atoms.calc, "results", {})
        whole = np.round(np.asarray(results.get("magmoms", moments), dtype=float))
    if len(whole) != len(atoms) or not whole.any():
        return NONE
    whole = whole[canonical_order(atoms)].astype(int)
    first = whole.ravel()[np.flatnonzero(whole)[0]]
    return json.dumps((whole * np.sign(first)).tolist(), separators=(",", ":"))


def says_moments(atoms: Atoms) -> bool:
    """Whether a structure says which magnetic moments it has, be they zero."""
    return atoms.has("initial_magmoms") or "magmoms" in getattr(atoms.calc, "results", {})


def label_key(structure_hash: str, state: str) -> str:
    """Return a name for a structure in a magnetic state: its hash where it has no moments."""
    if state in (NONE, UNKNOWN):
        return structure_hash
    return f"{structure_hash}-{hashlib.sha256(state.encode()).hexdigest()[:8]}"
