"""Quantum ESPRESSO's pw.x, through ASE."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase import Atoms
from ase.units import Rydberg
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, field_validator

from entrove.errors import LabelError
from entrove.formats.codes.espresso import energy_eV
from entrove.labelling.engines.base import (
    Computation,
    Engine,
    NotConvergedError,
    evaluate_calculator,
    with_moments,
    without_moments,
)
from entrove.labelling.engines.external import check_command, fill_command, hash_file, refuse_keys
from entrove.labelling.engines.kpoints import kpoint_grid

OUTPUT_FILE = "espresso.pwo"

LADDER: tuple[dict[str, Any], ...] = (
    {},
    {"mixing_beta": 0.3, "mixing_ndim": 12},
    {
        "mixing_beta": 0.1,
        "mixing_mode": "local-TF",
        "diagonalization": "cg",
        "startingwfc": "random",
    },
)
"""Less mixing, then the slower and more robust solver from random wave functions."""

_OWN_KEY = "the engine has a key of its own for it: "
REFUSED: dict[str, dict[str, str]] = {
    "control": {
        "calculation": "a label is one self-consistent calculation of the structure as it is",
        "tstress": "every label has forces and stress",
        "tprnfor": "every label has forces and stress",
        "outdir": "each attempt has a folder of its own",
        "prefix": "Entrove reads and deletes files by their names",
        "pseudo_dir": _OWN_KEY + "pseudopotential_folder",
    },
    "system": {
        **dict.fromkeys(
            ("ibrav", "nat", "ntyp", "a", "b", "c", "cosab", "cosac", "cosbc"),
            "the structure decides",
        ),
        "ecutwfc": _OWN_KEY + "cutoff_eV",
        "ecutrho": _OWN_KEY + "density_cutoff_eV",
        "degauss": _OWN_KEY + "smearing_eV",
        "nosym": "a displaced crystal must not become another calculation by its symmetry",
        "nspin": "give starting_magnetization, which sets it and where it starts",
    },
    "electrons": {
        "conv_thr": _OWN_KEY + "energy_convergence_eV",
        "electron_maxstep": _OWN_KEY + "max_scf_steps",
        "scf_must_converge": "what is not converged is no label",
    },
}
"""Settings that move atoms, hide a failure, or contradict a key of the engine, and the remedy."""
REFUSED_NAMELISTS: dict[str, str] = dict.fromkeys(
    ("ions", "cell"), "it moves atoms, and a label is of the structure as it is"
)
HYBRIDS = frozenset(
    {"pbe0", "hse", "gaup", "gaupbe", "b3lyp", "b3lyp-v1r", "b3lypv1r", "x3lyp", "hf"}
    | {"b86bpbex", "bhahlyp", "bhandhlyp"}
    | {"vdw-df-cx0", "vdw-df2-0", "vdw-df2-br0", "vdw-df-c090-0"}
)
"""Names of `input_dft` with exact exchange."""
KEYS_OF_HYBRIDS = ("exx_fraction", "exxdiv_treatment", "nqx1", "ecutfock", "screening_parameter")


class Espresso(Engine):
    """Density-functional theory with Quantum ESPRESSO (plane waves, pseudopotentials).

    Arguments: `pseudopotential_folder` and `pseudopotentials`, a file name per chemical symbol;
    `cutoff_eV` of the wave functions (eV). With defaults: `command` that starts pw.x;
    `density_cutoff_eV` (eV); `kpoint_spacing_per_A` (1/A, with the factor 2 pi); `smearing_eV`
    (Fermi-Dirac, eV); `energy_convergence_eV` (eV per cell); `starting_magnetization` per chemical
    symbol (fraction of the valence electrons); `input`, more settings per namelist;
    `max_scf_steps`.
    """

    rungs: ClassVar[int] = len(LADDER)
    scratch: ClassVar[tuple[str, ...]] = (
        "pwscf.wfc*",
        "pwscf.mix*",
        "pwscf.restart*",
        "pwscf.save/wfc*",
    )

    name: Literal["espresso"] = "espresso"
    command: str = Field(
        default="pw.x",
        description="Command that starts pw.x; '{cores}' becomes the cores of the worker, as in "
        "'mpirun -np {cores} pw.x -nk {cores}'.",
    )
    pseudopotential_folder: Path = Field(description="Folder with the pseudopotential files.")
    pseudopotentials: dict[str, str] = Field(description="File name per chemical symbol.")
    cutoff_eV: PositiveFloat = Field(
        description="Cutoff of the wave functions in eV (1 Ry = 13.606 eV)."
    )
    density_cutoff_eV: PositiveFloat | None = Field(
        default=None,
        description="Cutoff of the density in eV; nothing means four times cutoff_eV.",
    )
    kpoint_spacing_per_A: PositiveFloat = Field(
        default=0.35,
        description="Largest distance between k-points in 1/A, the factor 2 pi included.",
    )
    smearing_eV: PositiveFloat = Field(
        default=0.1, description="Width of the Fermi-Dirac occupation in eV."
    )
    energy_convergence_eV: PositiveFloat = Field(
        default=1e-6, description="Estimated energy error at self-consistency in eV for the cell."
    )
    starting_magnetization: dict[str, Annotated[float, Field(ge=-1.0, le=1.0)]] = Field(
        default_factory=dict,
        description="Start of the magnetization per chemical symbol as pw.x takes it, in "
        "fractions of the valence electrons between -1 and 1, such as {Fe: 0.5}; with any, two "
        "spin channels are computed.",
    )
    input: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="More settings per namelist, such as system: {tot_charge: 1}; part of the "
        "level of theory.",
    )
    max_scf_steps: PositiveInt = Field(
        default=100,
        description="Self-consistency steps of the first try; later tries get three times as "
        "many.",
    )

    @field_validator("input")
    @classmethod
    def _input_leaves_the_calculation_alone(
        cls, settings: dict[str, dict[str, JsonValue]]
    ) -> dict[str, dict[str, JsonValue]]:
        refuse_keys(settings, REFUSED_NAMELISTS, "input")
        for namelist, values in settings.items():
            if namelist != namelist.lower() or any(key != key.lower() for key in values):
                raise ValueError(
                    f"write '{namelist}' and its keys in lower case, as Entrove's own settings are"
                )
            refuse_keys(values, REFUSED.get(namelist, {}), f"input: {namelist}")
            if any(key.startswith(("celldm", "starting_magnetization")) for key in values):
                raise ValueError(
                    "the structure decides celldm; starting_magnetization is a key of the engine, "
                    "per chemical symbol"
                )
        return settings

    @property
    def kind(self) -> str:
        """Name of the engine."""
        return self.name

    def theory(self) -> dict[str, object]:
        """All settings but how pw.x is started; pseudopotentials by the content of their files."""
        settings = self.model_dump(
            mode="json", exclude={"command", "pseudopotential_folder", "max_scf_steps"}
        )
        if not self.starting_magnetization:
            del settings["starting_magnetization"]
        settings["pseudopotentials"] = {
            symbol: f"{name} {hash_file(self.name, self.pseudopotential_folder / name)}"
            for symbol, name in sorted(self.pseudopotentials.items())
        }
        if self._has_exact_exchange():
            # So that labels of earlier versions, whose energies were without it, are other labels.
            settings["energy"] = "with exact exchange"
        return settings

    def _has_exact_exchange(self) -> bool:
        system = self.input.get("system", {})
        functional = str(system.get("input_dft", "")).lower()
        return functional in HYBRIDS or any(key in system for key in KEYS_OF_HYBRIDS)

    def check_available(self) -> None:
        """Raise `LabelError` when pw.x or a pseudopotential is missing."""
        check_command(self.name, self.command, "pw.x")
        self.check_settings()

    def check_settings(self) -> None:
        """Raise `LabelError` when a pseudopotential is missing."""
        for name in self.pseudopotentials.values():
            if not (self.pseudopotential_folder / name).is_file():
                raise LabelError(
                    f"engine espresso: no pseudopotential {name} in "
                    f"{self.pseudopotential_folder}; correct pseudopotential_folder or "
                    "pseudopotentials"
                )

    def uncovered(self, species: Iterable[str]) -> list[str]:
        """Species without a pseudopotential in the configuration."""
        return [symbol for symbol in species if symbol not in self.pseudopotentials]

    def version_in(self, folder: Path) -> str:
        """What pw.x wrote about itself."""
        output = folder / OUTPUT_FILE
        text = output.read_text(errors="replace") if output.exists() else ""
        found = re.search(r"Program PWSCF v\.?(\S+)", text)
        return found.group(1) if found else ""

    def compute(self, atoms: Atoms, folder: Path, rung: int) -> Computation:
        """One self-consistent calculation."""
        output = folder / OUTPUT_FILE
        try:
            computation = evaluate_calculator(
                self.calculator(atoms, folder, rung),
                with_moments(without_moments(atoms), self.starting_magnetization),
            )
        except Exception as error:
            # A pw.x that stops unconverged also fails as a program, or leaves no forces to read.
            _require_convergence(output, error)
            raise RuntimeError(
                _read_error(output) or f"{type(error).__name__}: {error}"
            ) from error
        _require_convergence(output)
        energy = energy_eV(output)
        if energy is None:
            raise NotConvergedError(
                "pw.x does not say that energies with exact exchange have converged"
            )
        # ASE's reader takes the first energy, which with a hybrid functional is one without it.
        return replace(computation, energy_eV=energy)

    def calculator(self, atoms: Atoms, folder: Path, rung: int = 0) -> Any:
        """The ASE calculator for `atoms`: the k-point grid depends on their cell."""
        from ase.calculators.espresso import Espresso as AseEspresso
        from ase.calculators.espresso import EspressoProfile

        profile = EspressoProfile(
            command=fill_command(self.command), pseudo_dir=self.pseudopotential_folder.absolute()
        )
        return AseEspresso(
            profile=profile,
            directory=str(folder),
            pseudopotentials=self.pseudopotentials,
            kpts=kpoint_grid(atoms, self.kpoint_spacing_per_A),
            input_data=self._input_data(rung),
        )

    def _input_data(self, rung: int) -> dict[str, dict[str, Any]]:
        data: dict[str, dict[str, Any]] = {
            "control": {
                "calculation": "scf",
                "tstress": True,
                "tprnfor": True,
                "outdir": ".",
                "disk_io": "low",
            },
            "system": {
                "ecutwfc": self.cutoff_eV / Rydberg,
                "ecutrho": (self.density_cutoff_eV or 4 * self.cutoff_eV) / Rydberg,
                "occupations": "smearing",
                "smearing": "fermi-dirac",
                "degauss": self.smearing_eV / Rydberg,
                # A displaced crystal must not become another level of theory by its symmetry.
                "nosym": True,
            },
            "electrons": {
                "conv_thr": self.energy_convergence_eV / Rydberg,
                "electron_maxstep": self.max_scf_steps * (1 if rung == 0 else 3),
            },
        }
        if self.starting_magnetization:
            data["system"]["nspin"] = 2
        for namelist, settings in self.input.items():
            data[namelist] = data.get(namelist, {}) | settings
        # Last, or the user's own mixing would make all rungs the same.
        data["electrons"] |= LADDER[rung]
        return data


def _require_convergence(output: Path, error: BaseException | None = None) -> None:
    text = output.read_text(errors="replace") if output.exists() else ""
    message = next(
        (line.strip() for line in text.splitlines() if "convergence NOT achieved" in line), ""
    )
    if message:
        raise NotConvergedError(message) from error
    if error is None and "convergence has been achieved" not in text:
        raise NotConvergedError("pw.x does not say that convergence has been achieved")


def _read_error(output: Path) -> str:
    """What pw.x printed between its lines of percent signs before it stopped."""
    text = output.read_text(errors="replace") if output.exists() else ""
    lines = [line.strip() for line in text.partition("Error in routine")[2].splitlines()]
    return "pw.x: error in routine " + " ".join(lines[:2]) if lines else ""
