"""Write the four phases of silicon of the study, cells of 8 atoms; `campaign.yaml` relaxes them.

Lattice parameters: McMahon and Nelmes, Phys. Rev. B 47, 8337 (1993), rounded.

    python benchmarks/curves/silicon/make_seeds.py
"""

from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.io import write

HERE = Path(__file__).parent


def main() -> None:
    beta_tin = Atoms(
        "Si4",
        scaled_positions=[(0, 0, 0), (0.5, 0, 0.25), (0.5, 0.5, 0.5), (0, 0.5, 0.75)],
        cell=[4.69, 4.69, 2.58],
        pbc=True,
    )
    # Space group Imma, atoms at (0, 1/4, z) and its images.
    z = 0.19
    imma = Atoms(
        "Si4",
        scaled_positions=[
            (0, 0.25, z),
            (0, 0.75, 1 - z),
            (0.5, 0.75, 0.5 + z),
            (0.5, 0.25, 0.5 - z),
        ],
        cell=[4.74, 4.50, 2.55],
        pbc=True,
    )
    hexagonal = Atoms("Si", cell=[2.55, 2.55, 2.39, 90, 90, 120], pbc=True)
    seeds = {
        "diamond": bulk("Si", "diamond", a=5.43, cubic=True),
        "beta-tin": beta_tin.repeat((1, 1, 2)),
        "Imma": imma.repeat((1, 1, 2)),
        "simple-hexagonal": hexagonal.repeat((2, 2, 2)),
    }
    for phase, atoms in seeds.items():
        write(HERE / f"{phase}.xyz", atoms)


if __name__ == "__main__":
    main()
