"""What a scan of an output found for each of its steps, put beside what ASE's reader has read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from entrove.formats.frame import Frame
from entrove.formats.xyz_blocks import READ_ERRORS, open_text


@dataclass
class ScannedStep:
    """One ionic step, as far as the text of an output tells it.

    `converged` is whether its electronic steps converged, None where that is not said; `reason`
    says how it ended. `results` replace or add to those of ASE's reader; a None removes one.
    """

    converged: bool | None = None
    reason: str = ""
    results: dict[str, Any] | None = None
    note: str = ""


def beside(
    frames: Iterator[Frame], steps: Sequence[ScannedStep], path: Path, unread: str
) -> Iterator[Frame]:
    """Yield the frames with what the scan knows about each.

    Args:
        frames: What ASE's reader yields, in the order of the steps.
        steps: What the scan found, one entry per step that was begun.
        path: The file.
        unread: Problem of a step that the reader did not yield.
    """
    index = -1
    for index, frame in enumerate(frames):
        yield _with_step(frame, steps[index]) if index < len(steps) else frame
    for missing in range(index + 1, len(steps)):
        step = steps[missing]
        problem = f"{unread}; {step.reason}" if step.reason else unread
        yield Frame(str(path), missing, problem=problem, converged=step.converged)


def judge_electronic_steps(
    n_steps: int, nelm: int, ediff_eV: float, changes_eV: Sequence[float]
) -> ScannedStep:
    """Judge one ionic step of VASP.

    It converged when VASP left its electronic loop before NELM steps, or with a last change of
    the energy below EDIFF.
    """
    if n_steps < nelm or (changes_eV and abs(changes_eV[-1]) < ediff_eV):
        return ScannedStep(converged=True)
    change = f", the last of which changed the energy by {changes_eV[-1]:.2g} eV"
    return ScannedStep(
        converged=False,
        reason=f"not converged: NELM = {nelm} electronic steps{change if changes_eV else ''}",
    )


class OutputLines(Iterator[str]):
    """The lines of an output, compressed or not, as far as they can be read.

    `problem` says why they ended early, once they have.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self._lines = self._read(path)

    def __next__(self) -> str:
        return next(self._lines)

    def _read(self, path: Path) -> Iterator[str]:
        try:
            with open_text(path) as handle:
                yield from handle
        except READ_ERRORS as error:
            self.problem = f"reading stopped: {error or type(error).__name__}"


def scanned_steps(
    path: Path, scan: Callable[[Iterator[str]], list[ScannedStep]]
) -> list[ScannedStep]:
    """Return what a scan of an output finds, for a reader of ASE that names damage itself.

    Nothing where a number of the scan is damaged: then no step has a verdict on convergence.
    """
    try:
        return scan(OutputLines(path))
    except (ArithmeticError, ValueError):
        return []


def _with_step(frame: Frame, step: ScannedStep) -> Frame:
    said = [value for value in (frame.converged, step.converged) if value is not None]
    notes = [*frame.notes, *(note for note in (step.note,) if note)]
    if step.converged is False and step.reason:
        notes.append(step.reason)
    atoms = frame.atoms
    if atoms is not None and step.results:
        atoms = _with_results(atoms, step.results)
    return replace(frame, atoms=atoms, converged=all(said) if said else None, notes=tuple(notes))


def _with_results(atoms: Atoms, results: dict[str, Any]) -> Atoms:
    known = dict(getattr(atoms.calc, "results", {}))
    for name, value in results.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = np.asarray(value) if np.ndim(value) else value
    atoms.calc = SinglePointCalculator(atoms, **known) if known else None
    return atoms
