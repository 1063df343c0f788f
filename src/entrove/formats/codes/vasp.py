"""VASP's OUTCAR by ASE's reader, with the convergence of each ionic step.

ASE's reader returns every step as if it had converged, and the last one of a killed job not at
all. The phrase "aborting loop because EDIFF is reached" alone proves
nothing: VASP 5 prints it after NELM steps, too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from entrove.formats.ase_files import read_by_ase
from entrove.formats.codes.scanned import (
    ScannedStep,
    beside,
    judge_electronic_steps,
    scanned_steps,
)
from entrove.formats.frame import Frame, LabelKeys

DEFAULT_NELM = 60
_TRACE_ONLY = "no stress: with ISIF = 1 VASP computes its trace only"


def read_outcar(path: Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the ionic steps of an OUTCAR."""
    yield from beside(
        read_by_ase(path, keys, "vasp-out"),
        scanned_steps(path, _scan_outcar),
        path,
        "the file ends inside this ionic step",
    )


def _scan_outcar(lines: Iterator[str]) -> list[ScannedStep]:
    nelm, ediff_eV, isif = DEFAULT_NELM, 1e-4, 2
    settings = re.compile(r"^\s*(NELM|EDIFF|ISIF)\s*=\s*([-+.\dEe]+)")
    start = re.compile(r"^\s*vasp\.\d")
    iteration = re.compile(r"Iteration\s+(\d+)\(\s*(\d+)\)")
    steps: list[ScannedStep] = []
    ionic, electronic, changes_eV, aborted = 0, 0, list[float](), ""

    def close() -> None:
        if not ionic:
            return
        step = judge_electronic_steps(electronic, nelm, ediff_eV, changes_eV)
        if "not reached" in aborted or "unconverged" in aborted:
            step = ScannedStep(converged=False, reason=f"not converged: VASP says '{aborted}'")
        elif not aborted and electronic < nelm:
            step = ScannedStep()  # killed, or a version that says nothing
        if isif == 1:
            step.results, step.note = {"stress": None}, _TRACE_ONLY
        steps.append(step)

    for line in lines:
        if start.match(line):  # of each run, where several were put into one file
            close()
            ionic, electronic, changes_eV, aborted = 0, 0, [], ""
        elif not ionic and (setting := settings.match(line)):
            value = float(setting[2].rstrip("."))
            nelm = int(value) if setting[1] == "NELM" else nelm
            ediff_eV = value if setting[1] == "EDIFF" else ediff_eV
            isif = int(value) if setting[1] == "ISIF" else isif
        elif "Iteration" in line and (found := iteration.search(line)):
            if int(found[1]) != ionic:
                close()
                ionic, changes_eV, aborted = int(found[1]), [], ""
            electronic = int(found[2])
        elif "total energy-change" in line:
            change = re.search(r":\s*([-+.\dEe]+)", line)
            changes_eV += [float(change[1])] if change else []
        elif "aborting loop" in line:
            aborted = line.strip(" -\n")
    close()
    return steps
