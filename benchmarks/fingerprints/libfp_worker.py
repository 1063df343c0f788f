"""Times libfp in its own environment: a line with a structure file in, one with seconds out.

Each request is `PATH CUTOFF_A LENGTH`; PATH is a npz with cell, positions, numbers and g. The time
is that of values, dense derivatives (`get_dfp`) and their contraction with g.
"""

import sys
import time

import libfp
import numpy as np


def main() -> None:
    for line in sys.stdin:
        path, cutoff_A, length = line.split()
        with np.load(path) as stored:
            cell, positions, numbers, g = (
                stored[key] for key in ("cell", "positions", "numbers", "g")
            )
        species = sorted(set(numbers.tolist()))
        types = [species.index(number) + 1 for number in numbers]
        begin = time.perf_counter()
        _, derivative = libfp.get_dfp(
            (cell, positions, types, species), cutoff=float(cutoff_A), log=False, natx=int(length)
        )
        forces = np.tensordot(g, derivative, axes=([0, 1], [0, 3]))
        seconds = time.perf_counter() - begin
        sys.stdout.write(f"{seconds} {np.abs(forces).max()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
