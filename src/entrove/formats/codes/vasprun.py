"""VASP's vasprun.xml, step by step.

ASE's reader keeps the whole file in memory, stops at the first step of a machine-learned force
field, returns unconverged steps as if they had converged, and the last one of a killed job not at
all. This one forgets each step once it is yielded. Energies follow ASE's conventions: the energy
is that of zero smearing, the free energy that of which the forces are derivatives.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from entrove.formats.codes.scanned import ScannedStep, judge_electronic_steps
from entrove.formats.frame import Frame
from entrove.formats.labels_of_frame import BrokenFrameError, finite
from entrove.formats.xyz_blocks import READ_ERRORS, open_text
from entrove.units import gpa_to_ev_per_a3

_KBAR_IN_EV_PER_A3 = gpa_to_ev_per_a3(0.1)
_FORGOTTEN = ("calculation", "dos", "eigenvalues", "projected", "dynmat")


@dataclass
class _Settings:
    numbers: dict[str, float] = field(
        default_factory=lambda: {"NELM": 60.0, "EDIFF": 1e-4, "ISIF": 2.0, "PSTRESS": 0.0}
    )
    symbols: list[str] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    problem: str = ""


def read_vasprun(path: Path) -> Iterator[Frame]:
    """Yield the ionic steps of a vasprun.xml."""
    settings = _Settings()
    index, inside = 0, False
    try:
        with open_text(path) as handle:
            for event, element in ET.iterparse(handle, events=("start", "end")):
                if event == "start":
                    inside = inside or element.tag == "calculation"
                elif element.tag == "calculation":
                    yield _frame(element, settings, str(path), index)
                    index, inside = index + 1, False
                elif not inside:
                    _remember(element, settings)
                if event == "end" and element.tag in _FORGOTTEN:
                    element.clear()
    except (ET.ParseError, UnicodeError, LookupError, *READ_ERRORS) as error:
        where = "inside this ionic step" if inside else "before its end"
        yield Frame(str(path), index, problem=f"the file ends {where} ({error})")


def holds_a_step(path: Path) -> bool:
    """Whether a vasprun.xml holds a whole ionic step, which one that was cut early does not."""
    try:
        with open_text(path) as handle:
            return any(element.tag == "calculation" for _, element in ET.iterparse(handle))
    except (ET.ParseError, UnicodeError, LookupError, *READ_ERRORS):
        return False


def _remember(element: ET.Element, settings: _Settings) -> None:
    name = element.get("name")
    if element.tag == "i" and name in settings.numbers and element.text:
        _remember_number(name, element.text.strip(), settings)
    elif element.tag == "atominfo":
        rows = element.findall("array[@name='atoms']/set/rc")
        settings.symbols = [(row.findtext("c") or "").strip() for row in rows]
    elif element.tag == "varray" and name == "selective":
        rows = [(row.text or "").split() for row in element]
        settings.fixed = [atom for atom, row in enumerate(rows) if row == ["F", "F", "F"]]


def _remember_number(name: str, text: str, settings: _Settings) -> None:
    try:
        settings.numbers[name] = float(finite(name, np.array(float(text))))
    except (BrokenFrameError, ValueError):
        settings.problem = f"{name} is '{text}', which is no number"


def _frame(element: ET.Element, settings: _Settings, source: str, index: int) -> Frame:
    electronic = element.findall("scstep/energy")
    numbers = settings.numbers
    if not electronic:
        problem = "no electronic steps: a step of a machine-learned force field is no label"
        return Frame(source, index, problem=problem)
    step = ScannedStep()
    try:
        if settings.problem:
            raise BrokenFrameError(settings.problem)
        energies_eV = [_number(step, "e_fr_energy") for step in electronic]
        changes_eV = [new - old for old, new in pairwise(energies_eV)]
        step = judge_electronic_steps(
            len(electronic), int(numbers["NELM"]), numbers["EDIFF"], changes_eV
        )
        atoms = _structure(element, settings)
        results = _results(element, electronic[-1], atoms, numbers["PSTRESS"])
    # Tables of other shapes and symbols of no element, where the file is damaged.
    except (BrokenFrameError, ArithmeticError, LookupError, ValueError) as error:
        return Frame(source, index, problem=str(error), converged=step.converged)
    notes = [step.reason] if step.converged is False else []
    if "stress" in results and int(numbers["ISIF"]) == 1:
        del results["stress"]
        notes.append("no stress: with ISIF = 1 VASP computes its trace only")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return Frame(source, index, atoms, converged=step.converged, notes=tuple(notes))


def _structure(element: ET.Element, settings: _Settings) -> Atoms:
    cell = _rows(element, "structure/crystal/varray[@name='basis']")
    positions = _rows(element, "structure/varray[@name='positions']")
    if cell is None or positions is None:
        raise BrokenFrameError("no structure in this step")
    atoms = Atoms(settings.symbols, cell=cell, scaled_positions=positions, pbc=True)
    if settings.fixed:
        atoms.set_constraint(FixAtoms(settings.fixed))
    return atoms


def _results(
    element: ET.Element, last: ET.Element, atoms: Atoms, pstress_kbar: float
) -> dict[str, Any]:
    # The energy of a step is an enthalpy, those of its electronic steps are not; but the latter
    # lack corrections for dispersion: their difference to zero smearing is taken.
    energy = element.find("energy")
    if energy is None:
        raise BrokenFrameError("no energy in this step")
    work_eV = pstress_kbar * _KBAR_IN_EV_PER_A3 * atoms.cell.volume
    free_eV = _number(energy, "e_fr_energy") - work_eV
    to_zero_eV = _number(last, "e_0_energy") - _number(last, "e_fr_energy")
    results: dict[str, Any] = {"energy": free_eV + to_zero_eV, "free_energy": free_eV}
    forces = _rows(element, "varray[@name='forces']")
    if forces is not None:
        results["forces"] = forces
    stress = _rows(element, "varray[@name='stress']")
    if stress is not None:
        results["stress"] = -_KBAR_IN_EV_PER_A3 * stress.ravel()[[0, 4, 8, 5, 2, 1]]
    return results


def _number(element: ET.Element, name: str) -> float:
    found = element.find(f"i[@name='{name}']")
    if found is None or not found.text:
        raise BrokenFrameError(f"no {name} in this step")
    return float(finite(name, np.array(float(found.text))))


def _rows(element: ET.Element, place: str) -> np.ndarray | None:
    found = element.find(place)
    if found is None:
        return None
    rows = np.array([[float(word) for word in (row.text or "").split()] for row in found])
    return finite(place.split("'")[1], rows)
