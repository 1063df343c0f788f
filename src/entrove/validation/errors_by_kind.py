"""Errors of predictions against labels: per phase, per kind, and in total.

Energies are compared per atom. Force and stress errors are over single components: all force
components of a group together (so that large cells count more), without those that vanish by
symmetry, and the 6 independent stress components. For the centred energy errors the mean signed
error of each composition is subtracted first. They compare models with different zeros of energy;
the errors of a tuned model are those that are not centred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove.validation.intervals import Interval, Sums, mean_interval
from entrove.validation.structure_errors import StructureErrors, measure_structures

ALL = "all"


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
        force_mae_meV_per_A, force_rmse_meV_per_A: Errors of force components; NaN when all of them
            vanish by symmetry.
        stress_mae_meV_per_A3, stress_rmse_meV_per_A3: Errors of stress components (1 meV/A^3 =
            0.160 GPa); NaN when no structure of the group is periodic along all three directions.
        trajectories: Number of independent structures and MD trajectories.
        force_components, force_components_by_symmetry: Number of force components that are
            counted, and of those left out because they vanish by symmetry.
        energy_interval_meV_per_atom, force_interval_meV_per_A, stress_interval_meV_per_A3:
            Confidence intervals of the mean absolute errors, see `entrove.validation.intervals`;
            None with fewer than three trajectories.
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
    trajectories: int = 0
    force_components: int = 0
    force_components_by_symmetry: int = 0
    energy_interval_meV_per_atom: Interval | None = None
    force_interval_meV_per_A: Interval | None = None
    stress_interval_meV_per_A3: Interval | None = None


@dataclass(frozen=True)
class ErrorTable:
    """Errors in rows: the total first, then each phase, each kind, and each pair that occurs.

    Attributes:
        rows: The errors of each group.
        structures: The errors of each structure; empty where only rows were kept.
        reference_shifts_eV: Energy per atom of each species that was added to the predictions; an
            empty mapping for a model whose zero of energy is that of the labels, None where it is
            not known to be: then only centred energy errors can be compared.
    """

    rows: tuple[ErrorRow, ...]
    structures: tuple[StructureErrors, ...] = ()
    reference_shifts_eV: Mapping[str, float] | None = None

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

    def part(self, phase: str, kind: str) -> tuple[StructureErrors, ...]:
        """Return the errors of the structures of a phase and kind; `ALL` takes any."""
        return tuple(
            structure
            for structure in self.structures
            if phase in (ALL, structure.phase) and kind in (ALL, structure.kind)
        )


def errors_by_kind(
    reference: Sequence[Atoms],
    predicted: Sequence[Atoms],
    reference_shifts_eV: Mapping[str, float] | None = None,
) -> ErrorTable:
    """Compare predictions with labels.

    Args:
        reference: Labelled structures with energy (eV), forces (eV/A) and stress (eV/A^3; not
            needed for those that are not periodic along all three directions).
            `info["entrove_phase"]` and `info["entrove_kind"]` name phase and kind; MD is a kind
            of its own at each `info["entrove_temperature_K"]`. Snapshots with one
            `info["entrove_walker"]` are one trajectory.
        predicted: The same structures in the same order, with predicted results.
        reference_shifts_eV: Energy in eV per atom of each species that is added to the
            predictions, so that they count from the zero of the labels. An empty mapping for a
            model that does so already, as a tuned one.

    Returns the errors of each group of structures, with confidence intervals.

    Raises `StructureError` when the lists differ in length or order, or are empty.
    """
    structures = tuple(measure_structures(reference, predicted, reference_shifts_eV))
    phases = list(dict.fromkeys(structure.phase for structure in structures))
    kinds = list(dict.fromkeys(structure.kind for structure in structures))
    groups = [(ALL, ALL), *((phase, ALL) for phase in phases), *((ALL, kind) for kind in kinds)]
    groups += [(phase, kind) for phase in phases for kind in kinds]
    table = ErrorTable((), structures, reference_shifts_eV)
    rows = tuple(
        _row(phase, kind, part) for phase, kind in groups if (part := table.part(phase, kind))
    )
    return ErrorTable(rows, structures, reference_shifts_eV)


def sums_of(structures: Sequence[StructureErrors], quantity: str) -> Sums:
    """Sum the absolute errors of each structure.

    Args:
        structures: The errors of each structure.
        quantity: "energy", "energy_centred", "force" or "stress"; in meV/atom, meV/A, meV/A^3.
    """
    if quantity.startswith("energy"):
        errors = [abs(getattr(structure, f"{quantity}_meV_per_atom")) for structure in structures]
        counts = [1] * len(structures)
    elif quantity == "force":
        errors = [structure.force_sum_meV_per_A for structure in structures]
        counts = [structure.force_components for structure in structures]
    else:
        errors = [structure.stress_sum_meV_per_A3 for structure in structures]
        counts = [structure.stress_components for structure in structures]
    return Sums(np.array(errors, dtype=float), np.array(counts, dtype=float))


def _row(phase: str, kind: str, part: Sequence[StructureErrors]) -> ErrorRow:
    groups = [structure.trajectory for structure in part]
    energy, centred = sums_of(part, "energy"), sums_of(part, "energy_centred")
    force, stress = sums_of(part, "force"), sums_of(part, "stress")
    return ErrorRow(
        phase=phase,
        kind=kind,
        structures=len(part),
        atoms=sum(structure.atoms for structure in part),
        energy_mae_meV_per_atom=energy.mean,
        energy_rmse_meV_per_atom=_rmse(energy.sums**2, energy),
        energy_centred_mae_meV_per_atom=centred.mean,
        energy_centred_rmse_meV_per_atom=_rmse(centred.sums**2, centred),
        force_mae_meV_per_A=force.mean,
        force_rmse_meV_per_A=_rmse([structure.force_squares for structure in part], force),
        stress_mae_meV_per_A3=stress.mean,
        stress_rmse_meV_per_A3=_rmse([structure.stress_squares for structure in part], stress),
        trajectories=len(set(groups)),
        force_components=sum(structure.force_components for structure in part),
        force_components_by_symmetry=sum(
            structure.force_components_by_symmetry for structure in part
        ),
        energy_interval_meV_per_atom=mean_interval(energy, groups),
        force_interval_meV_per_A=mean_interval(force, groups),
        stress_interval_meV_per_A3=mean_interval(stress, groups),
    )


def _rmse(squares: Sequence[float] | np.ndarray, of: Sums) -> float:
    """Root-mean-square error; NaN without values."""
    count = float(of.counts.sum())
    return float(np.sqrt(np.sum(squares) / count)) if count else float("nan")
