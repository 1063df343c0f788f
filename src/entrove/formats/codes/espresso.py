"""Quantum ESPRESSO's pw.x by ASE's reader, with the convergence of each step.

ASE's reader gives up the whole file where it cannot make sense of the bands, as after a
self-consistency that did not converge. Bands are no labels: they are hidden from it. It also takes
the first energy of a structure. With exact exchange that is the one before exchange was switched
on, and others follow while it is refined. The last one, whose derivative the forces are, has two
exclamation marks; the others are hidden.
"""

import io
from collections.abc import Iterator
from pathlib import Path

from entrove.formats.ase_files import frame_of
from entrove.formats.codes.scanned import OutputLines
from entrove.formats.frame import Frame, LabelKeys

_BANDS = ("End of self-consistent calculation", "End of band structure calculation")
_TOTAL_ENERGY, _WITH_EXACT_EXCHANGE = "!    total energy", "!!   total energy"
_REFINES_EXACT_EXCHANGE = "EXX: now go back to refine exchange calculation"


def is_espresso(head: str) -> bool:
    """Whether the beginning of a file is that of an output of pw.x."""
    return "Program PWSCF" in head


def read_espresso(path: Path, keys: LabelKeys) -> Iterator[Frame]:
    """Yield the structures of an output of pw.x that were computed."""
    from ase.io import iread

    output = OutputLines(path)
    text, said, finished = _scan(output)
    index = 0
    try:
        structures = iread(
            io.StringIO(text), index=":", format="espresso-out", results_required=False
        )
        for step, atoms in enumerate(structures):
            converged = said[step] if step < len(said) else None
            computed = atoms.calc is not None and "energy" in atoms.calc.results
            if not computed and converged is None and step > 0 and finished:
                continue  # the structure after the last step, which is printed only
            frame = frame_of(atoms, str(path), index, keys, converged)
            if not computed and converged is None:
                frame = Frame(str(path), index, problem="the file ends before its energy")
            elif converged is False:
                frame = _not_converged(frame)
            yield frame
            index += 1
    except Exception as error:  # ASE's readers raise exceptions of any kind on a damaged file
        problem = f"ASE cannot read on ({type(error).__name__}: {error}); the rest is not read"
        yield Frame(str(path), index, problem=problem)
        index += 1
    if output.problem:
        yield Frame(str(path), index, problem=output.problem)


def energy_eV(path: Path) -> float | None:
    """The last energy of an output of one structure, the one that its forces belong to.

    None where the output has none that converged.
    """
    *_, last = (None, *read_espresso(path, LabelKeys()))
    if last is None or last.atoms is None or last.converged is not True:
        return None
    return float(last.atoms.get_potential_energy()) if "energy" in last.labels else None


def _scan(output: OutputLines) -> tuple[str, list[bool | None], bool]:
    """The text that ASE reads; whether each structure converged; whether the job ended."""
    lines: list[str] = []
    said: list[bool | None] = []
    unrefined: set[int] = set()  # structures whose exact exchange did not become consistent
    without_exchange: list[int] = []  # lines with an energy of the present structure
    finished = False
    for line in output:
        if "Program PWSCF" in line or "ATOMIC_POSITIONS" in line:
            said.append(None)
            without_exchange.clear()
        elif "convergence has been achieved" in line and said:
            said[-1] = said[-1] is not False
        elif "convergence NOT achieved" in line and said:
            said[-1] = False
        elif _REFINES_EXACT_EXCHANGE in line and said:
            unrefined.add(len(said) - 1)
        elif _WITH_EXACT_EXCHANGE in line and said:
            unrefined.discard(len(said) - 1)
            for place in without_exchange:
                lines[place] = "\n"
        elif _TOTAL_ENERGY in line:
            without_exchange.append(len(lines))
        finished = finished or "JOB DONE" in line
        hidden = any(phrase in line for phrase in _BANDS)
        lines.append("\n" if hidden else line.replace(_WITH_EXACT_EXCHANGE, _TOTAL_ENERGY))
    for index in unrefined:
        said[index] = False
    return "".join(lines), said, finished


def _not_converged(frame: Frame) -> Frame:
    reason = (
        "pw.x says that convergence was NOT achieved, or did not refine exact exchange to the end"
    )
    notes = (*frame.notes, f"not converged: {reason}")
    return Frame(frame.source, frame.index, frame.atoms, frame.problem, False, notes)
