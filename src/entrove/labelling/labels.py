"""The result of labelling: one `Label` per structure, also where it failed."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from entrove import provenance
from entrove.errors import LabelError
from entrove.formats.label_keys import meaning_of, says_convergence
from entrove.structures import attach_results, content_hash, forces_of, stress_of


class Outcome(StrEnum):
    """What came of a label. All but CONVERGED are quarantined and never trained on."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    REJECTED = "rejected"


@dataclass(frozen=True, eq=False)
class Label:
    """Energy, forces and stress of one structure, or why there are none, and where they came from.

    Attributes:
        structure_hash: Content hash of the structure, see `entrove.structures.content_hash`;
            empty for a structure that no engine can compute.
        level_of_theory: Hash of the level of theory.
        outcome: CONVERGED, or what happened instead.
        cause: Why it is not CONVERGED.
        folder: Folder of the engine's files, unless they were deleted.
        energy_eV: Energy in eV; None where there is none. A REJECTED label keeps its numbers,
            where they have the right shape.
        forces_eV_per_A: Forces (atoms, 3) in eV/A, in the atom order of the structure that was
            asked for.
        stress_eV_per_A3: Stress (3, 3) in eV/A^3 with ASE's sign (positive = tensile); None for a
            structure that is not periodic in three dimensions, and of an imported crystal whose
            file has none.
        attempts: Calculations that were tried; 0 for an imported label.
        engine_seconds: Wall time of the engine in s, of all attempts.
        engine, engine_version: The engine and its version; empty where they are not known.
        host_class: Kind of the machine that computed it.
        started_utc: When the first attempt started, or the label was imported, in ISO 8601.
        import_id: Number of the import that an imported label came with, see
            `entrove.labelling.store.cache.LabelCache.imports`.
    """

    structure_hash: str
    level_of_theory: str
    outcome: Outcome
    cause: str = ""
    folder: str = ""
    energy_eV: float | None = None
    forces_eV_per_A: Float[np.ndarray, "atoms 3"] | None = None
    stress_eV_per_A3: Float[np.ndarray, "3 3"] | None = None
    attempts: int = 1
    engine_seconds: float = 0.0
    engine: str = ""
    engine_version: str = ""
    host_class: str = ""
    started_utc: str = ""
    import_id: int | None = None

    @property
    def converged(self) -> bool:
        """Whether the label can be trained on."""
        return self.outcome is Outcome.CONVERGED

    def lacks_stress_of(self, atoms: Atoms) -> bool:
        """Whether `atoms` are a crystal and this label of them has no stress."""
        return self.converged and self.stress_eV_per_A3 is None and bool(atoms.pbc.all())

    def attach(self, atoms: Atoms) -> Atoms:
        """Return a copy of `atoms` that carries this label, and where it came from in `info`.

        Labels that `atoms` have under other names, and what they say of the convergence of such a
        label, are left out: readers would take them for this label, or find that it contradicts
        them. Raises `LabelError` when the label did not converge.
        """
        if not self.converged or self.energy_eV is None or self.forces_eV_per_A is None:
            raise LabelError(
                f"structure {self.structure_hash}: no label to attach, it is '{self.outcome}' "
                f"({self.cause}); leave it out, or release it with `entrove labels FOLDER --retry`"
            )
        if self.stress_eV_per_A3 is None:
            labelled = atoms.copy()
            labelled.calc = SinglePointCalculator(
                labelled, energy=self.energy_eV, forces=self.forces_eV_per_A.copy()
            )
        else:
            labelled = attach_results(
                atoms, self.energy_eV, self.forces_eV_per_A, self.stress_eV_per_A3
            )
        for source in (labelled.info, labelled.arrays):
            for key in [*source]:
                if meaning_of(str(key)) or says_convergence(str(key)):
                    del source[key]
        labelled.info[provenance.STRUCTURE_HASH] = self.structure_hash
        labelled.info[provenance.LEVEL_OF_THEORY] = self.level_of_theory
        labelled.info[provenance.ENGINE] = f"{self.engine} {self.engine_version}".strip()
        labelled.info[provenance.ENGINE_SECONDS] = round(self.engine_seconds, 3)
        labelled.info.pop(provenance.IMPORT, None)
        if self.import_id is not None:
            labelled.info[provenance.IMPORT] = self.import_id
        return labelled

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> "Label":
        """Read back the label that `attach` gave to `atoms`.

        Raises `LabelError` when `atoms` carry no energy, no forces or no level of theory.
        """
        results = getattr(atoms.calc, "results", {})
        found = {**results, provenance.LEVEL_OF_THEORY: atoms.info.get(provenance.LEVEL_OF_THEORY)}
        missing = [
            key
            for key in ("energy", "forces", provenance.LEVEL_OF_THEORY)
            if found.get(key) is None
        ]
        if missing:
            raise LabelError(
                f"{atoms.get_chemical_formula()}: carries no label, it has no "
                f"{' and no '.join(missing)}; pass a structure from `Label.attach`, or from a "
                "file that such structures were written to"
            )
        engine, _, version = str(atoms.info.get(provenance.ENGINE, "")).partition(" ")
        return cls(
            structure_hash=content_hash(atoms),
            level_of_theory=str(atoms.info[provenance.LEVEL_OF_THEORY]),
            outcome=Outcome.CONVERGED,
            energy_eV=float(atoms.get_potential_energy()),
            forces_eV_per_A=forces_of(atoms),
            stress_eV_per_A3=voigt_6_to_full_3x3_stress(stress_of(atoms))
            if "stress" in results
            else None,
            engine_seconds=float(atoms.info.get(provenance.ENGINE_SECONDS, 0.0)),
            engine=engine,
            engine_version=version,
        )

    def turned(self, rotation: Float[np.ndarray, "3 3"]) -> "Label":
        """The same label in another orientation, where a vector v becomes v @ rotation."""
        forces, stress = self.forces_eV_per_A, self.stress_eV_per_A3
        return replace(
            self,
            forces_eV_per_A=None if forces is None else forces @ rotation,
            stress_eV_per_A3=None if stress is None else rotation.T @ stress @ rotation,
        )

    def reordered(self, order: np.ndarray) -> "Label":
        """The same label for the atoms `[atoms[i] for i in order]`."""
        if self.forces_eV_per_A is None:
            return self
        return replace(self, forces_eV_per_A=self.forces_eV_per_A[order])
