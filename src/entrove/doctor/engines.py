"""Engines that compute labels: which are found here, in which version, with which data."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from entrove._optional import install_command
from entrove.doctor.findings import Finding, State
from entrove.doctor.programs import ask
from entrove.errors import EntroveError
from entrove.labelling.engines.cp2k import Cp2k
from entrove.labelling.engines.gpaw import Gpaw
from entrove.labelling.engines.pseudopotentials import pseudopotential_folders

SECTION = "engines"

VASP_PROGRAMS = ("vasp_std", "vasp", "vasp_gam")


def examine_engines() -> Iterator[Finding]:
    """Look for GPAW, Quantum ESPRESSO, VASP and CP2K and for their data."""
    found = [_gpaw(), _espresso(), _vasp(), _cp2k()]
    yield from found
    yield Finding(
        SECTION,
        "ase, mlip",
        State.WORKS,
        "any ASE calculator ('module:factory'), or another potential as a teacher",
    )
    if all(finding.state is not State.WORKS for finding in found):
        yield Finding(
            SECTION,
            "DFT",
            State.WARNING,
            "no DFT code is found on this machine",
            "load its module, label on a cluster (executor: {name: slurm}), or import labels that "
            "exist ('entrove import')",
        )


def _gpaw() -> Finding:
    engine = Gpaw()
    try:
        engine.check_available()
    except EntroveError:
        compiler = "" if shutil.which("g++") else "; it needs the C++ compiler g++, not found here"
        return Finding(
            SECTION, "gpaw", State.ABSENT, f"not installed{compiler}", install_command("gpaw")
        )
    except Exception as error:  # an extension that was built for other libraries
        return Finding(
            SECTION,
            "gpaw",
            State.WARNING,
            f"is installed and cannot be imported: {type(error).__name__}: {error}",
            install_command("gpaw").replace("install ", "install --force-reinstall ", 1),
        )
    elements = gpaw_elements()
    if not elements:
        return Finding(
            SECTION,
            "gpaw",
            State.WARNING,
            f"{engine.version()}, no PAW datasets for PBE",
            "pip install gpaw-data, or set GPAW_SETUP_PATH to the folder that holds them",
        )
    return Finding(
        SECTION,
        "gpaw",
        State.WORKS,
        f"{engine.version()}, PAW datasets for PBE of {len(elements)} elements",
    )


def gpaw_elements() -> list[str]:
    """Return the elements that an installed GPAW has PAW datasets for PBE of."""
    from ase.data import chemical_symbols

    engine = Gpaw()
    symbols = chemical_symbols[1:95]
    missing = set(engine.uncovered(symbols))
    return [symbol for symbol in symbols if symbol not in missing]


def _espresso() -> Finding:
    program = shutil.which("pw.x")
    folders = pseudopotential_folders()
    data = "; ".join(
        f"{len(files)} pseudopotentials in {folder}" for folder, files in folders.items()
    )
    data = data or "no pseudopotentials in the usual folders"
    if program is None:
        return Finding(SECTION, "espresso", State.ABSENT, f"no pw.x on PATH; {data}")
    status, output = ask([program])
    version = re.search(r"Program PWSCF v\.?(\S+)", output)
    if version is None:
        return Finding(
            SECTION,
            "espresso",
            State.WARNING,
            f"{program} does not start ({_last(output) or f'exit status {status}'})",
            "start it in a terminal; under MPI, give labelling.engine.command, such as "
            "'mpirun -np {cores} pw.x'",
        )
    remedy = (
        ""
        if folders
        else "get pseudopotentials (such as SSSP) and give labelling.engine.pseudopotential_folder"
    )
    return Finding(SECTION, "espresso", State.WORKS, f"pw.x {version[1]}; {data}", remedy)


def _vasp() -> Finding:
    program = next(filter(None, map(shutil.which, VASP_PROGRAMS)), None)
    folder = os.environ.get("VASP_PP_PATH", "")
    data = f"potentials in {folder}" if folder and Path(folder).is_dir() else ""
    if program is None:
        also = f"; {data}" if data else ""
        return Finding(SECTION, "vasp", State.ABSENT, f"no vasp_std on PATH{also}")
    if not data:
        return Finding(
            SECTION,
            "vasp",
            State.WORKS,
            f"{program}; VASP_PP_PATH names no folder",
            "give labelling.engine.potential_folder, the folder that holds potpaw_PBE",
        )
    return Finding(SECTION, "vasp", State.WORKS, f"{program}; {data}")


def _cp2k() -> Finding:
    command = Cp2k().command.split()[0]
    program = next(filter(None, map(shutil.which, (command, "cp2k", "cp2k.ssmp"))), None)
    if program is None:
        return Finding(SECTION, "cp2k", State.ABSENT, f"no {command} on PATH")
    status, output = ask([program, "--version"])
    words = output.partition("CP2K version")[2].split()
    if not words:
        return Finding(
            SECTION,
            "cp2k",
            State.WARNING,
            f"{program} does not start ({_last(output) or f'exit status {status}'})",
            "start it in a terminal; give labelling.engine.command as it works there, with -s",
        )
    own = Path(program).name == command
    return Finding(
        SECTION,
        "cp2k",
        State.WORKS,
        f"{program}, version {words[0]}",
        "" if own else f"give labelling.engine.command: {Path(program).name} -s",
    )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
