"""Run LAMMPS with an exported potential, and read energies, forces and pressures."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from entrove.errors import ModelError
from entrove.export.agreement import Prediction
from entrove.export.lammps.cells import prediction_from_lammps, write_data_file
from entrove.export.lammps.interface import PairStyle

COMPONENTS = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
LONGEST_S = 3600.0
LONGEST_ANSWER_S = 60.0


@dataclass(frozen=True)
class Lammps:
    """An executable of LAMMPS.

    Attributes:
        command: Its name or path.
        version: What it says about itself.
        pair_styles: The pair styles that it was built with.
    """

    command: str
    version: str
    pair_styles: frozenset[str]


def find_lammps(command: str | None) -> Lammps | None:
    """Find an executable of LAMMPS and ask it for its version and pair styles.

    Args:
        command: Name or path; None looks for `lmp` on the PATH.

    Returns None when none was asked for and there is none.

    Raises `ModelError` when the one that was asked for does not exist or does not start.
    """
    found = shutil.which(command or "lmp")
    if found is None:
        if command is None:
            return None
        raise ModelError(f"{command}: no such program; give the path of LAMMPS' executable")
    printed, complaint = _help_of(found)
    version = re.search(r"Simulator - (.+)", printed)
    styles = re.search(r"\* Pair styles:\n(.*?)\n\* ", printed, re.S)
    if version is None or styles is None:
        if command is None:
            return None
        last = (complaint or printed).strip().splitlines()[-1:]
        raise ModelError(
            f"{command}: does not answer '-h' as LAMMPS does ({' '.join(last) or 'no output'}); "
            "give the path of LAMMPS' executable, and check that it starts"
        )
    return Lammps(found, version[1].strip(), frozenset(styles[1].split()))


def _help_of(program: str) -> tuple[str, str]:
    """Return what a program prints when it is asked for help, and its complaint, if any."""
    try:
        asked = subprocess.run(
            [program, "-h"],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_ANSWER_S,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {LONGEST_ANSWER_S:g} s"
    except OSError as error:
        return "", str(error)
    return asked.stdout, asked.stderr


def why_not_run(lammps: Lammps | None, style: PairStyle, plugin: Path | None) -> str:
    """Say why LAMMPS cannot run the potential; empty when it can."""
    if lammps is None:
        return "no program 'lmp' on the PATH that starts; give one with --lammps"
    if style.name not in lammps.pair_styles and plugin is None:
        return (
            f"{lammps.command} ({lammps.version}) has no pair style {style.name}; see README.md "
            "for how to build it"
        )
    return ""


def run_on_structures(
    lammps: Lammps,
    folder: Path,
    style: PairStyle,
    species: Sequence[str],
    structures: Sequence[Atoms],
    plugin: Path | None,
    work: Path,
) -> list[Prediction]:
    """Run LAMMPS, for no time step, on structures that are periodic in all directions.

    Args:
        lammps: The executable.
        folder: The folder with the file of the potential.
        style: The commands that select it.
        species: Elements of the atom types 1, 2, ...
        structures: The structures.
        plugin: A plugin to load first, or None.
        work: A folder for the files of the run; it must exist.

    Returns energies, forces and stresses in ASE's orientation.

    Raises `ModelError` with the last lines of its output when LAMMPS fails.
    """
    lines = [] if plugin is None else [f"plugin load {_link_plugin(plugin, work)}"]
    for index, atoms in enumerate(structures):
        write_data_file(work / f"{index}.data", atoms, species)
        lines += _commands(index, style, species)
    (work / "in.check").write_text("\n".join(lines) + "\n")
    for file in style.file.split():
        if (folder / file).exists() and not (work / file).exists():
            (work / file).symlink_to((folder / file).resolve())
    _run(lammps, "in.check", work)
    results = work / "results.txt"
    rows = results.read_text().splitlines() if results.is_file() else []
    if len(rows) != len(structures):
        raise ModelError(
            f"{lammps.command}: gave results for {len(rows)} of {len(structures)} structures"
        )
    return [
        _prediction(atoms, row, work / f"{index}.forces")
        for index, (atoms, row) in enumerate(zip(structures, rows, strict=True))
    ]


def _link_plugin(plugin: Path, work: Path) -> str:
    """Link a plugin into the folder of the run; return a path without blanks.

    LAMMPS splits lines at blanks, and looks for a name without a slash where libraries are.
    """
    (work / "plugin.so").symlink_to(plugin.resolve())
    return "./plugin.so"


def run_input(lammps: Lammps, folder: Path, file: str, work: Path) -> None:
    """Run an input as it is; its outputs go to `work`, a folder that exists.

    Raises `ModelError` with the last lines of its output when LAMMPS fails.
    """
    for path in folder.iterdir():
        (work / path.name).symlink_to(path.resolve())
    _run(lammps, file, work)


def _run(lammps: Lammps, file: str, work: Path) -> None:
    try:
        finished = subprocess.run(
            [lammps.command, "-in", file, "-screen", "none", "-log", "log.lammps"],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{lammps.command} -in {file} did not end within {LONGEST_S / 3600:g} h; "
            "check fewer structures (--structures)"
        ) from error
    if finished.returncode:
        log = work / "log.lammps"
        said = (log.read_text() if log.is_file() else "") + finished.stdout + finished.stderr
        raise ModelError(
            f"{lammps.command} -in {file} failed: " + " | ".join(said.strip().splitlines()[-5:])
        )


def _commands(index: int, style: PairStyle, species: Sequence[str]) -> list[str]:
    pressures = " ".join(f"$({component}:%.15g)" for component in COMPONENTS)
    return [
        "clear",
        "units metal",
        "atom_style atomic",
        f"newton {style.newton}",
        "boundary p p p",
        "box tilt large",
        f"read_data {index}.data",
        *style.commands(species),
        f"thermo_style custom step pe {' '.join(COMPONENTS)}",
        "thermo_modify norm no",
        "run 0 post no",
        f'print "$(pe:%.15g) {pressures}" append results.txt screen no',
        f'write_dump all custom {index}.forces id fx fy fz modify sort id format float "%.15g"',
    ]


def _prediction(atoms: Atoms, row: str, forces: Path) -> Prediction:
    energy, *pressures = map(float, row.split())
    table = np.loadtxt(forces, skiprows=9, ndmin=2)
    return prediction_from_lammps(atoms, energy, np.array(pressures), table[:, 1:])
