import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from entrove.errors import StructureError
from entrove.structures import (
    as_written,
    attach_results,
    content_hash,
    read_structures,
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


def test_missing_file_says_which(tmp_path):
    with pytest.raises(StructureError, match=r"nowhere\.xyz: no such file"):
        read_structures(tmp_path / "nowhere.xyz")


def test_empty_file_says_so(tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(StructureError, match=r"cannot read this file|holds no structure"):
        read_structures(tmp_path / "empty.xyz")
