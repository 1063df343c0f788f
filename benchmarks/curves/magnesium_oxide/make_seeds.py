"""Write the B1 and B2 cells of 8 atoms of the study; `campaign.yaml` relaxes them.

python benchmarks/curves/magnesium_oxide/make_seeds.py
"""

from pathlib import Path

from ase.build import bulk
from ase.io import write

HERE = Path(__file__).parent


def main() -> None:
    write(HERE / "B1.xyz", bulk("MgO", "rocksalt", a=4.25, cubic=True))
    write(HERE / "B2.xyz", bulk("MgO", "cesiumchloride", a=2.65).repeat((2, 2, 1)))


if __name__ == "__main__":
    main()
