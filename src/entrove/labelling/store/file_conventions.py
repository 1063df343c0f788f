"""What the energies and stresses of a whole file mean, by evidence of the file itself.

Frames that are small strains and displacements of one another tell by their energies in which
unit, sign and order the stress is, see `entrove.formats.conventions`. Where there are none, the
numbers are taken as ASE's and the user is told what that means.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

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
    """The convention of the stresses of a file, and what to tell the user, one line each."""

    stress: StressConvention = ASE_STRESS
    described: tuple[str, ...] = ()

    def to_ase(self, stress: np.ndarray, atoms: Atoms) -> np.ndarray:
        """Return a stress of the file in eV/A^3, with ASE's sign and order, shape (6,)."""
        given = _six_numbers(stress)
        if self.stress == ASE_STRESS:
            return given
        return self.stress.to_ase(given[None], np.array([atoms.get_volume()]))[0]


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
    zero = _describe_energies(frames)
    works = compare_forces_with_energies(frames)
    if works is not None and works.cause:
        raise LabelError(f"{path}: {works.cause}: correct the file")
    # Pairs count frames with a cell only, as the stresses do.
    crystals = [atoms for atoms in frames if is_crystal(atoms) and "stress" in results_of(atoms)]
    if not crystals:
        return FileConventions(described=zero)
    given = np.array([_six_numbers(results_of(atoms)["stress"]) for atoms in crystals])
    volumes = np.array([atoms.get_volume() for atoms in crystals])
    evidence = compare_with_energies(given, volumes, pairs_of(crystals))
    largest = float(np.abs(given).max())
    if evidence is None:
        return FileConventions(
            described=(
                *zero,
                "stress taken as eV/A^3, tension positive; no two structures of the file are "
                "close enough to test that by their energies. Its largest component is "
                f"{largest:.3g} eV/A^3 = {largest * EV_PER_A3_IN_GPA:.3g} GPa; is that right?",
            )
        )
    if not evidence.contradicts_ase:
        return FileConventions(described=(*zero, _describe_agreement(evidence)))
    if not evidence.decided:
        raise LabelError(
            f"{path}: the stress contradicts the energies of {evidence.count} pairs of strained "
            f"cells when it is taken as {ASE_STRESS} (mismatch {evidence.as_given:.2f}); it may "
            f"be {evidence.best} (mismatch {evidence.residual:.2f}), but "
            f"{len(evidence.rivals)} other conventions explain it as well; convert it to eV/A^3 "
            "in the file, and import that"
        )
    return FileConventions(
        evidence.best,
        (
            *zero,
            f"{evidence.best}: told by the energies of {evidence.count} pairs of strained cells "
            f"(mismatch {evidence.residual:.2f}; {evidence.as_given:.2f} if taken as eV/A^3, "
            "tension positive); converted",
        ),
    )


def _describe_energies(frames: list[Atoms]) -> tuple[str, ...]:
    """What the energies are measured from, and which of two a label takes, in words."""
    crystals = [atoms for atoms in frames if len(atoms) > 1 or not atoms.pbc.any()]
    if not crystals:
        return ()
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
        said += "; DFT labels that are computed here have total energies, which these do not fit"
    if not zero.smearing:
        return (said,)
    return said, f"{zero.smearing}; the free energies are taken"


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
    results = results_of(atoms)
    return ("energy" in results or "free_energy" in results) and "forces" in results


def _six_numbers(stress: np.ndarray) -> Float[np.ndarray, "6"]:
    array = np.asarray(stress, dtype=float)
    return array.ravel()[[0, 4, 8, 5, 2, 1]] if array.size == 9 else array
