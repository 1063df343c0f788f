"""What is written is read back: every number exactly, in every format and in both directions."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read
from needed import needs_gpaw
from test_extxyz import assert_same, labelled, same_value

from entrove.errors import StructureError
from entrove.formats import FORMATS, Frame, LabelKeys, read_frames, write_frames

OUTPUTS = Path(__file__).parent / "outputs"
XYZ = ("extxyz", "mace", "gap", "nep")


def name_of(format_name: str) -> str:
    return {"ase-db": "out.db", "deepmd-npy": "npy", "deepmd-raw": "raw"}.get(
        format_name, "out.xyz"
    )


def periodic_frames(count: int = 6) -> list[Atoms]:
    """Skewed cells with all three labels; two compositions in turn."""
    rng = np.random.default_rng(3)
    structures = []
    for index in range(count):
        atoms = [bulk("NaCl", "rocksalt", 5.6), bulk("Si", cubic=True)][index % 2]
        atoms.set_cell(atoms.cell.array + 0.1 * rng.normal(size=(3, 3)), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=rng.normal() * 1000,
            forces=rng.normal(size=(len(atoms), 3)),
            stress=rng.normal(size=6) * 1e-2,
        )
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("format_name", [None, *XYZ])
def test_a_compressed_name_gives_a_compressed_file_of_the_same_text(tmp_path, suffix, format_name):
    structures = periodic_frames()
    plain, packed = tmp_path / "out.xyz", tmp_path / f"out.xyz{suffix}"
    assert write_frames(plain, structures, format_name).count == 6
    assert write_frames(packed, structures, format_name).count == 6
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[suffix]
    with opener(packed, "rb") as handle:
        assert handle.read() == plain.read_bytes()
    assert [frame.labels for frame in read_frames(packed)] == [("energy", "forces", "stress")] * 6


@pytest.mark.parametrize("format_name", ["ase-db", "deepmd-npy", "deepmd-raw"])
def test_other_formats_are_not_compressed(tmp_path, format_name):
    path = tmp_path / f"{name_of(format_name)}.gz"
    with pytest.raises(StructureError, match=r"only extended XYZ is written compressed; .* \.gz"):
        write_frames(path, periodic_frames(), format_name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", FORMATS)
def test_labels_survive_every_format(tmp_path, format_name):
    structures = periodic_frames()
    path = tmp_path / name_of(format_name)
    assert write_frames(path, structures, format_name).count == 6
    frames = list(read_frames(path))
    assert not any(frame.problem for frame in frames)
    if format_name.startswith("deepmd"):  # sorted by composition
        structures = structures[0::2] + structures[1::2]
        structures.sort(key=lambda atoms: atoms.get_chemical_formula())
    for frame, expected in zip(frames, structures, strict=True):
        atoms = frame.atoms
        assert (atoms.numbers == expected.numbers).all()
        assert (atoms.positions == expected.positions).all()
        assert (atoms.cell == expected.cell).all()
        assert (atoms.pbc == expected.pbc).all()
        assert atoms.get_potential_energy() == expected.get_potential_energy()
        assert (atoms.get_forces() == expected.get_forces()).all()
        # A virial is a product with the volume: two roundings.
        assert atoms.get_stress() == pytest.approx(expected.get_stress(), rel=1e-14, abs=1e-18)


def files_of(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def assert_written_the_same(one: Path, other: Path, format_name: str) -> None:
    """Files are equal byte by byte, but for the times and names in databases."""
    if format_name != "ase-db":
        assert files_of(one) == files_of(other)
    for frame, expected in zip(read_frames(one), read_frames(other), strict=True):
        assert frame.problem == expected.problem == ""
        assert_same(frame.atoms, expected.atoms)


@pytest.mark.parametrize("format_name", FORMATS)
def test_one_structure_is_written_as_a_list_of_one(tmp_path, format_name):
    (atoms,) = periodic_frames(1)
    places = [tmp_path / name / name_of(format_name) for name in ("list", "atoms", "frame")]
    for place in places:
        place.parent.mkdir()
    given = ([atoms], atoms, Frame("in.xyz", 0, atoms))
    for place, what in zip(places, given, strict=True):
        assert write_frames(place, what, format_name).count == 1
        assert_written_the_same(place, places[0], format_name)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_stress_is_written_the_same_as_a_matrix_and_as_six_numbers(tmp_path, format_name):
    (tmp_path / "voigt").mkdir()
    (tmp_path / "matrix").mkdir()
    as_voigt, as_matrix = periodic_frames(), periodic_frames()
    for atoms in as_matrix:
        stress = atoms.calc.results["stress"]
        atoms.calc.results["stress"] = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    one, other = (tmp_path / name / name_of(format_name) for name in ("voigt", "matrix"))
    write_frames(one, as_voigt, format_name)
    write_frames(other, as_matrix, format_name)
    assert_written_the_same(other, one, format_name)


SCALARS = [np.int64(-7), np.uint8(3), np.float64(0.1), np.float32(0.1), np.bool_(True)]
SCALARS += [np.bool_(False), np.str_("fcc")]


@pytest.mark.parametrize("format_name", [*XYZ, "ase-db"])
def test_numbers_of_numpy_come_back_as_those_of_python(tmp_path, format_name):
    atoms = bulk("Si")
    keys = {f"key_{index}": value for index, value in enumerate(SCALARS)}
    atoms.info |= {**keys, "nested": {"list": list(SCALARS), "deeper": {"pair": tuple(SCALARS)}}}
    path = tmp_path / name_of(format_name)
    assert write_frames(path, [atoms], format_name).lost == ()
    (frame,) = read_frames(path)
    python = [value.item() for value in SCALARS]
    expected = {f"key_{index}": value for index, value in enumerate(python)}
    expected["nested"] = {"list": python, "deeper": {"pair": python}}
    assert frame.atoms.info == expected


@pytest.mark.parametrize("name", ["out.xyz", "out.db", "out.json"])
def test_initial_moments_of_three_numbers_are_read_back_with_their_labels(tmp_path, name):
    atoms = bulk("Fe", cubic=True)
    moments = np.array([[0.5, 0.0, 2.25], [0.0, -1.5, 0.25]])
    atoms.set_initial_magnetic_moments(None)  # those of `bulk`, one number for each atom
    atoms.set_initial_magnetic_moments(moments)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.ones((2, 3)))
    format_name = "ase-db" if name == "out.json" else None
    assert write_frames(tmp_path / name, [atoms], format_name).lost == ()
    (frame,) = read_frames(tmp_path / name)
    assert frame.problem == ""
    assert_same(frame.atoms, atoms)


@pytest.mark.parametrize("format_name", ["extxyz", "mace", "ase-db"])
def test_keys_columns_results_and_constraints_survive(tmp_path, format_name):
    structures = [labelled(seed) for seed in (0, 2, 3, 4, 6, 9)]
    for atoms in structures:
        atoms.info |= {"text of a number": "12", "one": np.array([1.5]), "backslash": "a\\b\n"}
        atoms.set_momenta(np.arange(3.0 * len(atoms)).reshape(-1, 3) / 7)
        if format_name == "ase-db":
            atoms.set_constraint(FixAtoms([0]))
    path = tmp_path / name_of(format_name)
    write_frames(path, structures, format_name)
    for frame, expected in zip(read_frames(path), structures, strict=True):
        assert frame.problem == ""
        assert_same(frame.atoms, expected)


def test_a_second_trip_changes_nothing(tmp_path):
    write_frames(tmp_path / "first.xyz", [labelled(seed) for seed in range(9)])
    for one, other in (("first.xyz", "a.db"), ("a.db", "second.xyz")):
        write_frames(tmp_path / other, read_frames(tmp_path / one))
    first, second = (list(read_frames(tmp_path / name)) for name in ("first.xyz", "second.xyz"))
    for one, other in zip(first, second, strict=True):
        assert one.atoms.info.keys() == other.atoms.info.keys()
        assert all(same_value(one.atoms.info[k], other.atoms.info[k]) for k in one.atoms.info)
        assert (one.atoms.positions == other.atoms.positions).all()


@pytest.mark.parametrize("text", ["1 1 0", "1,2", "7", "1e5", "T F", "nan", "_JSON 1"])
@pytest.mark.parametrize("key", ["surface", "uid"])
def test_a_text_that_looks_like_numbers_comes_back_as_text(tmp_path, key, text):
    atoms = bulk("Cu")
    atoms.info[key] = text
    write_frames(tmp_path / "out.xyz", [atoms])
    (frame,) = read_frames(tmp_path / "out.xyz")
    assert frame.atoms.info[key] == text


def test_ase_reads_what_is_written(tmp_path):
    structures = [labelled(seed) for seed in range(12)]
    write_frames(tmp_path / "ours.xyz", structures)
    for frame, theirs in zip(
        read_frames(tmp_path / "ours.xyz"), read(tmp_path / "ours.xyz", ":"), strict=True
    ):
        assert_same(frame.atoms, theirs)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    "output", ["espresso_md.out", pytest.param("gpaw_md.txt", marks=needs_gpaw), "cp2k_md.out"]
)
def test_outputs_of_codes_go_to_every_format(tmp_path, output, format_name):
    given = list(read_frames(OUTPUTS / output))
    path = tmp_path / name_of(format_name)
    write_frames(path, given, format_name)
    for frame, expected in zip(read_frames(path), given, strict=True):
        results, others = frame.atoms.calc.results, expected.atoms.calc.results
        for name in ("energy", "forces"):
            assert same_value(results[name], others[name])
        assert results["stress"] == pytest.approx(others["stress"], rel=1e-14, abs=1e-18)


@pytest.mark.parametrize("format_name", ["deepmd-npy", "deepmd-raw"])
def test_molecules_and_missing_labels_are_separate_deepmd_systems(tmp_path, format_name):
    water, same = molecule("H2O"), molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-1.5, forces=np.zeros((3, 3)))
    write_frames(tmp_path / "out", [water, same, bulk("Si")], format_name)
    frames = {frame.source: frame for frame in read_frames(tmp_path / "out")}
    assert [Path(source).name for source in frames] == ["H2O", "H2O-2", "Si2"]
    assert [frame.labels for frame in frames.values()] == [("energy", "forces"), (), ()]
    assert [frame.atoms.pbc.all() for frame in frames.values()] == [False, False, True]


def test_a_deepmd_set_of_other_lengths_is_named_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("entrove.formats.deepmd_writer.FRAMES_PER_SET", 2)
    write_frames(tmp_path / "out", periodic_frames(12)[0::2], "deepmd-npy")
    (system,) = (tmp_path / "out").iterdir()
    assert [part.name for part in sorted(system.glob("set.*"))] == [
        "set.000",
        "set.001",
        "set.002",
    ]
    np.save(system / "set.001" / "energy.npy", np.zeros((7, 1)))
    problems = [frame.problem for frame in read_frames(system)]
    assert [bool(problem) for problem in problems] == [False, False, True, False, False]
    assert "different numbers of frames" in problems[2]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_array_that_a_full_disk_cut_is_named(tmp_path, share):
    write_frames(tmp_path / "npy", periodic_frames(2), "deepmd-npy")
    (file,) = (tmp_path / "npy").glob("Si*/set.000/energy.npy")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    broken = [frame for frame in read_frames(tmp_path / "npy") if frame.problem]
    assert [frame.source for frame in broken] == [str(file.parents[1])]
    assert len(list(read_frames(tmp_path / "npy"))) == 2


def test_a_mixed_deepmd_system_has_types_of_its_own_in_each_frame(tmp_path):
    """As DeePMD-kit describes it: type.raw says nothing, -1 fills up short frames."""
    (tmp_path / "set.000").mkdir()
    (tmp_path / "type.raw").write_text("0\n0\n0\n")
    (tmp_path / "type_map.raw").write_text("O\nH\n")
    coordinates = np.arange(18.0).reshape(2, 9)
    for name, values in (
        ("coord", coordinates),
        ("force", -coordinates),
        ("energy", np.array([[-1.0], [-2.0]])),
        ("real_atom_types", np.array([[0, 1, 1], [1, 1, -1]])),
    ):
        np.save(tmp_path / "set.000" / f"{name}.npy", values)
    water, hydrogen = read_frames(tmp_path)
    assert [str(frame.atoms.symbols) for frame in (water, hydrogen)] == ["OH2", "H2"]
    assert (hydrogen.atoms.positions == coordinates[1, :6].reshape(2, 3)).all()
    assert (hydrogen.atoms.get_forces() == -coordinates[1, :6].reshape(2, 3)).all()


def test_a_deepmd_system_without_elements_is_named(tmp_path):
    write_frames(tmp_path / "out", periodic_frames(1), "deepmd-npy")
    (system,) = (tmp_path / "out").iterdir()
    (system / "type_map.raw").unlink()
    (frame,) = read_frames(system)
    assert "type_map.raw" in frame.problem


def test_what_a_format_has_no_place_for_is_said(tmp_path):
    atoms = periodic_frames(1)[0]
    atoms.info["config_type"] = "rattled"
    assert write_frames(tmp_path / "out", [atoms], "deepmd-npy").lost == ("config_type",)


def test_another_energy_in_the_keys_is_not_taken_for_the_label(tmp_path):
    atoms = periodic_frames(1)[0]
    atoms.info["energy"] = -77.0
    write_frames(tmp_path / "a.xyz", [atoms], "mace")
    (frame,) = read_frames(tmp_path / "a.xyz")
    assert frame.atoms.get_potential_energy() == atoms.get_potential_energy()
    assert frame.atoms.info["other_energy"] == -77.0


def test_a_label_under_two_names_keeps_both(tmp_path):
    atoms = periodic_frames(1)[0]
    atoms.info["REF_energy"] = atoms.get_potential_energy()
    write_frames(tmp_path / "a.xyz", [atoms])
    (frame,) = read_frames(tmp_path / "a.xyz")
    assert frame.atoms.info == {"REF_energy": atoms.get_potential_energy()}


def test_a_named_key_is_converted(tmp_path):
    atoms = bulk("Si")
    atoms.info |= {"my_energy": -3.25, "energy": -1.0}
    write_frames(tmp_path / "a.xyz", read_frames_of(tmp_path, atoms), "nep")
    (frame,) = read_frames(tmp_path / "a.xyz")
    assert frame.atoms.get_potential_energy() == -3.25


def read_frames_of(folder: Path, atoms: Atoms):
    (folder / "in.xyz").write_text(
        f'2\nLattice="0 2.7 2.7 2.7 0 2.7 2.7 2.7 0" my_energy={atoms.info["my_energy"]} '
        f"energy={atoms.info['energy']}\nSi 0 0 0\nSi 1.35 1.35 1.35\n"
    )
    return list(read_frames(folder / "in.xyz", LabelKeys(energy="my_energy")))


def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path):
    atoms = bulk("Si")
    atoms.set_array("site", np.array(["two words", "x"]))
    with pytest.raises(StructureError, match="'site'"):
        write_frames(tmp_path / "a.xyz", [atoms])
    atoms = bulk("Si")
    atoms.pbc = [True, True, False]
    with pytest.raises(StructureError, match="pbc"):
        write_frames(tmp_path / "a", [atoms])
    with pytest.raises(StructureError, match="choose a format"):
        write_frames(tmp_path / "a.cif", [atoms])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["in.xyz", [bulk("Si")], None, bulk("Si")[0]])
def test_what_is_no_structure_is_refused(tmp_path, given):
    with pytest.raises(StructureError, match=r"no structure; give ase\.Atoms"):
        write_frames(tmp_path / "a.xyz", iter([given]))
    assert list(tmp_path.iterdir()) == []


def test_broken_frames_are_not_written(tmp_path):
    (tmp_path / "in.xyz").write_text("1\nenergy=x\nSi 0 0 0\n")
    with pytest.raises(StructureError, match="energy is 'x'"):
        write_frames(tmp_path / "a.xyz", read_frames(tmp_path / "in.xyz"))
