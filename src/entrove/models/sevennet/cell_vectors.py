"""The order of the cell vectors of layers and wires, which SevenNet's own code depends on.

Its graph of one structure replaces the k-th cell vector, where it is not periodic, by a long one
along the k-th Cartesian axis. Where such a vector lies in the plane of a layer or along a wire,
building the graph fails or loses neighbours without an error.
"""

import itertools

import numpy as np
from ase import Atoms

LEAST_VOLUME = 0.1
"""The order stays with this fraction of the largest volume; a slab was right down to 2e-4."""


def reorder_cell_vectors(atoms: Atoms) -> Atoms:
    """Reorder the cell vectors of a layer or wire so that SevenNet's long ones complete them.

    With the periodic vectors P (rows) at places K, SevenNet adds the axes of the other places; all
    together span a volume proportional to |det P_K|, of the columns K of P. The squares of these
    determinants sum to that of the area or length of P (Cauchy-Binet), and the largest of the
    three is at least 3^-1/2 of it: one order always serves. Atoms and neighbours stay the same.

    Returns `atoms` itself where its order serves, as that of all crystals and molecules does, and
    a copy without results otherwise.
    """
    periodic = [axis for axis in range(3) if atoms.pbc[axis]]
    if len(periodic) in (0, 3):
        return atoms
    choices = list(itertools.combinations(range(3), len(periodic)))
    vectors = atoms.cell.array[periodic]
    volumes = [abs(np.linalg.det(vectors[:, places])) for places in choices]
    if volumes[choices.index(tuple(periodic))] >= LEAST_VOLUME * max(volumes):
        return atoms
    places = choices[int(np.argmax(volumes))]
    order = np.empty(3, dtype=int)
    order[list(places)] = periodic
    order[np.setdiff1d(range(3), places)] = np.flatnonzero(~atoms.pbc)
    reordered = atoms.copy()
    reordered.set_cell(atoms.cell.array[order])
    reordered.pbc = atoms.pbc[order]
    return reordered
