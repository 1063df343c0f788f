"""Labels from elsewhere, computed with the same settings: extended XYZ or an ASE database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from entrove import provenance
from entrove.errors import LabelError
from entrove.labelling.attempt import AttemptResult
from entrove.labelling.labels import Label, Outcome
from entrove.labelling.level_of_theory import LevelOfTheory
from entrove.labelling.sanity import SanityLimits, find_implausible_value
from entrove.labelling.store.cache import LabelCache
from entrove.structures import content_hash, read_structures


@dataclass(frozen=True)
class ImportReport:
    """How many labels were stored, and how many were there already.

    `refused` has the index in the file and the reason of each structure that was left out.
    """

    stored: int
    known: int
    refused: tuple[tuple[int, str], ...]


def import_labels(
    path: str | Path, level: LevelOfTheory, cache: LabelCache, limits: SanityLimits | None = None
) -> ImportReport:
    """Put the labelled structures of a file into the cache, as labels of this level of theory.

    Args:
        path: A file in any format that ASE reads, with energies (eV), forces (eV/A) and stress
            (eV/A^3). The energy that counts is `free_energy` where the file has one: it is what
            forces are the derivative of.
        level: The level of theory. That the labels were computed at it is the caller's
            responsibility.
        cache: Where the labels are stored.
        limits: What is implausible; by default the limits of a configuration that sets none.

    Returns how many labels are new and how many were known. Structures without energy or forces,
    implausible ones, and those whose own `info["entrove_level_of_theory"]` names another level are
    refused one by one.

    Raises `LabelError` when the file holds no usable label at all.
    """
    structures = read_structures(path)
    stored, known, refused = 0, 0, []
    for index, atoms in enumerate(structures):
        structure_hash = content_hash(atoms)
        present = cache.get_by_hash(structure_hash, atoms, level)
        if present is not None and present.converged:
            known += 1
            continue
        result, problem = _read_label(atoms, level)
        problem = problem or find_implausible_value(result, len(atoms), limits or SanityLimits())
        if problem:
            refused.append((index, problem))
            continue
        cache.put(atoms, _to_label(structure_hash, level, result, Path(path), index), level)
        stored += 1
    if not stored and not known:
        raise LabelError(
            f"{path}: none of {len(structures)} structures has a usable label (first: "
            f"{refused[0][1]}); the file needs energy (eV) and forces (eV/A), and stress (eV/A^3) "
            "where there is a cell"
        )
    return ImportReport(stored, known, tuple(refused))


def _read_label(atoms: Atoms, level: LevelOfTheory) -> tuple[AttemptResult, str]:
    results = getattr(atoms.calc, "results", {})
    energy = results.get("free_energy", results.get("energy"))
    forces, stress = results.get("forces"), results.get("stress")
    result = AttemptResult(
        outcome=Outcome.CONVERGED,
        energy_eV=None if energy is None else float(energy),
        forces_eV_per_A=None if forces is None else np.asarray(forces, dtype=float).tolist(),
        stress_eV_per_A3=None if stress is None else _full_stress(stress),
    )
    own_level = str(atoms.info.get(provenance.LEVEL_OF_THEORY, level.hash))
    if own_level != level.hash:
        return result, f"its own level of theory is {own_level}, and this one is {level.hash}"
    missing = [name for name, value in (("energy", energy), ("forces", forces)) if value is None]
    if stress is None and atoms.pbc.all():
        missing.append("stress")
    return result, f"it has no {missing[0]}" if missing else ""


def _full_stress(stress: np.ndarray) -> list[list[float]]:
    array = np.asarray(stress, dtype=float)
    return (array if array.shape == (3, 3) else voigt_6_to_full_3x3_stress(array)).tolist()


def _to_label(
    structure_hash: str, level: LevelOfTheory, result: AttemptResult, path: Path, index: int
) -> Label:
    return Label(
        structure_hash=structure_hash,
        level_of_theory=level.hash,
        outcome=result.outcome,
        folder=f"{path.absolute()}#{index}",
        energy_eV=result.energy_eV,
        forces_eV_per_A=np.array(result.forces_eV_per_A, dtype=float),
        stress_eV_per_A3=None
        if result.stress_eV_per_A3 is None
        else np.array(result.stress_eV_per_A3, dtype=float),
        attempts=0,
        engine=level.engine,
        engine_version=f"imported from {path.name}",
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
