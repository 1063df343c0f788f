"""What is wrong with a single frame, whatever the others are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from entrove.curation.auditing.findings import Severity
from entrove.formats import Frame
from entrove.formats.labels_of_frame import RESEMBLES

MOST_NET_FORCE_EV_PER_A = 0.01
"""Mean force per atom above which forces do not sum to zero."""

FLATTEST_CELL = 1e-3
"""Volume over the product of the lengths of the vectors, below which a cell is flat."""

LEAST_VOLUME_PER_ATOM_A3 = 1.0
OVERLAP_OF_RADII = 0.5
"""Atoms closer than this share of the sum of their covalent radii overlap."""

_KELVIN = re.compile(r"(\d+(?:\.\d+)?)\s*K\b|temp(?:erature)?[_ =]?(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one frame."""

    kind: str
    severity: Severity
    title: str
    evidence: str
    remedy: str


def check_unreadable(frame: Frame) -> Problem:
    """Name why a frame could not be read, by what its reader says."""
    text = frame.problem
    if "not finite" in text:
        kind, title = "not_finite", "numbers that are not finite"
    elif "no chemical element" in text:
        kind, title = "unknown_element", "atoms of no chemical element"
    elif "needed" in text or "shape" in text:
        kind, title = "wrong_shape", "labels of a wrong shape"
    elif "contradict" in text or "in doubt" in text:
        kind, title = "labels_contradict", "labels of one frame that contradict each other"
    else:
        kind, title = "unreadable", "frames that cannot be read"
    remedy = "correct the frame in its file, or remove it; it was left out of everything below"
    return Problem(kind, Severity.BLOCKER, title, text, remedy)


def check_frame(frame: Frame, atoms: Atoms) -> Iterator[Problem]:
    """Everything wrong with a frame that can be seen without neighbours."""
    results = getattr(atoms.calc, "results", {})
    yield from _check_cell(atoms)
    if not np.isfinite(atoms.positions).all():
        yield _blocker(
            "not_finite", "numbers that are not finite", "positions", "remove the frame"
        )
    if frame.converged is False:
        yield _blocker(
            "not_converged",
            "frames that say of themselves that they did not converge",
            "the electronic steps ended without convergence",
            "remove them, or compute them again with more steps",
        )
    for note in frame.notes:
        if RESEMBLES in note:
            yield Problem(
                "label_name",
                Severity.WARNING,
                "names that may be those of labels, and are not taken",
                note,
                "give the name with --energy-key or --forces-key where its unit is eV or eV/A, "
                "or multiply the values first; otherwise the frames have no such label",
            )
    energy = results.get("energy")
    isolated = is_isolated(atoms)
    if energy is not None and energy == 0.0 and not isolated:
        yield _blocker(
            "zero_energy",
            "energies of exactly zero",
            "energy 0.0: a default, not a result",
            "compute the label again, or remove the frame",
        )
    for name in ("energy", "forces", "stress"):
        if name in results and not np.isfinite(results[name]).all():
            yield _blocker("not_finite", "numbers that are not finite", name, "remove the frame")
    forces = results.get("forces")
    if forces is not None and len(forces) == len(atoms) > 0 and np.isfinite(forces).all():
        net = float(np.linalg.norm(np.asarray(forces).sum(axis=0))) / len(atoms)
        typical = float(np.sqrt((np.asarray(forces) ** 2).sum(axis=1).mean()))
        if net > max(MOST_NET_FORCE_EV_PER_A, 0.02 * typical):
            yield _blocker(
                "net_force",
                "forces that do not sum to zero",
                f"{net:.3g} eV/A per atom, forces of {typical:.3g} eV/A",
                "converge the forces, or remove an external field or a fixed atom; a potential "
                "cannot fit a net force",
            )


def is_isolated(atoms: Atoms) -> bool:
    """Whether this is one atom on its own, a reference for cohesive energies."""
    if len(atoms) != 1:
        return False
    if not atoms.pbc.any():
        return True
    lengths = np.abs(np.linalg.norm(atoms.cell.array, axis=1))[atoms.pbc]
    return bool(lengths.min() > 6.0)


def temperature_of(atoms: Atoms) -> float:
    """The temperature in K that a frame names, not a number where it names none."""
    for key, value in atoms.info.items():
        if "temperature" in key.lower() and isinstance(value, int | float | np.number):
            return float(value)
    for value in atoms.info.values():
        if isinstance(value, str) and (found := _KELVIN.search(value)):
            return float(found[1] or found[2])
    return float("nan")


def source_of(frame: Frame, atoms: Atoms) -> str:
    """The part of a set that a frame belongs to, by what it says of itself.

    A `head` of MACE is a level of theory of its own, whatever kinds of frames it has.
    """
    said = {
        key: value
        for key in ("head", "config_type", "entrove_kind", "dataset", "data_source")
        if isinstance(value := atoms.info.get(key), str) and len(value) < 60
    }
    kinds = [value for key, value in said.items() if key != "head"]
    names = [*([said["head"]] if "head" in said else []), *kinds[:1]]
    return f"{frame.source} [{', '.join(names)}]" if names else frame.source


def _check_cell(atoms: Atoms) -> Iterator[Problem]:
    if not atoms.pbc.any():
        return
    cell = atoms.cell.array
    remedy = "write the lattice vectors of the calculation, or switch pbc off"
    lengths = np.linalg.norm(cell, axis=1)
    if (lengths[atoms.pbc] < 1e-6).any():
        yield _blocker(
            "zero_cell", "periodic cells without lattice vectors", f"cell {cell.tolist()}", remedy
        )
        return
    if not atoms.pbc.all():
        return
    determinant = float(np.linalg.det(cell))
    if abs(determinant) < FLATTEST_CELL * float(lengths.prod()):
        yield _blocker("flat_cell", "flat cells", f"volume {abs(determinant):.3g} A^3", remedy)
    elif abs(determinant) < LEAST_VOLUME_PER_ATOM_A3 * len(atoms):
        per_atom = abs(determinant) / max(len(atoms), 1)
        yield _blocker("flat_cell", "flat cells", f"{per_atom:.3g} A^3 per atom", remedy)
    elif determinant < 0:
        yield Problem(
            "left_handed_cell",
            Severity.WARNING,
            "left-handed cells",
            f"determinant {determinant:.3g} A^3",
            "exchange two lattice vectors; some codes read such cells wrongly",
        )


def _blocker(kind: str, title: str, evidence: str, remedy: str) -> Problem:
    return Problem(kind, Severity.BLOCKER, title, evidence, remedy)
