"""Read libfp's Gaussian widths off its output: the default table of `entrove.fingerprints.radii`.

Two equal atoms at a distance d in a large box have the overlap matrix [[1, f o], [f o, f^2]] with
o = exp(-d^2 / 4 s^2); the product of its eigenvalues is f^2 (1 - o^2), which gives the width s.
Run it where libfp 4.0.1 is installed; it prints atomic number and width in Angstrom.
"""

import libfp
import numpy as np

DISTANCE_A = 2.0
CUTOFF_A = 6.0


def recover_width(number: int) -> float:
    """Width of one element in Angstrom."""
    cell = (30 * np.eye(3), np.array([[0, 0, 0], [DISTANCE_A, 0, 0]]), [1, 1], [number])
    eigenvalues = np.sort(libfp.get_lfp(cell, cutoff=CUTOFF_A, log=False, natx=10)[0])[-2:]
    damping = (1 - (DISTANCE_A / CUTOFF_A) ** 2) ** 2
    overlap = np.sqrt(1 - eigenvalues.prod() / damping**2)
    return float(np.sqrt(-(DISTANCE_A**2) / (4 * np.log(overlap))))


if __name__ == "__main__":
    for atomic_number in range(1, 113):
        print(atomic_number, round(recover_width(atomic_number), 6))
