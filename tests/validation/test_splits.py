import pytest
from ase.build import bulk

from entrove.errors import StructureError
from entrove.validation.splits import check_disjoint, without_hold_out


@pytest.fixture
def structures():
    cells = [bulk("Si", cubic=True) for _ in range(4)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(0.1, seed=seed)
    return cells


def test_disjoint_sets_pass(structures):
    check_disjoint(structures[:2], structures[2:])
    check_disjoint([], structures)


def test_a_shared_structure_is_found_when_reordered_or_moved_by_a_lattice_vector(structures):
    copy = structures[1][::-1]
    copy.positions[3] += copy.cell[0]
    copy.info["note"] = "looks new"
    with pytest.raises(
        StructureError,
        match=r"1 of 2 validation structures .* \(training 1 = validation 0\); remove them",
    ):
        check_disjoint(structures[:3], [copy, structures[3]])


def test_a_nearly_equal_structure_is_found_rotated_and_reordered(structures):
    """Its hash is another one, and a model that has learnt it knows it."""
    near = structures[1][::-1]
    near.rattle(2e-4, seed=9)
    near.rotate(25, (1, 2, 3), rotate_cell=True)
    with pytest.raises(
        StructureError,
        match=r"1 of 2 validation structures are nearly equal .* \(training 1 = validation 1\)",
    ):
        check_disjoint(structures[:3], [structures[3], near])
    check_disjoint(structures[:3], [structures[3], near], near=0.0)
    assert without_hold_out(structures, [near]) == [0, 2, 3]


def test_structures_of_thermal_distance_are_not_nearly_equal(structures):
    near = [atoms.copy() for atoms in structures]
    for seed, atoms in enumerate(near):
        atoms.rattle(0.05, seed=seed + 50)
    check_disjoint(structures, near)


def test_snapshots_of_one_trajectory_are_not_divided(structures):
    """Far apart in time and space, and still of one walker."""
    for atoms, walker in zip(structures, (3, 4, 4, 3), strict=True):
        atoms.info |= {"entrove_pool": "entropy_md", "entrove_round": 2, "entrove_walker": walker}
    check_disjoint(structures[1:3], structures[::3])
    with pytest.raises(
        StructureError,
        match=r"1 of 1 validation structures are snapshots of a trajectory .* \(training 0 = val",
    ):
        check_disjoint(structures[:3], structures[3:])
    structures[3].info["entrove_round"] = 1  # walkers of another round
    check_disjoint(structures[:3], structures[3:])


def test_candidates_in_the_hold_out_are_left_out(structures):
    assert without_hold_out(structures, [structures[0], structures[2]]) == [1, 3]
    assert without_hold_out(structures, []) == [0, 1, 2, 3]
