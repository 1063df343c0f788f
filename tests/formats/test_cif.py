"""A file that can be read wrongly gives the atoms that a seed of it has, or a problem."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from entrove.campaign.configuration.seeds import name_of, read_seed
from entrove.errors import StructureError
from entrove.formats import read_frames
from entrove.formats.cif import LEAST_RATIO
from entrove.formats.reading import iterate_structures
from entrove.sampling.config import GuardSettings

HEAD = """\
data_{name}
{more}_cell_length_a {length}
_cell_length_b {length}
_cell_length_c {length}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_label
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


def cif(name: str, length: float, group: str, *sites: str, more: str = "") -> str:
    """Text of a cubic crystal, whose symmetry its group alone says."""
    head = HEAD.format(name=name, length=length, group=group, more=more)
    return head + "".join(f"{site}\n" for site in sites)


CAPITALS = cif(
    "salt",
    5.64,
    "F m -3 m",
    "NA1 1 0 0 0",
    "CL1 1 0.5 0.5 0.5",
    more="_chemical_formula_sum 'Na Cl'\n",
)
PARTIAL = cif("alloy", 3.6, "F m -3 m", "Cu1 0.5 0 0 0", "Ni1 0.5 0 0 0")
SECOND_ORIGIN = cif(
    "silicon",
    5.43,
    "F d -3 m",
    "Si1 1 0.125 0.125 0.125",
    more="_chemical_formula_sum 'Si'\n_cell_formula_units_Z 8\n",
)
COPPER = cif("copper", 3.6, "F m -3 m", "Cu1 1 0 0 0")
DUMP = """\
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0.0 3.0
0.0 3.0
0.0 3.0
ITEM: ATOMS id type{} x y z
1 1{} 0 0 0
2 1{} 1.5 1.5 1.5
"""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("capitals.cif", CAPITALS, "Cl4Na4"),
        ("partial.cif", PARTIAL, "partially occupied"),
        ("origin.cif", SECOND_ORIGIN, "Si8"),
        ("types.lammpstrj", DUMP.format("", "", ""), "names no elements"),
        ("elements.lammpstrj", DUMP.format(" element", " Cu", " Cu"), "Cu2"),
        ("copper.cif", COPPER, "Cu4"),
    ],
)
def test_a_frame_has_the_atoms_of_the_seed_or_a_problem(
    tmp_path: Path, name: str, text: str, expected: str, packed: bool
):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (frame,) = read_frames(path)
    if frame.atoms is None:
        assert expected in frame.problem
        with pytest.raises(StructureError) as refused:
            read_seed(path)
        assert str(refused.value) == f"{path}: {frame.problem}"
        with pytest.raises(StructureError, match=expected):
            list(iterate_structures(path))
        return
    assert list(iterate_structures(path)) == [frame.atoms]
    seed, notes = read_seed(path)
    assert frame.atoms.get_chemical_formula() == expected
    assert frame.atoms == seed
    assert frame.notes == notes
    assert name_of(path) == name.split(".", maxsplit=1)[0]


def test_seeds_and_frames_allow_the_same_distances():
    assert GuardSettings().shortest_distance == LEAST_RATIO


def test_a_crystal_that_cannot_be_read_takes_no_other_of_its_file(tmp_path: Path):
    (tmp_path / "three.cif").write_text(COPPER + PARTIAL + CAPITALS)
    frames = list(read_frames(tmp_path / "three.cif"))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.atoms and str(frame.atoms.symbols) for frame in frames] == [
        "Cu4",
        None,
        "Na4Cl4",
    ]
    assert "partially occupied" in frames[1].problem
    atoms, notes = read_seed(tmp_path / "three.cif", 2)
    assert atoms == frames[2].atoms
    assert notes[0] == frames[2].notes[0]
    with pytest.raises(StructureError, match="partially occupied"):
        read_seed(tmp_path / "three.cif", 1)


@pytest.mark.parametrize("text", ["", "data_nothing\n_cell_length_a 4\n", "loop_\n_a\n'"])
def test_a_cif_without_a_crystal_says_so(tmp_path: Path, text: str):
    (tmp_path / "empty.cif").write_text(text)
    (frame,) = read_frames(tmp_path / "empty.cif")
    assert frame.problem


@pytest.mark.parametrize("value", ["nan", "0", "?", "-1", "x"])
@pytest.mark.parametrize("place", ["cell_length_b 5.64", "cell_angle_beta 90", "NA1 1 0"])
def test_a_damaged_number_is_a_problem_of_its_frame(tmp_path: Path, place: str, value: str):
    text = CAPITALS.replace(place, f"{place.rpartition(' ')[0]} {value}")
    (tmp_path / "damaged.cif").write_text(COPPER + text)
    good, damaged = read_frames(tmp_path / "damaged.cif")
    assert good.atoms is not None
    is_shift = place.startswith("NA1") and value in ("0", "-1")  # by a lattice vector
    assert bool(damaged.problem) is not is_shift


def test_a_group_is_kept_as_its_file_names_it(tmp_path: Path):
    (tmp_path / "a.cif").write_text(COPPER)
    (frame,) = read_frames(tmp_path / "a.cif")
    assert frame.atoms.info == {"spacegroup": "F m -3 m"}


def test_a_written_crystal_is_read_as_it_stands(tmp_path: Path):
    atoms = bulk("GaAs", "zincblende", a=5.65, cubic=True)
    atoms.rattle(0.05, seed=3)
    write(tmp_path / "a.cif", [atoms, atoms])
    for frame in read_frames(tmp_path / "a.cif"):
        assert frame.notes == ()
        np.testing.assert_array_equal(frame.atoms.numbers, atoms.numbers)
        np.testing.assert_allclose(
            frame.atoms.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-3
        )
