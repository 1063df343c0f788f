"""`select`: lists, files and streams give the same selection; bad arguments a clear error."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from candidate_pools import silicon

import entrove
from entrove.entropy.dataset import EntropyDataset
from entrove.errors import SelectionError, StructureError
from entrove.selection.config import SelectionConfig
from entrove.selection.farthest_point import select_farthest

REFERENCE = [silicon(seed) for seed in range(10)]
POOL = [silicon(100 + seed, rattle_A=0.02 + 0.005 * seed) for seed in range(40)]


def labelled(entropy="information", mode="per_atom") -> EntropyDataset:
    dataset = EntropyDataset(entropy, mode)
    dataset.calibrate(REFERENCE)
    dataset.add(REFERENCE[:5])
    return dataset


@pytest.mark.parametrize("entropy", ["information", "paper"])
@pytest.mark.parametrize("mode", ["per_atom", "per_config"])
def test_gains_are_those_of_the_dataset(entropy, mode):
    dataset = labelled(entropy, mode)
    selection = entrove.select(POOL, 6, given=dataset)
    grown = dataset.copy()
    for index, gain in zip(selection.indices, selection.gains, strict=True):
        gains = grown.gain(POOL)
        gains[[i for i in selection.indices if POOL[i] in grown]] = -np.inf
        assert gains.argmax() == index
        assert gains[index] == pytest.approx(gain, rel=1e-8, abs=1e-9)
        grown.add([POOL[index]])
    assert len(dataset) == 5


@pytest.mark.parametrize("given", ["dataset", "structures", "nothing"])
def test_list_file_and_stream_agree(given, tmp_path):
    path = tmp_path / "pool.extxyz"
    write(path, POOL, format="extxyz")
    known = {"dataset": labelled(), "structures": REFERENCE[:3], "nothing": None}[given]
    expected = entrove.select(POOL, 8, given=known)
    for pool in (path, str(path), iter(POOL), (atoms for atoms in POOL)):
        selection = entrove.select(pool, 8, given=known)
        assert selection.indices.tolist() == expected.indices.tolist()
        # Extended XYZ keeps eight decimals of positions; gains have slopes of up to 100 per
        # Angstrom.
        np.testing.assert_allclose(selection.gains, expected.gains, rtol=1e-5)


def test_quotas_read_the_pool_of_each_structure():
    pool = [silicon(seed, 0.3, pool="entropy_md") for seed in range(10)]
    pool += [silicon(50 + seed, 0.02, pool="anchors") for seed in range(10)]
    config = SelectionConfig(quotas={"entropy_md": 0.5, "anchors": 0.5})
    selection = entrove.select(pool, 6, given=labelled(), config=config)
    assert sum(index < 10 for index in selection.indices) == 3


def test_cheap_labels_are_preferred_per_second():
    config = SelectionConfig(rank_by="gain_per_second")
    dear = set(range(20, 40))
    cost = {id(atoms): 1000.0 if index in dear else 1.0 for index, atoms in enumerate(POOL)}
    selection = entrove.select(
        POOL, 5, given=labelled(), config=config, cost_s=lambda atoms: cost[id(atoms)]
    )
    assert not dear & set(selection.indices.tolist())
    assert set(entrove.select(POOL, 5, given=labelled()).indices.tolist()) <= dear


def test_float32_storage_picks_the_same_first_structures():
    config = SelectionConfig(storage="float32")
    single = entrove.select(POOL, 5, given=labelled(), config=config)
    assert single.indices.tolist() == entrove.select(POOL, 5, given=labelled()).indices.tolist()


def test_count_above_the_pool_is_refused():
    with pytest.raises(
        SelectionError, match="count=41 but only 40 candidates are left; lower count"
    ):
        entrove.select(POOL, 41)


def test_count_must_be_positive():
    with pytest.raises(SelectionError, match="count=0, but at least 1 is needed"):
        entrove.select(POOL, 0)


def test_a_dataset_brings_its_own_definition():
    with pytest.raises(SelectionError, match="entropy, mode cannot be chosen"):
        entrove.select(POOL, 3, given=labelled(), entropy="paper", mode="per_atom")


def test_ranking_by_cost_needs_costs():
    with pytest.raises(SelectionError, match="needs the cost of each label; pass cost_s"):
        entrove.select(POOL, 3, config=SelectionConfig(rank_by="gain_per_second"))


@pytest.mark.parametrize("cost_s", [0.0, -1.0, float("nan"), float("inf")])
def test_costs_must_be_positive_and_finite(cost_s):
    config = SelectionConfig(rank_by="gain_per_second")
    with pytest.raises(SelectionError, match="must be positive and finite"):
        entrove.select(POOL, 3, config=config, cost_s=lambda _: cost_s)


def test_a_missing_file_is_named():
    with pytest.raises(StructureError, match=r"nowhere\.extxyz: no such file"):
        entrove.select("nowhere.extxyz", 3)


def test_species_new_to_a_calibrated_dataset_are_refused_until_they_are_calibrated():
    carbon = silicon(0)
    carbon.numbers[:] = 6
    dataset, pool = labelled(), [*POOL[:5], carbon]
    with pytest.raises(
        SelectionError, match=r"structure 5 \(C8\): C has no calibration .* call calibrate\(\)"
    ):
        entrove.select(pool, 1, given=dataset)
    dataset.calibrate([carbon])
    assert len(entrove.select(pool, 6, given=dataset)) == 6


def test_one_structure_is_as_good_as_a_list():
    assert entrove.select(POOL[0], 1, given=REFERENCE[0]).indices.tolist() == [0]
    assert len(select_farthest(POOL[0], 1, given=REFERENCE[0])) == 1


def test_given_species_that_the_pool_lacks_are_calibrated_on_themselves(caplog):
    carbon = silicon(0)
    carbon.numbers[:] = 6
    with caplog.at_level(logging.WARNING):
        selection = entrove.select(POOL, 3, given=[carbon], entropy="information")
    assert len(selection) == 3
    assert "No calibration for C" in caplog.text


def test_repr_of_a_selection_stays_short():
    assert len(repr(entrove.select(POOL, 3))) < 300


def mixed_sizes() -> list[Atoms]:
    """Thermal cells of 8 atoms, and supercells of them, which hold no other environments."""
    cells = [silicon(seed, 0.05) for seed in range(20)]
    return cells + [atoms.repeat((2, 2, 1)) for atoms in cells]


def test_large_cells_do_not_win_by_their_size():
    pool = mixed_sizes()
    by_gain = entrove.select(pool, 4, given=labelled(), config=SelectionConfig(rank_by="gain"))
    assert {len(pool[index]) for index in by_gain.indices} == {32}
    default = entrove.select(pool, 4, given=labelled())
    assert {len(pool[index]) for index in default.indices} == {8}


def test_predicted_seconds_count_where_sizes_differ():
    """With a flat cost, size alone decides nothing; with equal sizes, cost decides nothing."""
    pool = mixed_sizes()
    by_gain = entrove.select(pool, 4, given=labelled(), config=SelectionConfig(rank_by="gain"))
    flat = entrove.select(pool, 4, given=labelled(), cost_s=lambda _: 3.0)
    assert flat.indices.tolist() == by_gain.indices.tolist()
    seconds = {id(atoms): 1.0 + index for index, atoms in enumerate(POOL)}
    equal = entrove.select(POOL, 4, given=labelled(), cost_s=lambda atoms: seconds[id(atoms)])
    assert equal.indices.tolist() == entrove.select(POOL, 4, given=labelled()).indices.tolist()
