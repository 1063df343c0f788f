"""What the energies and stresses of a whole file mean, by evidence of the file itself.

Frames that are small strains and displacements of one another tell by their energies in which
unit, sign and order the stress is, see `entrove.formats.conventions`. Where there are none, the
numbers are taken as ASE's and the user is told what that means.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from entrove.errors import LabelError
from entrove.formats import LabelKeys, read_frames
from entrove.formats.conventions import (
    ASE_STRESS,
    ConventionEvidence,
    StressConvention,
    compare_with_energies,
)
from entrove.formats.energy_zero import count_elements, judge_energy_zero
from entrove.labelling.consistency import (
    compare_forces_with_energies,
    energy_with_forces,
    is_crystal,
    pairs_of,
    results_of,
)
from entrove.units import EV_PER_A3_IN_GPA

_MOST_FRAMES = 400
"""Evidence is looked for among so many frames, in seconds: the convention of a file is one."""
_ZEROS = {
    "total": "total energies",
    "cohesive": "cohesive energies, with free atoms at zero",
    "formation": "formation energies, with the elements at zero",
    "undecided": "measured from a zero that is open",
}


@dataclass(frozen=True)
class FileConventions:
    """What the numbers of a file mean, and what to tell the user, one line each.

    `stress` is the convention of its stresses. `remarks` are those lines of `described` that say
    that numbers are not taken as they are, or could not be tested.
    """

    stress: StressConvention = ASE_STRESS
    described: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def label_of(self, atoms: Atoms) -> dict[str, Any]:
        """Return what counts as the label of a structure of the file.

        That is its `energy` in eV, the one that forces are the derivative of: the free energy
        where there is one; its `forces` in eV/A; and of a crystal its `stress` in eV/A^3, with
        ASE's sign and order, shape (6,). What the file does not have is left out.
        """
        results = results_of(atoms)
        label: dict[str, Any] = {}
        if _has_energy(atoms):
            label["energy"] = energy_with_forces(atoms)
        if "forces" in results:
            label["forces"] = np.asarray(results["forces"], dtype=float)
        if "stress" in results and is_crystal(atoms):
            given = _six_numbers(results["stress"])
            if self.stress != ASE_STRESS:
                given = self.stress.to_ase(given[None], np.array([atoms.get_volume()]))[0]
            label["stress"] = given
        return label


def judge_conventions(path: str | Path, keys: LabelKeys | None = None) -> FileConventions:
    """Find out in which unit, sign and order the stresses of a file are.

    Args:
        path: The file.
        keys: Names of the labels in the file, where they are not the usual ones.

    Returns the convention that the energies of strained cells agree with, or ASE's where there is
    nothing to compare.
    Raises `LabelError` when the stresses contradict the energies and no convention explains them,
    or when forces and energies contradict each other.
    """
    frames = [
        frame.atoms
        for frame in islice(read_frames(path, keys), _MOST_FRAMES)
        if frame.atoms is not None and frame.converged is not False
    ]
    frames = [atoms for atoms in frames if _has_energy_and_forces(atoms)]
    zero, smearing = _describe_energies(frames)
    works = compare_forces_with_energies(frames)
    if works is not None and works.cause:
        raise LabelError(f"{path}: {works.cause}: correct the file")
    # Pairs count frames with a cell only, as the stresses do.
    crystals = [atoms for atoms in frames if is_crystal(atoms) and "stress" in results_of(atoms)]
    if not crystals:
        return FileConventions(described=(*zero, *smearing), remarks=smearing)
    given = np.array([_six_numbers(results_of(atoms)["stress"]) for atoms in crystals])
    volumes = np.array([atoms.get_volume() for atoms in crystals])
    evidence = compare_with_energies(given, volumes, pairs_of(crystals))
    largest = float(np.abs(given).max())
    if evidence is None:
        untested = (
            "stress taken as eV/A^3, tension positive; no two structures of the file are "
            "close enough to test that by their energies. Its largest component is "
            f"{largest:.3g} eV/A^3 = {largest * EV_PER_A3_IN_GPA:.3g} GPa; is that right?"
        )
        remarks = (*smearing, untested)
        return FileConventions(described=(*zero, *remarks), remarks=remarks)
    if not evidence.contradicts_ase:
        agreement = _describe_agreement(evidence)
        return FileConventions(described=(*zero, *smearing, agreement), remarks=smearing)
    if not evidence.decided:
        raise LabelError(
            f"{path}: the stress contradicts the energies of {evidence.count} pairs of strained "
            f"cells when it is taken as {ASE_STRESS} (mismatch {evidence.as_given:.2f}); it may "
            f"be {evidence.best} (mismatch {evidence.residual:.2f}), but "
            f"{len(evidence.rivals)} other conventions explain it as well; convert it to eV/A^3 "
            "in the file, and import that"
        )
    remarks = (
        *smearing,
        f"{evidence.best}: told by the energies of {evidence.count} pairs of strained cells "
        f"(mismatch {evidence.residual:.2f}; {evidence.as_given:.2f} if taken as eV/A^3, "
        "tension positive); converted",
    )
    return FileConventions(evidence.best, (*zero, *remarks), remarks)


def _describe_energies(frames: list[Atoms]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the energies are measured from, and which of two a label takes, in words."""
    crystals = [atoms for atoms in frames if len(atoms) > 1 or not atoms.pbc.any()]
    if not crystals:
        return (), ()
    counts, numbers = count_elements(crystals)
    results = [results_of(atoms) for atoms in crystals]
    zero = judge_energy_zero(
        np.array([energy_with_forces(atoms) for atoms in crystals]),
        counts,
        numbers,
        np.array([one.get("free_energy", np.nan) - one.get("energy", np.nan) for one in results]),
    )
    said = f"energies are {_ZEROS[zero.kind]}: {zero.evidence}"
    if zero.kind in ("cohesive", "formation"):
        said += "; they do not fit labels of an engine that gives total energies, as DFT codes do"
    smearing = (f"{zero.smearing}; the free energies are taken",) if zero.smearing else ()
    return (said,), (*smearing, *([zero.doubt] if zero.doubt else ()))


def _describe_agreement(evidence: ConventionEvidence) -> str:
    tested = [name for name in ("unit", "sign", "order") if evidence.decides(name)]
    if not evidence.explained or not tested:
        return (
            f"stress taken as eV/A^3, tension positive; the energies of {evidence.count} pairs of "
            "strained cells do not tell its convention"
        )
    return (
        f"stress in eV/A^3, tension positive; {' and '.join(tested)} agree with the energies of "
        f"{evidence.count} pairs of strained cells"
    )


def _has_energy_and_forces(atoms: Atoms) -> bool:
    return _has_energy(atoms) and "forces" in results_of(atoms)


def _has_energy(atoms: Atoms) -> bool:
    return bool({"energy", "free_energy"} & results_of(atoms).keys())


def _six_numbers(stress: np.ndarray) -> Float[np.ndarray, "6"]:
    array = np.asarray(stress, dtype=float)
    return array.ravel()[[0, 4, 8, 5, 2, 1]] if array.size == 9 else array
