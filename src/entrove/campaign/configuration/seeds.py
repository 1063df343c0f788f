"""Read the crystals that a campaign starts from, and say what was read.

A seed is compared with what its file says of itself, and refused where a reader would have to
guess: sites that are partially occupied, atom types without elements, atoms that overlap.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms
from ase.utils.structure_comparator import SymmetryEquivalenceCheck

from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import problem_at
from entrove.errors import StructureError
from entrove.formats.ase_files import ase_format_of
from entrove.formats.cif import read_cif
from entrove.formats.frame import Frame
from entrove.formats.lammps import NO_ELEMENTS, lacks_elements
from entrove.formats.xyz_blocks import without_compression
from entrove.labelling.store.moments import moments_to_start_from
from entrove.sampling.config import GuardSettings
from entrove.sampling.vacuum import describe_vacuum
from entrove.structures import closest_atoms, copy_structure, read_structures
from entrove.symmetry import call_spglib, space_group

LONGEST_REASONABLE_CELL_A = 1000.0

LARGEST_USUAL_RATIO = 1.6
"""Nearest atoms of a crystal farther apart than this many sums of covalent radii are doubted.

Those of metals, salts and covalent crystals are 0.9 to 1.3 apart, and 1.7 to 2.4 where bohr are
taken for Angstrom.
"""

UNBOUND = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})
"""Elements whose crystals have no bonds: argon's atoms are 1.8 sums of covalent radii apart."""

SYMMETRY_TOLERANCE_A = 0.01
"""Distance within which atoms are equivalent when the space group of a seed is found."""

SUPERCELL_EDGE_A = 4.5
"""Length that the edges of a cell of one atom get at least, when it is repeated."""

MOMENTS = "initial_magmoms"
"""Array of the magnetic moments that a seed starts with, in Bohr magnetons."""


SAME_VOLUME = 1e-3
"""Largest relative difference of the volumes of two seeds that are one crystal."""

SAME_SHAPE = 1e-3
"""Largest difference of their primitive cells: of edges, relative, and of angles in radians.

Files with few digits have less; a ferroelectric crystal and its parent differ by 1 %.
"""


@dataclass(frozen=True)
class Seed:
    """A phase and the structure that it was read from.

    `notes` say what was done with the content of the file that is not taken as it stands.
    """

    phase: str
    atoms: Atoms
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line: formula, space group, volume per atom, shortest distance, moments."""
        return "; ".join((f"seed {self.phase}: {describe_crystal(self.atoms)}", *self.notes))


def read_seed(
    path: Path, index: int = 0, least_ratio: float = GuardSettings().shortest_distance
) -> tuple[Atoms, tuple[str, ...]]:
    """Read the crystal of a file.

    Args:
        path: A file that ASE reads.
        index: Which structure of the file, counted from 0; negative ones count from the end.
        least_ratio: Shortest distance over the sum of the two covalent radii that is allowed.

    Returns species, positions, cell, periodicity and initial magnetic moments of the crystal, and
    notes on what else the file says. The moments are computed ones where it has no others.

    Raises `StructureError` when there is no such structure, and when it cannot be a seed.
    """
    crystals = _read_crystals(path, least_ratio)
    exists = -len(crystals) <= index < len(crystals)
    crystal = crystals[index if exists else 0]
    if crystal.atoms is None:
        raise StructureError(f"{path}: {crystal.problem}")
    if not exists:
        count = f"{len(crystals)} structure{'' if len(crystals) == 1 else 's'}"
        raise StructureError(f"got index {index}, but {path} holds {count}; count from 0")
    _check_crystal(path, crystal.atoms, least_ratio)
    atoms = copy_structure(crystal.atoms)
    moments = moments_to_start_from(crystal.atoms)
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    notes = crystal.notes + _notes(crystal.atoms)
    if len(crystals) > 1:
        notes += (f"structure {index} of the {len(crystals)} in {path.name}, see seeds: index",)
    return atoms, notes


def read_seeds(config_path: Path, config: CampaignConfig) -> tuple[Seed, ...]:
    """Read all seeds of a configuration.

    Args:
        config_path: The YAML file, from which the paths of the seeds are taken.
        config: What it holds.

    Raises `ConfigError`, which names file, line and key, for a structure that cannot be a seed.
    """
    seeds: list[Seed] = []
    for number, seed in enumerate(config.seeds):
        path = config_path.parent / seed.file
        try:
            atoms, notes = read_seed(path, seed.index, config.sampling.guards.shortest_distance)
        except StructureError as error:
            raise problem_at(config_path, ("seeds", number, "file"), str(error)) from error
        if len(atoms) == 1 and seed.repeat == (1, 1, 1):
            repeat = list(repeats_of_one_atom(atoms))
            notes += (
                "warning: the force on an only atom is always zero, and no potential learns "
                f"forces from it; give this seed 'repeat: {repeat}'",
            )
        twins = [other.phase for other in seeds if same_crystal(other.atoms, atoms)]
        if twins:
            notes += (
                f"warning: this is the crystal of {twins[0]} again, whose walkers and labels "
                "would be doubled; remove one of the two seeds",
            )
        seeds.append(Seed(seed.phase, repeat_cell(atoms, seed.repeat), notes))
    return tuple(seeds)


def same_crystal(one: Atoms, other: Atoms) -> bool:
    """Whether two periodic structures are one crystal, of equal volume, in whatever cells.

    Atoms of one crystal are at the same places within `SYMMETRY_TOLERANCE_A`. Magnetic states are
    compared atom by atom: they differ where the moments in the files do, or their cells.
    """
    if not (one.pbc.all() and other.pbc.all()) or _share(one) != _share(other):
        return False
    per_atom = one.get_volume() / len(one), other.get_volume() / len(other)
    if not math.isclose(*per_atom, rel_tol=SAME_VOLUME):
        return False
    if _has_moments(one) or _has_moments(other):
        return _is_same_cell(one, other)
    first, second = _primitive_cell(one), _primitive_cell(other)
    if first is None or second is None:
        return False
    volume = first.get_volume()
    compared = SymmetryEquivalenceCheck(
        ltol=SAME_SHAPE * len(first),  # ASE divides it by the number of atoms
        angle_tol=math.degrees(SAME_SHAPE),
        stol=SYMMETRY_TOLERANCE_A / (volume / len(first)) ** (1 / 3),
        vol_tol=SAME_VOLUME * volume,
    )
    return bool(compared.compare(first, second))


def _has_moments(atoms: Atoms) -> bool:
    return bool(atoms.get_initial_magnetic_moments().any())


def _is_same_cell(one: Atoms, other: Atoms) -> bool:
    """Whether species, cell, positions and moments agree, atom by atom."""
    return bool(
        np.array_equal(one.numbers, other.numbers)
        and np.allclose(one.cell.array, other.cell.array, atol=SYMMETRY_TOLERANCE_A)
        and np.allclose(one.positions, other.positions, atol=SYMMETRY_TOLERANCE_A)
        and np.allclose(one.get_initial_magnetic_moments(), other.get_initial_magnetic_moments())
    )


def _primitive_cell(atoms: Atoms) -> Atoms | None:
    """The primitive cell in the orientation of spglib, without rounding errors of a file."""
    found = call_spglib(
        spglib.standardize_cell, atoms, to_primitive=True, symprec=SYMMETRY_TOLERANCE_A
    )
    if found is None:
        return None
    cell, fractions, numbers = found
    return Atoms(numbers, scaled_positions=fractions, cell=cell, pbc=True)


def _share(atoms: Atoms) -> dict[str, float]:
    counts = Counter(atoms.get_chemical_symbols())
    return {symbol: round(count / len(atoms), 6) for symbol, count in sorted(counts.items())}


def as_name(text: str) -> str:
    """Turn the name of a file into that of a campaign or phase.

    >>> as_name("MgO (B1)"), as_name("my project"), as_name("beta-Sn_0.5")
    ('MgO_B1', 'my_project', 'beta-Sn_0.5')
    """
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")[:60] or "unnamed"


def name_of(path: Path) -> str:
    """Return the name of the phase that a file is of, which is that of the file.

    >>> name_of(Path("seeds/MgO (B1).cif")), name_of(Path("Cu.cif.gz"))
    ('MgO_B1', 'Cu')
    """
    return as_name(without_compression(path).stem)


def repeat_cell(atoms: Atoms, repeat: tuple[int, int, int]) -> Atoms:
    """Repeat a cell along its vectors, with its magnetic moments."""
    return atoms if repeat == (1, 1, 1) else atoms.repeat(repeat)


def describe_crystal(atoms: Atoms) -> str:
    """Return formula, space group, volume per atom, shortest distance and magnetic moments.

    Where there is vacuum it is named instead of a volume, which would mean nothing.

    >>> from ase.build import bulk
    >>> describe_crystal(bulk("Cu", cubic=True))
    'Cu4, Fm-3m (225), 11.76 A^3/atom, shortest distance 2.55 A (Cu-Cu)'
    """
    closest = closest_atoms(atoms)
    vacuum = describe_vacuum(atoms)
    parts = [
        atoms.get_chemical_formula(),
        space_group(atoms, SYMMETRY_TOLERANCE_A) or "space group unknown",
        vacuum or f"{atoms.get_volume() / len(atoms):.2f} A^3/atom",
    ]
    if closest is not None:
        parts.append(f"shortest distance {closest.distance_A:.2f} A ({'-'.join(closest.symbols)})")
    if atoms.has(MOMENTS):
        moments = atoms.get_initial_magnetic_moments()
        parts.append(
            f"magnetic moments {moments.min():+.3g} to {moments.max():+.3g} mu_B, "
            f"together {moments.sum():+.3g}"
        )
    return ", ".join(parts)


def _read_crystals(path: Path, least_ratio: float) -> list[Frame]:
    ase_format = ase_format_of(path)
    if ase_format == "cif":
        return read_cif(path, least_ratio)
    if lacks_elements(path, ase_format):
        return [Frame(str(path), 0, problem=NO_ELEMENTS)]
    return [Frame(str(path), index, atoms) for index, atoms in enumerate(read_structures(path))]


def _notes(atoms: Atoms) -> tuple[str, ...]:
    notes: list[str] = []
    if atoms.has("initial_charges") and np.any(atoms.get_initial_charges()):
        notes.append("charges of the file are not used")
    has_initial = np.any(atoms.get_initial_magnetic_moments())
    if not has_initial and moments_to_start_from(atoms) is not None:
        notes.append("its computed moments are those that its labels start from")
    closest = closest_atoms(atoms)
    if closest is not None and closest.ratio > LARGEST_USUAL_RATIO and not _is_apart(atoms):
        notes.append(
            f"its nearest atoms are {closest.ratio:.1f} times the sum of their covalent radii "
            "apart, which is no bond; is the file in Angstrom?"
        )
    return tuple(notes)


def _is_apart(atoms: Atoms) -> bool:
    """Whether atoms may be far from each other: in vacuum, and where nothing binds them."""
    return bool(describe_vacuum(atoms)) or bool(UNBOUND & set(atoms.symbols))


def repeats_of_one_atom(atoms: Atoms) -> tuple[int, int, int]:
    """Return how often a cell of one atom is repeated so that its atoms can feel forces."""
    first, second, third = (
        max(1, math.ceil(SUPERCELL_EDGE_A / length)) for length in atoms.cell.lengths()
    )
    return first, second, third


def _check_crystal(path: Path, atoms: Atoms, least_ratio: float) -> None:
    """Raise `StructureError` for a structure that no campaign can start from."""
    if not len(atoms) or not atoms.numbers.all():
        raise StructureError(
            f"{path}: {'a structure without atoms' if not len(atoms) else 'an atom of element X'} "
            "cannot be a seed; give a crystal whose atoms are all elements"
        )
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise StructureError(f"{path}: positions or cell are not finite numbers; correct the file")
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise StructureError(
            f"{path}: a seed must be periodic in three dimensions with a cell, this one has "
            f"pbc={atoms.pbc.tolist()} and a cell of rank {atoms.cell.rank}; give a crystal, or a "
            "slab, wire or molecule in a cell with vacuum and pbc=[True, True, True]"
        )
    if max(atoms.cell.lengths()) > LONGEST_REASONABLE_CELL_A:
        raise StructureError(
            f"{path}: a cell edge is {max(atoms.cell.lengths()):.0f} A long, at most "
            f"{LONGEST_REASONABLE_CELL_A:.0f} A are allowed; is the file in Angstrom?"
        )
    closest = closest_atoms(atoms)
    if closest is not None and closest.ratio < least_ratio:
        raise StructureError(
            f"{path}: {atoms.get_chemical_formula()} was read, with {closest.describe()}, which "
            f"is {closest.ratio:.2f} times the sum of their covalent radii and at least "
            f"{least_ratio:g} is allowed (sampling.guards.shortest_distance); remove the atom "
            "that is there twice, or check cell, units and space group of the file"
        )
