"""What energies of a set are measured from, decided by evidence and said.

Total energies count electrons that do not bind, and lie anywhere below -20 eV/atom or, with
pseudopotentials, above; cohesive energies have free atoms as their zero; formation energies have
the elements. Single atoms and frames of one element tell them apart, and so does the size of the
energies. A free energy beside the energy says that the latter is extrapolated to zero smearing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float, Int

from entrove.counts import format_count

DEEPEST_BINDING_EV = -20.0
"""No atom binds by more: energies per atom below this are total energies."""

_NEAR_ZERO_EV = 0.05
_FREE_ATOM_EV = 1e-3
_NO_SMEARING_EV = 1e-6


@dataclass(frozen=True)
class EnergyZero:
    """What the zero of energy is: "total", "cohesive", "formation" or "undecided", and why.

    `smearing` says what free energies say of the energies, `doubt` how many frames have none where
    those of others differ from their energies.
    """

    kind: str
    evidence: str
    smearing: str = ""
    doubt: str = ""


def judge_energy_zero(
    energies_eV: Float[np.ndarray, " frames"],
    counts: Int[np.ndarray, "frames elements"],
    numbers: Sequence[int],
    smearing_eV: Float[np.ndarray, " frames"] | None = None,
) -> EnergyZero:
    """Decide what energies are measured from.

    Args:
        energies_eV: Energies of frames; those that are not finite do not count.
        counts: How many atoms of each element each frame has. A frame of one atom is taken for a
            free atom: give no crystals with one atom per cell.
        numbers: Atomic numbers of the elements, in the order of the columns.
        smearing_eV: Free energy less energy of each frame, not a number where a frame has only
            one of them.

    Returns the kind, what it was decided by, and what free energies say of the energies.
    """
    known = np.isfinite(energies_eV)
    energies, counts = np.asarray(energies_eV)[known], np.asarray(counts)[known]
    smearing = _say_smearing(smearing_eV, known, counts)
    sizes = counts.sum(axis=1)
    bulk = sizes > 1
    if not bulk.any():
        return EnergyZero("undecided", "no frame with an energy has more than one atom", *smearing)
    per_atom = energies[bulk] / sizes[bulk]
    typical = float(np.median(per_atom))
    free = _free_atoms(energies[~bulk], counts[~bulk])
    if free and set(free) == set(np.flatnonzero(counts[bulk].any(axis=0)).tolist()):
        return _by_free_atoms(energies[bulk], counts[bulk], numbers, free, smearing)
    said = f"the median is {typical:.4g} eV/atom"
    if typical < DEEPEST_BINDING_EV:
        return EnergyZero("total", f"{said}, and no atom binds by more than 20 eV", *smearing)
    elements = _lowest_of_elements(energies[bulk], counts[bulk])
    if len(elements) > 1 and max(abs(energy) for energy in elements.values()) < _NEAR_ZERO_EV:
        lowest = _by_symbol(elements, numbers)
        return EnergyZero(
            "formation", f"{said}, and the lowest frames of single elements: {lowest}", *smearing
        )
    if len(elements) == 1 and abs(min(elements.values())) < _NEAR_ZERO_EV and len(per_atom) > 1:
        return EnergyZero("formation", f"{said}, and the lowest frame is at zero", *smearing)
    if typical < -1.0:
        said += (
            "; cohesive energies, or totals that count from pseudo-atoms as those of VASP do: a "
            "single atom in a large cell would tell"
        )
    return EnergyZero("undecided", said, *smearing)


def count_elements(structures: Sequence[Atoms]) -> tuple[np.ndarray, list[int]]:
    """Return how many atoms of each element structures have, and the atomic numbers."""
    numbers = sorted({int(number) for atoms in structures for number in atoms.numbers})
    counts = [[int((atoms.numbers == number).sum()) for number in numbers] for atoms in structures]
    return np.array(counts, dtype=int).reshape(len(structures), len(numbers)), numbers


def _by_free_atoms(
    energies: np.ndarray,
    counts: np.ndarray,
    numbers: Sequence[int],
    free: dict[int, float],
    smearing: tuple[str, str],
) -> EnergyZero:
    said = f"single atoms have {_by_symbol(free, numbers)}"
    references = np.array([free.get(column, 0.0) for column in range(counts.shape[1])])
    binding = float(np.median((energies - counts @ references) / counts.sum(axis=1)))
    if max(abs(energy) for energy in free.values()) < _FREE_ATOM_EV:
        return EnergyZero("cohesive", f"{said}, frames {binding:.4g} eV/atom", *smearing)
    return EnergyZero("total", f"{said}; frames bind by {binding:.4g} eV/atom", *smearing)


def _free_atoms(energies: np.ndarray, counts: np.ndarray) -> dict[int, float]:
    return {int(row.argmax()): float(energy) for energy, row in zip(energies, counts, strict=True)}


def _lowest_of_elements(energies: np.ndarray, counts: np.ndarray) -> dict[int, float]:
    """Lowest energy per atom of the frames of one element, by column."""
    lowest: dict[int, float] = {}
    single = (counts > 0).sum(axis=1) == 1
    for energy, row in zip(energies[single], counts[single], strict=True):
        column = int(row.argmax())
        lowest[column] = min(lowest.get(column, np.inf), float(energy / row.sum()))
    return lowest


def _by_symbol(energies: dict[int, float], numbers: Sequence[int]) -> str:
    return ", ".join(
        f"{chemical_symbols[numbers[column]]} {energy:.4g} eV"
        for column, energy in sorted(energies.items())
    )


def _say_smearing(
    smearing_eV: np.ndarray | None, known: np.ndarray, counts: np.ndarray
) -> tuple[str, str]:
    """What free energies say of the energies, and a doubt where not all frames have one."""
    if smearing_eV is None:
        return "", ""
    per_atom = np.abs(np.asarray(smearing_eV)[known] / np.maximum(counts.sum(axis=1), 1))
    without = int((~np.isfinite(per_atom)).sum())
    per_atom = per_atom[np.isfinite(per_atom)]
    if not len(per_atom):
        return "", ""
    largest = float(per_atom.max())
    if largest < _NO_SMEARING_EV:
        return f"free energies of {len(per_atom)} frames are equal to their energies", ""
    said = (
        f"free energies of {len(per_atom)} frames differ from their energies by up to "
        f"{1000 * largest:.3g} meV/atom: the energies are those of zero smearing, and forces are "
        "derivatives of the free energies"
    )
    if not without:
        return said, ""
    have = "has" if without == 1 else "have"
    return said, (
        f"{format_count(without, 'frame')} {have} no free energy: their energies are taken as "
        "they are, which is another kind of energy unless they are free energies by that name"
    )
