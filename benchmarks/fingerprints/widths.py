"""How far apart the widths of two elements must be for fingerprints to tell their orderings apart.

Hypothesis: at the ratio that `entrove.fingerprints.radii.LEAST_RATIO` asks for, orderings of an
alloy differ by several times the distance of nearly equal structures
(`entrove.fingerprints.nearness.NEAR`), and at 1 by nothing.

Cells of 16 atoms of bcc A8B8, widths 1.25 A times and over the root of the ratio. Distances of
signatures are relative to the spread of 24 cells with displacements of 0.1 A and strains of 2 %
(`thermal`): of 12 orderings without displacements, which symmetry makes equal in part, and of 12
orderings with the same ones. Writes widths_results.md beside this file; a minute.
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from entrove import fingerprint
from entrove.fingerprints.nearness import NEAR, distances, spread_of
from entrove.fingerprints.radii import LEAST_RATIO

RATIOS = (1.0, 1.002, 1.005, 1.01, LEAST_RATIO, 1.05, 1.1)
ORDERINGS, THERMAL = 12, 24


def alloy(places: np.ndarray, amplitude_A: float, seed: int) -> Atoms:
    """Return a cell with vanadium at these places and random displacements and strain."""
    atoms = bulk("Fe", "bcc", a=2.9, cubic=True).repeat((2, 2, 2))
    atoms.symbols[places] = "V"
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(scale=amplitude_A, size=(len(atoms), 3))
    strain = rng.normal(scale=amplitude_A / 5, size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def signatures(structures: list[Atoms], ratio: float) -> np.ndarray:
    """Sorted fingerprints as of `entrove.fingerprints.nearness`, for given widths."""
    radii_A = {"V": 1.25 / ratio**0.5, "Fe": 1.25 * ratio**0.5}
    values = fingerprint(structures, length="auto", radii_A=radii_A).values
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    of_species = []
    for number in np.unique(numbers):
        rows = values[numbers == number]
        each = rows.reshape(len(structures), -1, rows.shape[1]) / spread_of(rows)
        of_species.append(np.sort(each, axis=1).reshape(len(structures), -1))
    return np.concatenate(of_species, axis=1)


def pair_distances(rows: np.ndarray) -> np.ndarray:
    """Distances of all pairs."""
    return np.concatenate([distances(rows[k], rows[k + 1 :]) for k in range(len(rows) - 1)])


def main() -> None:
    rng = np.random.default_rng(0)
    orderings = [rng.choice(16, 8, replace=False) for _ in range(ORDERINGS)]
    thermal = [alloy(orderings[k % ORDERINGS], 0.1, 100 + k) for k in range(THERMAL)]
    lines = [
        "# Widths and orderings",
        "",
        f"`benchmarks/fingerprints/widths.py`; nearly equal: below {NEAR}. Median distance of two",
        "orderings of an alloy of 16 atoms, relative to the spread of thermal cells.",
        "",
        "| ratio of widths | perfect lattice | with the same displacements (least of 66 pairs) |",
        "|---|---|---|",
    ]
    for ratio in RATIOS:
        perfect, displaced = (
            pair_distances(
                signatures([*thermal, *(alloy(o, amplitude, 5) for o in orderings)], ratio)[
                    THERMAL:
                ]
            )
            for amplitude in (0.0, 0.1)
        )
        lines.append(
            f"| {ratio:g} | {np.median(perfect):.3f} | "
            f"{np.median(displaced):.3f} ({displaced.min():.3f}) |"
        )
    Path(__file__).with_name("widths_results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
