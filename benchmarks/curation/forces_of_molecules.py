"""Small sets of molecules: does the audit call forces wrong, and wrong ones?

Hypothesis: of clean sets of 16 and 24 frames no forces are named, also where the frames are of
five molecules, so that few predict each; and in sets of one molecule most forces of the wrong
sign are named.

    python benchmarks/curation/forces_of_molecules.py

Frames are molecules with random displacements of 0.02 to 0.12 A and labels of EMT. Forces of 6 or
8 frames of each set get the other sign, one at a time. Two minutes.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from results_file import write_result

from entrove.curation import audit

NAMES = ("CH3CH2OH", "C6H6", "CH3COCH3", "CH3CHO", "C2H6")
SIZES = (16, 24)


def labelled(atoms: Atoms, sign: float = 1.0) -> Atoms:
    copy = atoms.copy()
    copy.calc = EMT()
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=sign * forces)
    return copy


def displaced(names: tuple[str, ...], size: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(size):
        atoms = molecule(names[index % len(names)])
        atoms.rattle(rng.uniform(0.02, 0.12), rng=rng)
        frames.append(labelled(atoms))
    return frames


def sets(size: int) -> Iterator[tuple[str, list[Atoms]]]:
    for seed, name in enumerate(NAMES):
        yield name, displaced((name,), size, seed)
    yield "five molecules", displaced(NAMES, size, 9)


def named(frames: list[Atoms], file: Path) -> set[int]:
    write(file, frames, format="extxyz")
    found = [each for each in audit(file).findings if each.kind == "force_outlier"]
    return {frame.index for each in found for frame in each.frames}


def main() -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "set.xyz"
        for size in SIZES:
            for name, frames in sets(size):
                places = range(0, size, max(1, size // 6))
                found = others = 0
                for place in places:
                    wrong = list(frames)
                    wrong[place] = labelled(frames[place], -1.0)
                    seen = named(wrong, file)
                    found += place in seen
                    others += len(seen - {place})
                rows[f"{name}, {size}"] = {
                    "named_when_clean": len(named(frames, file)),
                    "planted": len(places),
                    "found": found,
                    "others_named": others,
                }
                print(name, size, rows[f"{name}, {size}"], flush=True)
    write_result(
        __file__,
        "forces_of_molecules",
        "no forces of clean sets are named, and most of the wrong sign in sets of one molecule",
        rows,
        sizes=SIZES,
    )


if __name__ == "__main__":
    main()
