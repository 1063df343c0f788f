"""Two atoms alone: is there a repulsion at short distances, and no hole in it?

Tuning on crystals and MD says nothing about short distances. Where the energy falls again when two
atoms come closer, they fall into each other in hot MD.
"""

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from entrove.models.prediction import predict
from entrove.structures import energy_of, forces_of
from entrove.validation.suite.config import DimerSettings
from entrove.validation.suite.result import (
    CheckResult,
    Curve,
    Panel,
    Quantity,
    curve,
    judged,
    not_applicable,
    number,
)
from entrove.validation.suite.subject import Subject

NAME = "dimers"
MOST_DRAWN_EV = 60.0

FEWEST_INSIDE = 2
"""Points below the onset that a curve needs: a hole is a fall between two of them."""

VACUUM_A = 10.0
"""Between an atom and the faces of its box, so that no cutoff reaches a periodic image."""


def check_dimers(subject: Subject, settings: DimerSettings) -> list[CheckResult]:
    """Compute the curve of each pair of species, all in one batch."""
    pairs = list(combinations_with_replacement(subject.species, 2))
    if not pairs:
        return [not_applicable(NAME, "", "there is no crystal and no label to take species from")]
    onsets = {pair: _onset_A(subject, *pair, settings) for pair in pairs}
    # Below an onset that the data have moved inwards, as much is judged as below any other.
    begin_over_onset = settings.shortest_over_radii / settings.onset_over_radii
    distances = {
        pair: np.linspace(
            begin_over_onset * onsets[pair][0],
            settings.longest_over_radii * _radii_A(*pair),
            settings.points,
        )
        for pair in pairs
    }
    dimers = [
        _dimer(first, second, float(distance))
        for (first, second), column in distances.items()
        for distance in column
    ]
    predicted = predict(subject.model, dimers)
    energies = np.array([energy_of(atoms) for atoms in predicted]).reshape(len(pairs), -1)
    forces = np.array([np.abs(forces_of(atoms)).max() for atoms in predicted])
    results = []
    for pair, energy, force in zip(pairs, energies, forces.reshape(len(pairs), -1), strict=True):
        onset, source = onsets[pair]
        results.append(
            _judge("-".join(pair), distances[pair], energy, force, onset, source, settings)
        )
    return results


def _dimer(first: str, second: str, distance_A: float) -> Atoms:
    """Two atoms in a box, not periodic: models that are made for crystals need a volume."""
    dimer = Atoms([first, second], positions=[[0.0, 0.0, 0.0], [distance_A, 0.0, 0.0]])
    dimer.center(vacuum=VACUUM_A)
    return dimer


def _radii_A(first: str, second: str) -> float:
    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def _onset_A(
    subject: Subject, first: str, second: str, settings: DimerSettings
) -> tuple[float, str]:
    """Distance below which the energy must rise, and where it comes from."""
    ratio = settings.onset_over_radii
    shortest = _shortest_in_data_A(subject, first, second)
    # A dimer is shorter than a bond in a crystal, so that its minimum may well be below the
    # shortest distance in crystals.
    if shortest < ratio * _radii_A(first, second):
        return shortest, "the shortest distance in the data"
    return ratio * _radii_A(first, second), f"{ratio:g} times the sum of the covalent radii"


def _shortest_in_data_A(subject: Subject, first: str, second: str) -> float:
    wanted = sorted((atomic_numbers[first], atomic_numbers[second]))
    radii = _radii_A(first, second)
    shortest = float("inf")
    for atoms in subject.labels:
        i, j, distances = neighbor_list("ijd", atoms, radii)
        pairs = np.sort(np.column_stack([atoms.numbers[i], atoms.numbers[j]]), axis=1)
        of_pair = distances[(pairs == wanted).all(axis=1)]
        shortest = min(shortest, float(of_pair.min()) if len(of_pair) else float("inf"))
    return shortest


def _judge(
    pair: str,
    distances_A: np.ndarray,
    energies_eV: np.ndarray,
    forces_eV_per_A: np.ndarray,
    onset_A: float,
    source: str,
    settings: DimerSettings,
) -> CheckResult:
    """Judge one curve; energies are relative to the largest distance."""
    relative = energies_eV - energies_eV[-1]
    finite = np.isfinite(relative) & np.isfinite(forces_eV_per_A)
    inside = distances_A <= onset_A
    if inside.sum() < FEWEST_INSIDE:
        points = "1 point" if inside.sum() == 1 else f"{inside.sum()} points"
        return not_applicable(
            NAME,
            pair,
            f"{points} of the curve below {onset_A:.2f} A ({source}), too few to see a hole; "
            "increase suite.dimers.points",
        )
    problems = [] if finite.all() else [
        f"energy or force is not finite at {distances_A[~finite][0]:.2f} A"
    ]  # fmt: skip
    at_onset = float(np.interp(onset_A, distances_A, relative))
    quantities = [
        Quantity("distance below which the energy must rise", number(onset_A), "A"),
        Quantity(
            f"energy at {distances_A[0]:.2f} A above that at {onset_A:.2f} A",
            number(float(relative[0]) - at_onset),
            "eV",
        ),
    ]
    found = f"the energy rises from {onset_A:.2f} A ({source}) down to {distances_A[0]:.2f} A"
    marked: list[Curve] = []
    for top, bottom in _holes(distances_A[inside], relative[inside], settings.tolerance_eV):
        depth = float(relative[inside][top] - relative[inside][bottom])
        place = (distances_A[inside][top], distances_A[inside][bottom])
        barrier = float(relative[inside][top]) - at_onset
        text = f"the energy falls by {depth:.2g} eV from {place[0]:.2f} to {place[1]:.2f} A"
        if settings.barrier_eV is not None and barrier > settings.barrier_eV:
            found = (
                f"the energy rises by {barrier:.0f} eV from {onset_A:.2f} A ({source}) down to "
                f"{place[0]:.2f} A; out of reach of MD {text.replace('the energy', 'it')}"
            )
        else:
            problems.append(f"{text}, where atoms fall into each other")
        quantities.append(Quantity(f"hole at {place[1]:.2f} A", number(depth), "eV"))
        hole = slice(bottom, top + 1)
        marked.append(curve("hole", distances_A[inside][hole], relative[inside][hole], "marked"))
    shown = relative < MOST_DRAWN_EV
    panel = Panel(
        pair,
        "distance (Å)",
        "energy (eV)",
        (curve("model", distances_A[shown], relative[shown]), *marked),
        ((float(onset_A), "onset"),),
    )
    return judged(NAME, pair, found, quantities, problems=problems, panels=[panel])


def _holes(
    distances_A: np.ndarray, energies_eV: np.ndarray, tolerance_eV: float
) -> list[tuple[int, int]]:
    """Find where the energy falls while the distance shrinks: indices of top and bottom."""
    holes: list[tuple[int, int]] = []
    row = len(distances_A) - 1
    while row > 0:
        top = row
        while row > 0 and energies_eV[row - 1] < energies_eV[row]:
            row -= 1
        if energies_eV[top] - energies_eV[row] > tolerance_eV:
            holes.append((top, row))
        row -= row == top
    return holes
