"""VASP, through ASE."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, field_validator

from entrove.errors import LabelError
from entrove.labelling.engines.base import (
    Computation,
    Engine,
    NotConvergedError,
    evaluate_calculator,
    with_moments,
)
from entrove.labelling.engines.external import check_command, fill_command, hash_file, refuse_keys
from entrove.labelling.engines.kpoints import kpoint_grid

LADDER: tuple[dict[str, Any], ...] = (
    {},
    {"algo": "All"},
    {"algo": "Damped", "time": 0.2, "amix": 0.1, "bmix": 1e-4},
)
"""The configured solver, then conjugate gradient, then damped dynamics, which rarely fail."""

_OWN_KEY = "the engine has a key of its own for it: "
REFUSED = {
    **dict.fromkeys(
        ("nsw", "ibrion", "isif"),
        "a label is one self-consistent calculation of the structure as it is",
    ),
    **dict.fromkeys(
        ("kpts", "gamma", "kspacing", "kgamma", "reciprocal"), _OWN_KEY + "kpoint_spacing_per_A"
    ),
    **dict.fromkeys(("xc", "pp"), _OWN_KEY + "functional"),
    **dict.fromkeys(("ispin", "magmom"), "give magnetic_moments, which sets both"),
    "encut": _OWN_KEY + "cutoff_eV",
    "sigma": _OWN_KEY + "smearing_eV",
    "ediff": _OWN_KEY + "energy_convergence_eV",
    "nelm": _OWN_KEY + "max_scf_steps",
    "setups": _OWN_KEY + "setups",
    "command": _OWN_KEY + "command",
    "directory": "each attempt has a folder of its own",
    "isym": "a displaced crystal must not become another calculation by its symmetry",
}
"""Settings that move atoms or contradict a key of the engine, and the remedy."""


class Vasp(Engine):
    """Density-functional theory with VASP (plane waves, PAW).

    Arguments: `potential_folder`, which holds potpaw_PBE. With defaults: `command` that starts
    VASP; `functional` by ASE's name; `setups`, a suffix of the potential per chemical symbol;
    `cutoff_eV` (ENCUT, eV); `kpoint_spacing_per_A` (1/A, with the factor 2 pi); `gamma_centred`;
    `smearing_eV` (Fermi-Dirac, eV); `energy_convergence_eV` (EDIFF, eV per cell);
    `magnetic_moments` per chemical symbol (Bohr magnetons); `input`, more INCAR settings by ASE's
    names; `max_scf_steps`.
    """

    rungs: ClassVar[int] = len(LADDER)
    scratch: ClassVar[tuple[str, ...]] = (
        "WAVECAR",
        "CHG",
        "CHGCAR",
        "PROCAR",
        "LOCPOT",
        "vaspwave.h5",
        "POTCAR",
    )

    name: Literal["vasp"] = "vasp"
    command: str = Field(
        default="vasp_std",
        description="Command that starts VASP; '{cores}' becomes the cores of the worker, as in "
        "'mpirun -np {cores} vasp_std'.",
    )
    potential_folder: Path = Field(
        description="Folder that holds potpaw_PBE (or potpaw, potpaw_GGA): ASE's VASP_PP_PATH."
    )
    functional: str = Field(
        default="PBE", description="Exchange-correlation functional, by ASE's name for it."
    )
    setups: dict[str, str] = Field(
        default_factory=dict,
        description="Suffix of the potential per chemical symbol, such as {Na: _pv}.",
    )
    potential_hashes: dict[str, str] = Field(
        default_factory=dict,
        description="Content hash of the POTCAR per chemical symbol; Entrove fills it in, part of "
        "the level of theory.",
    )
    cutoff_eV: PositiveFloat = Field(default=520.0, description="Plane-wave cutoff in eV (ENCUT).")
    kpoint_spacing_per_A: PositiveFloat = Field(
        default=0.35,
        description="Largest distance between k-points in 1/A, the factor 2 pi included.",
    )
    gamma_centred: bool = Field(
        default=True, description="Shift even k-point grids so that they hold Gamma."
    )
    smearing_eV: PositiveFloat = Field(
        default=0.1, description="Width of the Fermi-Dirac occupation in eV."
    )
    energy_convergence_eV: PositiveFloat = Field(
        default=1e-6, description="EDIFF in eV for the cell."
    )
    magnetic_moments: dict[str, float] = Field(
        default_factory=dict,
        description="Initial magnetic moment per chemical symbol in Bohr magnetons, such as "
        "{Fe: 2.2}; with any, two spin channels are computed.",
    )
    input: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="More INCAR settings by ASE's lower-case names; they define the level of "
        "theory.",
    )
    max_scf_steps: PositiveInt = Field(
        default=100,
        description="Self-consistency steps of the first try; later tries get three times as "
        "many.",
    )

    @field_validator("input")
    @classmethod
    def _input_leaves_the_calculation_alone(
        cls, settings: dict[str, JsonValue]
    ) -> dict[str, JsonValue]:
        refuse_keys(settings, REFUSED, "input")
        return settings

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """All settings but how VASP is started.

        POTCARs count by the content of their files, once the engine is bound to species.
        """
        settings = self.model_dump(
            mode="json", exclude={"command", "potential_folder", "max_scf_steps"}
        )
        unset = {name for name in ("potential_hashes", "magnetic_moments") if not settings[name]}
        return {name: value for name, value in settings.items() if name not in unset}

    def _bound_to_data(self, species: Iterable[str]) -> "Vasp":
        """The same engine with the content of its POTCARs in `potential_hashes`."""
        hashes = {
            symbol: hash_file(
                self.name, self._potcar(symbol) or self._potential_library() / symbol
            )
            for symbol in species
        }
        return self.model_copy(update={"potential_hashes": hashes})

    def check_available(self) -> None:
        """Raise `LabelError` when VASP or its potentials are missing."""
        words = fill_command(self.command).split()
        check_command(self.name, self.command, words[-1])
        self.check_settings()

    def check_settings(self) -> None:
        """Raise `LabelError` when the folder of the potentials is missing."""
        if not self._potential_library().is_dir():
            raise LabelError(
                f"engine vasp: no folder {self._potential_library()}; potential_folder is the "
                "folder that holds potpaw_PBE"
            )

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Species without a POTCAR."""
        return [symbol for symbol in species if self._potcar(symbol) is None]

    def version_in(self, folder: Path) -> str:
        """What VASP wrote about itself at the top of its OUTCAR."""
        outcar = folder / "OUTCAR"
        if not outcar.exists():
            return ""
        with outcar.open(errors="replace") as lines:
            found = re.match(r"\s*vasp\.(\d\S*)", next(lines, ""))
        return found.group(1) if found else ""

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """One self-consistent calculation."""
        calculator = self.calculator(atoms, folder, rung)
        os.environ["VASP_PP_PATH"] = str(self.potential_folder.absolute())
        try:
            computation = evaluate_calculator(
                calculator, with_moments(atoms, self.magnetic_moments)
            )
        except Exception as error:
            _require_convergence(folder / "OUTCAR", error)
            raise
        _require_convergence(folder / "OUTCAR")
        return computation

    def calculator(self, atoms: Atoms, folder: Path, rung: int = 0) -> Any:
        """The ASE calculator for `atoms`: the k-point grid depends on their cell."""
        from ase.calculators.vasp import Vasp as AseVasp

        settings: dict[str, Any] = {
            "xc": self.functional,
            "encut": self.cutoff_eV,
            "ismear": -1,
            "sigma": self.smearing_eV,
            "ediff": self.energy_convergence_eV,
            "nelm": self.max_scf_steps * (1 if rung == 0 else 3),
            "nsw": 0,
            "ibrion": -1,
            "isym": 0,
            "isif": 2,
            "lwave": False,
            "lcharg": False,
            "lreal": False,
            "kpts": kpoint_grid(atoms, self.kpoint_spacing_per_A),
            "gamma": self.gamma_centred,
        }
        if self.magnetic_moments:
            settings["ispin"] = 2
            starts = with_moments(atoms, self.magnetic_moments).get_initial_magnetic_moments()
            if not starts.any():
                # ASE leaves them out, and VASP would start every atom from 1 Bohr magneton.
                settings["magmom"] = starts.tolist()
        settings.update(self.input)
        settings.update(LADDER[rung])
        return AseVasp(
            directory=str(folder),
            command=fill_command(self.command),
            setups=self.setups or None,
            **settings,
        )

    def _potcar(self, symbol: str) -> Path | None:
        folder = self._potential_library() / f"{symbol}{self.setups.get(symbol, '')}"
        files = (folder / f"POTCAR{suffix}" for suffix in ("", ".gz", ".Z"))
        return next((file for file in files if file.exists()), None)

    def _potential_library(self) -> Path:
        library = "potpaw" if self.functional.upper() == "LDA" else "potpaw_PBE"
        return self.potential_folder / library


def _require_convergence(outcar: Path, error: BaseException | None = None) -> None:
    """Raise `NotConvergedError` unless the last electronic loop of an OUTCAR converged.

    VASP ends normally without self-consistency too. VASP 6 says why it left its loop; VASP 5 says
    that EDIFF is reached when only NELM was, so the steps are counted as well.
    """
    text = outcar.read_text(errors="replace") if outcar.exists() else ""
    reasons = re.findall(r"aborting loop (.*?)\s*-*$", text, flags=re.MULTILINE)
    if reasons and "EDIFF is reached" not in reasons[-1]:
        raise NotConvergedError(f"VASP left its loop {reasons[-1]}") from error
    steps = re.findall(r"- Iteration +\d+\( *(\d+)\)", text)
    limit = re.search(r"^\s*NELM\s*=\s*(\d+)", text, flags=re.MULTILINE)
    if steps and limit and int(steps[-1]) >= int(limit.group(1)):
        raise NotConvergedError(
            f"VASP made all NELM = {limit.group(1)} electronic steps; what it says about EDIFF "
            "then is not to be relied on"
        ) from error
    if error is None and not reasons:
        raise NotConvergedError("OUTCAR does not say that EDIFF was reached")
