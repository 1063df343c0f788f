"""GPAW: its text and its .gpw files by ASE's readers, with what these leave out.

From the text of recent versions the reader takes energy and forces, but neither the stress nor
the free energy, and it does not say which steps converged. This reader comes with GPAW.
"""

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from entrove.formats.ase_files import read_by_ase
from entrove.formats.codes.scanned import OutputLines, ScannedStep, beside, scanned_steps
from entrove.formats.frame import Frame, LabelKeys

_BANNERS = ("|__ |  _|___|_____|", "|__||  | ||/\\| - ")


def is_gpaw(head: str) -> bool:
    """Whether the beginning of a file is that of the text output of GPAW."""
    return any(banner in head for banner in _BANNERS)


def read_gpaw_text(path: Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the structures of a text output of GPAW."""
    if importlib.util.find_spec("gpaw") is None and _is_recent(path):
        problem = (
            "the reader of this version's text comes with GPAW, which is not installed; install "
            "it (see entrove doctor), or give a file of ASE, such as .traj or .xyz"
        )
        yield Frame(str(path), 0, problem=problem)
        return
    steps = scanned_steps(path, _scan)
    for frame in beside(read_by_ase(path, keys), steps, path, "the file ends inside this step"):
        if frame.atoms is not None and "energy" not in frame.labels:
            reason = steps[frame.index].reason if frame.index < len(steps) else ""
            yield Frame(frame.source, frame.index, problem=f"no energy; {reason}", converged=False)
        else:
            yield frame


def _is_recent(path: Path) -> bool:
    head = "".join(itertools.islice(OutputLines(path), 10))
    return _BANNERS[1] in head


def _scan(lines: Iterator[str]) -> list[ScannedStep]:
    steps: list[ScannedStep] = []
    for line in lines:
        if line.startswith(("Atoms  #", "Positions:")):
            steps.append(ScannedStep(reason="GPAW does not say that it converged", results={}))
        if not steps:
            continue
        step = steps[-1]
        results = step.results if step.results is not None else {}
        if line.startswith(("Converged in", "Converged after")):
            step.converged, step.reason = True, ""
        elif line.startswith("Did not converge"):
            step.converged, step.reason = False, "not converged: GPAW says so"
        elif line.strip().startswith("Free energy:"):
            results["free_energy"] = float(line.split(":")[1])
        elif line.startswith("Stress tensor") and (stress := _stress(lines)) is not None:
            results["stress"] = stress
    return steps


def _stress(lines: Iterator[str]) -> np.ndarray | None:
    """The next three lines of three numbers, in eV/A^3 and Voigt order."""
    rows: list[list[float]] = []
    for line in lines:
        try:
            numbers = [float(word) for word in line.replace("|", " ").split()]
        except ValueError:
            continue  # head of the table
        if len(numbers) == 3:
            rows.append(numbers)
        if len(rows) == 3 or not line.strip():
            break
    return np.array(rows).ravel()[[0, 4, 8, 5, 2, 1]] if len(rows) == 3 else None
