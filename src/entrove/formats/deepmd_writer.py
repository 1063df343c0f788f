"""Write systems of DeePMD-kit: one folder for each list of atoms, in sets of limited size."""

from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.errors import StructureError
from entrove.formats.frame import nine_numbers_of

FRAMES_PER_SET = 5000
_RAW_FORMAT = "%.17g"


class DeepmdWriter:
    """Collects frames and writes them set by set, so that they need not fit in memory.

    `folder` is new or empty; `raw` writes text instead of arrays of NumPy. What a system has no
    place for (keys, further arrays, free energies, constraints) is named in `lost`.
    """

    def __init__(self, folder: Path, *, raw: bool) -> None:
        self._folder = folder
        self._raw = raw
        self._systems: dict[Hashable, Path] = {}
        self._waiting: dict[Hashable, list[Atoms]] = defaultdict(list)
        self._sets: dict[Hashable, int] = defaultdict(int)
        self.lost: set[str] = set()

    def add(self, atoms: Atoms) -> None:
        """Take one structure.

        Raises `StructureError` for one that is periodic in one or two directions only.
        """
        periodic = bool(atoms.pbc.all())
        if atoms.pbc.any() and not periodic:
            raise StructureError(
                f"pbc {atoms.pbc.tolist()}: a DeePMD system is periodic in three directions or in "
                "none; set pbc, or choose another format"
            )
        results = dict(getattr(atoms.calc, "results", {}))
        labels = tuple(name for name in ("energy", "forces", "stress") if name in results)
        self.lost |= {*atoms.info, *results} - {"energy", "forces", "stress"}
        self.lost |= set(atoms.arrays) - {"numbers", "positions"}
        self.lost |= {f"constraint {type(each).__name__}" for each in atoms.constraints}
        if not periodic and (atoms.cell.array.any() or "stress" in labels):
            self.lost.add("cell of what is not periodic")
        key = (tuple(atoms.numbers.tolist()), periodic, labels)
        self._waiting[key].append(atoms)
        if len(self._waiting[key]) >= FRAMES_PER_SET:
            self._flush(key)

    def close(self) -> None:
        """Write what is left."""
        for key in list(self._waiting):
            self._flush(key)

    def _flush(self, key: Hashable) -> None:
        structures = self._waiting.pop(key)
        if key not in self._systems:
            self._systems[key] = self._new_system(structures[0])
        data = _data_of(structures)
        folder = self._systems[key]
        if self._raw:
            for name, rows in data.items():
                with (folder / f"{name}.raw").open("a") as handle:
                    np.savetxt(handle, rows, fmt=_RAW_FORMAT)
        else:
            part = folder / f"set.{self._sets[key]:03d}"
            part.mkdir()
            for name, rows in data.items():
                np.save(part / f"{name}.npy", rows)
        self._sets[key] += 1

    def _new_system(self, atoms: Atoms) -> Path:
        formula = atoms.get_chemical_formula()
        number = 1 + sum(path.name.split("-")[0] == formula for path in self._systems.values())
        folder = self._folder / (formula if number == 1 else f"{formula}-{number}")
        folder.mkdir(parents=True)
        symbols = sorted(set(atoms.get_chemical_symbols()))
        types = [symbols.index(symbol) for symbol in atoms.get_chemical_symbols()]
        (folder / "type_map.raw").write_text("\n".join(symbols) + "\n", encoding="utf-8")
        np.savetxt(folder / "type.raw", types, fmt="%d")
        if not atoms.pbc.any():
            (folder / "nopbc").touch()
        return folder


def _data_of(structures: list[Atoms]) -> dict[str, np.ndarray]:
    """Rows of each file, one per frame."""
    periodic = bool(structures[0].pbc.all())
    results = [dict(getattr(atoms.calc, "results", {})) for atoms in structures]
    data = {"coord": np.array([atoms.positions.ravel() for atoms in structures])}
    if periodic:
        data["box"] = np.array([atoms.cell.array.ravel() for atoms in structures])
    if "energy" in results[0]:
        data["energy"] = np.array([[float(result["energy"])] for result in results])
    if "forces" in results[0]:
        data["force"] = np.array([np.ravel(result["forces"]) for result in results])
    if "stress" in results[0] and periodic:
        stresses = np.array([nine_numbers_of(result["stress"]) for result in results])
        volumes_A3 = np.array([[atoms.cell.volume] for atoms in structures])
        data["virial"] = -stresses * volumes_A3
    return data
