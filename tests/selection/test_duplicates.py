"""Structures that are the same, or nearly, are labelled once."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from candidate_pools import dataset_for, random_pool, silicon

import entrove
from entrove.selection.config import SelectionConfig
from entrove.selection.duplicates import NearDuplicates
from entrove.selection.greedy import select_greedily
from entrove.selection.pool import FeaturePool, PoolBlock
from entrove.selection.result import Filter


def pool_of(rows_of_candidates) -> FeaturePool:
    counts = [len(rows) for rows in rows_of_candidates]
    first = torch.as_tensor(np.concatenate([[0], np.cumsum(counts)]))
    return FeaturePool(len(counts), {14: PoolBlock(torch.cat(list(rows_of_candidates)), first)})


def test_distance_ignores_the_order_of_atoms():
    rng = np.random.default_rng(0)
    rows = torch.as_tensor(rng.normal(size=(8, 5)))
    other = torch.as_tensor(rng.normal(size=(8, 5)))
    near = NearDuplicates(pool_of([rows, rows[torch.randperm(8)], other]), tolerance=1e-9)
    near.remember(0)
    assert near.find(1) == (0, 0.0)
    assert near.find(2) is None


@pytest.mark.parametrize(("shift", "found"), [(0.005, True), (0.02, False)])
def test_distance_is_relative_to_the_spread_of_the_pool(shift, found):
    rng = np.random.default_rng(1)
    rows = torch.as_tensor(1000.0 * rng.normal(size=(8, 5)))
    near = NearDuplicates(pool_of([rows, rows + 1000.0 * shift]), tolerance=0.01)
    near.remember(0)
    assert (near.find(1) is not None) == found


def test_independent_snapshots_of_a_large_cell_are_no_near_duplicates():
    # Sorted, two samples of one distribution are as near as 1/sqrt(rows) of it.
    rng = np.random.default_rng(3)
    rows = [torch.as_tensor(rng.normal(size=(200_000, 1))) for _ in range(8)]
    copies = [of_one[torch.randperm(len(of_one))] + 1e-5 for of_one in rows]
    near = NearDuplicates(pool_of([*rows, *copies]), tolerance=0.01)
    for index in range(len(rows)):
        assert near.find(index) is None
        near.remember(index)
    assert [near.find(index + 8) is not None for index in range(8)] == [True] * 8


def test_rotated_copies_of_a_perfect_crystal_are_near_duplicates():
    crystal = bulk("Si", cubic=True)
    copies = []
    for angle in (0.0, 17.0, 31.0, 73.0):
        copy = crystal.copy()
        copy.rotate(angle, (1, 2, 3), rotate_cell=True)
        copies.append(copy)
    for entropy in ("information", "paper"):
        selection = entrove.select(copies, 4, entropy=entropy)
        assert len(selection) == 1
        assert selection.rejections_by_filter()["near_duplicate"] == 3


def test_orderings_of_an_alloy_of_elements_of_equal_width_are_no_duplicates():
    # V and Fe have one covalent radius.
    alloy = bulk("Fe", "bcc", a=2.9, cubic=True).repeat((2, 2, 1))
    orderings = []
    for places in ((0, 1, 2, 3), (0, 2, 4, 6), (0, 3, 5, 6)):
        ordering = alloy.copy()
        ordering.symbols[list(places)] = "V"
        orderings.append(ordering)
    rotated = orderings[1].copy()
    rotated.rotate(30.0, (1, 2, 3), rotate_cell=True)
    pool = [*orderings, rotated]
    for chosen in (
        entrove.select(pool, 4, entropy="information"),
        entrove.select(pool, 4),
        entrove.select(iter(pool), 4, given=orderings[:1], entropy="information"),
    ):
        found = set(chosen.indices.tolist())
        assert 2 in found
        assert len(found & {1, 3}) == 1


def test_candidates_of_another_composition_are_never_near():
    rows = torch.ones(4, 5, dtype=torch.float64)
    near = NearDuplicates(pool_of([rows, rows[:3]]), tolerance=0.5)
    near.remember(0)
    assert near.find(1) is None


def test_the_second_of_two_near_duplicates_is_rejected_with_its_reason():
    rng = np.random.default_rng(2)
    candidates = [torch.as_tensor(rng.normal(size=(4, 5))) for _ in range(5)]
    candidates.append(candidates[0] + 1e-4)
    pool = pool_of(candidates)
    selection = select_greedily(pool, dataset_for(pool), 6, SelectionConfig())
    assert len(selection) == 5
    (rejection,) = selection.rejected
    assert rejection.filter == Filter.NEAR_DUPLICATE
    assert rejection.index in (0, 5)
    assert "differs by" in rejection.detail
    assert (
        len(select_greedily(pool, dataset_for(pool), 6, SelectionConfig(duplicate_tolerance=0.0)))
        == 6
    )


def test_a_rotated_copy_is_a_near_duplicate_and_an_image_an_exact_one():
    original = silicon(0)
    rotated = original.copy()
    rotated.rotate(30.0, "z", rotate_cell=True)
    image = original.copy()
    image.positions[2] += image.cell.array[0]
    others = [silicon(seed) for seed in range(1, 6)]
    selection = entrove.select([original, rotated, image, *others], 8)
    reasons = {rejection.index: rejection.filter for rejection in selection.rejected}
    assert reasons[2] == Filter.DUPLICATE
    assert Filter.NEAR_DUPLICATE in (reasons.get(0), reasons.get(1))
    assert len(selection) == 6


def test_what_is_labelled_already_is_never_picked():
    labelled = [silicon(seed) for seed in range(4)]
    selection = entrove.select([*labelled, silicon(9)], 5, given=labelled)
    assert selection.indices.tolist() == [4]
    assert selection.rejections_by_filter()["duplicate"] == 4


@pytest.mark.parametrize("storage", ["float64", "float32"])
def test_a_rotated_copy_of_a_labelled_structure_is_a_near_duplicate(storage):
    labelled = [silicon(seed) for seed in range(4)]
    rotated = labelled[2].copy()
    rotated.rotate(30.0, "z", rotate_cell=True)
    pool = [rotated, *(silicon(seed) for seed in range(10, 16))]
    config = SelectionConfig(storage=storage)
    selection = entrove.select(pool, 7, given=labelled, entropy="information", config=config)
    assert 0 not in selection.indices
    assert len(selection) == 6
    (rejection,) = selection.rejected
    assert rejection.filter == Filter.NEAR_DUPLICATE
    assert "from structure 2 of those that are labelled" in rejection.detail
    unfiltered = SelectionConfig(storage=storage, duplicate_tolerance=0.0)
    assert len(entrove.select(pool, 7, given=labelled, config=unfiltered)) == 7


def test_pools_of_many_equal_candidates_keep_one():
    pool = random_pool(3, 1)
    block = pool.blocks[14]
    many = pool_of([block.of(0)] * 30)
    assert len(select_greedily(many, dataset_for(many), 30, SelectionConfig())) == 1
