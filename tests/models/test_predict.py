import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from trial_structures import rattled

from entrove import provenance
from entrove.errors import StructureError
from entrove.models.prediction import plan_batches, predict
from entrove.structures import content_hash


def test_order_info_and_input_are_kept(sevennet):
    structures = [
        rattled(bulk("Si", "diamond", a=5.43, cubic=True), 0),
        rattled(molecule("H2O", vacuum=3.0), 1),
        rattled(bulk("Si", "diamond", a=5.43), 2),
    ]
    for index, atoms in enumerate(structures):
        atoms.info["index"] = index
    labelled = predict(sevennet, structures)
    for index, (before, after) in enumerate(zip(structures, labelled, strict=True)):
        assert after.info["index"] == index
        assert before.calc is None
        np.testing.assert_array_equal(after.positions, before.positions)
        alone = predict(sevennet, [before])[0]
        # float32 sums in another order: 1e-6 of an energy of some 10 eV.
        assert after.get_potential_energy() == pytest.approx(
            alone.get_potential_energy(), abs=2e-5
        )
        np.testing.assert_allclose(after.get_forces(), alone.get_forces(), atol=1e-4)


def test_a_prediction_does_not_say_that_it_is_the_label_or_the_committees(sevennet):
    """Else a file of predictions could be imported as labels of a level of theory."""
    atoms = rattled(bulk("Si", "diamond", a=5.43), 0)
    kept = {provenance.PHASE: "diamond", provenance.STRUCTURE_HASH: content_hash(atoms)}
    atoms.info |= kept | {
        provenance.LEVEL_OF_THEORY: "22705ff615a148d5",
        provenance.ENGINE: "gpaw 26.7.0",
        provenance.ENGINE_SECONDS: 30.6,
        provenance.IMPORT: 1,
        provenance.ENERGY_SPREAD: 0.1,
        provenance.STRESS_SPREAD: 0.1,
    }
    atoms.arrays[provenance.FORCES_SPREAD] = np.ones(2)
    [predicted] = predict(sevennet, [atoms])
    assert predicted.info == kept
    assert provenance.FORCES_SPREAD not in predicted.arrays
    assert len(atoms.info) == 8


def test_batches_are_bounded_and_of_one_periodicity():
    cell = bulk("Si", "diamond", a=5.43, cubic=True)
    slab = cell.copy()
    slab.pbc = (True, True, False)
    structures = [cell, slab, cell.repeat(3), cell, slab, *[cell] * 20]
    batches = list(plan_batches(structures, 5.0, batch_size=6, most_pairs=2000))
    assert sorted(index for batch in batches for index in batch) == list(range(len(structures)))
    for batch in batches:
        assert len(batch) <= 6
        assert len({tuple(structures[index].pbc) for index in batch}) == 1
    # 216 atoms x 26 neighbours exceed the bound alone, so they go alone.
    assert [2] in batches


def test_nothing_in_nothing_out(sevennet):
    assert predict(sevennet, []) == []


def test_empty_structure_is_named(sevennet):
    with pytest.raises(StructureError, match="structure 1 has no atoms"):
        predict(sevennet, [bulk("Si", "diamond", a=5.43), Atoms()])


def test_a_box_around_a_molecule_makes_no_stress(sevennet):
    """Energy and forces are those without a box, and there is no stress, as without a box."""
    boxed = rattled(molecule("H2O"), 1)
    boxed.cell = [6, 6, 6]
    boxed.pbc = False
    free = boxed.copy()
    free.cell = None
    in_box, alone = predict(sevennet, [boxed, free])
    assert in_box.get_potential_energy() == pytest.approx(alone.get_potential_energy(), abs=2e-5)
    np.testing.assert_array_equal(in_box.get_stress(), 0.0)
    np.testing.assert_array_equal(alone.get_stress(), 0.0)


def test_stress_of_a_layer_is_that_along_its_periodic_directions(sevennet):
    """Twice the vacuum halves the stress per volume, and nothing acts across the layer."""
    layer = rattled(bulk("Si", "diamond", a=5.43, cubic=True), 3)
    layer.center(vacuum=8.0, axis=2)
    layer.pbc = (True, True, False)
    wider = layer.copy()
    wider.cell[2, 2] *= 2
    narrow, wide = (atoms.get_stress(voigt=False) for atoms in predict(sevennet, [layer, wider]))
    assert np.abs(narrow[:2, :2]).max() > 1e-3
    np.testing.assert_allclose(wide, narrow / 2, atol=1e-6)
    np.testing.assert_allclose(narrow[2], 0.0, atol=1e-12)
    np.testing.assert_allclose(narrow[:, 2], 0.0, atol=1e-12)
    # The same layer with another cell vector across the vacuum.
    tilted = layer.copy()
    tilted.cell[2] = [2.0, 1.0, layer.cell[2, 2]]
    (found,) = predict(sevennet, [tilted])
    np.testing.assert_allclose(found.get_stress(voigt=False), narrow, atol=1e-6)
