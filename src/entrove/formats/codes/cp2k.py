"""CP2K: its output file, with the trajectory files beside it.

ASE has no reader for this file. It holds the energies, forces and stresses of all steps, but
positions of the first only: those of molecular dynamics and relaxations are in
PROJECT-pos-1.xyz, whose comment lines repeat the energy. Steps and positions are put together by
that energy, so that line searches, which leave no positions, do not shift the others.
Its stress tensor is positive under compression: the trace is three times the pressure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree

from entrove.formats.codes.scanned import OutputLines
from entrove.formats.frame import Frame, LabelKeys
from entrove.formats.labels_of_frame import BrokenFrameError, finite
from entrove.formats.xyz_blocks import iterate_xyz_blocks
from entrove.units import gpa_to_ev_per_a3

_BAR_IN_GPA = 1e-4
_DAMAGE = (ArithmeticError, LookupError, ValueError)  # of numbers and tables that are damaged


@dataclass
class _Evaluation:
    energy_Ha: float
    converged: bool | None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None


@dataclass
class _Output:
    project: str = ""
    run_type: str = ""
    cell: list[list[float]] = field(default_factory=list)
    pbc: list[bool] = field(default_factory=lambda: [True] * 3)
    symbols: list[str] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    evaluations: list[_Evaluation] = field(default_factory=list)
    cell_moves: bool = False


def is_cp2k(head: str) -> bool:
    """Whether the beginning of a file is that of an output of CP2K."""
    return "CP2K|" in head or ("PROGRAM STARTED AT" in head and "**** ****" in head)


def read_cp2k(path: Path, keys: LabelKeys) -> Iterator[Frame]:  # noqa: ARG001 - no keys in it
    """Yield the steps of an output of CP2K."""
    source = str(path)
    lines = OutputLines(path)
    try:
        output = _scan(lines)
        trajectory = _trajectory(path, output)
    except (*_DAMAGE, StopIteration) as error:
        problem = lines.problem or f"the output cannot be read: {error}"
        yield Frame(source, 0, problem=problem)
        return
    if not output.evaluations or not output.symbols:
        problem = lines.problem or "the file ends before its first energy"
        yield Frame(source, 0, problem=problem)
        return
    for index, evaluation in enumerate(output.evaluations):
        positions, cell, problem = trajectory.pop(index, (None, None, ""))
        if index == 0 and positions is None:
            positions, cell, problem = output.positions, output.cell, ""
        if positions is None or cell is None:
            problem = problem or f"no positions of step {index} in {output.project}-pos-1.xyz"
            yield Frame(source, index, problem=problem, converged=evaluation.converged)
            continue
        try:
            atoms = _labelled(output, evaluation, positions, cell)
        except (BrokenFrameError, *_DAMAGE) as error:
            yield Frame(source, index, problem=str(error), converged=evaluation.converged)
            continue
        notes = ["not converged: CP2K says so"] if evaluation.converged is False else []
        if np.count_nonzero(atoms.cell.array) > 3 and cell is output.cell:
            notes.append("cell vectors with the three decimals that CP2K prints")
        yield Frame(source, index, atoms, converged=evaluation.converged, notes=tuple(notes))
    if lines.problem:
        yield Frame(source, len(output.evaluations), problem=lines.problem)


def _labelled(output: _Output, evaluation: _Evaluation, positions: Any, cell: Any) -> Atoms:
    atoms = Atoms(
        output.symbols,
        positions=finite("positions", np.array(positions, dtype=float)),
        cell=finite("cell", np.array(cell, dtype=float)),
        pbc=output.pbc,
    )
    energy_eV = evaluation.energy_Ha * Hartree
    results: dict[str, Any] = {"energy": float(finite("energy", np.array(energy_eV)))}
    if evaluation.forces is not None and len(evaluation.forces) == len(atoms):
        results["forces"] = finite("forces", evaluation.forces)
    if evaluation.stress is not None and all(output.pbc):
        results["stress"] = finite("stress", evaluation.stress)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _scan(lines: Iterator[str]) -> _Output:
    output = _Output()
    converged: bool | None = None
    for line in lines:
        if "SCF run converged" in line:
            converged = converged is not False
        elif "SCF run NOT converged" in line:
            converged = False
        elif line.startswith(" ENERGY| Total FORCE_EVAL"):
            output.evaluations.append(_Evaluation(float(line.split()[-1]), converged))
            converged = None
        elif output.evaluations:
            _scan_labels(line, lines, output.evaluations[-1])
        else:
            _scan_start(line, lines, output)
    output.cell_moves = output.cell_moves or output.run_type.upper().startswith("CELL")
    return output


def _scan_start(line: str, lines: Iterator[str], output: _Output) -> None:
    """What CP2K says before its first energy."""
    if line.startswith(" GLOBAL| Project name"):
        output.project = line.rsplit(maxsplit=1)[-1]
    elif line.startswith(" GLOBAL| Run type"):
        output.run_type = line.rsplit(maxsplit=1)[-1]
    elif line.startswith(" CELL| Vector") and len(output.cell) < 3:
        output.cell.append(_vector(line))
    elif line.startswith(" CELL| Periodicity"):
        axes = line.rsplit(maxsplit=1)[-1].upper()
        output.pbc = [axis in axes and axes != "NONE" for axis in "XYZ"]
    elif re.match(r" MD\| Ensemble.*(NPT|NPE|NPH)", line, flags=re.IGNORECASE):
        output.cell_moves = True
    elif "ATOMIC COORDINATES IN ANGSTROM" in line.upper() and not output.symbols:
        _coordinates(lines, output)


def _scan_labels(line: str, lines: Iterator[str], evaluation: _Evaluation) -> None:
    """Forces and stress, which follow their energy."""
    if "ATOMIC FORCES in [a.u.]" in line or "FORCES| Atomic forces [hartree" in line:
        evaluation.forces = _forces(lines) * Hartree / Bohr
    elif (
        unit := re.match(r" STRESS\| (?:Analytical|Numerical) stress tensor \[(GPa|bar)\]", line)
    ) is not None:
        in_GPa = _stress(lines) * (1.0 if unit[1] == "GPa" else _BAR_IN_GPA)
        evaluation.stress = -in_GPa * gpa_to_ev_per_a3(1.0)


def _vector(line: str) -> list[float]:
    """A cell vector; its printed length has six decimals, its components three."""
    components = np.array([float(word) for word in line.split(":")[1].split()[:3]])
    norm = float(np.linalg.norm(components))
    length = re.search(r"\|[abc]\|\s*=\s*([.\d]+)", line)
    scale = float(length[1]) / norm if length and norm else 1.0
    return [float(component) * scale for component in components]


def _coordinates(lines: Iterator[str], output: _Output) -> None:
    for line in lines:
        words = line.split()
        if len(words) >= 7 and words[0].isdigit():
            output.symbols.append(re.sub(r"[^A-Za-z].*", "", words[2]).capitalize())
            output.positions.append([float(word) for word in words[4:7]])
        elif output.symbols:
            return


def _forces(lines: Iterator[str]) -> np.ndarray:
    rows: list[list[float]] = []
    for line in lines:
        words = line.replace("FORCES|", " ").split()
        if words and words[0].isdigit():
            # Since version 2023.2 the size of the force follows as a fourth number.
            numbers = [float(word) for word in words[1:] if re.fullmatch(r"[-+.\dEe]+", word)]
            rows.append(numbers[-4:-1] if "FORCES|" in line else numbers[-3:])
        elif rows:
            break
    return np.array(rows)


def _stress(lines: Iterator[str]) -> np.ndarray:
    rows: list[list[float]] = []
    for line in lines:
        words = line.split()
        if len(words) == 5 and words[1] in "xyz":
            rows.append([float(word) for word in words[2:]])
        if len(rows) == 3:
            break
    return np.array(rows).ravel()[[0, 4, 8, 5, 2, 1]]


def _trajectory(path: Path, output: _Output) -> dict[int, tuple]:
    """Positions and cell of each evaluation that has positions in a file beside the output."""
    file = path.with_name(f"{output.project}-pos-1.xyz")
    if len(output.evaluations) < 2 or not file.exists():
        return {}
    cells = _cells(path.with_name(f"{output.project}-1.cell"))
    found: dict[int, tuple] = {}
    evaluation = 0
    for block in iterate_xyz_blocks(file):
        energy = re.search(r"E\s*=\s*([-+.\dEe]+)", block.comment)
        if block.problem or energy is None:
            continue
        candidates = range(evaluation, len(output.evaluations))
        matching = [
            index
            for index in candidates
            if abs(output.evaluations[index].energy_Ha - float(energy[1])) < 2e-10
        ]
        if not matching:
            continue
        evaluation = matching[0]
        rows = [line.split() for line in block.lines[2:]]
        positions = [[float(word) for word in row[1:4]] for row in rows]
        step = re.search(r"i\s*=\s*(\d+)", block.comment)
        cell = cells.get(int(step[1])) if step else None
        if cell is None and output.cell_moves:
            found[evaluation] = (
                None,
                None,
                f"its cell changes, but {file.stem} has no .cell file",
            )
        else:
            found[evaluation] = (positions, output.cell if cell is None else cell, "")
        evaluation += 1
    return found


def _cells(file: Path) -> dict[int, np.ndarray]:
    """Cells by step, from PROJECT-1.cell."""
    if not file.exists():
        return {}
    rows = [line.split() for line in OutputLines(file) if not line.startswith("#")]
    return {
        int(row[0]): np.array(row[2:11], dtype=float).reshape(3, 3)
        for row in rows
        if len(row) >= 11
    }
