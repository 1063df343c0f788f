"""The magnetic state that a label was computed in, or from: part of what a label is known by.

One crystal has a label for each magnetic state. Moments are compared by sign and whole Bohr
magnetons, in canonical order of the atoms: a start of 2.2 ends at 2.24, and a ferromagnet is not
an antiferromagnet. Turning all moments over changes no energy without spin-orbit coupling.
"""

import hashlib
import json
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from entrove.structures import canonical_order, content_hash

UNKNOWN = "?"
"""The state of labels whose moments nobody wrote down: found whatever state is asked for."""

NONE = ""
"""No atom has a moment beyond what the settings of the engine give its element."""


def whole_moments(initial: np.ndarray) -> np.ndarray:
    """Round initial moments to whole Bohr magnetons; any that was asked for counts."""
    return np.sign(initial) * np.maximum(np.round(np.abs(initial)), np.abs(initial) > 0)


def magnetic_state(atoms: Atoms) -> str:
    """Return the state that the initial moments of a structure, or computed ones, say.

    Args:
        atoms: A structure; initial moments come first, then those of its results.

    Returns `NONE` where all are zero or there are none.
    """
    moments = np.asarray(atoms.get_initial_magnetic_moments(), dtype=float)
    if moments.any():
        whole = whole_moments(moments)
    else:
        results = getattr(atoms.calc, "results", {})
        whole = np.round(np.asarray(results.get("magmoms", moments), dtype=float))
    if len(whole) != len(atoms) or not whole.any():
        return NONE
    whole = whole[canonical_order(atoms)].astype(int)
    first = whole.ravel()[np.flatnonzero(whole)[0]]
    return json.dumps((whole * np.sign(first)).tolist(), separators=(",", ":"))


def moments_to_start_from(atoms: Atoms) -> Float[np.ndarray, " atoms"] | None:
    """Return the moments in Bohr magnetons that a new label of a structure starts from, if any.

    They are the initial ones, or computed ones where it has no others: an output of a code says
    the state that it ended in, and this state is kept. What rounds to no moment is none.
    """
    initial = np.asarray(atoms.get_initial_magnetic_moments(), dtype=float)
    if initial.any():
        return initial
    computed = np.asarray(getattr(atoms.calc, "results", {}).get("magmoms", initial), dtype=float)
    moments = np.where(np.round(computed) == 0, 0.0, computed)
    return moments if moments.shape == (len(atoms),) and moments.any() else None


def with_moments_to_start_from(atoms: Atoms) -> Atoms:
    """Return a structure whose initial moments are those that a new label starts from.

    It is the structure itself where nothing changes, otherwise a copy without results.
    """
    moments = moments_to_start_from(atoms)
    if moments is None or atoms.get_initial_magnetic_moments().any():
        return atoms
    started = atoms.copy()
    started.set_initial_magnetic_moments(moments)
    return started


def says_moments(atoms: Atoms) -> bool:
    """Whether a structure says which magnetic moments it has, be they zero."""
    return atoms.has("initial_magmoms") or "magmoms" in getattr(atoms.calc, "results", {})


def label_key(structure_hash: str, state: str) -> str:
    """Return a name for a structure in a magnetic state: its hash where it has no moments."""
    if state in (NONE, UNKNOWN):
        return structure_hash
    return f"{structure_hash}-{hashlib.sha256(state.encode()).hexdigest()[:8]}"


def key_of(atoms: Atoms) -> str:
    """Return what the label of a structure is known by: its content hash and magnetic state."""
    return label_key(content_hash(atoms), magnetic_state(atoms))


def short_key(key: str) -> str:
    """Shorten a key for people: ten digits of the hash, and four of the state where it has one."""
    structure_hash, dash, state = key.partition("-")
    return structure_hash[:10] + dash + state[:4]


def copy_moments(
    source: Atoms, target: Atoms, order: Int[np.ndarray, " atoms"] | None = None
) -> None:
    """Give `target`, in place, the magnetic moments that `source` says, initial or computed.

    Args:
        source: The structure whose state counts.
        target: The same atoms; it needs results to take computed moments.
        order: The atom of `source` that each atom of `target` is; None: the same one.
    """
    atoms = slice(None) if order is None else order
    if source.has("initial_magmoms"):
        target.set_initial_magnetic_moments(source.get_initial_magnetic_moments()[atoms])
    results = getattr(target.calc, "results", None)
    computed = getattr(source.calc, "results", {}).get("magmoms")
    if computed is not None and results is not None:
        results["magmoms"] = np.array(computed, dtype=float)[atoms]


class LabelledStates:
    """Which structures have a label, in which magnetic states.

    Args:
        structures: Labelled structures.
    """

    def __init__(self, structures: Iterable[Atoms]) -> None:
        hashes = [(content_hash(atoms), magnetic_state(atoms)) for atoms in structures]
        self._keys = {label_key(structure_hash, state) for structure_hash, state in hashes}
        self._hashes = {structure_hash for structure_hash, _ in hashes}

    def have(self, atoms: Atoms) -> bool:
        """Whether a structure is among them: in its state, or in any where it says none."""
        if says_moments(atoms):
            return key_of(atoms) in self._keys
        return content_hash(atoms) in self._hashes
