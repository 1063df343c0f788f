"""GPAW in plane-wave mode, in the process of the worker."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from entrove._optional import require
from entrove.errors import LabelError
from entrove.labelling.engines.base import Computation, Engine, NotConvergedError, evaluate_calculator
from entrove.labelling.kpoints import kpoint_grid

BUILT_IN_FUNCTIONALS = ("LDA", "PBE", "RPBE", "revPBE", "PW91")
"""Functionals that GPAW computes without libxc."""

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
"""Each rung mixes less of the new density and solves more tightly; the last starts at random bands."""


class Gpaw(Engine):
    """Density-functional theory with GPAW (plane waves, PAW, spin-paired unless said, no point group)."""

    rungs: ClassVar[int] = len(LADDER)
    scratch: ClassVar[tuple[str, ...]] = ("*.gpw",)

    name: Literal["gpaw"] = "gpaw"
    functional: str = Field(
        default="PBE", description="Exchange-correlation functional, by GPAW's name for it."
    )
    cutoff_eV: PositiveFloat = Field(default=400.0, description="Plane-wave cutoff in eV.")
    kpoint_spacing_per_A: PositiveFloat = Field(
        default=0.35, description="Largest distance between k-points in 1/A, the factor 2 pi included."
    )
    gamma_centred: bool = Field(
        default=False, description="Shift even k-point grids so that they hold Gamma."
    )
    smearing_eV: PositiveFloat = Field(default=0.1, description="Width of the Fermi-Dirac occupation in eV.")
    energy_convergence_eV: PositiveFloat = Field(
        default=1e-4,
        description="Largest change of the energy in the last steps, in eV per valence electron.",
    )
    density_convergence: PositiveFloat = Field(
        default=1e-4, description="Largest change of the density, in electrons per valence electron."
    )
    spin_polarised: bool = Field(default=False, description="Compute two spin channels.")
    setups: str | dict[str, str] = Field(
        default="paw", description="PAW datasets: one name for all elements, or a name per chemical symbol."
    )
    max_scf_steps: PositiveInt = Field(
        default=120,
        description="Self-consistency steps of the first try; later tries get three times as many.",
    )

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """All settings but the number of steps."""
        return self.model_dump(mode="json", exclude={"max_scf_steps"})

    def check_available(self) -> None:
        """Raise `EntroveError` when GPAW or the functional is missing."""
        gpaw = require("gpaw", extra="gpaw")
        if self.functional not in BUILT_IN_FUNCTIONALS and not gpaw.get_libraries().get("libxc"):
            raise LabelError(
                f"engine gpaw: functional '{self.functional}' needs a GPAW that is built with libxc; "
                f"this one has {', '.join(BUILT_IN_FUNCTIONALS)}"
            )

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Species without a PAW dataset for the functional."""
        require("gpaw", extra="gpaw")
        from gpaw.setup_data import search_for_file

        missing = []
        for symbol in species:
            try:
                search_for_file(self._dataset(symbol))
            except FileNotFoundError:
                missing.append(symbol)
        return missing

    def version(self) -> str:
        """Version of the GPAW package."""
        return require("gpaw", extra="gpaw").__version__

    def warm_up(self) -> None:
        """Import GPAW."""
        self.check_available()

    def kpoints(self, atoms: Atoms) -> int:
        """Half the grid: time reversal is the only symmetry that is used."""
        first, second, third = kpoint_grid(atoms, self.kpoint_spacing_per_A)
        return (first * second * third + 1) // 2

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """One self-consistent calculation."""
        from gpaw import KohnShamConvergenceError

        try:
            return evaluate_calculator(self.calculator(atoms, folder / "gpaw.txt", rung), atoms)
        except KohnShamConvergenceError as error:
            steps = self._steps(rung)
            raise NotConvergedError(f"no self-consistency after {steps} steps ({error})") from error

    def calculator(self, atoms: Atoms, text_file: Path | None = None, rung: int = 0) -> Any:
        """The ASE calculator for `atoms`: the k-point grid depends on their cell."""
        from gpaw import GPAW, PW, FermiDirac

        return GPAW(
            mode=PW(self.cutoff_eV),
            xc=self.functional,
            kpts={"size": kpoint_grid(atoms, self.kpoint_spacing_per_A), "gamma": self.gamma_centred or None},
            occupations=FermiDirac(self.smearing_eV),
            convergence={"energy": self.energy_convergence_eV, "density": self.density_convergence},
            symmetry={"point_group": False},
            spinpol=self.spin_polarised,
            setups=self.setups,
            maxiter=self._steps(rung),
            txt=None if text_file is None else str(text_file),
            **LADDER[rung],
        )

    def _steps(self, rung: int) -> int:
        return self.max_scf_steps if rung == 0 else 3 * self.max_scf_steps

    def _dataset(self, symbol: str) -> str:
        setup = self.setups if isinstance(self.setups, str) else self.setups.get(symbol, "paw")
        functional = "PBE" if self.functional in ("RPBE", "revPBE") else self.functional
        return f"{symbol}.{functional}" if setup == "paw" else f"{symbol}.{setup}.{functional}"
