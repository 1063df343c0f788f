"""Write three phases of carbon of the study, cells of 8 atoms; `campaign.yaml` relaxes them.

python benchmarks/curves/carbon/make_seeds.py
"""

from math import sqrt
from pathlib import Path

from ase import Atoms
from ase.build import bulk
from ase.io import write

HERE = Path(__file__).parent


def main() -> None:
    diamond = bulk("C", "diamond", a=3.567, cubic=True)
    lonsdaleite = Atoms(
        "C4",
        scaled_positions=[
            (1 / 3, 2 / 3, 1 / 16),
            (2 / 3, 1 / 3, 9 / 16),
            (1 / 3, 2 / 3, 7 / 16),
            (2 / 3, 1 / 3, 15 / 16),
        ],
        cell=[2.52, 2.52, 2.52 * sqrt(8 / 3), 90, 90, 120],
        pbc=True,
    )
    graphite = Atoms(
        "C4",
        scaled_positions=[
            (0, 0, 0.25),
            (1 / 3, 2 / 3, 0.25),
            (0, 0, 0.75),
            (2 / 3, 1 / 3, 0.75),
        ],
        cell=[2.46, 2.46, 6.71, 90, 90, 120],
        pbc=True,
    )
    seeds = {
        "diamond": diamond,
        "lonsdaleite": lonsdaleite.repeat((2, 1, 1)),
        "graphite": graphite.repeat((2, 1, 1)),
    }
    for phase, atoms in seeds.items():
        write(HERE / f"{phase}.xyz", atoms)


if __name__ == "__main__":
    main()
