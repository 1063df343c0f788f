"""Errors of predictions against labels: per phase, per kind, and in total.

Energies are compared per atom. Force and stress errors are over single components: all 3 N force
components of a group together (so that large cells count more), and the 6 independent stress
components. For the centred energy errors the mean signed error of each composition is subtracted
first: what is left does not depend on the zero of energy, which differs between levels of theory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove import provenance
from entrove.errors import StructureError
from entrove.structures import content_hash

ALL = "all"
MILLI = 1000.0


@dataclass(frozen=True)
class ErrorRow:
    """Errors on one group of structures.

    Attributes:
        phase, kind: What the structures of the group have in common; `ALL` where they may differ.
        structures, atoms: Number of structures, and of atoms in all of them.
        energy_mae_meV_per_atom, energy_rmse_meV_per_atom: Mean absolute and root-mean-square error
            of the energy per atom.
        energy_centred_mae_meV_per_atom, energy_centred_rmse_meV_per_atom: The same after
            `centre_by_composition`.
        force_mae_meV_per_A, force_rmse_meV_per_A: Errors of force components.
        stress_mae_meV_per_A3, stress_rmse_meV_per_A3: Errors of stress components (1 meV/A^3 =
            0.160 GPa); NaN when no structure of the group is periodic along all three directions.
    """

    phase: str
    kind: str
    structures: int
    atoms: int
    energy_mae_meV_per_atom: float
    energy_rmse_meV_per_atom: float
    energy_centred_mae_meV_per_atom: float
    energy_centred_rmse_meV_per_atom: float
    force_mae_meV_per_A: float
    force_rmse_meV_per_A: float
    stress_mae_meV_per_A3: float
    stress_rmse_meV_per_A3: float


@dataclass(frozen=True)
class ErrorTable:
    """Errors in rows: the total first, then each phase, each kind, and each pair that occurs."""

    rows: tuple[ErrorRow, ...]

    @property
    def total(self) -> ErrorRow:
        """The row over all structures."""
        return self.row(ALL, ALL)

    def row(self, phase: str, kind: str) -> ErrorRow:
        """Return the row of a phase and kind; raises `KeyError` when there is none."""
        for row in self.rows:
            if (row.phase, row.kind) == (phase, kind):
                return row
        raise KeyError(f"no errors for phase {phase!r} and kind {kind!r}")


@dataclass(frozen=True)
class _Differences:
    """Differences (predicted minus reference) of each structure."""

    energy: np.ndarray  # (structures,), eV/atom
    centred: np.ndarray  # (structures,), eV/atom
    forces: list[np.ndarray]  # each (atoms, 3), eV/A
    stress: list[np.ndarray]  # each (6,) or, not periodic, (0,), eV/A^3


def errors_by_kind(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> ErrorTable:
    """Compare predictions with labels.

    Args:
        reference: Labelled structures with energy (eV), forces (eV/A) and stress (eV/A^3; not
            needed for those that are not periodic along all three directions).
            `info["entrove_phase"]` and `info["entrove_kind"]` name phase and kind; MD is a kind
            of its own at each `info["entrove_temperature_K"]`.
        predicted: The same structures in the same order, with predicted results.

    Returns the errors of each group of structures.

    Raises `StructureError` when the lists differ in length or order, or are empty.
    """
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
    differences = _differences(reference, predicted)
    phases = np.array([str(atoms.info.get(provenance.PHASE, "unknown")) for atoms in reference])
    kinds = np.array([_kind(atoms) for atoms in reference])
    groups = [(ALL, ALL)]
    groups += [(phase, ALL) for phase in _in_order(phases)]
    groups += [(ALL, kind) for kind in _in_order(kinds)]
    groups += [(phase, kind) for phase in _in_order(phases) for kind in _in_order(kinds)]
    rows = []
    for phase, kind in groups:
        chosen = np.flatnonzero(
            ((phases == phase) | (phase == ALL)) & ((kinds == kind) | (kind == ALL))
        )
        if len(chosen):
            rows.append(_row(phase, kind, chosen, differences))
    return ErrorTable(tuple(rows))


def _kind(atoms: Atoms) -> str:
    kind = str(atoms.info.get(provenance.KIND, "unknown"))
    temperature = atoms.info.get(provenance.TEMPERATURE)
    return f"{kind}_{float(temperature):g}_K" if kind == "md" and temperature else kind


def _differences(reference: Sequence[Atoms], predicted: Sequence[Atoms]) -> _Differences:
    energy, forces, stress = [], [], []
    for label, prediction in zip(reference, predicted, strict=True):
        energy.append(
            (prediction.get_potential_energy() - label.get_potential_energy()) / len(label)
        )
        forces.append(
            prediction.get_forces(apply_constraint=False)
            - label.get_forces(apply_constraint=False)
        )
        if label.pbc.all():
            stress.append(prediction.get_stress() - label.get_stress())
        else:
            stress.append(np.zeros(0))
    return _Differences(
        np.array(energy), centre_by_composition(reference, np.array(energy)), forces, stress
    )


def centre_by_composition(structures: Sequence[Atoms], errors: np.ndarray) -> np.ndarray:
    """Subtract from each energy error the mean over all structures of the same composition.

    Args:
        structures: Structures, from which the compositions are taken (reduced formulas).
        errors: Signed errors per atom in any unit, shape (structures,).

    Returns the centred errors, shape (structures,), in the same unit.
    """
    centred = np.array(errors, dtype=float)
    formulas = np.array([atoms.symbols.formula.reduce()[0].format("hill") for atoms in structures])
    for formula in np.unique(formulas):
        centred[formulas == formula] -= centred[formulas == formula].mean()
    return centred


def _row(phase: str, kind: str, chosen: np.ndarray, differences: _Differences) -> ErrorRow:
    forces = np.concatenate([differences.forces[i].ravel() for i in chosen])
    stress = np.concatenate([differences.stress[i] for i in chosen])
    energy_mae, energy_rmse = _mae_and_rmse(differences.energy[chosen])
    centred_mae, centred_rmse = _mae_and_rmse(differences.centred[chosen])
    force_mae, force_rmse = _mae_and_rmse(forces)
    stress_mae, stress_rmse = _mae_and_rmse(stress)
    return ErrorRow(
        phase=phase,
        kind=kind,
        structures=len(chosen),
        atoms=len(forces) // 3,
        energy_mae_meV_per_atom=energy_mae,
        energy_rmse_meV_per_atom=energy_rmse,
        energy_centred_mae_meV_per_atom=centred_mae,
        energy_centred_rmse_meV_per_atom=centred_rmse,
        force_mae_meV_per_A=force_mae,
        force_rmse_meV_per_A=force_rmse,
        stress_mae_meV_per_A3=stress_mae,
        stress_rmse_meV_per_A3=stress_rmse,
    )


def _mae_and_rmse(errors: np.ndarray) -> tuple[float, float]:
    """Mean absolute and root-mean-square error in thousandths of the unit; NaN without errors."""
    if errors.size == 0:
        return float("nan"), float("nan")
    return MILLI * float(np.abs(errors).mean()), MILLI * float(np.sqrt((errors**2).mean()))


def _in_order(values: np.ndarray) -> list[str]:
    """Return the distinct values in the order in which they first occur."""
    return list(dict.fromkeys(values.tolist()))
