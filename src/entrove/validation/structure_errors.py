"""Errors of predictions, structure by structure: rows and intervals are made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove import provenance
from entrove.errors import StructureError
from entrove.structures import content_hash, forces_of, has_stress, stress_of
from entrove.validation.site_symmetry import counted_components

MILLI = 1000.0


@dataclass(frozen=True)
class StructureErrors:
    """Errors of one structure, predicted minus labelled.

    Attributes:
        phase, kind: Where it comes from; MD is a kind of its own at each temperature.
        trajectory: Structures with equal names are not independent; see
            `entrove.provenance.trajectory_of`. A structure that is not from MD has its own.
        atoms: Number of atoms.
        energy_meV_per_atom: Signed error of the energy per atom.
        energy_centred_meV_per_atom: The same after `centre_by_composition`.
        force_sum_meV_per_A, force_squares: Sum of the absolute values and of the squares of the
            errors of all force components that are counted.
        force_components: Their number.
        force_components_by_symmetry: Number of components left out, which vanish by symmetry.
        stress_sum_meV_per_A3, stress_squares: As for forces, of the stress components.
        stress_components: Their number: 6, or 0 where the label has no stress, or the model
            computes none.
    """

    phase: str
    kind: str
    trajectory: str
    atoms: int
    energy_meV_per_atom: float
    energy_centred_meV_per_atom: float
    force_sum_meV_per_A: float
    force_squares: float
    force_components: int
    force_components_by_symmetry: int
    stress_sum_meV_per_A3: float
    stress_squares: float
    stress_components: int


def measure_structures(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    reference_shifts_eV: Mapping[str, float] | None = None,
) -> list[StructureErrors]:
    """Compare predictions with labels, structure by structure; see `errors_by_kind`."""
    _require_pairs(reference, predicted)
    shifts = reference_shifts_eV or {}
    energy = MILLI * np.array(
        [
            (
                prediction.get_potential_energy()
                + sum(shifts.get(symbol, 0.0) for symbol in label.symbols)
                - label.get_potential_energy()
            )
            / len(label)
            for label, prediction in zip(reference, predicted, strict=True)
        ]
    )
    centred = centre_by_composition(reference, energy)
    return [
        _measure(label, prediction, float(energy[index]), float(centred[index]))
        for index, (label, prediction) in enumerate(zip(reference, predicted, strict=True))
    ]


def _require_pairs(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> None:
    if len(reference) != len(predicted) or not reference:
        raise StructureError(
            f"{len(reference)} labels and {len(predicted)} predictions; give one prediction for "
            "each label, and at least one label"
        )
    for index, (label, prediction) in enumerate(zip(reference, predicted, strict=True)):
        if content_hash(label) != content_hash(prediction):
            raise StructureError(
                f"structure {index}: label and prediction are not of the same structure; give "
                "both lists in the same order"
            )


def _measure(label: Atoms, prediction: Atoms, energy: float, centred: float) -> StructureErrors:
    counted = counted_components(label)
    forces = np.abs(MILLI * (forces_of(prediction) - forces_of(label)))[counted]
    stress = np.zeros(0)
    if has_stress(label) and has_stress(prediction):
        stress = np.abs(MILLI * (stress_of(prediction) - stress_of(label)))
    return StructureErrors(
        phase=str(label.info.get(provenance.PHASE, "unknown")),
        kind=kind_of(label),
        trajectory=provenance.trajectory_of(label) or content_hash(label),
        atoms=len(label),
        energy_meV_per_atom=energy,
        energy_centred_meV_per_atom=centred,
        force_sum_meV_per_A=float(forces.sum()),
        force_squares=float((forces**2).sum()),
        force_components=forces.size,
        force_components_by_symmetry=int((~counted).sum()),
        stress_sum_meV_per_A3=float(stress.sum()),
        stress_squares=float((stress**2).sum()),
        stress_components=stress.size,
    )


def kind_of(atoms: Atoms) -> str:
    """Return the kind of a structure, such as "strain", "shear" or "md_300_K"."""
    kind = str(atoms.info.get(provenance.KIND, "unknown"))
    temperature = atoms.info.get(provenance.TEMPERATURE)
    return f"{kind}_{float(temperature):g}_K" if kind == "md" and temperature else kind


def compositions(structures: Sequence[Atoms]) -> list[str]:
    """The reduced formula of each structure; energies of equal ones differ by no zero."""
    return [atoms.symbols.formula.reduce()[0].format("hill") for atoms in structures]


def centre_by_composition(structures: Sequence[Atoms], errors: np.ndarray) -> np.ndarray:
    """Subtract from each energy error the mean over all structures of the same composition.

    Args:
        structures: Structures, from which the compositions are taken (reduced formulas).
        errors: Signed errors per atom in any unit, shape (structures,).

    Returns the centred errors, shape (structures,), in the same unit. The only structure of a
    composition has none, whatever its error: a centred error says nothing about a model that was
    tuned to the labels' own zero of energy.
    """
    centred = np.array(errors, dtype=float)
    formulas = np.array(compositions(structures))
    for formula in np.unique(formulas):
        centred[formulas == formula] -= centred[formulas == formula].mean()
    return centred
