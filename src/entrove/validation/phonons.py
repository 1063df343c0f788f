"""Phonons by finite displacements, with phonopy (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023))."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.dft.kpoints import parse_path_string
from jaxtyping import Float

from entrove._optional import require
from entrove.models.loaded import LoadedModel
from entrove.models.prediction import predict
from entrove.validation.strained_cell import Source

IMAGINARY_TOLERANCE_THZ = 0.1
"""Acoustic modes at the zone centre may be slightly imaginary from finite precision, in THz."""


@dataclass(frozen=True)
class BandSegment:
    """Frequencies along a straight line between two special points of the Brillouin zone.

    Attributes:
        start, end: Their names, such as "G" (Gamma) and "X".
        q_points: In units of the reciprocal lattice vectors, shape (points, 3).
        distances_per_A: Length of the path up to each point in 1/A, shape (points,).
        frequencies_THz: Shape (points, bands); imaginary ones are negative.
    """

    start: str
    end: str
    q_points: np.ndarray
    distances_per_A: np.ndarray
    frequencies_THz: np.ndarray


@dataclass(frozen=True)
class ImaginaryMode:
    """Modes that lower the energy: at which q-point, how many, and the most imaginary of them.

    `place` names a special point or line ("X", "G-X"), and is empty for a point of the mesh.
    """

    place: str
    q_point: tuple[float, float, float]
    frequency_THz: float
    modes: int


@dataclass(frozen=True)
class Phonons:
    """Phonon frequencies on a mesh of q-points, and along lines between special points.

    Attributes:
        frequencies_THz: Frequencies in THz, shape (q-points, bands); imaginary ones are negative.
        weights: Number of symmetry-equivalent q-points of each, shape (q-points,).
        q_points: In units of the reciprocal lattice vectors, shape (q-points, 3).
        bands: The lines, empty unless they were asked for.
    """

    frequencies_THz: np.ndarray
    weights: np.ndarray
    q_points: np.ndarray
    bands: tuple[BandSegment, ...] = ()

    @property
    def lowest_THz(self) -> float:
        """Lowest frequency of mesh and lines, in THz."""
        return float(min(part.min() for part in self._parts()))

    @property
    def highest_THz(self) -> float:
        """Highest frequency of mesh and lines, in THz."""
        return float(max(part.max() for part in self._parts()))

    @property
    def is_stable(self) -> bool:
        """Whether no mode is imaginary by more than `IMAGINARY_TOLERANCE_THZ`."""
        return self.lowest_THz > -IMAGINARY_TOLERANCE_THZ

    def imaginary_modes(
        self, tolerance_THz: float = IMAGINARY_TOLERANCE_THZ
    ) -> list[ImaginaryMode]:
        """List the q-points with modes below -tolerance, the most imaginary first."""
        found: dict[tuple[float, ...], ImaginaryMode] = {}
        places = [
            *((_place(line, row), line.q_points[row], line.frequencies_THz[row])
              for line in self.bands for row in range(len(line.q_points))),
            *(("", point, row)
              for point, row in zip(self.q_points, self.frequencies_THz, strict=True)),
        ]  # fmt: skip
        for place, point, frequencies in places:
            soft = frequencies[frequencies < -tolerance_THz]
            key = tuple(np.round(np.mod(point + 1e-6, 1.0), 4))
            if len(soft) and key not in found:
                first, second, third = (float(value) for value in point)
                found[key] = ImaginaryMode(
                    place, (first, second, third), float(soft.min()), len(soft)
                )
        return sorted(found.values(), key=lambda mode: mode.frequency_THz)

    def _parts(self) -> list[np.ndarray]:
        return [self.frequencies_THz, *(line.frequencies_THz for line in self.bands)]


def phonons(
    atoms: Atoms,
    source: Source,
    *,
    supercell: tuple[int, int, int] = (2, 2, 2),
    displacement_A: float = 0.01,
    mesh: tuple[int, int, int] = (8, 8, 8),
    points_per_line: int = 0,
) -> Phonons:
    """Compute the phonon frequencies of a relaxed crystal from forces in a supercell.

    Args:
        atoms: A relaxed crystal, primitive or not; its atoms have the masses that they carry.
        source: Any ASE calculator, or a model from `entrove.models.load`, which evaluates all
            displacements in one batch.
        supercell: Repetitions of the cell along each lattice vector; forces should have decayed
            within it.
        displacement_A: Length of the displacements, in Angstrom.
        mesh: Number of q-points along each reciprocal lattice vector, centred on Gamma.
        points_per_line: Points of each line between special points of the Brillouin zone, as ASE
            names them; 0 leaves the lines out.

    Raises `EntroveError`, with the command that installs it, when phonopy is missing.
    """
    phonopy = require("phonopy", extra="phonons")
    structure = require("phonopy.structure.atoms", extra="phonons")
    unit_cell = structure.PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    kinds = set(zip(atoms.numbers.tolist(), atoms.get_masses().tolist(), strict=True))
    has_isotopes = len(kinds) > len(set(atoms.numbers.tolist()))
    lattice = phonopy.Phonopy(unit_cell, supercell_matrix=np.diag(supercell), primitive_matrix="P")
    lattice.generate_displacements(distance=displacement_A)
    displaced = [
        Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
        for cell in lattice.supercells_with_displacements
    ]
    # A net force is rounding error of the model. It would break the acoustic sum rule.
    lattice.forces = [forces - forces.mean(axis=0) for forces in _forces(displaced, source)]
    lattice.produce_force_constants()
    lattice.symmetrize_force_constants()
    # Centred on Gamma: other even meshes break the symmetry of face-centred crystals.
    # The symmetry that phonopy finds knows no masses: forces have it, frequencies need not.
    lattice.run_mesh(mesh, is_gamma_center=True, is_mesh_symmetry=not has_isotopes)
    return Phonons(
        np.array(lattice.mesh.frequencies),
        np.array(lattice.mesh.weights),
        np.array(lattice.mesh.qpoints),
        _bands(lattice, atoms, points_per_line) if points_per_line else (),
    )


def _forces(structures: Sequence[Atoms], source: Source) -> list[Float[np.ndarray, "atoms 3"]]:
    if isinstance(source, LoadedModel):
        return [atoms.get_forces() for atoms in predict(source, structures)]
    forces = []
    for atoms in structures:
        atoms.calc = source
        forces.append(atoms.get_forces())
    return forces


def _bands(lattice: Any, atoms: Atoms, points: int) -> tuple[BandSegment, ...]:
    path = atoms.cell.bandpath(npoints=0)
    ends = [
        (start, end) for names in parse_path_string(path.path) for start, end in pairwise(names)
    ]
    lines = [
        np.linspace(path.special_points[start], path.special_points[end], points)
        for start, end in ends
    ]
    lattice.run_band_structure(lines)
    found = lattice.band_structure
    return tuple(
        BandSegment(start, end, line, np.array(distances), np.array(frequencies))
        for (start, end), line, distances, frequencies in zip(
            ends, lines, found.distances, found.frequencies, strict=True
        )
    )


def _place(line: BandSegment, row: int) -> str:
    if row == 0:
        return line.start
    return line.end if row == len(line.q_points) - 1 else f"{line.start}-{line.end}"
