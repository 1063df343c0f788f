"""Units, signs and orders of labels, decided by evidence.

A stress of six or nine numbers does not say its unit, its sign or the order of its shears, and an
energy does not say whether it is per atom. What they must agree with does: the derivative of an
energy, a virial beside the stress, the stress of a model, the number of atoms. Every function here
compares all conventions with such evidence, and says so when the evidence cannot tell two apart.

Everything is in eV, Angstrom and eV/A^3. The convention of Entrove is ASE's: tension is positive,
and six numbers are xx, yy, zz, yz, xz, xy.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from entrove.units import EV_PER_A3_IN_GPA

_HARTREE_EV = 27.211386245988
_BOHR_A = 0.529177210903

STRESS_UNITS: dict[str, float] = {
    "eV/A^3": 1.0,
    "GPa": EV_PER_A3_IN_GPA,
    "kbar": 10 * EV_PER_A3_IN_GPA,
    "Ry/bohr^3": _BOHR_A**3 / (_HARTREE_EV / 2),
    "Ha/bohr^3": _BOHR_A**3 / _HARTREE_EV,
}
"""How many of each unit are one eV/A^3."""

VIRIAL_UNIT = "eV"

_SHEARS = ("yz", "xz", "xy")
VOIGT_ORDERS: dict[str, tuple[int, ...]] = {
    " ".join(("xx", "yy", "zz", *shears)): (0, 1, 2, *(3 + shears.index(name) for name in _SHEARS))
    for shears in itertools.permutations(_SHEARS)
}
"""Order of six numbers, and for each number of ASE's order its place in that order."""

ASE_ORDER = "xx yy zz yz xz xy"
VASP_ORDER = "xx yy zz xy yz xz"
LAMMPS_ORDER = "xx yy zz xy xz yz"

_MOST_RESIDUAL = 0.4
"""No convention is believed that leaves more than this of the evidence unexplained."""

_LEAST_STRAIN = 1e-4
_LEAST_GAP = 3.0
"""A convention is decided when it beats the next by this many standard errors."""


@dataclass(frozen=True, order=True)
class StressConvention:
    """What the numbers of a stress mean.

    `unit` is a key of `STRESS_UNITS`, or "eV" for a virial, W = -V sigma. `sign` is +1 where
    tension is positive (of a virial: where compression is) and -1 where it is the other way round.
    `order` is a key of `VOIGT_ORDERS`.
    """

    unit: str = "eV/A^3"
    sign: int = 1
    order: str = ASE_ORDER

    @property
    def is_virial(self) -> bool:
        """Whether the numbers are a virial in eV and no stress."""
        return self.unit == VIRIAL_UNIT

    def to_ase(
        self, given: Float[np.ndarray, "frames 6"], volumes_A3: Float[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "frames 6"]:
        """Return the stress in eV/A^3 with ASE's sign and order, given six numbers a frame."""
        ordered = np.asarray(given, dtype=float)[:, VOIGT_ORDERS[self.order]] * self.sign
        if self.is_virial:
            return -ordered / np.asarray(volumes_A3)[:, None]
        return ordered / STRESS_UNITS[self.unit]

    def from_ase(
        self, stress: Float[np.ndarray, "frames 6"], volumes_A3: Float[np.ndarray, " frames"]
    ) -> Float[np.ndarray, "frames 6"]:
        """Return what a file of this convention holds for a stress in eV/A^3; undoes `to_ase`."""
        if self.is_virial:
            scaled = -np.asarray(stress, dtype=float) * np.asarray(volumes_A3)[:, None]
        else:
            scaled = np.asarray(stress, dtype=float) * STRESS_UNITS[self.unit]
        return scaled[:, np.argsort(VOIGT_ORDERS[self.order])] * self.sign

    def __str__(self) -> str:
        what = "virial" if self.is_virial else "stress"
        if self.is_virial:
            side = "compression" if self.sign > 0 else "tension"
        else:
            side = "tension" if self.sign > 0 else "compression"
        return f"{what} in {self.unit}, {side} positive, order {self.order}"


ASE_STRESS = StressConvention()


@dataclass(frozen=True)
class ConventionEvidence:
    """The convention that agrees best, and how well the evidence tells it from the others.

    `residual` is the sum of |expected - converted| over that of |expected| + |converted|: 0 for
    perfect agreement, 1 for none. `rivals` are the conventions that the evidence cannot tell from
    `best`; `as_given` is the residual of the numbers taken as ASE's. `count` is the number of
    frames or pairs of frames.
    """

    best: StressConvention
    residual: float
    as_given: float
    rivals: tuple[StressConvention, ...]
    count: int

    @property
    def decided(self) -> bool:
        """Whether one convention explains the evidence and no other does as well."""
        return self.explained and not self.rivals

    @property
    def explained(self) -> bool:
        """Whether any convention explains the evidence."""
        return self.residual < _MOST_RESIDUAL

    def decides(self, attribute: str) -> bool:
        """Whether all conventions left agree on "unit", "sign" or "order"."""
        mine = getattr(self.best, attribute)
        return self.explained and all(getattr(rival, attribute) == mine for rival in self.rivals)

    @property
    def contradicts_ase(self) -> bool:
        """Whether the numbers, taken as ASE's stress, contradict the evidence."""
        return self.explained and self.best != ASE_STRESS and ASE_STRESS not in self.rivals


def stress_conventions() -> list[StressConvention]:
    """Return every convention that is compared: units and virial, both signs, all orders."""
    return [
        StressConvention(unit, sign, order)
        for unit in (*STRESS_UNITS, VIRIAL_UNIT)
        for sign in (1, -1)
        for order in VOIGT_ORDERS
    ]


def compare_with_stress(
    given: Float[np.ndarray, "frames 6"],
    expected: Float[np.ndarray, "frames 6"],
    volumes_A3: Float[np.ndarray, " frames"],
) -> ConventionEvidence:
    """Find the convention in which a stress agrees with an expected one.

    Args:
        given: Six numbers of each frame, as the file holds them.
        expected: Stress of each frame in eV/A^3, ASE's sign and order: a model's, or that of the
            virial in the same file.
        volumes_A3: Volume of each frame.

    Diagonal and shear components count equally, each group on its own scale, so that small shears
    decide the order. Raises `ValueError` when the numbers of frames differ or there is none.
    """
    expected = np.asarray(expected, dtype=float)
    if not len(given) == len(expected) == len(volumes_A3) or len(given) == 0:
        raise ValueError(
            f"{len(given)} stresses, {len(expected)} expected ones and {len(volumes_A3)} volumes; "
            "give one of each for at least one frame"
        )
    groups = (slice(0, 3), slice(3, 6))
    scales = [max(float(np.abs(expected[:, group]).mean()), 1e-12) for group in groups]
    # A group that is all but zero, as the shears of a compressed crystal, decides nothing.
    kept = [
        (group, scale)
        for group, scale in zip(groups, scales, strict=True)
        if scale > 0.02 * max(scales)
    ]

    def split(stress: np.ndarray) -> np.ndarray:
        return np.concatenate([stress[:, group] / scale for group, scale in kept], axis=1)

    return _compare(given, volumes_A3, split, split(expected))


def compare_with_energies(
    given: Float[np.ndarray, "frames 6"],
    volumes_A3: Float[np.ndarray, " frames"],
    pairs: "FramePairs",
) -> ConventionEvidence | None:
    """Find the convention in which a stress agrees with energies of strained cells.

    Args:
        given: Six numbers of each frame, as the file holds them.
        volumes_A3: Volume of each frame.
        pairs: Pairs of frames, see `find_frame_pairs`; those without strain are left out.

    The energy difference of a pair, less the work of the forces, is compared with the work of the
    stress, (V_a sigma_a + V_b sigma_b) : strain / 2 (trapezoid rule, wrong by the third order of
    the strain). Returns None without a strained pair.
    """
    strained = np.abs(pairs.strains).max(axis=1, initial=0.0) > _LEAST_STRAIN
    if not strained.any():
        return None
    volumes = np.asarray(volumes_A3, dtype=float)
    first, second, strains = pairs.first[strained], pairs.second[strained], pairs.strains[strained]
    left = (pairs.energies_eV - pairs.force_works_eV)[strained]

    def work(stress: np.ndarray) -> np.ndarray:
        on_cell = stress * volumes[:, None]
        return ((on_cell[first] + on_cell[second]) / 2 * strains).sum(axis=1, keepdims=True)

    return _compare(given, volumes, work, left[:, None])


@dataclass(frozen=True)
class FramePairs:
    """Pairs of frames of which one is the other under a small strain and small displacements.

    `strains` are the logarithmic strains that lead from `first` to `second`, xx, yy, zz, 2 yz,
    2 xz, 2 xy, in the frame in which both cells are given; `force_works_eV` is the work of the
    forces on the way, the energy that is lost to them with its sign turned: -sum F . dr of the
    mean forces and the displacements beyond the strain. `energies_eV` are energy differences.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    strains: Float[np.ndarray, "pairs 6"]
    force_works_eV: Float[np.ndarray, " pairs"]
    energies_eV: Float[np.ndarray, " pairs"]


def find_frame_pairs(
    cells: Float[np.ndarray, "frames 3 3"],
    fractions: Sequence[Float[np.ndarray, "_ 3"]],
    numbers: Sequence[Int[np.ndarray, " _"]],
    energies_eV: Float[np.ndarray, " frames"],
    forces_eV_per_A: Sequence[Float[np.ndarray, "_ 3"]] | None = None,
    *,
    largest_strain: float = 0.06,
    largest_displacement_A: float = 0.25,
    least_displacement_A: float = 0.0,
    most_pairs: int = 2000,
) -> FramePairs:
    """Find pairs of frames that lie so close that labels must obey dE = -F.dr + V sigma:strain.

    Args:
        cells: Lattice vectors in rows, in Angstrom.
        fractions: Fractional coordinates of each frame.
        numbers: Atomic numbers of each frame; atoms are compared in the order given.
        energies_eV: Total energies.
        forces_eV_per_A: Forces; without them only pairs without displacements are taken.
        largest_strain: Pairs further apart are left out: the trapezoid rule fails for them.
        largest_displacement_A: The same for displacements beyond the strain.
        least_displacement_A: Pairs in which no atom moves as far are left out.
        most_pairs: Stop at this many pairs.
    """
    if forces_eV_per_A is None:
        largest_displacement_A = 0.002
    first: list[int] = []
    second: list[int] = []
    strains: list[np.ndarray] = []
    works: list[float] = []
    groups: dict[bytes, list[int]] = {}
    for frame, atomic_numbers in enumerate(numbers):
        groups.setdefault(np.asarray(atomic_numbers, dtype=np.int32).tobytes(), []).append(frame)
    for group in groups.values():
        stacked = np.array([fractions[frame] for frame in group])
        members = np.array(group)
        for place, a in enumerate(group[:-1]):
            others = members[place + 1 :]
            between = _strains_between(cells[a], cells[others])
            near = np.abs(between).max(axis=(1, 2)) <= largest_strain
            others, between = others[near], between[near]
            moved = stacked[place + 1 :][near] - stacked[place]
            moved = (moved - np.round(moved)) @ ((cells[a] + cells[others]) / 2)
            moved -= moved.mean(axis=1, keepdims=True)
            farthest = np.abs(moved).max(axis=(1, 2), initial=0.0)
            near = (least_displacement_A <= farthest) & (farthest <= largest_displacement_A)
            for b, strain, displacement in zip(
                others[near].tolist(), between[near], moved[near], strict=True
            ):
                first.append(a)
                second.append(b)
                strains.append(_voigt_strain(strain))
                works.append(
                    0.0
                    if forces_eV_per_A is None
                    else -float(
                        ((forces_eV_per_A[a] + forces_eV_per_A[b]) / 2 * displacement).sum()
                    )
                )
            if len(first) >= most_pairs:
                break
    energies = np.asarray(energies_eV, dtype=float)
    starts, ends = np.array(first, dtype=int), np.array(second, dtype=int)
    return FramePairs(
        starts,
        ends,
        np.array(strains).reshape(-1, 6),
        np.array(works, dtype=float),
        energies[ends] - energies[starts],
    )


def count_symmetry_breaks(
    stress: Float[np.ndarray, "3 3"], rotations: Float[np.ndarray, "operations 3 3"]
) -> float:
    """Measure how far a stress is from the symmetry of its crystal.

    Args:
        stress: Stress as a matrix, any unit.
        rotations: Cartesian rotations of the crystal's space group.

    Returns the largest |R sigma R^T - sigma| relative to the largest |sigma|: near zero for the
    stress of the crystal as given, of order one when two shears are exchanged.
    """
    scale = float(np.abs(stress).max())
    if scale == 0 or len(rotations) == 0:
        return 0.0
    turned = np.einsum("oab,bc,odc->oad", rotations, stress, rotations)
    return float(np.abs(turned - stress).max()) / scale


def energy_exponent(
    energies_eV: Float[np.ndarray, " frames"], atom_counts: Int[np.ndarray, " frames"]
) -> float | None:
    """Tell total energies from energies per atom by how they grow with the number of atoms.

    Args:
        energies_eV: Energies of frames of one composition, as the file holds them.
        atom_counts: Their numbers of atoms.

    Returns the exponent p of |E| ~ N^p: 1 for total energies, 0 for energies per atom. None when
    the largest cell has less than 1.5 times the atoms of the smallest, or energies of both signs
    or zero occur.
    """
    energies, counts = np.asarray(energies_eV, dtype=float), np.asarray(atom_counts, dtype=float)
    if len(energies) < 2 or counts.max() < 1.5 * counts.min():
        return None
    if not ((energies > 0).all() or (energies < 0).all()):
        return None
    # Medians per size: a few outliers, or many frames of one size, do not decide.
    sizes = np.unique(counts)
    typical = np.array([np.median(np.abs(energies[counts == size])) for size in sizes])
    x, y = np.log(sizes), np.log(typical)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def energy_slope(
    differences_eV: Float[np.ndarray, " pairs"], works_eV: Float[np.ndarray, " pairs"]
) -> tuple[float, float]:
    """Fit energy differences by the work of forces and stresses: 1 when the labels agree.

    Args:
        differences_eV: Energy differences of pairs of frames.
        works_eV: Work that forces and stresses do on the way between them.

    Returns the slope of a fit through zero and the correlation. A slope of 1/N says energies per
    atom, -1 that forces are gradients, 27.2 that energies are in hartree.
    """
    differences, works = np.asarray(differences_eV, float), np.asarray(works_eV, float)
    norm = float(np.sqrt((differences**2).sum() * (works**2).sum()))
    if norm == 0:
        return 0.0, 0.0
    product = float((differences * works).sum())
    return product / float((works**2).sum()), product / norm


def _compare(
    given: np.ndarray,
    volumes_A3: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    observed: np.ndarray,
) -> ConventionEvidence:
    """Compare what each convention predicts, shape (count, parts), with what is observed."""
    conventions = stress_conventions()
    misses: list[np.ndarray] = []
    residuals: list[float] = []
    size = np.abs(observed).sum(axis=1)
    # A wild frame must not decide for all; it counts as a typical one.
    limit = max(5 * float(np.median(size)), 1e-12)
    weight = np.minimum(1.0, limit / np.maximum(size, 1e-300))
    for convention in conventions:
        predicted = predict(convention.to_ase(given, volumes_A3))
        miss = np.abs(observed - predicted).sum(axis=1)
        both = (np.abs(observed) + np.abs(predicted)).sum(axis=1)
        residuals.append(float((weight * miss).sum() / max(float((weight * both).sum()), 1e-300)))
        # Relative to what is there, so that a convention of a small unit is no better for it.
        misses.append(weight * np.minimum(miss, 1e3 * limit))
    order = sorted(
        range(len(conventions)),
        key=lambda which: (round(residuals[which], 9), conventions[which] != ASE_STRESS),
    )
    best = order[0]
    rivals = []
    for which in order[1:]:
        if not _is_worse(misses[which] - misses[best], residuals[which], residuals[best]):
            rivals.append(conventions[which])
    return ConventionEvidence(
        conventions[best],
        residuals[best],
        residuals[conventions.index(ASE_STRESS)],
        tuple(rivals),
        len(observed),
    )


def _is_worse(excess: np.ndarray, residual: float, best: float) -> bool:
    """Whether a convention misses more than the best one does, beyond chance."""
    if residual < 1.25 * best + 1e-6:
        return False
    error = float(excess.std()) / np.sqrt(len(excess)) if len(excess) > 1 else 0.0
    return bool(float(excess.mean()) > _LEAST_GAP * error and residual - best > 0.02)


def _strains_between(
    first: Float[np.ndarray, "3 3"], second: Float[np.ndarray, "cells 3 3"]
) -> Float[np.ndarray, "cells 3 3"]:
    """Logarithmic strains of the deformations of one cell into others, without their rotations.

    Infinite where the deformation is no small one.
    """
    strains = np.full((len(second), 3, 3), np.inf)
    try:
        deformations = np.swapaxes(np.linalg.inv(first) @ second, 1, 2)
    except np.linalg.LinAlgError:
        return strains
    with np.errstate(invalid="ignore"):
        small = np.abs(deformations - np.eye(3)).max(axis=(1, 2)) <= 0.5
    deformations = deformations[small]
    transposed = np.swapaxes(deformations, 1, 2)
    # Half the logarithm of F^T F is the strain seen from the first cell; of F F^T, from the
    # second. For the small rotations between cells given in one frame their mean serves both.
    total = np.zeros_like(deformations)
    for squares in (transposed @ deformations, deformations @ transposed):
        values, vectors = np.linalg.eigh(squares)
        total += (vectors * np.log(values)[:, None]) @ np.swapaxes(vectors, 1, 2) / 4
    strains[small] = total
    return strains


def _voigt_strain(strain: np.ndarray) -> np.ndarray:
    return np.array(
        [
            strain[0, 0],
            strain[1, 1],
            strain[2, 2],
            2 * strain[1, 2],
            2 * strain[0, 2],
            2 * strain[0, 1],
        ]
    )
