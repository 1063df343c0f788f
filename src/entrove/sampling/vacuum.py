"""Vacuum in a periodic cell: slabs, layers, wires and molecules, and how they are recognised.

A pressure acts on the whole cell and would close the vacuum: a slab of c = 22 A ends as a crystal
of c = 8 A.
"""

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float

VACUUM_A = 6.0
"""Empty space between two planes of atoms that is vacuum, unless atoms are large."""

VACUUM_OVER_BOND = 1.5
"""The same, over the sum of two covalent radii: simple cubic caesium has 6.5 A, 1.3 times it."""

_KINDS = {1: "a slab or layer", 2: "a wire", 3: "a molecule"}


def empty_lengths_A(atoms: Atoms) -> Float[np.ndarray, "3"]:
    """Return the largest empty space across each pair of cell vectors, in A.

    Entry i is measured along the normal of the other two vectors, from one plane of atoms to the
    next, periodic images included.
    """
    heights = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    fractions = np.sort(atoms.get_scaled_positions(wrap=True), axis=0)
    gaps = np.diff(np.vstack([fractions, fractions[:1] + 1.0]), axis=0)
    return gaps.max(axis=0) * heights


def vacuum_axes(atoms: Atoms) -> tuple[bool, bool, bool]:
    """Return along which cell vectors a structure has vacuum; none without a cell.

    Vacuum is more than 6 A of empty space, or 3 times the largest covalent radius of the structure
    where that is more.
    """
    if atoms.cell.rank < 3:
        return False, False, False
    # Every atom has images of its own: two of the largest may face each other in any structure.
    longest_bond_A = 2.0 * covalent_radii[atoms.numbers].max()
    least_A = max(VACUUM_A, VACUUM_OVER_BOND * longest_bond_A)
    first, second, third = (empty_lengths_A(atoms) > least_A).tolist()
    return first, second, third


def describe_vacuum(atoms: Atoms) -> str:
    """Say where a structure has vacuum, and what it therefore is; empty without any.

    >>> from ase.build import fcc111, bulk
    >>> describe_vacuum(fcc111("Cu", (1, 1, 3), vacuum=8.0, periodic=True))
    'a slab or layer: 16.0 A of vacuum along c'
    >>> describe_vacuum(bulk("Cu"))
    ''
    """
    axes = vacuum_axes(atoms)
    if not any(axes):
        return ""
    lengths = [
        (length, name)
        for length, is_empty, name in zip(empty_lengths_A(atoms), axes, "abc", strict=True)
        if is_empty
    ]
    where = ", ".join(f"{length:.1f} A of vacuum along {name}" for length, name in lengths)
    return f"{_KINDS[len(lengths)]}: {where}"


def find_closing(
    phase: str, atoms: Atoms, pressures_GPa: Iterable[float], ensemble: str = "nvt"
) -> tuple[tuple[str, str], str] | None:
    """Return what would close the vacuum of a structure: the key, and the reason with its remedy.

    Args:
        phase: Its name, for the reason.
        atoms: The structure.
        pressures_GPa: Those that it is relaxed at, in GPa.
        ensemble: That of the walkers which start from it, "nvt" or "npt".

    Returns None without vacuum, and where nothing closes it.
    """
    vacuum = describe_vacuum(atoms)
    if not vacuum:
        return None
    where = f"the seed {phase} is {vacuum}"
    if any(pressures_GPa):
        reason = f"{where}, which a pressure would close; give pressures_GPa: [0]"
        return ("regime", "pressures_GPa"), reason
    if ensemble == "npt":
        reason = f"{where}, which a barostat would close; choose 'nvt'"
        return ("sampling", "ensemble"), reason
    return None
