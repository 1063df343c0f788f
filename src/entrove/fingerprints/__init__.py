"""Gaussian overlap matrix fingerprints: what surrounds an atom, as a row of eigenvalues.

Read in this order:

    config.py           settings: cutoff, length, orbitals, widths, precision
    from_structures.py  `fingerprint`: a list of Atoms in, arrays and their gradients out
    gom.py              `GaussianOverlap`: the feature map of a batch, and its pull-back
    overlaps.py         overlap matrices of spheres, and the contraction of their derivative
    spectrum.py         eigenvalues of many small matrices, and their pull-back
    neighbours.py       all neighbours within a cutoff, for a whole batch
    linked_cells.py     the same for many atoms
    radii.py            Gaussian widths by element, and widths that tell elements apart
    lengths.py          the length and the widths for a set of structures
    batching.py         ASE Atoms to batches
    nearness.py         structures that are nearly equal

What every feature map offers is in `entrove.features`.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
