"""CP2K (Quickstep, Gaussian and plane waves), through ASE and the CP2K shell."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.units import kB
from pydantic import Field, PositiveFloat, PositiveInt

from entrove.errors import LabelError
from entrove.labelling.engines.base import (
    Computation,
    Engine,
    NotConvergedError,
    evaluate_calculator,
)
from entrove.labelling.engines.external import check_command, fill_command, hash_file
from entrove.labelling.engines.kpoints import kpoint_grid

OUTPUT_FILE = "cp2k.out"

LADDER = (
    "&MIXING\n METHOD BROYDEN_MIXING\n ALPHA 0.2\n NBROYDEN 8\n&END MIXING",
    "&MIXING\n METHOD BROYDEN_MIXING\n ALPHA 0.05\n NBROYDEN 12\n&END MIXING",
    "&MIXING\n METHOD KERKER_MIXING\n ALPHA 0.02\n BETA 1.0\n&END MIXING",
)
"""From rung to rung less of the new density is mixed in."""


class Cp2k(Engine):
    """Density-functional theory with CP2K (GTH pseudopotentials, diagonalisation, k-points).

    Arguments, all with defaults: `command` that starts the CP2K shell; `functional`, `basis_set`
    and `pseudopotential` by CP2K's names, from `basis_set_file` and `potential_file` in
    `data_folder`; `cutoff_eV` and `relative_cutoff_eV` of the grids (eV); `kpoint_spacing_per_A`
    (1/A, with the factor 2 pi); `smearing_eV` (Fermi-Dirac, eV) over `added_orbitals` empty
    orbitals; `density_convergence` (EPS_SCF); `max_scf_steps`.
    """

    rungs: ClassVar[int] = len(LADDER)
    scratch: ClassVar[tuple[str, ...]] = ("*.wfn*", "*.kp*")

    name: Literal["cp2k"] = "cp2k"
    command: str = Field(
        default="cp2k.psmp -s",
        description="Command that starts the CP2K shell; '{cores}' becomes the cores of the "
        "worker, as in 'mpirun -np {cores} cp2k.psmp -s'.",
    )
    functional: str = Field(
        default="PBE", description="Exchange-correlation functional, by CP2K's name for it."
    )
    basis_set: str = Field(
        default="DZVP-MOLOPT-SR-GTH", description="Name of the basis set, for all elements."
    )
    basis_set_file: str = Field(
        default="BASIS_MOLOPT", description="File of CP2K's data folder that holds it."
    )
    pseudopotential: str = Field(
        default="auto", description="Name of the pseudopotential; 'auto' is GTH-<functional>."
    )
    potential_file: str = Field(
        default="POTENTIAL", description="File of CP2K's data folder that holds it."
    )
    data_folder: Path | None = Field(
        default=None,
        description="CP2K's data folder (CP2K_DATA_DIR): its basis and potential file are read "
        "from there and count by their content. Nothing means: the one that CP2K was built with, "
        "and the files count by their names.",
    )
    cutoff_eV: PositiveFloat = Field(
        default=5442.0, description="Cutoff of the density grid in eV (400 Ry)."
    )
    relative_cutoff_eV: PositiveFloat = Field(
        default=816.0, description="Cutoff of the grid that a Gaussian is mapped to in eV (60 Ry)."
    )
    kpoint_spacing_per_A: PositiveFloat = Field(
        default=0.35,
        description="Largest distance between k-points in 1/A, the factor 2 pi included.",
    )
    smearing_eV: PositiveFloat = Field(
        default=0.1, description="Width of the Fermi-Dirac occupation in eV."
    )
    added_orbitals: PositiveInt = Field(
        default=20, description="Empty orbitals that the smearing can fill."
    )
    density_convergence: PositiveFloat = Field(default=1e-6, description="EPS_SCF of CP2K.")
    max_scf_steps: PositiveInt = Field(
        default=100,
        description="Self-consistency steps of the first try; later tries get three times as "
        "many.",
    )

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """All settings but how CP2K is started; files of `data_folder` by their content."""
        settings = self.model_dump(
            mode="json", exclude={"command", "max_scf_steps", "data_folder"}
        )
        if self.data_folder is not None:
            for key in ("basis_set_file", "potential_file"):
                settings[key] += f" {hash_file(self.name, self.data_folder / settings[key])}"
        return settings

    def check_available(self) -> None:
        """Raise `LabelError` when CP2K or a file of its data folder is missing."""
        check_command(self.name, self.command, "cp2k")
        self.check_settings()

    def check_settings(self) -> None:
        """Raise `LabelError` when a file of the data folder is missing."""
        for name in (self.basis_set_file, self.potential_file):
            if self.data_folder is not None and not (self.data_folder / name).is_file():
                raise LabelError(
                    f"engine cp2k: no file {name} in {self.data_folder}; correct data_folder or "
                    "the name"
                )

    def uncovered(self, species: Iterable[str]) -> list[str]:  # noqa: ARG002
        """None: CP2K finds its data itself, so what is missing shows only when it runs."""
        return []

    def version(self) -> str:
        """What CP2K prints about itself."""
        command = [word for word in fill_command(self.command).split() if word != "-s"]
        finished = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
        words = finished.stdout.partition("CP2K version")[2].split()
        return words[0] if words else ""

    def version_of_level(self) -> str:
        """As `version`; nothing where CP2K is only on the machines that compute."""
        try:
            return self.version()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """One self-consistent calculation."""
        output = folder / OUTPUT_FILE
        if self.data_folder is not None:
            os.environ["CP2K_DATA_DIR"] = str(self.data_folder.absolute())
        try:
            with self.calculator(atoms, rung) as calculator:
                computation = evaluate_calculator(calculator, atoms)
        except Exception as error:
            _require_convergence(output, error)
            raise
        _require_convergence(output)
        return computation

    def calculator(self, atoms: Atoms, rung: int = 0) -> Any:
        """The ASE calculator for `atoms`; it writes into the current directory."""
        from ase.calculators.cp2k import CP2K

        return CP2K(
            command=fill_command(self.command),
            label="cp2k",
            xc=self.functional,
            basis_set=self.basis_set,
            basis_set_file=self.basis_set_file,
            pseudo_potential=self.pseudopotential,
            potential_file=self.potential_file,
            cutoff=self.cutoff_eV,
            max_scf=self.max_scf_steps * (1 if rung == 0 else 3),
            print_level="MEDIUM",
            inp=self._input(atoms, rung),
        )

    def _input(self, atoms: Atoms, rung: int) -> str:
        first, second, third = kpoint_grid(atoms, self.kpoint_spacing_per_A)
        return f"""&FORCE_EVAL
  &DFT
    &MGRID
      REL_CUTOFF [eV] {self.relative_cutoff_eV}
    &END MGRID
    &KPOINTS
      SCHEME MONKHORST-PACK {first} {second} {third}
      SYMMETRY OFF
      FULL_GRID OFF
    &END KPOINTS
    &SCF
      EPS_SCF {self.density_convergence}
      ADDED_MOS {self.added_orbitals}
      {LADDER[rung]}
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE [K] {self.smearing_eV / kB}
      &END SMEAR
    &END SCF
  &END DFT
&END FORCE_EVAL
"""


def _require_convergence(output: Path, error: BaseException | None = None) -> None:
    text = output.read_text(errors="replace") if output.exists() else ""
    if "SCF run NOT converged" in text:
        raise NotConvergedError("CP2K says: SCF run NOT converged") from error
    if error is None and "SCF run converged" not in text:
        raise NotConvergedError("CP2K does not say that its SCF run converged")
