"""How far labels are from those of a denser grid of k-points.

Energies of perfect crystals converge early, because errors of similar cells are alike. Forces and
stress of a hot snapshot do not: it has no symmetry, and in a metal each of its states crosses the
Fermi level elsewhere. What remains is noise, in the labels that are learnt from and in those that
judge, and no model is better than it.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

from entrove.errors import LabelError
from entrove.labelling.labels import Label
from entrove.settings import Settings


class KpointCheckSettings(Settings):
    """How a hot snapshot of each phase is compared with its label at a denser grid of k-points."""

    on_difference: Literal["warn", "stop", "off"] = Field(
        default="warn",
        description="What to do when a hot snapshot of a phase differs by more than a limit "
        "between the k-points of the labels and denser ones: go on with a warning, stop before "
        "the other labels are computed, or do not compute it (off). It takes one label of each "
        "phase, about three times as long as another.",
    )
    spacing_factor: float = Field(
        default=0.7,
        gt=0,
        lt=1,
        description="The spacing of the denser k-points, as a fraction of that of the labels.",
    )
    energy_meV_per_atom: NonNegativeFloat = Field(
        default=2.0, description="Largest difference of energies, in meV/atom."
    )
    force_meV_per_A: NonNegativeFloat = Field(
        default=20.0,
        description="Largest mean absolute difference of force components, in meV/A.",
    )
    stress_meV_per_A3: NonNegativeFloat = Field(
        default=3.0,
        description="Largest mean absolute difference of stress components, in meV/A^3 "
        "(3 meV/A^3 = 0.5 GPa).",
    )


class KpointDifference(BaseModel):
    """What denser k-points change in the label of one structure."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    phase: str = Field(description="Phase of the structure.")
    temperature_K: float | None = Field(description="Its temperature; null: not of MD.")
    kpoints: int = Field(description="Number of k-points of the label.")
    denser_kpoints: int = Field(description="Number of k-points that it is compared with.")
    energy_meV_per_atom: float = Field(description="Denser minus label, in meV/atom.")
    force_meV_per_A: float = Field(
        description="Mean absolute difference of force components, in meV/A."
    )
    stress_meV_per_A3: float | None = Field(
        description="Mean absolute difference of stress components, in meV/A^3; null: no crystal."
    )
    times_as_long: float | None = Field(
        description="Time of the denser label over that of the label; null: not known."
    )
    denser_engine_seconds: float = Field(
        default=0.0, description="Time of the engine for the denser label, in s."
    )

    def describe(self) -> str:
        """The differences as a phrase: 'beta-tin: 4.2 meV/atom, 40 meV/A, 8.6 meV/A^3'."""
        stress = self.stress_meV_per_A3
        numbers = [
            f"{_format(abs(self.energy_meV_per_atom))} meV/atom",
            f"{_format(self.force_meV_per_A)} meV/A",
        ]
        if stress is not None:
            numbers.append(f"{_format(stress)} meV/A^3")
        return f"{self.phase}: {', '.join(numbers)}"


def compare_kpoints(
    phase: str,
    temperature_K: float | None,
    labels: tuple[Label, Label],
    kpoints: tuple[int, int],
) -> KpointDifference:
    """Compare the label of a structure with the one from denser k-points.

    Args:
        phase, temperature_K: Where the structure comes from.
        labels: The label, and the denser one of the same structure.
        kpoints: Numbers of k-points of both.

    Raises `LabelError` when one has failed, or they belong to different structures.
    """
    label, denser = labels
    if label.structure_hash != denser.structure_hash:
        raise LabelError(
            f"labels of {label.structure_hash} and {denser.structure_hash} are not of one "
            "structure; compare two labels of the same atoms"
        )
    if label.energy_eV is None or denser.energy_eV is None:
        raise LabelError(
            f"structure {label.structure_hash}: a label has no energy "
            f"({label.cause or denser.cause}); compare labels that converged"
        )
    forces, denser_forces = label.forces_eV_per_A, denser.forces_eV_per_A
    assert forces is not None  # a label with an energy has forces
    assert denser_forces is not None
    stress, denser_stress = label.stress_eV_per_A3, denser.stress_eV_per_A3
    timed = label.engine_seconds > 0 and denser.engine_seconds > 0
    return KpointDifference(
        phase=phase,
        temperature_K=temperature_K,
        kpoints=kpoints[0],
        denser_kpoints=kpoints[1],
        energy_meV_per_atom=1e3 * (denser.energy_eV - label.energy_eV) / len(forces),
        force_meV_per_A=1e3 * float(np.abs(denser_forces - forces).mean()),
        stress_meV_per_A3=None
        if stress is None or denser_stress is None
        # Six components, each once.
        else 1e3 * float(np.abs((denser_stress - stress)[np.triu_indices(3)]).mean()),
        times_as_long=denser.engine_seconds / label.engine_seconds if timed else None,
        denser_engine_seconds=denser.engine_seconds,
    )


def _format(difference: float) -> str:
    return f"{difference:.0f}" if difference >= 10 else f"{difference:.2g}"


class KpointComparison(BaseModel):
    """Whether labels are converged in their k-points, by a hot snapshot of each phase."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    settings: KpointCheckSettings = Field(description="The limits, and how much denser.")
    differences: tuple[KpointDifference, ...] = Field(
        min_length=1, description="The snapshots, one of each phase."
    )

    @property
    def beyond(self) -> tuple[KpointDifference, ...]:
        """The snapshots of which a difference is larger than its limit, or no number."""
        return tuple(each for each in self.differences if not self._is_within(each))

    def _is_within(self, found: KpointDifference) -> bool:
        limits = self.settings
        return (
            abs(found.energy_meV_per_atom) <= limits.energy_meV_per_atom
            and found.force_meV_per_A <= limits.force_meV_per_A
            and (found.stress_meV_per_A3 or 0.0) <= limits.stress_meV_per_A3
        )

    def describe(self) -> str:
        """Say which phases differ by more than the limits, else by how much all do."""
        if not self.beyond:
            listing = "; ".join(each.describe() for each in self.differences)
            return f"denser k-points change labels by little ({listing})"
        limits = self.settings
        longer = [each.times_as_long for each in self.beyond if each.times_as_long is not None]
        price = f", which take up to {max(longer):.2g} times as long," if longer else ""
        return (
            f"labels are not converged in their k-points: denser ones{price} change "
            f"{'; '.join(each.describe() for each in self.beyond)} (limits "
            f"{limits.energy_meV_per_atom:g} meV/atom, {limits.force_meV_per_A:g} meV/A, "
            f"{limits.stress_meV_per_A3:g} meV/A^3)"
        )
