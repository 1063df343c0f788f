"""A seed is what its file says, or it is refused: files are written here for each way to err."""

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from ase.units import Bohr

from entrove.campaign.configuration.check import read_campaign
from entrove.campaign.configuration.config import CampaignConfig
from entrove.campaign.configuration.config_file import read_config_file
from entrove.campaign.configuration.seeds import (
    Seed,
    describe_crystal,
    read_seed,
    read_seeds,
    same_crystal,
)
from entrove.campaign.configuration.template import write_starting_point
from entrove.errors import ConfigError, StructureError
from entrove.labelling.store.moments import magnetic_state
from entrove.structures import content_hash

HEAD = """\
data_made
_cell_length_a {0}
_cell_length_b {1}
_cell_length_c {2}
_cell_angle_alpha {3}
_cell_angle_beta {4}
_cell_angle_gamma {5}
"""


def cif(cellpar, sites, *, group=None, columns=("label", "type_symbol"), extra="") -> str:
    """Text of a CIF file; `sites` are rows of `columns`, three fractions, and an occupancy."""
    text = HEAD.format(*cellpar)
    if group:
        text += f"_symmetry_space_group_name_H-M '{group[0]}'\n"
        text += f"_symmetry_Int_Tables_number {group[1]}\n"
    else:
        text += "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n"
    text += extra + "loop_\n"
    for column in (*columns, "fract_x", "fract_y", "fract_z", "occupancy"):
        text += f"_atom_site_{column}\n"
    return text + "".join(" ".join(map(str, site)) + "\n" for site in sites)


def read(tmp_path, text: str, **options):
    path = tmp_path / "crystal.cif"
    path.write_text(text)
    return read_seed(path, **options)


def distances(atoms: Atoms) -> np.ndarray:
    """All distances up to 5 A, sorted: they do not depend on origin and orientation."""
    return np.sort(neighbor_list("d", atoms, 5.0))


# A crystal written in every setting that tables of space groups know of.

SPINEL = (8.083, 8.083, 8.083, 90, 90, 90)
RHOMBOHEDRAL = (4.746, 4.746, 4.746, 57.23, 57.23, 57.23)


@pytest.mark.parametrize("name", ["F d -3 m", "F d -3 m :2", "Fd-3m Z"])
def test_another_choice_of_origin_is_recognised_by_the_formula_sum(tmp_path, name):
    sites = [
        ("Mg1", "Mg", 0.125, 0.125, 0.125, 1.0),
        ("Al1", "Al", 0.5, 0.5, 0.5, 1.0),
        ("O1", "O", 0.2624, 0.2624, 0.2624, 1.0),
    ]
    formula = "_chemical_formula_sum 'Al2 Mg O4'\n"
    atoms, notes = read(tmp_path, cif(SPINEL, sites, group=(name, 227), extra=formula))
    # Mg, Al and O of a normal spinel in the first choice of origin: shifted by (1/8, 1/8, 1/8).
    expected = crystal(
        ("Mg", "Al", "O"),
        [(0, 0, 0), (0.625, 0.625, 0.625), (0.3874, 0.3874, 0.3874)],
        spacegroup=227,
        setting=1,
        cellpar=SPINEL,
    )
    assert atoms.get_chemical_formula() == "Al16Mg8O32"
    np.testing.assert_allclose(distances(atoms), distances(expected), atol=1e-6)
    told = any("second setting" in note for note in notes)
    assert told == (name == "F d -3 m")  # where the file names its setting nothing is guessed


def test_silicon_of_the_second_origin_is_told_by_the_number_of_formula_units(tmp_path):
    """Both readings are silicon without overlaps; only the number of atoms differs."""
    sites = [("Si1", "Si", 0.125, 0.125, 0.125, 1.0)]
    lengths = (5.43, 5.43, 5.43, 90, 90, 90)
    extra = "_chemical_formula_sum 'Si'\n_cell_formula_units_Z 8\n"
    atoms, notes = read(tmp_path, cif(lengths, sites, group=("F d -3 m", 227), extra=extra))
    assert atoms.get_chemical_formula() == "Si8"
    assert distances(atoms)[0] == pytest.approx(5.43 * 3**0.5 / 4, abs=1e-6)
    assert "second setting" in notes[0]


def test_rhombohedral_axes_are_recognised(tmp_path):
    sites = [("Bi1", "Bi", 0.2338, 0.2338, 0.2338, 1.0)]
    formula = "_chemical_formula_sum 'Bi2'\n"
    atoms, _ = read(tmp_path, cif(RHOMBOHEDRAL, sites, group=("R -3 m", 166), extra=formula))
    assert len(atoms) == 2
    assert describe_crystal(atoms).split(", ")[1] == "R-3m (166)"


@pytest.mark.parametrize(
    ("labels", "formula"),
    [
        (("NA1", "CL1"), "Cl Na"),
        (("Na1", "Cl1"), "Na Cl"),
        (("na1", "cl1"), None),
        (("CO1", "O2"), "Co O"),
        (("CO1", "O2"), "C O"),
    ],
)
def test_labels_in_capitals_are_read_as_the_formula_sum_tells(tmp_path, labels, formula):
    sites = [(labels[0], 0, 0, 0, 1), (labels[1], 0.5, 0.5, 0.5, 1)]
    extra = f"_chemical_formula_sum '{formula}'\n" if formula else ""
    lengths = (5.64, 5.64, 5.64, 90, 90, 90)
    group = ("F m -3 m", 225)
    text = cif(lengths, sites, group=group, columns=("label",), extra=extra)
    atoms, notes = read(tmp_path, text)
    assert set(atoms.symbols) == set((formula or "Na Cl").split())
    assert len(atoms) == 8
    told = any("capitals" in note for note in notes)
    assert told == (labels[0].isupper() and formula != "C O")


def test_labels_that_can_be_two_elements_are_refused_without_a_formula_sum(tmp_path):
    sites = [("NA1", 0, 0, 0, 1), ("CL1", 0.5, 0.5, 0.5, 1)]
    text = cif((4, 4, 4, 90, 90, 90), sites, columns=("label",))
    with pytest.raises(
        StructureError, match=r"read as C ?N or C?l?Na.*add _atom_site_type_symbol"
    ):
        read(tmp_path, text)


def test_a_list_of_operations_counts_more_than_the_name_of_a_group(tmp_path):
    """Fluorite by eight of its operations; the name is one that no table has."""
    operations = ["x,y,z", "-x,-y,-z", "x+1/2,y+1/2,z", "x+1/2,y,z+1/2", "x,y+1/2,z+1/2"]
    operations += ["-x+1/2,-y+1/2,-z", "-x+1/2,-y,-z+1/2", "-x,-y+1/2,-z+1/2"]
    listing = "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{o}'\n" for o in operations)
    sites = [("Ca1", "Ca", 0, 0, 0, 1), ("F1", "F", 0.25, 0.25, 0.25, 1)]
    text = cif((5.46, 5.46, 5.46, 90, 90, 90), sites, group=("F made up", 225), extra=listing)
    atoms, _ = read(tmp_path, text)
    fluorite = bulk("CaF2", "fluorite", a=5.46, cubic=True)
    np.testing.assert_allclose(distances(atoms), distances(fluorite), atol=1e-6)


# What no reading can repair.


@pytest.mark.parametrize("occupancy", [0.6, 0.97, 0.02])
def test_a_site_that_is_not_full_is_refused_and_named(tmp_path, occupancy):
    rest = round(1 - occupancy, 4)
    sites = [("Cu1", "Cu", 0, 0, 0, occupancy), ("Au1", "Au", 0, 0, 0, rest)]
    text = cif((3, 3, 3, 90, 90, 90), sites)
    with pytest.raises(
        StructureError,
        match=rf"partially occupied \(occupancies: Cu1 {occupancy:g}, Au1 {rest:g}\).*ordered",
    ):
        read(tmp_path, text)


def test_full_occupancies_and_unknown_ones_are_no_disorder(tmp_path):
    sites = [("Cu1", "Cu", 0, 0, 0, "1.0000"), ("Au1", "Au", 0.5, 0.5, 0.5, "?")]
    atoms, notes = read(tmp_path, cif((3, 3, 3, 90, 90, 90), sites))
    assert (sorted(atoms.symbols), notes) == (["Au", "Cu"], ())


def test_atoms_that_the_file_leaves_out_are_missed(tmp_path):
    """Hydrogen is often not located; the formula sum has it."""
    sites = [("Li1", "Li", 0, 0, 0, 1), ("O1", "O", 0.5, 0.5, 0.5, 1)]
    text = cif((3, 3, 3, 90, 90, 90), sites, extra="_chemical_formula_sum 'H Li O'\n")
    with pytest.raises(StructureError, match=r"LiO, which differs from its formula sum H1 Li1 O1"):
        read(tmp_path, text)


def test_deuterium_is_hydrogen(tmp_path):
    sites = [("Li1", "Li", 0, 0, 0, 1), ("D1", "D", 0.5, 0.5, 0.5, 1)]
    text = cif((3, 3, 3, 90, 90, 90), sites, extra="_chemical_formula_sum 'D Li'\n")
    assert sorted(read(tmp_path, text)[0].symbols) == ["H", "Li"]


@pytest.mark.parametrize("ending", ["cif", "xyz", "vasp"])
@pytest.mark.parametrize("shift_A", [0.004, 0.5, 1.3])
def test_overlapping_atoms_are_refused_in_every_format(tmp_path, ending, shift_A):
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms += Atoms("Cu", positions=[atoms.cell[0] - [shift_A, 0, 0]])
    path = tmp_path / f"near.{ending}"
    write(path, atoms)
    with pytest.raises(StructureError, match=rf"near\.{ending}.*{shift_A:.3f} A apart"):
        read_seed(path)


DUMP = """\
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0.0 3.0
0.0 3.0
0.0 3.0
ITEM: ATOMS id type{column} x y z
1 1{first} 0 0 0
2 2{second} 1.5 1.5 1.5
"""


def test_atom_types_without_elements_are_refused(tmp_path):
    path = tmp_path / "alloy.lammpstrj"
    path.write_text(DUMP.format(column="", first="", second=""))
    with pytest.raises(StructureError, match=r"numbers its atom types and names no elements"):
        read_seed(path)
    path.write_text(DUMP.format(column=" element", first=" Cu", second=" Au"))
    atoms, _ = read_seed(path)
    assert list(atoms.symbols) == ["Cu", "Au"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.set_pbc([True, True, False]), "periodic in three dimensions"),
        (lambda atoms: atoms.symbols.__setitem__(0, "X"), "an atom of element X"),
        (lambda atoms: atoms.positions.__setitem__((0, 0), np.nan), "not finite"),
    ],
    ids=["slab", "dummy atom", "NaN"],
)
def test_what_is_no_crystal_is_refused(tmp_path, change, message):
    atoms = bulk("Cu", cubic=True)
    change(atoms)
    write(tmp_path / "seed.xyz", atoms)
    with pytest.raises(StructureError, match=message):
        read_seed(tmp_path / "seed.xyz")


# What is kept and said.


@pytest.mark.parametrize("name", ["seed.xyz", "seed.traj", "seed.json", "seed.cif", "seed.vasp"])
def test_a_good_crystal_is_read_as_it_stands_in_every_format(tmp_path, name):
    rng = np.random.default_rng(5)
    atoms = bulk("GaAs", "zincblende", a=5.65, cubic=True)
    atoms.rattle(0.05, rng=rng)
    write(tmp_path / name, atoms)
    read_back, notes = read_seed(tmp_path / name)
    assert sorted(read_back.symbols) == sorted(atoms.symbols)
    np.testing.assert_allclose(distances(read_back), distances(atoms), atol=1e-3)
    assert notes == ()


def test_moments_come_with_the_seed_and_charges_are_named(tmp_path):
    atoms = bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    atoms.set_initial_charges([1.0, -1.0])
    write(tmp_path / "afm.xyz", atoms)
    read_back, notes = read_seed(tmp_path / "afm.xyz")
    np.testing.assert_array_equal(read_back.get_initial_magnetic_moments(), [2.2, -2.2])
    line = Seed("afm", read_back, notes).describe()
    assert "magnetic moments -2.2 to +2.2 mu_B, together +0" in line
    assert line.endswith("; charges of the file are not used")


def test_computed_moments_come_with_the_seed_where_it_has_no_others(tmp_path):
    atoms = bulk("FeO", "rocksalt", a=4.3, cubic=True)
    atoms.set_initial_magnetic_moments(None)
    ended = np.where(atoms.symbols == "Fe", 3.6, 0.02) * [1, 1, 1, 1, -1, -1, -1, -1]
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=ended)
    write(tmp_path / "afm.traj", atoms)
    read_back, notes = read_seed(tmp_path / "afm.traj")
    assert magnetic_state(read_back) == magnetic_state(atoms)
    np.testing.assert_array_equal(
        read_back.get_initial_magnetic_moments(), np.where(np.abs(ended) > 1, ended, 0)
    )
    assert "its computed moments are those that its labels start from" in notes
    atoms.set_initial_magnetic_moments(np.where(atoms.symbols == "Fe", 4.0, 0.0))
    write(tmp_path / "fm.traj", atoms)
    read_back, notes = read_seed(tmp_path / "fm.traj")
    assert (read_back.get_initial_magnetic_moments().sum(), notes) == (16.0, ())
    atoms.set_initial_magnetic_moments(None)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.full(8, 1e-3))
    write(tmp_path / "none.traj", atoms)
    assert not read_seed(tmp_path / "none.traj")[0].has("initial_magmoms")


def test_which_of_several_structures_is_taken_is_said(tmp_path):
    cells = [bulk("Cu", a=3.5 + 0.05 * index) for index in range(4)]
    write(tmp_path / "path.xyz", cells)
    for index in (0, 2, -1):
        atoms, notes = read_seed(tmp_path / "path.xyz", index)
        assert content_hash(atoms) == content_hash(cells[index])
        assert notes == (f"structure {index} of the 4 in path.xyz, see seeds: index",)
    with pytest.raises(StructureError, match=r"got index 4, but .* holds 4 structures"):
        read_seed(tmp_path / "path.xyz", 4)
    write(tmp_path / "one.xyz", cells[:1])
    with pytest.raises(StructureError, match=r"holds 1 structure; count from 0"):
        read_seed(tmp_path / "one.xyz", 1)


def test_the_line_of_a_seed_grows_with_the_cell_only_where_it_should():
    """Volume per atom, distance and space group are those of the crystal, not of the cell."""
    lines = [
        describe_crystal(bulk("NaCl", "rocksalt", a=5.64, cubic=cubic).repeat(repeat))
        for cubic in (False, True)
        for repeat in (1, 2)
    ]
    for one, other in pairwise(lines):
        assert one.split(", ")[1:] == other.split(", ")[1:]
    assert lines[1] == ("Cl8Na8, Fm-3m (225), 22.43 A^3/atom, shortest distance 2.82 A (Na-Cl)")


# Cells of one atom, and vacuum.


@pytest.fixture
def start(tmp_path):
    """Write a configuration as `entrove init` does, and read what it makes of these seeds."""

    def begin(**seeds: Atoms):
        files = []
        for name, atoms in seeds.items():
            files.append(tmp_path / f"{name}.xyz")
            write(files[-1], atoms)
        path = write_starting_point(tmp_path / "new", files)
        return path, read_config_file(path, CampaignConfig)

    return begin


def as_emt(path) -> None:
    path.write_text(
        path.read_text().replace(
            "name: gpaw", 'name: ase\n    calculator: "ase.calculators.emt:EMT"'
        )
    )


def test_a_cell_of_one_atom_starts_as_a_supercell(start):
    """The force on an only atom is zero wherever it is: nothing is learnt from it."""
    path, config = start(fcc=bulk("Cu", a=3.6), whole=bulk("Ag", cubic=True))
    first, second = read_seeds(path, config)
    assert (len(first.atoms), len(second.atoms)) == (8, 4)
    assert min(first.atoms.cell.lengths()) >= 4.5
    assert (first.notes, second.notes) == ((), ())
    # A configuration that does not repeat it is told to.
    alone = config.model_copy(
        update={"seeds": (config.seeds[0].model_copy(update={"repeat": (1, 1, 1)}),)}
    )
    [seed] = read_seeds(path, alone)
    assert len(seed.atoms) == 1
    assert "force on an only atom is always zero" in seed.describe()
    assert "repeat: [2, 2, 2]" in seed.describe()


def test_moments_are_repeated_with_the_cell(tmp_path, start):
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.2])
    path, config = start(bcc=iron)
    [seed] = read_seeds(path, config)
    assert seed.atoms.get_initial_magnetic_moments().tolist() == [2.2] * len(seed.atoms)


SLAB = fcc111("Cu", (1, 1, 4), vacuum=8.0, periodic=True)
SLAB.info.clear()  # of adsorption sites, which no file keeps


def test_a_slab_starts_without_pressure_and_is_called_one(start):
    path, config = start(slab=SLAB)
    assert config.regime.pressures_GPa == (0.0,)
    assert "ordered" not in config.pools
    as_emt(path)
    _, [seed] = read_campaign(path)
    assert "a slab or layer: 16.0 A of vacuum along c" in seed.describe()
    assert "A^3/atom" not in seed.describe()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pressures_GPa: [0]", "pressures_GPa: [0, 10]", r"regime\.pressures_GPa: .* close"),
        ("sampling:", "sampling:\n  ensemble: npt", r"sampling\.ensemble: .*choose 'nvt'"),
        ("perturbed: 0", "perturbed: 2", r"sampling\.ordered: .*without vacuum"),
    ],
)
def test_what_would_close_the_vacuum_is_refused(start, old, new, message):
    path, _ = start(slab=SLAB, bulk=bulk("Cu", cubic=True))
    as_emt(path)
    read_campaign(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=rf"{message}"):
        read_campaign(path)


COPPER = bulk("Cu", cubic=True)
SIMPLE_CUBIC = bulk("Cu", "sc", a=2.3)


def turned(atoms: Atoms) -> Atoms:
    """The same crystal with other axes, another origin, and atoms in another order."""
    found = atoms.copy()
    found.rotate(40, (1, 2, 3), rotate_cell=True)
    found.positions += (0.3, 0.1, 0.2)
    return found[::-1]


def magnetic(atoms: Atoms, moments: list[float]) -> Atoms:
    found = atoms.copy()
    found.set_initial_magnetic_moments(moments)
    return found


def rounded(atoms: Atoms) -> Atoms:
    """The same crystal as a file with few digits has it."""
    found = atoms.copy()
    found.set_cell(np.round(atoms.cell.array, 4))
    found.set_scaled_positions(np.round(atoms.get_scaled_positions(), 4))
    return found


def perovskite(ratio: float, shift: float) -> Atoms:
    """BaTiO3 of one volume, with this c/a; titanium moves by `shift` of c, oxygen against it."""
    a = (64.0 / ratio) ** (1 / 3)
    fractions = [
        (0, 0, 0),
        (0.5, 0.5, 0.5 + shift),
        (0.5, 0.5, -shift / 2),
        (0.5, 0, 0.5 - shift / 4),
        (0, 0.5, 0.5 - shift / 4),
    ]
    return Atoms("BaTiO3", scaled_positions=fractions, cell=[a, a, a * ratio], pbc=True)


def sheared(atoms: Atoms, angle: float) -> Atoms:
    """The crystal with another angle between the last two edges, of the same volume."""
    found = atoms.copy()
    a, b, c = atoms.cell.lengths()
    found.set_cell([a, b, c / np.sin(np.radians(angle)), angle, 90, 90], scale_atoms=True)
    return found


def swapped(atoms: Atoms) -> Atoms:
    """The crystal with the elements of its first two atoms exchanged."""
    found = atoms.copy()
    found.numbers[:2] = atoms.numbers[1::-1]
    return found


IRON = bulk("Fe", "bcc", a=2.87)
FCC_IRON = bulk("Fe", "fcc", a=2.87 * 2 ** (1 / 3))
MAGNESIUM = bulk("Mg", "hcp", a=3.2094, c=5.2108)
OXIDE = bulk("MnO", "rocksalt", a=4.4, cubic=True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (COPPER, COPPER, True),
        (rounded(COPPER), rounded(bulk("Cu")), True),
        (rounded(COPPER.repeat((3, 1, 1))), turned(COPPER), True),
        (rounded(MAGNESIUM.repeat((3, 1, 1))), turned(MAGNESIUM), True),
        (perovskite(1.01, 0.02), rounded(turned(perovskite(1.01, 0.02))), True),
        (perovskite(1.0, 0.0), perovskite(1.01, 0.02), False),  # cubic and ferroelectric
        (perovskite(1.01, 0.02), perovskite(1.01, 0.03), False),
        (perovskite(1.01, 0.02), perovskite(1.02, 0.02), False),
        (perovskite(1.0, 0.0), sheared(perovskite(1.0, 0.0), 90.5), False),
        (magnetic(IRON, [2.2]), magnetic(FCC_IRON, [2.2]), False),
        (magnetic(IRON, [2.2]), magnetic(rounded(IRON), [2.2]), True),
        (magnetic(OXIDE, [3.0] * 8), magnetic(swapped(OXIDE), [3.0] * 8), False),
        (COPPER, bulk("Cu"), True),  # the primitive cell
        (COPPER, turned(COPPER.repeat((2, 1, 1))), True),
        (bulk("NaCl", "rocksalt", a=5.6), bulk("ClNa", "rocksalt", a=5.6, cubic=True), True),
        (COPPER, bulk("Cu", a=3.7), False),  # another volume may be another phase
        (COPPER, SIMPLE_CUBIC, False),
        (bulk("NaCl", "rocksalt", a=5.6), bulk("NaCl", "cesiumchloride", a=3.5), False),
        (bulk("Si"), bulk("Ge", a=5.43), False),
        (magnetic(COPPER, [1, 1, 1, 1]), magnetic(COPPER, [1, 1, -1, -1]), False),
        (magnetic(COPPER, [1, 1, 1, 1]), magnetic(COPPER, [1, 1, 1, 1]), True),
        (SLAB, SLAB, True),
        (molecule("H2O"), molecule("H2O"), False),
    ],
)
def test_one_crystal_is_recognised_in_any_cell(one: Atoms, other: Atoms, same: bool):
    assert same_crystal(one, other) is same
    assert same_crystal(other, one) is same


def test_a_crystal_that_is_given_twice_is_said(start):
    path, _ = start(fcc=COPPER, again=bulk("Cu"), sc=SIMPLE_CUBIC)
    as_emt(path)
    _, seeds = read_campaign(path)
    told = {seed.phase: seed.describe() for seed in seeds}
    assert [phase for phase, text in told.items() if "the crystal of" in text] == ["again"]
    assert "warning: this is the crystal of fcc again" in told["again"]


@pytest.mark.parametrize(
    ("cell", "scale", "doubted"),
    [
        (bulk("Cu", cubic=True), 1.0, False),
        (bulk("Cu"), 1.0, False),
        (bulk("Cs", "bcc", a=6.05, cubic=True), 1.15, False),
        (bulk("NaCl", "rocksalt", a=5.64), 1.1, False),
        (bulk("Ar", "fcc", a=5.26, cubic=True), 1.0, False),
        (molecule("H2O", vacuum=6.0, pbc=True), 1.0, False),
        (fcc111("Cu", (2, 2, 3), vacuum=6.0, periodic=True), 1.0, False),
        (bulk("Cu", cubic=True), 1 / Bohr, True),
        (bulk("Cu"), 1 / Bohr, True),
        (bulk("Si", cubic=True), 1 / Bohr, True),
        (bulk("NaCl", "rocksalt", a=5.64), 1 / Bohr, True),
    ],
)
def test_a_crystal_in_bohr_is_doubted_aloud(tmp_path, cell: Atoms, scale: float, doubted: bool):
    """Nothing else would say so: the file has lengths without a unit."""
    atoms = cell.copy()
    atoms.info.clear()
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    atoms.write(tmp_path / "seed.xyz")
    _, notes = read_seed(tmp_path / "seed.xyz")
    assert ["in Angstrom?" in note for note in notes] == [True] * doubted
