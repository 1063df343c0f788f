"""What a format has no place for is left out and named; everything else is read back."""

import datetime
import itertools

import ase.build
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCartesianParametricRelations,
    FixCom,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    FixSymmetry,
    Hookean,
    MirrorForce,
)
from ase.io import write
from ase.spacegroup import Spacegroup
from test_extxyz import fixed_directions, same_value
from test_round_trips import name_of

from entrove.errors import StructureError
from entrove.formats import FORMATS, read_frames, write_frames
from entrove.structures import read_structures

SURFACES = ["fcc100", "fcc110", "fcc111", "fcc211", "bcc100", "bcc110", "bcc111"]


def surface_of(name: str) -> Atoms:
    symbol = "Cu" if name.startswith("fcc") else "Fe"
    return getattr(ase.build, name)(symbol, (3, 1, 3), vacuum=5.0)


BUILDERS = {
    **{name: lambda name=name: surface_of(name) for name in SURFACES},
    "hcp0001": lambda: ase.build.hcp0001("Mg", (1, 1, 3), vacuum=5.0),
    "hcp10m10": lambda: ase.build.hcp10m10("Mg", (1, 2, 3), vacuum=5.0),
    "diamond100": lambda: ase.build.diamond100("Si", (1, 1, 3), vacuum=5.0),
    "diamond111": lambda: ase.build.diamond111("Si", (1, 1, 3), vacuum=5.0),
    "fcc111_root": lambda: ase.build.fcc111_root("Cu", 3, (1, 1, 2), vacuum=5.0),
    "surface": lambda: ase.build.surface(bulk("Cu", cubic=True), (2, 1, 0), 3, vacuum=5.0),
    "bulk": lambda: bulk("NaCl", "rocksalt", 5.6),
    "molecule": lambda: ase.build.molecule("CH3CH2OH"),
    "nanotube": lambda: ase.build.nanotube(3, 3),
    "graphene": lambda: ase.build.graphene(vacuum=5.0),
    "mx2": lambda: ase.build.mx2(vacuum=5.0),
}


def plain(value):
    """A value with lists in the place of tuples and arrays, as JSON has it."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("name", ["a.xyz", "a.db"])
def test_what_ase_builds_is_converted_with_its_keys(tmp_path, builder, name):
    atoms = BUILDERS[builder]()
    write(tmp_path / "in.traj", [atoms, atoms])
    assert write_frames(tmp_path / name, read_frames(tmp_path / "in.traj")).lost == ()
    for frame in read_frames(tmp_path / name):
        assert plain(frame.atoms.info) == plain(atoms.info)
        assert (frame.atoms.positions == atoms.positions).all()


@pytest.mark.parametrize("name", ["a.xyz", "a.db", "a.json"])
def test_energies_and_stresses_of_atoms_are_kept_or_named(tmp_path, name):
    atoms = bulk("Si")
    given = {"energy": -1.0, "forces": np.zeros((2, 3)), "charges": np.ones(2)}
    given |= {"energies": np.array([-0.4, -0.6]), "stresses": np.ones((2, 6))}
    atoms.calc = SinglePointCalculator(atoms, **given)
    format_name = "ase-db" if name == "a.json" else None
    lost = write_frames(tmp_path / name, [atoms], format_name).lost
    (frame,) = read_frames(tmp_path / name)
    kept = {key for key, value in frame.atoms.calc.results.items() if value is not None}
    assert kept & given.keys() == given.keys() - set(lost)


def test_a_column_that_no_database_holds_is_refused_by_its_structure(tmp_path):
    text = "Properties=species:S:1:pos:R:3:masses:S:1"
    (tmp_path / "in.xyz").write_text(f"1\n\nSi 0 0 0\n1\n{text}\nSi 0 0 0 heavy\n")
    with pytest.raises(StructureError, match="structure 2 has no place"):
        write_frames(tmp_path / "out.db", read_frames(tmp_path / "in.xyz"))
    assert not (tmp_path / "out.db").exists()


@pytest.mark.parametrize("format_name", ["extxyz", "mace", "ase-db"])
def test_a_key_that_has_no_text_is_left_out_and_named(tmp_path, format_name):
    atoms = bulk("Si")
    itself: list = []
    itself.append(itself)
    atoms.info |= {"object": object(), "itself": itself, "pairs": {(0, 1): "x"}, "kept": 1}
    path = tmp_path / name_of(format_name)
    assert set(write_frames(path, [atoms], format_name).lost) >= {"object", "itself"}
    (frame,) = read_frames(path)
    assert frame.atoms.info["kept"] == 1
    assert not {"object", "itself"} & set(frame.atoms.info)


@pytest.mark.parametrize("format_name", ["extxyz", "ase-db"])
def test_an_unusual_key_is_read_back_or_named(tmp_path, format_name):
    atoms = bulk("Si")
    unusual = {
        "texts": np.array(["a", "b"]),
        "objects": np.array([1, "b"], dtype=object),
        "inside": {"texts": np.array(["c"])},
        "day": datetime.datetime(2024, 2, 29, 12),
        "group": Spacegroup(225),
        "complex": np.complex128(1 + 2j),
        "raw": b"bytes",
    }
    atoms.info |= unusual
    path = tmp_path / name_of(format_name)
    lost = write_frames(path, [atoms], format_name).lost
    (frame,) = read_frames(path)
    assert frame.problem == ""
    assert set(frame.atoms.info) == unusual.keys() - set(lost)
    for name in ("texts", "objects", "inside"):
        assert plain(frame.atoms.info[name]) == plain(unusual[name])


def test_an_adsorbed_slab_is_curated(tmp_path):
    from entrove.curation.copying import copy_frames
    from entrove.formats import LabelKeys

    slab = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    slab.info["object"] = "x"
    slab.set_constraint(FixedPlane(0, (0, 0, 1)))
    write(tmp_path / "in.traj", [slab])
    source = str(tmp_path / "in.traj")
    copy_frames(
        [source], LabelKeys(), [(source, 0)], tmp_path / "out.xyz", lambda place: False, None
    )
    (atoms,) = read_structures(tmp_path / "out.xyz")
    assert plain(atoms.info) == plain(slab.info)


CONSTRAINTS = [
    FixAtoms([0, 2]),
    FixCartesian([0, 1], [True, False, True]),
    FixScaled([0], [True, False, False]),
    FixBondLength(0, 1),
    FixBondLengths([[0, 1], [1, 2]]),
    FixLinearTriatomic([(0, 1, 2)]),
    FixedMode(np.eye(8, 3)),
    FixedPlane([1], (0, 0, 1)),
    FixedLine([1], (0, 0, 1)),
    FixCom(),
    FixSubsetCom([0, 1]),
    FixInternals(bonds=[[2.3, [0, 1]]]),
    Hookean(0, 1, 5.0, rt=2.5),
    MirrorForce(0, 1, fmax=0.1),
    FixCartesianParametricRelations.from_expressions([0], ["x"], ["x", "0", "2 * x"]),
    FixSymmetry(bulk("Si", cubic=True)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda each: type(each).__name__)
def test_a_constraint_is_read_back_or_named(tmp_path, format_name, constraint):
    atoms = bulk("Si", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    atoms.set_constraint([FixAtoms([3]), constraint])
    path = tmp_path / name_of(format_name)
    written = write_frames(path, [atoms], format_name)
    (frame,) = read_frames(path)
    name = type(constraint).__name__
    if f"constraint {name}" in written.lost:
        atoms.set_constraint([FixAtoms([3])])
        if "constraint FixAtoms" in written.lost:
            atoms.set_constraint()
    assert same_constraints(frame.atoms, atoms)


def same_constraints(one: Atoms, other: Atoms) -> bool:
    if all(isinstance(each, FixAtoms | FixCartesian) for each in other.constraints):
        return fixed_directions(one) == fixed_directions(other)
    found, expected = ([each.todict() for each in atoms.constraints] for atoms in (one, other))
    return plain(found) == plain(expected)


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_moments_of_three_numbers_go_through_a_database(tmp_path, n_atoms):
    atoms = bulk("Fe", cubic=n_atoms == 2)
    moment = np.array([0.5, 0.0, 2.25])
    moments = np.stack([moment, -moment])[:n_atoms]
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmom=moment, magmoms=moments)
    names = ["a.xyz", "b.db", "c.xyz", "d.db"]
    write_frames(tmp_path / names[0], [atoms])
    for source, target in itertools.pairwise(names):
        assert write_frames(tmp_path / target, read_frames(tmp_path / source)).lost == ()
        (frame,) = read_frames(tmp_path / target)
        assert same_value(frame.atoms.calc.results["magmom"], moment)
        assert same_value(frame.atoms.calc.results["magmoms"], moments)
