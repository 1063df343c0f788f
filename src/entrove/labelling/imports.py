"""Labels that were computed elsewhere: extended XYZ or an ASE database, with a declared level of theory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from entrove.errors import LabelError
from entrove.labelling.attempt import AttemptEnd
from entrove.labelling.cache import LabelCache
from entrove.labelling.label import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.sanity import SanityLimits, find_absurdity
from entrove.structures import content_hash, read_structures


@dataclass(frozen=True)
class ImportReport:
    """How many labels were stored, how many were there already, and what was refused and why."""

    stored: int
    known: int
    refused: tuple[tuple[int, str], ...]


def import_labels(
    path: str | Path, level: LevelOfTheory, cache: LabelCache, limits: SanityLimits | None = None
) -> ImportReport:
    """Put the labelled structures of a file into the cache, at the level of theory that the user declares.

    The energy that counts is `free_energy` where the file has one: it is what forces are the
    derivative of. Structures without energy or forces, and absurd ones, are refused one by one.
    Raises `LabelError` when the file holds no label at all.
    """
    structures = read_structures(path)
    stored, known, refused = 0, 0, []
    for index, atoms in enumerate(structures):
        structure_hash = content_hash(atoms)
        if cache.get_by_hash(structure_hash, atoms, level) is not None:
            known += 1
            continue
        end, problem = _read_label(atoms)
        problem = problem or find_absurdity(end, len(atoms), limits or SanityLimits())
        if problem:
            refused.append((index, problem))
            continue
        cache.put(atoms, _to_label(structure_hash, level, end, f"{Path(path).name}#{index}"), level)
        stored += 1
    if not stored and not known:
        raise LabelError(
            f"{path}: none of {len(structures)} structures has a usable label (first: {refused[0][1]}); "
            "the file needs energy (eV) and forces (eV/A), and stress (eV/A^3) where there is a cell"
        )
    return ImportReport(stored, known, tuple(refused))


def _read_label(atoms: Atoms) -> tuple[AttemptEnd, str]:
    results = getattr(atoms.calc, "results", {})
    energy = results.get("free_energy", results.get("energy"))
    forces, stress = results.get("forces"), results.get("stress")
    end = AttemptEnd(
        outcome=Outcome.CONVERGED,
        energy_eV=None if energy is None else float(energy),
        forces_eV_per_A=None if forces is None else np.asarray(forces, dtype=float).tolist(),
        stress_eV_per_A3=None if stress is None else _full_stress(stress),
    )
    missing = "energy" if energy is None else "forces" if forces is None else ""
    return end, f"it has no {missing}" if missing else ""


def _full_stress(stress: np.ndarray) -> list[list[float]]:
    array = np.asarray(stress, dtype=float)
    return (array if array.shape == (3, 3) else voigt_6_to_full_3x3_stress(array)).tolist()


def _to_label(structure_hash: str, level: LevelOfTheory, end: AttemptEnd, origin: str) -> Label:
    return Label(
        structure_hash=structure_hash,
        level_of_theory=level.hash,
        outcome=end.outcome,
        folder=origin,
        energy_eV=end.energy_eV,
        forces_eV_per_A=np.array(end.forces_eV_per_A, dtype=float),
        stress_eV_per_A3=None
        if end.stress_eV_per_A3 is None
        else np.array(end.stress_eV_per_A3, dtype=float),
        attempts=0,
        engine="imported",
    )
