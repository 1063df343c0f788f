import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).parent.parent))

from cheap_models import argon, lennard_jones

from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap
from entrove.sampling.batch import gather_batch
from entrove.sampling.config import OrderedSettings, RelaxationSettings, SamplingConfig
from entrove.sampling.grid import Start
from entrove.sampling.ordering import FingerprintOrder, OrderingModel
from entrove.sampling.pools.ordered import find_space_group, generate_ordered, perturb, place_at_random
from entrove.sampling.relax import relax_at_pressure

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))
CONFIG = SamplingConfig(
    relaxation=RelaxationSettings(
        force_tolerance_eV_per_A=2e-3, stress_tolerance_GPa=5e-3, largest_steps=500
    ),
    ordered=OrderedSettings(perturbed=2, random=3, biased_steps=60, variance_weight_eV=2.0),
    guards={"shortest_distance": 0.9},
)


def test_order_is_the_negative_variance_of_each_species():
    values = torch.tensor(np.random.default_rng(0).normal(size=(7, 5)))
    numbers = torch.tensor([11, 17, 11, 17, 11, 11, 17])
    system = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    order, gradient = FingerprintOrder().value_and_gradient(values, numbers, system, 2)
    for row in range(2):
        own = [values[(system == row) & (numbers == n)].numpy() for n in (11, 17)]
        expected = -sum(((x - x.mean(axis=0)) ** 2).sum() for x in own) / int((system == row).sum())
        assert float(order[row]) == pytest.approx(expected, rel=1e-12)
    h = 1e-6
    for atom, feature in ((0, 0), (3, 2), (6, 4)):
        moved = values.clone()
        moved[atom, feature] += h
        up = FingerprintOrder().value_and_gradient(moved, numbers, system, 2)[0].sum()
        moved[atom, feature] -= 2 * h
        down = FingerprintOrder().value_and_gradient(moved, numbers, system, 2)[0].sum()
        assert float(gradient[atom, feature]) == pytest.approx(float(up - down) / (2 * h), rel=1e-6, abs=1e-9)


def test_a_perfect_crystal_has_full_order_and_feels_no_force_from_it():
    model = OrderingModel(lennard_jones(), FEATURES, 5.0)
    result = model(gather_batch([argon(5.2)], model))
    assert float(result["entropy"][0]) == pytest.approx(0.0, abs=1e-20)
    torch.testing.assert_close(result["forces"], result["base_forces"], rtol=0, atol=1e-9)


def test_the_variance_term_orders_what_the_model_alone_leaves_disordered():
    """Without any energy of its own, a rattled cell is brought to equal surroundings by the term alone."""
    flat = lennard_jones(epsilon_eV=1e-9)
    model = OrderingModel(flat, FEATURES, 5.0)
    rattled = argon(5.2, rattle_A=0.3, seed=3)
    settings = RelaxationSettings(force_tolerance_eV_per_A=1e-5, stress_tolerance_GPa=1e-4, largest_steps=60)
    before = float(model(gather_batch([rattled], model))["entropy"][0])
    relaxed = relax_at_pressure(model, [rattled], [0.0], settings)[0].atoms
    after = float(model(gather_batch([relaxed], model))["entropy"][0])
    assert before < -1e-3
    assert after > before / 10


@pytest.fixture(scope="module")
def cells():
    starts = [Start("fcc", 1.0, argon(5.2))]
    return generate_ordered(starts, lennard_jones(epsilon_eV=0.05), FEATURES, CONFIG, 7)


def test_every_start_is_accounted_for_with_symmetry_and_reason(cells):
    assert [one.candidate.kind for one in cells] == ["perturbed"] * 2 + ["random"] * 3
    for one in cells:
        assert one.candidate.pool == "ordered"
        assert one.candidate.pressure_GPa == 1.0
        assert "(" in one.space_group
        assert one.kept == (one.dropped_because is None)


def test_kept_cells_have_low_forces_and_are_not_copies(cells):
    kept = [one for one in cells if one.kept]
    for one in kept:
        assert one.largest_force_eV_per_A <= CONFIG.ordered.largest_force_eV_per_A
    keys = [(one.space_group, round(one.enthalpy_eV_per_atom, 3)) for one in kept]
    assert len(set(keys)) == len(keys)


def test_a_perturbed_seed_that_falls_back_is_dropped_as_a_copy(cells):
    # Lennard-Jones has one basin around its fcc crystal: a small perturbation ends where it began.
    copies = [one for one in cells if one.dropped_because and "copy of a seed" in one.dropped_because]
    assert copies
    assert all("Fm-3m (225)" in one.dropped_because or one.candidate.kind == "random" for one in copies)


def test_the_same_seed_gives_the_same_pool(cells):
    starts = [Start("fcc", 1.0, argon(5.2))]
    again = generate_ordered(starts, lennard_jones(epsilon_eV=0.05), FEATURES, CONFIG, 7)
    for one, other in zip(cells, again, strict=True):
        np.testing.assert_array_equal(one.candidate.atoms.positions, other.candidate.atoms.positions)
        assert one.dropped_because == other.dropped_because


def test_nothing_asked_for_gives_nothing():
    config = CONFIG.model_copy(update={"ordered": OrderedSettings(perturbed=0, random=0)})
    assert generate_ordered([Start("fcc", 0.0, argon())], lennard_jones(), FEATURES, config, 0) == []


@pytest.mark.parametrize("seed", range(5))
def test_random_crystals_keep_composition_and_density_and_leave_room(seed):
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    crystal = place_at_random(salt, np.random.default_rng(seed))
    assert crystal.get_chemical_formula() == salt.get_chemical_formula()
    assert 0.9 <= crystal.get_volume() / salt.get_volume() <= 1.3
    distances = crystal.get_all_distances(mic=True) + 99 * np.eye(len(crystal))
    # Spheres of this diameter fill a fifth of the cell: far from touching, far from overlapping.
    assert distances.min() > 0.7 * (crystal.get_volume() / len(crystal)) ** (1 / 3)


def test_perturbation_moves_atoms_and_cell_and_not_the_original():
    atoms = argon(5.2)
    moved = perturb(atoms, OrderedSettings(rattle_A=0.2, strain=0.05), np.random.default_rng(0))
    assert not np.allclose(moved.cell.array, atoms.cell.array)
    assert not np.allclose(moved.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-3)
    np.testing.assert_array_equal(atoms.positions, argon(5.2).positions)


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Si", "diamond", a=5.43, cubic=True), "Fd-3m (227)"),
        (bulk("NaCl", "rocksalt", a=5.64), "Fm-3m (225)"),
        (
            Atoms("Ar2", scaled_positions=[[0, 0, 0], [0.1, 0.3, 0.4]], cell=[4, 5, 6, 70, 80, 95], pbc=True),
            "P-1 (2)",
        ),
    ],
)
def test_space_groups_of_known_crystals(atoms, expected):
    assert find_space_group(atoms) == expected
