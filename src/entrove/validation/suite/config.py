"""Settings of the validation suite: which checks run, how, and where they fail."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from entrove.settings import Settings

Positive = Annotated[float, Field(gt=0)]
ElasticName = Annotated[str, Field(pattern=r"^C[1-6][1-6]$")]
NotNegative = Annotated[float, Field(ge=0)]


class CheckSettings(Settings):
    """What every check has."""

    enabled: bool = Field(default=True, description="false: leave this check out.")


class ErrorSettings(CheckSettings):
    """Errors on labelled data, per phase and kind."""

    energy_mae_meV_per_atom: Positive | None = Field(
        default=None,
        description="Largest mean absolute error of the energy of any phase and kind, in "
        "meV/atom; centred per composition where the model may have another zero of energy than "
        "the labels. Empty: not judged.",
    )
    force_mae_meV_per_A: Positive | None = Field(
        default=None,
        description="Largest mean absolute error of force components of any phase and kind, in "
        "meV/A. Empty: not judged.",
    )
    stress_mae_meV_per_A3: Positive | None = Field(
        default=None,
        description="Largest mean absolute error of stress components of any phase and kind, in "
        "meV/A^3 (0.160 GPa). Empty: not judged.",
    )
    tolerated_worsening: NotNegative | None = Field(
        default=0.0,
        description="Fail when the error of a phase or kind is larger than the untuned model's by "
        "more than this fraction, beyond the confidence interval. At 0 one of forty parts that "
        "did not change fails by chance. Empty: not judged.",
    )


class EquationOfStateSettings(CheckSettings):
    """Energy against volume, with a Birch-Murnaghan fit."""

    scales: tuple[Positive, ...] = Field(
        default=(0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06),
        min_length=5,
        description="Lattice vectors over those of the cell relaxed without pressure: five or "
        "more different numbers, in any order.",
    )
    residual_meV_per_atom: Positive = Field(
        default=3.0,
        description="Largest root-mean-square distance of the energies from the fit, in meV/atom: "
        "a curve with a kink or a step is further away.",
    )
    labels: Annotated[int, Field(ge=5)] | None = Field(
        default=None,
        description="Volumes of each phase that a campaign labels for this check alone, with its "
        "engine, evenly between the first and the last of scales; five or more. Empty: those of "
        "the labels that there are.",
    )
    energy_error_meV_per_atom: Positive = Field(
        default=20.0,
        description="Against labelled cells of the phase at several volumes: largest "
        "root-mean-square difference of energies relative to their mean, in meV/atom.",
    )
    volume_error: Positive = Field(
        default=0.03,
        description="Largest relative difference of the equilibrium volumes of model and labels, "
        "where the labels allow a fit.",
    )
    bulk_modulus_error: Positive = Field(default=0.2, description="The same of the bulk moduli.")

    @field_validator("scales")
    @classmethod
    def _in_order(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        different = tuple(sorted(set(scales)))
        if len(different) < 5:
            raise ValueError(
                f"{len(different)} different volumes, but four parameters need at least 5; add "
                "scales"
            )
        return different


class ElasticSettings(CheckSettings):
    """Elastic constants from the stresses of strained cells."""

    strain: float = Field(
        default=0.005, gt=0, lt=0.1, description="Amplitude of each of the six strains."
    )
    least_eigenvalue_GPa: float = Field(
        default=0.0,
        description="Least stiffness against any strain in GPa, which does not depend on the "
        "axes; Born's criterion is 0. Of a cubic crystal it is the least of C11 - C12, 2 C44 and "
        "C11 + 2 C12.",
    )
    reference_GPa: dict[str, dict[ElasticName, float]] = Field(
        default={},
        description="Known constants of a phase in GPa, to compare with: {diamond: {C11: 160, "
        "C12: 60, C44: 77}}, in the axes of the conventional cell (a along x) and at the pressure "
        "at which the phase is judged, which the result says.",
    )
    reference_error: Positive = Field(
        default=0.2,
        description="Largest difference from the known constants, over the largest of them.",
    )


class PhononSettings(CheckSettings):
    """Phonons by finite displacements (needs the extra phonons)."""

    supercell_A: Positive = Field(
        default=9.0, description="Least distance of opposite faces of the supercell in A."
    )
    displacement_A: Positive = Field(default=0.01, description="Length of displacements in A.")
    mesh: int = Field(
        default=8, ge=1, le=64, description="q-points along each reciprocal lattice vector."
    )
    points_per_line: int = Field(
        default=31, ge=2, le=501, description="q-points of each line of the band structure."
    )
    imaginary_THz: Positive = Field(
        default=0.15,
        description="A mode is imaginary below minus this, in THz; acoustic modes near the centre "
        "of the zone are slightly imaginary from finite precision.",
    )


class PhaseOrderSettings(CheckSettings):
    """Which phase has the lowest enthalpy at which pressure."""

    pressures: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Pressures at which enthalpies are compared, from the lowest to the highest "
        "of the regime.",
    )
    expected: tuple[str, ...] = Field(
        default=(),
        description="Phases that must be the lowest, in the order of increasing pressure. Empty: "
        "compare with the labels only.",
    )
    difference_error_meV_per_atom: Positive = Field(
        default=25.0,
        description="Largest error, in meV/atom, of the energy difference of two phases, on their "
        "labelled cells of lowest energy.",
    )


class DimerSettings(CheckSettings):
    """Energy of two atoms against their distance, for each pair of species."""

    shortest_over_radii: float = Field(
        default=0.5,
        gt=0,
        lt=1.0,
        description="Shortest distance of the curve over the sum of covalent radii, below the "
        "onset; where labelled data have the pair below the onset, the curve begins below that "
        "distance by the same factor.",
    )
    onset_over_radii: float = Field(
        default=0.7,
        gt=0,
        le=1.5,
        description="Distance below which the energy must rise, over the sum of covalent radii; "
        "where labelled data have the pair at a shorter distance, that distance.",
    )
    longest_over_radii: float = Field(
        default=2.5, gt=0.5, description="Longest distance over the sum of covalent radii."
    )
    points: int = Field(default=100, ge=10, le=1000, description="Points of each curve.")
    barrier_eV: Positive | None = Field(
        default=10.0,
        description="A fall that begins this far above the energy at the onset, in eV, is out of "
        "reach of MD: it is named, and does not fail. Empty: every fall fails.",
    )
    tolerance_eV: NotNegative = Field(
        default=0.01, description="A fall of the energy that is smaller does not count, in eV."
    )

    @model_validator(mode="after")
    def _has_something_to_judge(self) -> "DimerSettings":
        for name in ("onset_over_radii", "longest_over_radii"):
            if self.shortest_over_radii >= getattr(self, name):
                raise ValueError(
                    f"shortest_over_radii must be below {name}: {self.shortest_over_radii:g} and "
                    f"{getattr(self, name):g}"
                )
        return self


class ForgettingSettings(CheckSettings):
    """Change of the model on elements that it was not tuned for (needs the untuned model)."""

    force_change: Positive = Field(
        default=0.3,
        description="Largest change of forces: root mean square over that of the untuned forces.",
    )
    energy_change: Positive = Field(
        default=0.3,
        description="Largest change of energy differences of cells of one crystal, likewise.",
    )
    crystals: int = Field(
        default=8, ge=1, description="Crystals of other elements that are compared at most."
    )
    own_crystals: int = Field(
        default=4,
        ge=0,
        description="Crystals of the campaign's own elements, outside of its phases, that are "
        "compared at most; their changes are shown and have no limit. 0: none.",
    )


class CalibrationSettings(CheckSettings):
    """Spread of a committee against its error, on labels that it has not learnt from."""

    least_rank_correlation: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Least rank correlation (Spearman) of spreads and errors. Empty: not judged.",
    )


class DynamicsSettings(CheckSettings):
    """MD at the hottest temperature of the regime, with and without a thermostat."""

    temperature_K: Positive | None = Field(
        default=None, description="Temperature in K. Empty: the highest of the regime."
    )
    steps: int = Field(default=200, ge=10, description="MD steps of each of the two runs.")
    timestep_fs: Positive = Field(default=1.0, description="Time step in fs.")
    least_atoms: int = Field(
        default=32, ge=2, le=100_000, description="The cell is repeated to this many atoms."
    )
    drift_meV_per_atom_per_ps: Positive = Field(
        default=2.0,
        description="Largest drift of the energy without a thermostat, in meV/atom per ps.",
    )
    random_seed: int = Field(default=1, ge=0, description="Seed of the velocities.")


class SuiteConfig(Settings):
    """The validation suite: each check can be turned off, and has its own thresholds."""

    enabled: bool = Field(
        default=True, description="false: a campaign ends without running the suite."
    )
    pressures_GPa: tuple[float, ...] = Field(
        default=(),
        description="Pressures in GPa at which crystals are judged. Empty: those of the regime of "
        "the campaign or bundle; without one, 0.",
    )
    errors: ErrorSettings = Field(
        default=ErrorSettings(), description="Errors on labelled data, per phase and kind."
    )
    equation_of_state: EquationOfStateSettings = Field(
        default=EquationOfStateSettings(), description="Energy against volume."
    )
    elastic: ElasticSettings = Field(
        default=ElasticSettings(), description="Elastic constants, and Born's stability criterion."
    )
    phase_order: PhaseOrderSettings = Field(
        default=PhaseOrderSettings(), description="Enthalpies of the phases over pressure."
    )
    calibration: CalibrationSettings = Field(
        default=CalibrationSettings(), description="Spread of a committee against its error."
    )
    dimers: DimerSettings = Field(
        default=DimerSettings(), description="Repulsion of atoms at short distances."
    )
    forgetting: ForgettingSettings = Field(
        default=ForgettingSettings(), description="Change on elements outside of the campaign."
    )
    phonons: PhononSettings = Field(
        default=PhononSettings(), description="Phonons, and imaginary ones among them."
    )
    dynamics: DynamicsSettings = Field(
        default=DynamicsSettings(), description="Stability of MD, and its energy drift."
    )

    def unknown_phases(self, phases: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Find settings of enabled checks for phases that do not exist: they would judge nothing.

        Args:
            phases: Names of the phases that there are.

        Yields the key path of each inside this section, and what is wrong.
        """
        names = sorted(phases)
        named: list[tuple[tuple[str, ...], str]] = []
        if self.phase_order.enabled:
            path = ("phase_order", "expected")
            named += [(path, name) for name in self.phase_order.expected]
        if self.elastic.enabled:
            path = ("elastic", "reference_GPa")
            named += [((*path, name), name) for name in self.elastic.reference_GPa]
        for key_path, name in named:
            if name in names:
                continue
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            remedy = f"; did you mean '{near[0]}'?" if near else "."
            there = f"The phases are {', '.join(names)}" if names else "There is no phase"
            yield key_path, f"no phase is called '{name}'{remedy} {there}"
