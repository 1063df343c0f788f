import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.data import covalent_radii

from entrove.errors import StructureError
from entrove.formats import read_frames
from entrove.formats.reading import iterate_structures
from entrove.structures import (
    as_written,
    attach_results,
    closest_atoms,
    content_hash,
    forces_of,
    read_sample,
    read_structures,
    stress_of,
    write_structures,
)


def skewed_cell(rng: np.random.Generator) -> Atoms:
    cell = np.array([[4.1, 0.3, -0.2], [0.7, 5.2, 0.1], [-0.9, 0.4, 6.3]])
    return Atoms("NaClSi2", positions=rng.uniform(0, 1, (4, 3)) @ cell, cell=cell, pbc=True)


def test_hash_ignores_order_and_lattice_vectors():
    rng = np.random.default_rng(1)
    for _ in range(200):
        atoms = skewed_cell(rng)
        moved = atoms[rng.permutation(4)]
        moved.positions += rng.integers(-3, 4, (4, 3)) @ atoms.cell.array
        assert content_hash(moved) == content_hash(atoms)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (False, False, False)])
def test_hash_wraps_periodic_directions_only(pbc):
    atoms = skewed_cell(np.random.default_rng(2))
    atoms.pbc = pbc
    for axis in range(3):
        moved = atoms.copy()
        moved.positions[0] += atoms.cell[axis]
        assert (content_hash(moved) == content_hash(atoms)) == pbc[axis]


def test_hash_sees_a_small_displacement_and_a_changed_element():
    atoms = skewed_cell(np.random.default_rng(3))
    displaced, replaced = atoms.copy(), atoms.copy()
    displaced.positions[2, 1] += 1e-4
    replaced.symbols[0] = "K"
    assert len({content_hash(a) for a in (atoms, displaced, replaced)}) == 3


def test_hash_survives_a_file(tmp_path):
    structures = [skewed_cell(np.random.default_rng(4)), molecule("H2O"), bulk("Si", cubic=True)]
    write_structures(tmp_path / "some.xyz", structures)
    again = read_structures(tmp_path / "some.xyz")
    assert [content_hash(a) for a in again] == [content_hash(a) for a in structures]


def test_a_structure_as_written_is_what_a_file_gives_back_to_the_last_bit(tmp_path):
    atoms = skewed_cell(np.random.default_rng(6))
    atoms.positions *= 123.456
    write_structures(tmp_path / "one.xyz", [atoms])
    (again,) = read_structures(tmp_path / "one.xyz")
    np.testing.assert_array_equal(as_written(atoms).positions, again.positions)
    np.testing.assert_array_equal(as_written(atoms).cell.array, again.cell.array)


def test_results_survive_a_file(tmp_path):
    rng = np.random.default_rng(5)
    forces, stress = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    labelled = attach_results(skewed_cell(rng), -1.25, forces, stress + stress.T)
    write_structures(tmp_path / "labelled.xyz", [labelled])
    (again,) = read_structures(tmp_path / "labelled.xyz")
    assert again.get_potential_energy() == pytest.approx(-1.25, abs=1e-8)
    np.testing.assert_allclose(again.get_forces(), forces, atol=1e-7)  # 8 decimals in the file
    np.testing.assert_allclose(again.get_stress(voigt=False), stress + stress.T, atol=1e-7)


class Held:
    """A constraint that sets forces and stress to zero, as one of symmetry changes both."""

    def adjust_forces(self, atoms, forces):
        forces[:] = 0

    def adjust_stress(self, atoms, stress):
        stress[:] = 0


@pytest.mark.parametrize("constraint", [FixAtoms([0, 1]), Held()])
def test_constraints_hide_nothing_of_a_label(constraint):
    """They say which atoms a relaxation may move, and not what was computed."""
    rng = np.random.default_rng(7)
    forces, stress = rng.normal(size=(4, 3)), rng.normal(size=6)
    labelled = attach_results(skewed_cell(rng), -1.25, forces, stress)
    labelled.constraints = [constraint]
    np.testing.assert_array_equal(forces_of(labelled), forces)
    np.testing.assert_array_equal(stress_of(labelled), stress)


TEXTS = (
    *("T", "F", "true", "01", "7", "1e3", "1.50", "1 1 0", "1,2", "nan", "_JSON 1", "", " a "),
    *("a\nb", "a\tb", 'a "b"', "a\\b", "a\\", '\\"', "a=b", "{a", "]", "'", "2H", "\u03b1-Fe"),
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["entrove_phase", "a key"])
def test_texts_are_texts_in_files(key, text, tmp_path):
    """ASE reads a phase T as True and 01 as 1, and its writer spoils an empty text, or a line."""
    atoms = bulk("Cu")
    atoms.info.update({key: text, "uid": "007", "step": 3})
    labelled = attach_results(atoms, -1.25, np.zeros((1, 3)), np.zeros(6))
    write_structures(tmp_path / "one.xyz", [labelled, bulk("Cu")])
    again, _ = read_structures(tmp_path / "one.xyz")
    assert again.info == labelled.info == {key: text, "uid": "007", "step": 3}
    assert again.get_potential_energy() == -1.25
    (frame, _) = read_frames(tmp_path / "one.xyz")
    assert frame.atoms.info[key] == text


def test_missing_file_says_which(tmp_path):
    with pytest.raises(StructureError, match=r"nowhere\.xyz: no such file"):
        read_structures(tmp_path / "nowhere.xyz")


def test_empty_file_says_so(tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(StructureError, match=r"cannot read this file|holds no structure"):
        read_structures(tmp_path / "empty.xyz")


def test_a_file_that_ends_in_a_structure_is_named_with_its_number(tmp_path):
    """What was read before the damage is yielded; the error says where the file is damaged."""
    path = tmp_path / "pool.xyz"
    write_structures(path, [bulk("Cu", cubic=True)] * 5)
    path.write_text(path.read_text()[:-40])
    found = []
    with pytest.raises(StructureError, match=r"pool\.xyz: ASE cannot .* at structure 4, counted"):
        found.extend(iterate_structures(path))
    with pytest.raises(StructureError, match=r"pool\.xyz: .* structure 4.*whether it is complete"):
        read_structures(path)
    reached = iterate_structures(path)
    assert [len(next(reached)) for _ in range(4)] == [4] * 4


def test_the_closest_atoms_are_those_of_brute_force():
    """Images included, also of one atom with itself, and relative to the size of the atoms."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        atoms = Atoms(
            rng.choice(["H", "O", "Cs"], 4),
            positions=rng.uniform(0, 6, (4, 3)),
            cell=6 * np.eye(3) + rng.uniform(-1, 1, (3, 3)),
            pbc=rng.integers(0, 2, 3),
        )
        # The closest pair of a crystal is also that of a large piece of it.
        images = atoms.repeat([5 if periodic else 1 for periodic in atoms.pbc])
        distances = images.get_all_distances() + np.diag(np.full(len(images), np.inf))
        radii = covalent_radii[images.numbers]
        ratios = distances / (radii[:, None] + radii)
        found = closest_atoms(atoms)
        assert found is not None
        assert found.ratio == pytest.approx(ratios.min(), rel=1e-9)
        pair = {atoms.symbols[found.first], atoms.symbols[found.second]}
        assert pair == set(found.symbols)


def test_a_free_atom_has_no_neighbour_and_a_crystal_of_one_has_itself():
    assert closest_atoms(Atoms("Ar")) is None
    found = closest_atoms(bulk("Cu", a=3.6))
    assert found is not None
    assert (found.first, found.second) == (0, 0)
    assert found.distance_A == pytest.approx(3.6 / 2**0.5)


def test_a_structure_without_finite_numbers_has_no_hash():
    atoms = skewed_cell(np.random.default_rng(4))
    atoms.positions[1, 2] = np.inf
    with pytest.raises(StructureError, match=r"of the structure \(ClNaSi2\) are not finite"):
        content_hash(atoms)


def test_a_sample_of_a_file_is_even_and_as_large_as_asked(tmp_path):
    frames = [Atoms("Si", cell=np.eye(3) * (3 + number), pbc=True) for number in range(11)]
    write_structures(tmp_path / "all.xyz", frames)
    for most, expected in (
        (4, [0, 3, 6, 9]),
        (11, list(range(11))),
        (1, [0]),
        (50, list(range(11))),
    ):
        sample = read_sample(tmp_path / "all.xyz", most)
        assert [round(atoms.cell[0, 0]) - 3 for atoms in sample] == expected
    assert read_sample(tmp_path / "missing.xyz", 3) == []
