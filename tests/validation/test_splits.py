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


def test_candidates_in_the_hold_out_are_left_out(structures):
    assert without_hold_out(structures, [structures[0], structures[2]]) == [1, 3]
    assert without_hold_out(structures, []) == [0, 1, 2, 3]
