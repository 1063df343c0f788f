"""GPAW in plane-wave mode, as a Python package in the engine process."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from entrove._optional import require
from entrove.errors import LabelError
from entrove.labelling.engines.base import (
    Computation,
    Engine,
    NotConvergedError,
    evaluate_calculator,
    with_moments,
)
from entrove.labelling.engines.kpoints import kpoint_grid

BUILT_IN_FUNCTIONALS = ("LDA", "PBE", "RPBE", "revPBE", "PW91")
"""Functionals that GPAW computes without libxc."""

CUTOFF_EV = 600.0
"""Plane-wave cutoff where no other is given.

At 400 eV the basis grows so much with the cell that stress and -dE/dV differ by 16 GPa for diamond
and 8 GPa for copper: the Pulay stress. At 600 eV they differ by less than 0.5 GPa. Measured by
benchmarks/labelling/pulay.py.
"""
CUTOFFS_EV: dict[str, float] = {"N": 800.0, "O": 800.0}
"""Elements that need more: at 600 eV the Pulay stress is 13 GPa in BN and 5 GPa in MgO."""

LADDER: tuple[dict[str, Any], ...] = (
    {"eigensolver": {"name": "davidson", "niter": 1}},
    {
        "eigensolver": {"name": "davidson", "niter": 3},
        "mixer": {"backend": "pulay", "beta": 0.03, "nmaxold": 5, "weight": 100.0},
    },
    {
        "eigensolver": {"name": "davidson", "niter": 3},
        "mixer": {"backend": "pulay", "beta": 0.01, "nmaxold": 3, "weight": 100.0},
        "random": True,
    },
)
"""From rung to rung less of the new density is mixed in, and more solver iterations are made.

The last one starts from random wave functions.
"""


class Gpaw(Engine):
    """Density-functional theory with GPAW (plane waves, PAW, no point group symmetry).

    Arguments, all with defaults: `functional` by GPAW's name; `cutoff_eV` of the plane waves (eV),
    by default the largest that an element needs (`CUTOFF_EV`, `CUTOFFS_EV`);
    `kpoint_spacing_per_A` (1/A, with the factor 2 pi); `gamma_centred`; `smearing_eV`
    (Fermi-Dirac, eV); `energy_convergence_eV` (eV per valence electron) and `density_convergence`
    (electrons per valence electron); `spin_polarised` with `magnetic_moments` per chemical symbol
    (Bohr magnetons); `setups`, the names of the PAW datasets; `max_scf_steps`.
    """

    rungs: ClassVar[int] = len(LADDER)
    scratch: ClassVar[tuple[str, ...]] = ("*.gpw",)

    name: Literal["gpaw"] = "gpaw"
    functional: str = Field(
        default="PBE", description="Exchange-correlation functional, by GPAW's name for it."
    )
    cutoff_eV: PositiveFloat | None = Field(
        default=None,
        description="Plane-wave cutoff in eV. Empty: 600, and 800 with nitrogen or oxygen; with "
        "less, stress is not the derivative of the energy (Pulay stress).",
    )
    kpoint_spacing_per_A: PositiveFloat = Field(
        default=0.35,
        description="Largest distance between k-points in 1/A, the factor 2 pi included.",
    )
    gamma_centred: bool = Field(
        default=False, description="Shift even k-point grids so that they hold Gamma."
    )
    smearing_eV: PositiveFloat = Field(
        default=0.1, description="Width of the Fermi-Dirac occupation in eV."
    )
    energy_convergence_eV: PositiveFloat = Field(
        default=1e-4,
        description="Largest change of the energy in the last steps, in eV per valence electron.",
    )
    density_convergence: PositiveFloat = Field(
        default=1e-4,
        description="Largest change of the density, in electrons per valence electron.",
    )
    spin_polarised: bool = Field(
        default=False, description="Compute two spin channels, starting from `magnetic_moments`."
    )
    magnetic_moments: dict[str, float] = Field(
        default_factory=dict,
        description="Initial magnetic moment per chemical symbol in Bohr magnetons, such as "
        "{Fe: 2.2}; a calculation that starts without any stays non-magnetic.",
    )
    setups: str | dict[str, str] = Field(
        default="paw",
        description="PAW datasets: one name for all elements, or a name per chemical symbol; with "
        "a Hubbard U in GPAW's way, such as {Ni: ':d,6.0'} in eV.",
    )
    dataset_hashes: dict[str, str] = Field(
        default_factory=dict,
        description="Content hash of the PAW dataset per chemical symbol; Entrove fills it in, "
        "part of the level of theory.",
    )
    max_scf_steps: PositiveInt = Field(
        default=120,
        description="Self-consistency steps of the first try; later tries get three times as "
        "many.",
    )

    @model_validator(mode="after")
    def _spin_needs_moments(self) -> "Gpaw":
        if self.spin_polarised != any(self.magnetic_moments.values()):
            raise ValueError(
                "spin_polarised and magnetic_moments belong together: give 'spin_polarised: true' "
                "and a moment that is not zero, such as 'magnetic_moments: {Fe: 2.2}', or neither"
            )
        return self

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """All settings but the number of steps.

        PAW datasets count by their content, once the engine is bound to species.
        """
        settings = self.model_dump(mode="json", exclude={"max_scf_steps"})
        optional = ("dataset_hashes", "magnetic_moments", "cutoff_eV")
        unset = {name for name in optional if not settings[name]}
        return {name: value for name, value in settings.items() if name not in unset}

    def _bound_to_data(self, species: Iterable[str]) -> "Gpaw":
        """With the content of its PAW datasets in `dataset_hashes`, and the cutoff they need."""
        species = list(species)
        hashes = {}
        for symbol in species:
            try:
                _, content = _find_dataset(self._dataset(symbol))
            except FileNotFoundError as error:
                raise LabelError(
                    f"engine gpaw: no PAW dataset {self._dataset(symbol)}; correct labelling: "
                    "engine: setups, or install the dataset"
                ) from error
            hashes[symbol] = hashlib.sha256(content).hexdigest()[:16]
        found = {"dataset_hashes": hashes, "cutoff_eV": self._cutoff_for(species)}
        return self.model_copy(update=found)

    def check_available(self) -> None:
        """Raise `EntroveError` when GPAW or the functional is missing."""
        gpaw = require("gpaw", extra="gpaw")
        if self.functional not in BUILT_IN_FUNCTIONALS and not gpaw.get_libraries().get("libxc"):
            raise LabelError(
                f"engine gpaw: functional '{self.functional}' needs a GPAW that is built with "
                f"libxc; this one has {', '.join(BUILT_IN_FUNCTIONALS)}"
            )

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Species without a PAW dataset for the functional."""
        missing = []
        for symbol in species:
            try:
                _find_dataset(self._dataset(symbol))
            except FileNotFoundError:
                missing.append(symbol)
        return missing

    def version(self) -> str:
        """Version of the GPAW package."""
        return require("gpaw", extra="gpaw").__version__

    def warm_up(self) -> None:
        """Import GPAW."""
        self.check_available()

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """One self-consistent calculation."""
        from gpaw import KohnShamConvergenceError

        try:
            calculator = self.calculator(atoms, folder / "gpaw.txt", rung)
            return evaluate_calculator(calculator, with_moments(atoms, self.magnetic_moments))
        except KohnShamConvergenceError as error:
            steps = self._steps(rung)
            raise NotConvergedError(
                f"no self-consistency after {steps} steps ({error})"
            ) from error

    def calculator(self, atoms: Atoms, text_file: Path | None = None, rung: int = 0) -> Any:
        """The ASE calculator for `atoms`: the k-point grid depends on their cell."""
        from gpaw import GPAW, PW, FermiDirac

        return GPAW(
            mode=PW(self._cutoff_for(atoms.symbols)),
            xc=self.functional,
            kpts={
                "size": kpoint_grid(atoms, self.kpoint_spacing_per_A),
                "gamma": self.gamma_centred or None,
            },
            occupations=FermiDirac(self.smearing_eV),
            convergence={
                "energy": self.energy_convergence_eV,
                "density": self.density_convergence,
            },
            symmetry={"point_group": False},
            spinpol=self.spin_polarised,
            setups=self.setups,
            maxiter=self._steps(rung),
            txt=None if text_file is None else str(text_file),
            **LADDER[rung],
        )

    def _steps(self, rung: int) -> int:
        return self.max_scf_steps if rung == 0 else 3 * self.max_scf_steps

    def _cutoff_for(self, species: Iterable[str]) -> float:
        """The cutoff that was given, or the largest that one of the elements needs, in eV."""
        return self.cutoff_eV or max(
            (CUTOFFS_EV.get(symbol, CUTOFF_EV) for symbol in species), default=CUTOFF_EV
        )

    def _dataset(self, symbol: str) -> str:
        """Name of the PAW dataset that GPAW looks for."""
        given = self.setups
        if not isinstance(given, str):
            given = given.get(symbol, given.get("default", "paw"))
        # What follows a colon is a Hubbard U, which is no file.
        setup = given.partition(":")[0] or "paw"
        functional = self._functional_of_datasets()
        return f"{symbol}.{functional}" if setup == "paw" else f"{symbol}.{setup}.{functional}"

    def _functional_of_datasets(self) -> str:
        """Functional for which the PAW datasets are made that GPAW takes: PBE for hybrids."""
        try:
            return require("gpaw.xc", extra="gpaw").XC(self.functional).get_setup_name()
        except NameError:  # GPAW's error for a functional that this build lacks
            return self.functional


def _find_dataset(name: str) -> tuple[str | None, bytes]:
    """File and content, decompressed, of a PAW dataset. Raises `FileNotFoundError`."""
    return require("gpaw.setup_data", extra="gpaw").search_for_file(name)
